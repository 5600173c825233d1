"""Files of others for GDAL: only the file given is read, by a driver of a list, and nothing is fetched.

GDAL goes by content, not by suffix, and some formats only point at other files, databases or servers. So a file's kind
is read from its first bytes, and what is not on the list never reaches GDAL.
"""

from __future__ import annotations

import mmap
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular

#: How files of features begin, and what they are.
_MAGIC = (
    (b"SQLite format 3\0", "GeoPackage"),
    (b"\0\0\x27\x0a", "Shapefile"),
    (b"fgb", "FlatGeobuf"),
    (b"PAR1", "Parquet"),
    (b"!table", "MapInfo"),
    (b"Version", "MapInfo"),
    (b"VERSION", "MapInfo"),
)
#: Roots of XML that hold features themselves.
_ROOTS = frozenset({"kml", "gpx", "FeatureCollection", "osm"})
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)[\s/>]")
_PROLOG = re.compile(rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*>", re.DOTALL)
#: What stands in files that only point at others.
_POINTERS = (b"gdal_streamed_alg", b"IsSeamless")
#: What stands in a file that declares entities (expanded, a kilobyte can be gigabytes).
_ENTITIES = b"<!ENTITY"
_INNER = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".gml", ".kml", ".gpx", ".tab", ".mif")
#: An archive may unpack to this many bytes.
MAX_UNPACKED = 8 * 1024**3
_HEAD = 65_536
#: A proxy that nobody answers at: what a file asks GDAL to fetch is not fetched.
_OFFLINE = {"GDAL_HTTP_PROXY": "127.0.0.1:9", "GDAL_HTTP_MAX_RETRY": "0", "GDAL_HTTP_CONNECTTIMEOUT": "1"}


def features_source(path: Path) -> str:
    """Return the name by which GDAL opens a file of features, after looking at what it is.

    A file in a zip archive is named within it, a FileGDB is a folder. Raises `InputError` naming the file: it does not
    exist, is no regular file (a pipe, a device), is of a kind that is not on the list, points at other files or
    servers, or unpacks to more than `MAX_UNPACKED`.
    """
    text = str(path)
    if text.startswith("/vsi") or (re.match(r"\w{2,}:", text) and not path.exists()):
        raise InputError(f"{text!r} is no file of this machine; give one, and fetch with a verb that names its source")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"{path} is not a regular file")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK"):
        return _archive(path)
    kind = kind_of(head, str(path))
    if kind in ("JSON", "XML", "MapInfo"):
        _check_whole(path)
    return str(path.absolute())


def refuse_pointers(path: Path) -> None:
    """Raise `InputError` naming a file, or a member of an archive, that only makes GDAL read others.

    For readers that take more kinds than `features_source` does. Folders are left to their driver.
    """
    if path.is_dir():
        return
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK"):
        _check_members(path)
    elif head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e").startswith((b"<", b"{", b"[", b"!table")):
        kind_of(head, str(path))
        _check_whole(path)


def _check_members(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED:
                raise InputError(f"{path} unpacks to more than {MAX_UNPACKED // 1024**3} GB; unpack it yourself")
            for member in archive.infolist():
                with archive.open(member) as content:
                    begin = content.read(_HEAD)
                if begin.lstrip().startswith(b"<") and (b"VRT" in begin or b"DataSource>" in begin):
                    raise InputError(f"{path}/{member.filename} only points at other files; give the file itself")
                if any(mark in begin for mark in _POINTERS):
                    raise InputError(f"{path}/{member.filename} only points at other files; give the file itself")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise InputError(f"{path} is no zip archive that can be read: {error}") from error


@contextmanager
def offline() -> Iterator[None]:
    """Let GDAL fetch nothing while features are read: reference systems and schemas by URL stay unread."""
    import pyogrio

    pyogrio.set_gdal_config_options(_OFFLINE)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(_OFFLINE))


def kind_of(head: bytes, name: str) -> str:
    """Return the kind of a file of features by its first bytes; `InputError` naming it for any that is not known."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e")
    if not text:
        raise InputError(f"{name} is empty")
    if text.startswith((b"{", b"[")):
        return "JSON"
    if text.startswith(b"<"):
        found = _ROOT.match(_PROLOG.sub(b"", text).lstrip())
        root = found[1].decode() if found else "?"
        if root in _ROOTS:
            return "XML"
        if "VRT" in root or "DataSource" in root or "GDAL" in root:
            raise InputError(f"{name} only points at other files ({root}); give the file itself")
        raise InputError(f"{name} is XML of a kind that is not read here ({root})")
    raise InputError(
        f"{name} is no file of features that is read here: GeoJSON, GeoPackage, Shapefile (.shp), FlatGeobuf, "
        "GeoParquet, GML, KML, GPX, MapInfo, FileGDB, or one of them in a .zip"
    )


def _check_whole(path: Path) -> None:
    """Refuse what stands anywhere in a text file that makes GDAL read others, or never end."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for mark in _POINTERS:
            if data.find(mark) >= 0:
                raise InputError(f"{path} only points at other files ({mark.decode()}); give the file itself")
        if data.find(_ENTITIES) >= 0:
            raise InputError(f"{path} declares entities, which are not expanded here; write them out")


def _folder(path: Path) -> str:
    """A FileGDB: a flat folder of tables, none of them a link out of it."""
    names = sorted(path.iterdir())
    if not any(name.suffix == ".gdbtable" for name in names):
        raise InputError(f"{path} is a folder; give the file in it")
    root = path.resolve()
    if out := [name for name in names if not name.resolve().is_relative_to(root)]:
        raise InputError(f"{out[0]} leads out of {path}")
    return str(path.absolute())


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            held = [m for m in members if Path(m.filename).suffix.lower() in _INNER and "__MACOSX" not in m.filename]
            if sum(member.file_size for member in members) > MAX_UNPACKED:
                raise InputError(f"{path} unpacks to more than {MAX_UNPACKED // 1024**3} GB; unpack it yourself")
            if len(held) != 1:
                names = ", ".join(member.filename for member in held[:5]) or "none"
                raise InputError(f"{path} must hold one file of features, it holds: {names}; unpack it and name one")
            name = held[0].filename
            if name.startswith("/") or ".." in Path(name).parts:
                raise InputError(f"{path}: member {name!r} leads out of the archive")
            with archive.open(held[0]) as member:
                kind_of(head := member.read(_HEAD), f"{path}/{name}")
                if any(mark in head for mark in (*_POINTERS, _ENTITIES)):
                    raise InputError(f"{path}/{name} points at other data; give the file itself")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise InputError(f"{path} is no zip archive that can be read: {error}") from error
    return f"/vsizip/{{{path.absolute()}}}/{name}"
