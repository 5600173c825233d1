"""Rasters of others for GDAL: one driver, chosen by how the file begins; nothing but the raster is read or fetched.

GDAL goes by content, not by suffix, and follows what a raster says of itself: a virtual data set names its sources, an
overview or a mask beside a TIFF may be of any format, and a TIFF's own tags may name another file as its overview.
Every raster that somebody else made is opened here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.files import check_regular
from chorograph.ground.image_formats import format_of

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

#: The driver for what a file begins like, by the name of its format. None of them follows references to other files.
_DRIVERS = {
    "TIFF": "GTiff",
    "PNG": "PNG",
    "JPEG": "JPEG",
    "JPEG2000": "JP2OpenJPEG",
    "WEBP": "WEBP",
    "BMP": "BMP",
    "GIF": "GIF",
}
_TEXT_GRIDS = (b"ncols", b"NCOLS", b"nrows", b"NROWS")
#: Rasters that stand beside a raster and are opened with it, by GDAL's choice of driver.
_BESIDE = (".ovr", ".OVR", ".msk", ".MSK")
#: What providers put beside a raster to describe it.
_DESCRIPTIONS = {".txt", ".xml", ".imd", ".rpb", ".rpa", ".pvl", ".dim", ".eph", ".prj"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: A proxy that nobody answers at: what a file asks GDAL to fetch is not fetched.
_OFFLINE = {"GDAL_HTTP_PROXY": "127.0.0.1:9", "GDAL_HTTP_MAX_RETRY": "0", "GDAL_HTTP_CONNECTTIMEOUT": "1"}
#: A named URL is asked for itself alone, and not for ever.
_ONLINE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}


class NoRasterError(InputError):
    """A file that is of no format read here, or that its driver cannot read."""


@contextmanager
def open_raster(path: Path) -> Iterator[Any]:
    """Open a raster of this machine for reading, as a rasterio `DatasetReader`; a georeference is not asked for.

    While it is open nothing is fetched. Raises `InputError` naming the file where it is missing, no regular file, or
    leads to other files; `NoRasterError` where it is of no format read here or damaged, now or while it is read;
    `MissingExtraError` without rasterio.
    """
    rasterio = _rasterio()
    driver = raster_driver(path)
    for suffix in _BESIDE:
        _check_beside(path.with_name(path.name + suffix))
    with _named(str(path)), rasterio.Env(**_OFFLINE), _open(rasterio, path.absolute(), driver) as dataset:
        _check_alone(dataset, path)
        yield dataset


@contextmanager
def open_remote_raster(url: str, *, allowed: Sequence[IPv4Network | IPv6Network] = ()) -> Iterator[Any]:
    """Open a GeoTIFF at a URL that the user named, as a rasterio `DatasetReader` that fetches what is read of it.

    Only http and https, and no host that is written as a private address, but for those in the networks `allowed`.
    Raises `InputError` naming the URL that is not allowed, `NoRasterError` where it is not there or no GeoTIFF;
    `MissingExtraError` without rasterio.
    """
    from chorograph.ground.fetching.addresses import ForbiddenError, check_url

    rasterio = _rasterio()
    try:
        check_url(url, allowed)
    except ForbiddenError as error:
        raise InputError(f"{url} is not fetched: {error.reason}") from error
    with _named(url), rasterio.Env(**_ONLINE), _open(rasterio, f"/vsicurl/{url}", "GTiff") as dataset:
        _check_overviews(dataset, url)
        yield dataset


def raster_driver(path: Path) -> str:
    """Return the name of GDAL's driver for a raster, by how it begins; `NoRasterError` naming any other file."""
    if str(path).startswith("/vsi"):
        raise InputError(f"{path} is no file of this machine")
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise NoRasterError(f"{path} is empty")
    known = format_of(head)
    if known is not None and known.name in _DRIVERS:
        return _DRIVERS[known.name]
    if head.lstrip().startswith(_TEXT_GRIDS):
        return "AAIGrid"
    raise NoRasterError(
        f"{path} is no raster that is read here: GeoTIFF, PNG, JPEG, JPEG 2000, WebP, BMP, GIF, or an ASCII grid; turn "
        "it into a GeoTIFF first (gdal_translate)"
    )


def _rasterio() -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    return rasterio


def _open(rasterio: Any, name: Path | str, driver: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(name, driver=driver)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn what rasterio raises into a `NoRasterError` that names the raster."""
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        raise NoRasterError(f"{name} cannot be read as a raster: it is damaged or cut off ({error})") from error


def _check_beside(path: Path) -> None:
    """Refuse an overview or a mask beside a raster that is anything but a TIFF: it may be a list of other files."""
    if not path.exists():
        return
    check_regular(path)
    with path.open("rb") as file:
        if not file.read(4).startswith(_TIFF):
            raise InputError(f"{path} is no TIFF, and may lead to other files; remove it, or make it anew (gdaladdo)")


def _check_alone(dataset: Any, path: Path) -> None:
    """Refuse a raster that is read from other files than those beside it that share its name."""
    _check_overviews(dataset, path)
    place = path.absolute()
    for name in dataset.files:
        other = Path(name).absolute()
        known = other.name.lower().startswith(place.stem.lower()) or other.suffix.lower() in _DESCRIPTIONS
        if other.parent != place.parent or not known:
            raise InputError(f"{path} leads to another file, {name}; give the file itself")


def _check_overviews(dataset: Any, name: object) -> None:
    """Refuse tags that name another file as the overview; they are asked before GDAL follows them."""
    if any("FILE" in key.upper() for key in dataset.tags(ns="OVERVIEWS")):
        raise InputError(f"{name} names another file as its overview; write it anew without (gdal_translate)")
