"""GeoTIFFs as a source of imagery: a file, a folder, a URL, or a list of them, laid over one another by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from chorograph.acquisition.sources.documents import is_url
from chorograph.acquisition.sources.mosaics.picturing import png, read_all, scaling_of
from chorograph.acquisition.sources.mosaics.reading import RasterError, Rasters, in_threads, open_rasters
from chorograph.acquisition.sources.permission import check_not_forbidden
from chorograph.acquisition.sources.secrets import check_no_secret, with_secrets
from chorograph.acquisition.sources.source import Picture, SourceKind, Take
from chorograph.acquisition.sources.windows import Window, degrees_bounds
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_text
from chorograph.ground.settings import placed

if TYPE_CHECKING:
    from chorograph.acquisition.own.imagery.pixels import Scaling
    from chorograph.acquisition.sources.source_settings import SourceImagery

_SUFFIXES = (".tif", ".tiff")
#: Threads that warp files: GDAL lets Python's lock go while it reads.
LOCAL_WORKERS = 2


@dataclass(frozen=True)
class Mosaic:
    """Rasters by their addresses, in the order in which they are seen: where two overlap, the first is."""

    addresses: tuple[str, ...]
    about: Source
    asked: SourceImagery
    _scaling: list[Scaling] = field(default_factory=list, repr=False)

    def url(self, window: Window) -> str | None:
        """Return None: which rasters a picture is from is said with it."""
        return None

    def fetch(self, windows: Sequence[Window], take: Take) -> None:
        """Read each window, at its very pixels."""
        remote = any(is_url(address) for address in self.addresses)
        rules = self.asked.rules(max_bytes=512 * 1024**2)
        with open_rasters(rules) as rasters:
            full = [with_secrets(address) for address in self.addresses]
            extents = []
            for shown, address in zip(self.addresses, full, strict=True):
                try:
                    extents.append(rasters.extent(address))
                except RasterError as error:
                    raise InputError(f"{shown} cannot be read: {error.reason}") from error
            scaling = scaling_of(rasters, self.asked, full[:1], extents[0])
            tree = shapely.STRtree(shapely.box(*np.array([extent.bounds for extent in extents]).T))

            def picture(window: Window) -> Picture:
                over = sorted(tree.query(shapely.box(*degrees_bounds(window))).tolist())
                return self._picture(rasters, window, [(self.addresses[row], full[row]) for row in over], scaling)

            in_threads(picture, windows, self.asked.per_host if remote else LOCAL_WORKERS, take)

    def _picture(self, rasters: Rasters, window: Window, over: Sequence[tuple[str, str]], scaling: Scaling) -> Picture:
        values, covered, used = None, np.zeros((window.height, window.width), dtype=bool), []
        try:
            for shown, address in over:
                read, seen = read_all(rasters, [address], window, scaling.bands or (1,), self.asked.resampling)
                if seen.any():
                    used.append(shown if is_url(shown) else Path(shown).name)
                values = read if values is None else np.where(covered, values, read)
                covered = covered | seen
                if covered.all():
                    break
        except RasterError as error:
            return Picture(reason=error.reason)
        if values is None or not covered.any():
            return Picture(reason="no data")
        return Picture(png(values, covered, scaling), url=" ".join(used), nodata=float(1 - covered.mean()))


def open_cog(address: str, asked: SourceImagery) -> Mosaic:
    """Return the rasters of an address: a GeoTIFF, a folder of them, a URL, or a text file with one of them a line."""
    if is_url(address):
        check_not_forbidden(address, asked.i_have_permission)
        return Mosaic((check_no_secret(address),), Source(address.partition("?")[0].rsplit("/", 1)[-1]), asked)
    path = placed(Path(address))
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        if not found:
            raise InputError(f"{path} holds no GeoTIFF (.tif)")
        return Mosaic(tuple(map(str, found)), Source(path.name), asked)
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in read_text(path).splitlines()]
        named = [line for line in lines if line and not line.startswith("#")]
        if not named:
            raise InputError(f"{path} names no raster; write one address a line")
        return Mosaic(tuple(_placed(path, check_no_secret(line)) for line in named), Source(path.stem), asked)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a GeoTIFF, a folder of them, a URL, or a list of them (.txt)")
    return Mosaic((str(path),), Source(path.name), asked)


def _placed(listing: Path, line: str) -> str:
    return line if is_url(line) else str(placed(listing.parent / line))


COG = SourceKind("imagery", open_cog)
