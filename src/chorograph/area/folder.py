"""The area folder: opening one, reading and writing its tables, building a new one whole."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.area.images import MARK as MARK
from chorograph.area.images import read_encoded, read_rgb
from chorograph.area.named_files import named_file
from chorograph.area.tables import TABLES, conform, empty, get_table, to_arrow
from chorograph.ground.errors import AreaError, InputError
from chorograph.ground.files import atomic_path, slug, within

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CRS = "EPSG:4326"


@dataclass(frozen=True)
class Source:
    """Where data came from, and under which terms."""

    name: str
    licence: str = "unstated"
    attribution: str = ""
    url: str = ""


@dataclass(frozen=True, repr=False)
class Area:
    """A plain folder of Parquet tables and images; see `docs/conventions.md` for every column.

    Tables are read when first asked for. An area without regions is called a corpus and is the same folder.
    """

    path: Path
    name: str
    title: str
    sources: tuple[Source, ...] = ()
    synthetic: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open the area at `path`; `AreaError` where there is none."""
        folder = Path(path)
        described = folder / "area.toml"
        try:
            content = tomllib.loads(described.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise AreaError(
                f"{folder} is not an area: it has no area.toml; make one with `chorograph area build`"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AreaError(f"{described} is not readable TOML: {error}") from error
        try:
            sources = tuple(Source(**source) for source in content.get("sources", []))
            name = str(content["name"])
        except (KeyError, TypeError) as error:
            raise AreaError(
                f"{described}: {error}; it needs a name, and sources with name, licence, attribution, url"
            ) from None
        return cls(
            path=folder,
            name=name,
            title=str(content.get("title", name)),
            sources=sources,
            synthetic=bool(content.get("synthetic", False)),
            facts=content.get("facts", {}),
        )

    def __repr__(self) -> str:
        """Say what the area is called and how much it holds."""
        held = ", ".join(f"{number:,} {name}" for name, number in self.sizes().items())
        return f"<Area {self.title} at {self.path}: {held or 'empty'}>"

    def _repr_html_(self) -> str:
        """Show in a notebook what the area holds."""
        rows = "".join(f"<tr><th>{escape(n)}</th><td>{number:,}</td></tr>" for n, number in self.sizes().items())
        return f"<p>{escape(self.title)} ({escape(str(self.path))})</p><table>{rows}</table>"

    @cached_property
    def regions(self) -> gpd.GeoDataFrame:
        """The regions: region_id, name, group, geometry (EPSG:4326)."""
        path = self.table_path("regions")
        if not path.is_file():
            return gpd.GeoDataFrame(empty(get_table("regions")), geometry="geometry", crs=CRS)
        try:
            regions: gpd.GeoDataFrame = gpd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise AreaError(f"{path} cannot be read: {error}") from error
        return regions

    @property
    def images(self) -> pd.DataFrame:
        """The images, held and known; one row an image."""
        return self.read("images")

    @property
    def captions(self) -> pd.DataFrame:
        """The captions; several an image."""
        return self.read("captions")

    @property
    def indicators(self) -> pd.DataFrame:
        """The indicators, long: one row a region, indicator and year."""
        return self.read("indicators")

    @property
    def triples(self) -> pd.DataFrame:
        """The facts of the knowledge graph: head, relation, tail."""
        return self.read("triples")

    @property
    def entities(self) -> pd.DataFrame:
        """The entities of the knowledge graph: entity, kind, region_id."""
        return self.read("entities")

    @property
    def has_regions(self) -> bool:
        """Whether this is an area with regions, not a corpus."""
        return self.has("regions")

    def has(self, table: str) -> bool:
        """Whether the folder holds `table`."""
        return self.table_path(table).is_file()

    def table_path(self, table: str) -> Path:
        """Return where `table` lies, whether or not it is there."""
        return self.path / f"{get_table(table).name}.parquet"

    def sizes(self) -> dict[str, int]:
        """Return the number of rows of every table that the folder holds, and of the images that are held."""
        try:
            sizes = {name: pq.read_metadata(self.table_path(name)).num_rows for name in TABLES if self.has(name)}
            if "images" in sizes:
                uris = pq.read_table(self.table_path("images"), columns=["uri"]).column("uri")
                sizes["images held"] = len(uris) - uris.null_count
        except (OSError, ValueError, KeyError) as error:
            raise AreaError(f"{self.path}: a table cannot be read: {error}") from error
        return sizes

    def read(self, table: str) -> pd.DataFrame:
        """Return a table; one that the folder does not hold is empty, with the right columns."""
        if table == "regions":
            regions: pd.DataFrame = self.regions
            return regions
        path = self.table_path(table)
        return read_parquet(path, table) if path.is_file() else empty(get_table(table))

    def write(self, table: str, frame: pd.DataFrame) -> Path:
        """Check `frame` against the rules of `table` and write it atomically; returns where."""
        path = write_table(self.path, table, frame)
        if table == "regions":
            self.__dict__.pop("regions", None)
        return path

    def split(self, name: str) -> pd.DataFrame:
        """Return the given split `name`: region_id or image_id, role, fold."""
        path = self.split_path(name)
        if not path.is_file():
            held = sorted(p.stem for p in (self.path / "splits").glob("*.parquet"))
            raise InputError(f"{self.path} holds no split {name!r}; it holds: {', '.join(held) or 'none'}")
        frame: pd.DataFrame = pd.read_parquet(path)
        return frame

    def write_split(self, name: str, frame: pd.DataFrame) -> Path:
        """Check and write a given split: one of region_id or image_id, role (train, val, test), fold?."""
        return write_split_table(self.path, name, frame)

    def resolve(self, uri: str) -> Path:
        """Return the file behind an image's `uri`; `InputError` where it leads out of the area's folder.

        For an image inside a shard, `SHARD.tar#KEY` as a path, which `read_rgb` and `read_encoded` take.
        """
        shard, mark, key = uri.partition(MARK)
        file = within(self.path, f"{shard}{mark[:-1]}")
        return Path(f"{file}#{key}") if mark else file

    def read_image(self, uri: str, *, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return an image as uint8 (height, width, 3); `ImageError` with the reason where it cannot be read.

        `uri` is a file of the area, or `SHARD.tar#KEY` for an image inside a shard. `at_least`: see `read_rgb`.
        """
        return read_rgb(self.resolve(uri), at_least=at_least)

    def read_encoded(self, uri: str) -> bytes:
        """Return an image's bytes as they are held; `ImageError` ("missing") where there are none."""
        return read_encoded(self.resolve(uri))

    def embeddings_path(self, model: str) -> Path:
        """Return where the image vectors of `model` lie, whether or not they are there."""
        return named_file(self.path / "embeddings", model)

    def split_path(self, name: str) -> Path:
        """Return where the given split `name` lies, whether or not it is there."""
        return named_file(self.path / "splits", name)


def read_parquet(path: Path, table: str) -> pd.DataFrame:
    """Read one of the contract's tables; `AreaError` naming the file where it is damaged or not that table."""
    try:
        frame: pd.DataFrame = pq.read_table(path, columns=TABLES[table].names).to_pandas()
    except (OSError, ValueError, KeyError) as error:
        raise AreaError(f"{path} cannot be read as {table}: {error}") from error
    for column in TABLES[table].columns:
        if column.kind == "integer":
            frame[column.name] = frame[column.name].astype("Int64")
    return frame


def write_table(folder: Path, table: str, frame: pd.DataFrame) -> Path:
    """Check `frame` and write it as `folder/table.parquet`, atomically."""
    conformed = conform(table, frame)
    path = folder / f"{table}.parquet"
    with atomic_path(path) as temporary:
        if table == "regions":
            crs = getattr(frame, "crs", None) or CRS
            regions = gpd.GeoDataFrame(conformed, geometry="geometry", crs=crs)
            if regions.crs != CRS:
                regions = regions.to_crs(CRS)
            regions.to_parquet(temporary, index=False)
        else:
            pq.write_table(to_arrow(table, conformed), temporary, compression="zstd")
    return path


def write_split_table(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    """Check a given split and write it as `folder/splits/NAME.parquet`, atomically."""
    ids = [column for column in ("region_id", "image_id") if column in frame.columns]
    if len(ids) != 1 or "role" not in frame.columns:
        raise AreaError(f"split {name!r} needs region_id or image_id (one of them) and role")
    if frame[ids[0]].duplicated().any():
        raise AreaError(f"split {name!r}: {frame.loc[frame[ids[0]].duplicated(), ids[0]].iloc[0]!r} stands twice")
    if not set(frame["role"]) <= {"train", "val", "test"}:
        raise AreaError(f"split {name!r}: role is train, val or test")
    path = folder / "splits" / f"{slug(name)}.parquet"
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "chorograph.name": name}), temporary)
    return path
