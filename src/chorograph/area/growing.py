"""An area that grows step by step: rows, images and sources added to an existing one.

Every step leaves the area whole: images first, then the table that names them, each written atomically. What was there
and is not touched, embeddings above all, stays as it is.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from chorograph.area.folder import Area, Source
from chorograph.area.images import read_encoded
from chorograph.area.tables import conform, get_table
from chorograph.ground.claims import SOON_S, claim
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, sha256_bytes, sha256_file, slug, within

if TYPE_CHECKING:
    from chorograph.ground.stage import Ledger


class FiledVectors(Protocol):
    """Vectors (n, dim) of images or of regions, which write themselves as a file."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors."""

    def write(self, path: Path) -> Path:
        """Write the file; returns its path."""


@dataclass
class ImagesOf:
    """Takes images into an existing area; what was there under the same name with the same bytes is left."""

    area: Area
    written: list[Path] = field(default_factory=list)

    def add_image(self, image_id: str, source: Path | bytes, suffix: str = ".jpg") -> tuple[str, str]:
        """Keep an encoded image; returns its uri and the SHA-256 of its bytes."""
        data = source if isinstance(source, bytes) else read_encoded(source)
        suffix = suffix if isinstance(source, bytes) else source.suffix.lower() or suffix
        digest = sha256_bytes(data)
        folder = self.area.path / "images"
        plain = folder / f"{slug(image_id)}{suffix}"
        # Another picture of that name keeps its place until the table no longer names it.
        target = (
            plain if not plain.exists() or _holds(plain, data) else folder / f"{slug(image_id)}-{digest[:12]}{suffix}"
        )
        if not target.exists():
            with atomic_path(target) as temporary:
                temporary.write_bytes(data)
            self.written.append(target)
        return str(target.relative_to(self.area.path)), digest

    def remove_image(self, uri: str) -> None:
        """Take out an image that was just added."""
        path = within(self.area.path, uri)
        if path in self.written:
            path.unlink(missing_ok=True)


def add_rows(area: Area, table: str, rows: pd.DataFrame, ledger: Ledger, *, replace: bool) -> None:
    """Add rows to a table of an area; those that stand there already, equal, are left.

    A row whose key stands there with other values is an `InputError`, or with `replace` takes its place. Counted:
    rows added, replaced, and there already.
    """
    key = list(get_table(table).key)
    new = conform(table, rows)
    old = conform(table, area.read(table)) if area.has(table) else new.iloc[:0]
    known = pd.Index(old[key].astype("string").fillna("").agg("\0".join, axis=1) if len(old) else [])
    place = known.get_indexer(pd.Index(new[key].astype("string").fillna("").agg("\0".join, axis=1)))
    there = place >= 0
    other = there.copy()
    if there.any():
        other[there] = ~_equal(old.iloc[place[there]], new[there])
    if other.any() and not replace:
        first = new[other].iloc[0]
        raise InputError(
            f"{table} of {area.path} holds {' '.join(str(first[column]) for column in key)} already, with other values "
            f"({int(other.sum())} such rows); give --replace to put the new ones in their place"
        )
    merged = old.copy()
    if other.any():
        merged.iloc[place[other]] = new[other].to_numpy(object)
    merged = pd.concat([merged, new[~there]], ignore_index=True)
    ledger.count(f"{table} added", int((~there).sum()))
    ledger.count(f"{table} replaced", int(other.sum()))
    ledger.count(f"{table} there already", int((there & ~other).sum()))
    if other.any() or not there.all() or not area.has(table):
        area.write(table, merged)


def add_vectors(area: Area, name: str, vectors: FiledVectors, ledger: Ledger, *, replace: bool = False) -> None:
    """File vectors under a name; `InputError` where others are called so, unless `replace`."""
    path = area.embeddings_path(name)
    if path.is_file() and not replace and not _are_those(path, vectors):
        raise InputError(f"{path} holds vectors called {name!r} already; give --replace, or another --name")
    vectors.write(path)
    ledger.count("vectors", len(vectors.vectors))
    ledger.count("width", vectors.vectors.shape[1])


def _are_those(path: Path, vectors: FiledVectors) -> bool:
    """Return whether a file holds just these vectors, as where a step was killed after it wrote them."""
    with TemporaryDirectory() as folder:
        return sha256_file(vectors.write(Path(folder) / path.name)) == sha256_file(path)


def add_source(area: Area, source: Source) -> None:
    """Put a source among those that `area.toml` names, unless it is there."""
    path = area.path / "area.toml"
    with claim(path, "adding a source", wait_s=SOON_S):
        if source in Area.open(area.path).sources:
            return
        described = tomllib.loads(path.read_text(encoding="utf-8"))
        described.setdefault("sources", []).append(asdict(source))
        with atomic_path(path) as temporary:
            temporary.write_bytes(tomli_w.dumps(described).encode())


def remove_unnamed(area: Area, uris: list[str]) -> None:
    """Remove files of images that no table names any more."""
    named = set(Area.open(area.path).images["uri"].dropna())
    for uri in set(uris) - named:
        within(area.path, uri).unlink(missing_ok=True)


def _holds(path: Path, data: bytes) -> bool:
    return path.stat().st_size == len(data) and path.read_bytes() == data


def _equal(a: pd.DataFrame, b: pd.DataFrame) -> Any:
    """Return for each row whether the frames agree; missing equals missing. The source may differ."""
    columns = [column for column in a.columns if column != "source"]
    left, right = a[columns].reset_index(drop=True), b[columns].reset_index(drop=True)
    same = (left == right).fillna(False) | (left.isna() & right.isna())
    return same.all(axis=1).to_numpy(bool)
