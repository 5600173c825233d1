"""The area folder: opening one, reading and writing its tables, building a new one whole."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.area.images import MARK as MARK
from chorograph.area.images import read_encoded, read_rgb
from chorograph.area.named_files import named_file
from chorograph.area.tables import (
    TABLES,
    check_rows,
    check_split,
    conform,
    empty,
    from_arrow,
    get_table,
    has_geometry,
    row_list,
    text_columns,
    to_arrow,
)
from chorograph.ground.errors import AreaError, ChorographError, InputError
from chorograph.ground.file_sorts import sort_of
from chorograph.ground.files import atomic_path, check_regular, check_row_count, read_text, slug, within
from chorograph.ground.image_formats import SUFFIXES
from chorograph.ground.schema import check, check_depth
from chorograph.shards.caption_tables import names_captions

if TYPE_CHECKING:
    from numpy.typing import NDArray

CRS = "EPSG:4326"
_SOURCE = {"name": str, "licence?": str, "attribution?": str, "url?": str}
_AREA = {"name": str, "title?": str, "synthetic?": bool, "facts?": {str: object}, "sources?": [_SOURCE]}
#: area.toml is never larger, in bytes.
_MOST = 16 * 1024**2


@dataclass(frozen=True)
class Source:
    """Where data came from, and under which terms."""

    name: str
    licence: str = "unstated"
    attribution: str = ""
    url: str = ""


@dataclass(frozen=True, repr=False)
class Area:
    """A plain folder of Parquet tables and images; see `docs/reference/conventions.md` for every column.

    Tables are read when first asked for. An area without regions is called a corpus and is the same folder.

    Example:
        >>> import tempfile
        >>> import chorograph as cg
        >>> folder = tempfile.mkdtemp() + "/city"
        >>> drawn = cg.synthetic_city(folder, regions=40, tiles_per_region=1, seed=1)
        >>> area = cg.Area.open(folder)
        >>> area.has_regions, len(area.regions)
        (True, 40)
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
        content = _described(folder)
        return cls(
            path=folder,
            name=content["name"],
            title=content.get("title", content["name"]),
            sources=tuple(
                Source(**{name: source[name] for name in Source.__dataclass_fields__ if name in source})
                for source in content.get("sources", [])
            ),
            synthetic=content.get("synthetic", False),
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
        if not os.path.lexists(path):
            return gpd.GeoDataFrame(empty(get_table("regions")), geometry="geometry", crs=CRS)
        return read_regions(path)

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
        return os.path.lexists(self.table_path(table))

    def table_path(self, table: str) -> Path:
        """Return where `table` lies, whether or not it is there."""
        return self.path / f"{get_table(table).name}.parquet"

    def sizes(self) -> dict[str, int]:
        """Return the number of rows of every table that the folder holds, and of the images that are held.

        Told from the files' own statistics: no table is loaded.
        """
        sizes = {name: _rows_of(self.table_path(name)) for name in TABLES if self.has(name)}
        if "images" in sizes:
            with _at_door(path := self.table_path("images"), "images"):
                sizes["images held"] = sizes["images"] - empty_cells(path, "uri")
        return sizes

    def read(self, table: str) -> pd.DataFrame:
        """Return a table; one that the folder does not hold is empty, with the right columns."""
        if table == "regions":
            regions: pd.DataFrame = self.regions
            return regions
        path = self.table_path(table)
        if has_geometry(table):
            held = os.path.lexists(path)
            features: pd.DataFrame = (
                read_features_table(path, table) if held else gpd.GeoDataFrame(empty(get_table(table)), crs=CRS)
            )
            return features
        return read_parquet(path, table) if os.path.lexists(path) else empty(get_table(table))

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
        return read_split(path)

    def roles(self, name: str, images: pd.DataFrame) -> pd.Series[str]:
        """Return the role of each image in the given split `name`, its own or that of its region; None outside."""
        given = self.split(name)
        key = "region_id" if "region_id" in given.columns else "image_id"
        return images[key].map(given.set_index(key)["role"])

    def split_of_regions(self, name: str) -> pd.DataFrame:
        """Return the given split `name`; `InputError` for one that parts images."""
        given = self.split(name)
        if "region_id" not in given.columns:
            raise InputError(f"split {name!r} of {self.path} parts images, not regions")
        return given

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

    def image_classes(self) -> dict[str, str]:
        """Return the class of each image that the graph knows one of: `image isOf class`."""
        triples = self.triples
        facts = triples[(triples["relation"] == "isOf") & triples["tail"].str.startswith("class:")]
        heads, tails = facts["head"].str.removeprefix("image:"), facts["tail"].str.removeprefix("class:")
        return dict(zip(heads, tails, strict=True))

    def read_encoded(self, uri: str) -> bytes:
        """Return an image's bytes as they are held; `ImageError` ("missing") where there are none."""
        return read_encoded(self.resolve(uri))

    def embeddings_path(self, model: str) -> Path:
        """Return where the image vectors of `model` lie, whether or not they are there."""
        return named_file(self.path / "embeddings", model)

    def split_path(self, name: str) -> Path:
        """Return where the given split `name` lies, whether or not it is there."""
        return named_file(self.path / "splits", name)


#: Files of a folder that are looked at to say what it holds.
_LOOKED_AT = 1000


def _instead(place: Path) -> str:
    """Return what a place is that is no area, and what to do."""
    if place.is_file():
        return f"it is {sort_of(place) or 'a file'}; an area is a folder, made with `chorograph area build`"
    if not place.exists():
        return "it does not exist; make one with `chorograph area build`"
    for pattern, what in (("area.toml", "areas"), ("*.tar", "shards")):
        if below := sorted({found.parent for depth in ("*", "*/*") for found in place.glob(f"{depth}/{pattern}")}):
            return f"it has no area.toml; {what} lie in {', '.join(map(str, below[:3]))}: name that"
    return f"it has no area.toml; make one with `chorograph area build`{_pairs_in(place)}"


def _pairs_in(place: Path) -> str:
    """Return how image-text pairs of a folder that is no area are trained on, where it seems to hold some."""
    found = sorted(path for depth in ("*", "*/*") for path in islice(place.glob(depth), _LOOKED_AT) if path.is_file())
    if tables := [path for path in found if names_captions(path)]:
        return f"; for pairs to train on, name their table: {', '.join(map(str, tables[:3]))}"
    if any(path.suffix == ".parquet" for path in found):
        return "; pairs in Parquet become a corpus by `chorograph curate`"
    if any(path.suffix.lower() in SUFFIXES for path in found):
        return "; for pairs to train on, put a.txt beside each a.jpg, or a table of filepath and title"
    return ""


def read_parquet(path: Path, table: str) -> pd.DataFrame:
    """Read one of the contract's tables; `AreaError` naming the file, column and row where it breaks the contract."""
    with _at_door(path, table):
        return from_arrow(table, _columns_of(path, get_table(table).names))


def _rows_of(path: Path) -> int:
    with _at_door(path, "a table"):
        check_regular(path)
        return int(pq.read_metadata(path).num_rows)


def empty_cells(path: Path, column: str) -> int:
    """Return how many cells of a column are empty: from the file's statistics, or, where it has none, by reading it."""
    with pq.ParquetFile(path) as file:
        flat = [file.metadata.schema.column(k).path for k in range(file.metadata.num_columns)].index(column)
        groups = [file.metadata.row_group(k).column(flat).statistics for k in range(file.metadata.num_row_groups)]
        if all(group is not None and group.has_null_count for group in groups):
            return sum(int(group.null_count) for group in groups)
        return sum(batch.column(0).null_count for batch in file.iter_batches(columns=[column]))


def read_regions(path: Path) -> gpd.GeoDataFrame:
    """Read the regions in EPSG:4326; `AreaError` naming the file, column and row where they break the contract."""
    return read_features_table(path, "regions")


def read_features_table(path: Path, table: str) -> gpd.GeoDataFrame:
    """Read a table of features in EPSG:4326; `AreaError` naming the file, column and row where it is not that table."""
    with _at_door(path, table):
        check_regular(path)
        check_row_count(path, pq.read_metadata(path).num_rows)
        found = gpd.read_parquet(path)
        if found.geometry.name != "geometry":
            raise AreaError(f"{table}: column 'geometry' is missing; it has {', '.join(map(str, found.columns[:12]))}")
        if found.crs is None:
            raise AreaError(f"{table}: the geometry says no reference system")
        named = [name for name in get_table(table).names if name in found and name != "geometry"]
        columns = pa.table({name: pa.array(found[name], from_pandas=True) for name in named})
        kinds = ("text", "integer", "number")
        frame = text_columns(table, columns, kinds).assign(geometry=found.geometry.to_numpy())
        check_rows(table, frame)
        features = gpd.GeoDataFrame(frame, geometry="geometry", crs=found.crs)
        features = features if features.crs == CRS else features.to_crs(CRS)
        bounds = features.bounds.to_numpy()
        if (beyond := (np.abs(bounds) > (360.0, 90.0, 360.0, 90.0)).any(1)).any():
            west, south, *_ = bounds[beyond][0]
            raise AreaError(
                f"{table}: ({west:g}, {south:g}) are no degrees, in {row_list(beyond)}; write it in EPSG:4326"
            )
        return features


def read_split(path: Path) -> pd.DataFrame:
    """Read a given split; `AreaError` naming the file, column and row where it breaks the contract."""
    with _at_door(path, "a split"):
        frame: pd.DataFrame = _columns_of(path, None).to_pandas(ignore_metadata=True)
        check_split(path.stem, frame)
        return frame


def _columns_of(path: Path, names: list[str] | None) -> pa.Table:
    """Return those columns of a Parquet file that it has, without what other libraries wrote about them."""
    check_regular(path)
    with pq.ParquetFile(path) as file:
        check_row_count(path, file.metadata.num_rows)
        held = file.schema_arrow.names
        return file.read([name for name in held if names is None or name in names]).replace_schema_metadata(None)


@contextmanager
def _at_door(path: Path, what: str) -> Iterator[None]:
    """Let what is wrong with a stored table name its file; a reader's own exception is damage."""
    try:
        yield
    except ChorographError as error:
        raise AreaError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # pyarrow, geopandas and shapely each raise their own on damaged files
        raise AreaError(f"{path} cannot be read as {what}: {error}") from error


def _described(folder: Path) -> dict[str, Any]:
    """Return what area.toml says; `AreaError` where it is missing, damaged, or says something of a wrong kind."""
    path = folder / "area.toml"
    try:
        found = path.exists()
    except OSError as error:
        raise AreaError(f"{folder} cannot be opened: {error.strerror}") from error
    if not found:
        raise AreaError(f"{folder} is not an area: {_instead(folder)}")
    try:
        content = tomllib.loads(read_text(path, _MOST))
        check_depth(content, str(path))
        check(content, _AREA, str(path))
    except (ValueError, RecursionError) as error:
        raise AreaError(f"{path} is not readable TOML: {error}") from error
    except InputError as error:
        raise AreaError(f"{error}; it needs a name, and sources with name, licence, attribution, url") from error
    return content


def write_table(folder: Path, table: str, frame: pd.DataFrame) -> Path:
    """Check `frame` and write it as `folder/table.parquet`, atomically."""
    conformed = conform(table, frame)
    path = folder / f"{table}.parquet"
    with atomic_path(path) as temporary:
        if has_geometry(table):
            crs = getattr(frame, "crs", None) or CRS
            features = gpd.GeoDataFrame(conformed, geometry="geometry", crs=crs)
            if features.crs != CRS:
                features = features.to_crs(CRS)
            features.to_parquet(temporary, index=False)
        else:
            pq.write_table(to_arrow(table, conformed), temporary, compression="zstd")
    return path


def write_split_table(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    """Check a given split and write it as `folder/splits/NAME.parquet`, atomically."""
    check_split(name, frame)
    path = folder / "splits" / f"{slug(name)}.parquet"
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "chorograph.name": name}), temporary)
    return path
