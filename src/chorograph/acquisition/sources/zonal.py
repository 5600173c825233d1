"""Indicators from rasters: what cells add up to in each region, by the share of each cell that lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from chorograph.acquisition.own.indicators import pairs
from chorograph.acquisition.own.reading.numbers import CODES, FILL
from chorograph.acquisition.sources.rasters import Raster, name_of, of_dataset, on_raster, opened, raster_files
from chorograph.area.middle import equal_area
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import RasterSettings

#: Cells that are held at once; exactextract's own default.
_CELLS = 30_000_000
#: A region of which less than this share has data is told of.
_WHOLE = 0.99
#: The largest number of a kind, which often means no data where the file says none.
_LARGEST = {"uint8": (255.0,), "uint16": (65535.0,), "int16": (32767.0,)}


@dataclass(frozen=True)
class Zonal:
    """What cells add up to in each region, of one raster or of several that share no ground.

    `amount`: the sum of values times the share of each cell in the region. `weighted`: the same, each cell weighted by
    its area too; `weight`: the weights alone. `covered`: the share of each region's polygon that cells with data cover,
    0 where there are none. `classes`: the weight of the cells of each value that was asked for. `low`, `high`: the
    least and greatest value of all.
    """

    amount: Vector
    weighted: Vector
    weight: Vector
    covered: Vector
    classes: Mapping[float, Vector]
    low: float
    high: float

    def __add__(self, other: Zonal) -> Zonal:
        """Return both together."""
        return Zonal(
            self.amount + other.amount,
            self.weighted + other.weighted,
            self.weight + other.weight,
            self.covered + other.covered,
            {value: here + other.classes[value] for value, here in self.classes.items()},
            min(self.low, other.low),
            max(self.high, other.high),
        )


def zonal(
    raster: Raster, geometry: NDArray[np.object_], band: int = 1, nodata: float | None = None,
    classes: Sequence[float] = (),
) -> Zonal:  # fmt: skip
    """Return what a raster's cells add up to in polygons (EPSG:4326), which are brought to the raster, not it to them.

    A cell that the file (or `nodata`) says is no data, or that is not a finite number, counts as not there; zero is a
    value. Scale and offset of the file are applied. In degrees a cell weighs by its area on the sphere, elsewhere all
    weigh alike. Holes are holes, parts of a multipolygon add up, a sliver takes its share of the cells it crosses, and
    a polygon outside has `covered` 0. Sums over polygons that part the raster are the raster's total.
    """
    try:
        import geopandas as gpd
        from exactextract import exact_extract
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    placed, area = on_raster(geometry, raster)
    rows = np.flatnonzero(shapely.intersects(placed, shapely.box(*raster.bounds)))
    number = len(geometry)
    amount, weighted, weight, count = (np.zeros(number) for _ in range(4))
    held = {value: np.zeros(number) for value in classes}
    low, high = np.inf, -np.inf
    # exactextract reads all that a raster holds: it is shown the part that the polygons lie in.
    part = raster.window(tuple(shapely.total_bounds(placed[rows]).tolist())) if len(rows) else None
    if part is not None:
        by = "(coverage_weight=area_spherical_m2)" if raster.crs.is_geographic else ""
        operations = [
            "amount=sum",
            "cells=count",
            "low=min",
            "high=max",
            *([f"weight=count{by}", f"level=mean{by}"] if by else ()),
        ]
        if classes:
            operations += [f"value=unique{by}", f"part=frac{by}"]
        crs = raster.crs.to_wkt()
        frame = gpd.GeoDataFrame({"row": rows}, geometry=placed[rows], crs=crs)
        source = _source(raster, part, band, nodata, crs)
        found = exact_extract(
            source, frame, operations, include_cols=["row"], output="pandas", strategy="raster-sequential",
            max_cells_in_memory=_CELLS,
        )  # fmt: skip
        at = found["row"].to_numpy(np.int64)
        amount[at], count[at] = (found[name].to_numpy(float) for name in ("amount", "cells"))
        weight[at], weighted[at] = count[at], amount[at]
        low, high = float(found["low"].min()), float(found["high"].max())
        if by:
            weight[at] = found["weight"].to_numpy(float)
            weighted[at] = np.nan_to_num(found["level"].to_numpy(float)) * weight[at]
        for place, values, shares in zip(at, found.get("value", ()), found.get("part", ()), strict=False):
            for value, share in zip(values, shares, strict=True):
                if value in held:
                    held[float(value)][place] = share * weight[place]
    width, height = raster.cell
    with np.errstate(invalid="ignore", divide="ignore"):
        covered = np.where(count > 0, count * width * height / area, 0.0)
    return Zonal(amount, weighted, weight, np.nan_to_num(covered), held, low, high)


def read_raster(
    path: Path | str,
    asked: RasterSettings,
    regions: gpd.GeoDataFrame,
    source: str,
    ledger: Ledger,
    allowed: Sequence[str] = (),
) -> pd.DataFrame:
    """Return region_id, indicator, value, unit, year and source of a raster, or of a folder of rasters side by side.

    A raster may lie at a URL: what is read of it is the part that regions touch. Raises `InputError`: settings that do
    not fit together, rasters that lie over one another, no region is covered.
    """
    classes = _classes(asked)
    _check(asked)
    files = raster_files(path)
    held = regions[regions.geometry.notna()].reset_index(drop=True)
    geometry = held.geometry.to_numpy()
    wanted = sorted({value for values in classes.values() for value in values})
    total, facts = None, []
    boxes: list[tuple[Path | str, Any, Any]] = []
    for file in files:
        with _seen(file, asked, held, allowed) as raster:
            _apart(raster, file, boxes)
            facts.append(_said(raster, asked))
            part = zonal(raster, geometry, asked.band, asked.nodata, wanted)
        total = part if total is None else total + part
    if total is None or not (total.covered > 0).any():
        raise InputError(
            f"{path}: none of {len(held)} regions touches a cell with data; is its reference system "
            f"({facts[0]['crs']}) right? Say another with --raster-crs"
        )
    _tell_codes(name_of(path), total, asked, facts[0], ledger)
    some = np.isfinite(total.covered) & (total.covered > 0)
    enough = some & (total.covered >= asked.least_covered)
    ledger.drop("region without geometry", len(regions) - len(held))
    ledger.drop("region outside of the raster, or without data", int((~some).sum()))
    ledger.drop("region with too little data", int((some & ~enough).sum()))
    if partly := int((enough & (total.covered < _WHOLE)).sum()):
        ledger.warnings.append(
            f"{name_of(path)}: {partly} regions have data in part only; their values are those of it"
        )
    if asked.year is None:
        ledger.warnings.append(f"{name_of(path)}: no year was said; say it with --year")
    ledger.facts["raster"] = {**facts[0], "files": len(files)}
    areas = _km2(held)
    parts = []
    for name, values in _values(total, asked, classes, areas).items():
        unit = "share" if asked.statistic == "share" else str(asked.unit)
        frame = pd.DataFrame({"region_id": held["region_id"].to_numpy(object), "value": values})[enough]
        parts.append(frame.assign(indicator=name, unit=f"{unit}/km²" if asked.statistic == "density" else unit))
    described = f"{source} ({asked.statistic} of {name_of(path)}, band {asked.band}, {_resampling(asked)})"
    return pd.concat(parts, ignore_index=True).assign(year=asked.year, source=described)


def _tell_codes(name: str, total: Zonal, asked: RasterSettings, facts: Mapping[str, Any], ledger: Ledger) -> None:
    """Tell of cells that hold what raster makers write for no data; `InputError` where nothing else can be as large."""
    for value in (total.low, total.high):
        if abs(value) > FILL:
            raise InputError(f"{name} holds {value:g}, which is no measurement: say --nodata {value!r}")
    odd = [total.low] if total.low in CODES else []
    odd += [total.high] if facts["nodata"] is None and total.high in _LARGEST.get(facts["kind"], ()) else []
    for value in odd:
        if asked.statistic != "share":
            ledger.warnings.append(f"{name} holds {value:g}: where that means no data, say --nodata {value:g}")
    if asked.band == 1 and facts["bands"] > 1:
        ledger.warnings.append(f"{name} has {facts['bands']} bands, and the first was read; say another with --band")


def kind_of(asked: RasterSettings) -> str:
    """Return the kind of the indicators that come out, as `area describe` says it."""
    return {"sum": "count", "density": "density", "mean": "mean", "share": "share"}[asked.statistic]


def _values(
    total: Zonal, asked: RasterSettings, classes: Mapping[str, Sequence[float]], km2: Vector
) -> Mapping[str, Vector]:
    with np.errstate(invalid="ignore", divide="ignore"):
        if asked.statistic == "share":
            return {
                name: np.sum([total.classes[value] for value in values], axis=0) / total.weight
                for name, values in classes.items()
            }
        if asked.statistic == "mean":
            found = total.weighted / total.weight
        elif asked.statistic == "density":
            found = total.amount / (km2 * total.covered)
        else:
            found = total.amount
    return {str(asked.name): found}


def _check(asked: RasterSettings) -> None:
    """Raise `InputError` where a setting is missing, or two do not fit together."""
    if asked.statistic != "share" and (asked.name is None or asked.unit is None):
        raise InputError(f"--statistic {asked.statistic} needs --name (the indicator) and --unit (of a cell's value)")
    if asked.resampling != "none" and asked.statistic in ("sum", "density"):
        raise InputError(f"--statistic {asked.statistic} takes --resampling none: other cells would not add up to it")
    if (asked.resampling != "none") != (asked.resolution_m is not None):
        raise InputError("--resampling METHOD and --resolution-m METRES go together")


def _classes(asked: RasterSettings) -> dict[str, list[float]]:
    """Return the cell values of each name that `--classes NAME=VALUE+VALUE` says."""
    if (asked.statistic == "share") != bool(asked.classes):
        raise InputError("--statistic share and --classes NAME=VALUE, for example built_up=50, go together")
    found = {}
    for name, text in pairs(asked.classes, "--classes", "VALUE+VALUE"):
        try:
            found[name] = [float(value) for value in text.split("+")]
        except ValueError:
            raise InputError(f"--classes {name}={text}: a class is a cell's value, or several joined by +") from None
    return found


def _apart(raster: Raster, file: Path | str, boxes: list[tuple[Path | str, Any, Any]]) -> None:
    """Note where a raster lies; `InputError` where it lies over another, or they have two reference systems."""
    west, south, east, north = raster.bounds
    width, height = (size / 1000 for size in raster.cell)  # rounding of a thousandth of a cell is none
    box = shapely.box(west + width, south + height, east - width, north - height)
    for other, crs, there in boxes:
        if crs != raster.crs:
            raise InputError(f"{other} and {file} have different reference systems; bring them to one with gdalwarp")
        if shapely.intersects(box, there):
            raise InputError(f"{other} and {file} lie over one another, and cells would count twice; give one of them")
    boxes.append((file, raster.crs, box))


@contextmanager
def _seen(
    file: Path | str, asked: RasterSettings, regions: gpd.GeoDataFrame, allowed: Sequence[str]
) -> Iterator[Raster]:
    """Open a raster, warped to an equal-area grid where that was asked for."""
    with ExitStack() as stack:
        raster = stack.enter_context(opened(file, asked.raster_crs, allowed))
        if not 1 <= asked.band <= raster.dataset.count:
            raise InputError(f"{file} has no band {asked.band}; it has {raster.dataset.count}")
        if asked.resampling == "none" or asked.resolution_m is None:
            yield raster
            return
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT
        from rasterio.warp import calculate_default_transform

        crs, metres = equal_area(regions), asked.resolution_m
        dataset, source = raster.dataset, raster.crs.to_wkt()
        nodata = asked.nodata if asked.nodata is not None else dataset.nodata
        transform, width, height = calculate_default_transform(
            source, crs, dataset.width, dataset.height, *dataset.bounds, resolution=metres
        )
        warped = WarpedVRT(
            dataset, src_crs=source, crs=crs, transform=transform, width=width, height=height,
            resampling=Resampling[asked.resampling], src_nodata=nodata,
        )  # fmt: skip
        yield of_dataset(stack.enter_context(warped), str(file))


def _said(raster: Raster, asked: RasterSettings) -> dict[str, Any]:
    """Return what is recorded of a raster and of how it was read."""
    width, height = raster.cell
    nodata = asked.nodata if asked.nodata is not None else raster.dataset.nodata
    return {
        "statistic": asked.statistic,
        "unit": asked.unit,
        "year": asked.year,
        "band": asked.band,
        "bands": raster.dataset.count,
        "kind": raster.dataset.dtypes[asked.band - 1],
        "crs": raster.crs.name,
        "cell": [round(width, 9), round(height, 9)],
        "nodata": None if nodata is None or np.isnan(nodata) else float(nodata),
        "resampling": _resampling(asked),
    }


def _resampling(asked: RasterSettings) -> str:
    if asked.resampling == "none":
        return "not resampled, cells by the share that lies in a region"
    return f"resampled by {asked.resampling} to {asked.resolution_m:g} m"


def _km2(regions: gpd.GeoDataFrame) -> Vector:
    area: Vector = regions.geometry.to_crs(equal_area(regions, units="km")).area.to_numpy()
    return area


def _source(raster: Raster, part: tuple[slice, slice], band: int, nodata: float | None, crs: str) -> Any:
    """Return rows and columns of a raster as exactextract reads one: north up, scaled, NaN where there is no number."""
    from exactextract.raster import RasterSource

    scale, offset = raster.dataset.scales[band - 1], raster.dataset.offsets[band - 1]

    class Source(RasterSource):  # type: ignore[misc]
        def res(self) -> tuple[float, float]:
            return raster.cell

        def extent(self) -> tuple[float, float, float, float]:
            return raster.bounds_of(*part)

        def srs_wkt(self) -> str:
            return crs

        def nodata_value(self) -> None:
            return None

        def read_window(self, x0: int, y0: int, nx: int, ny: int) -> Any:
            top, left = part[0].start + y0, part[1].start + x0
            read = raster.read(band, slice(top, top + ny), slice(left, left + nx))
            # As numbers that are none: exactextract 0.3 misplaces a mask where it reads several polygons at once.
            kind = np.float32 if read.dtype.itemsize < 4 or read.dtype == np.float32 else np.float64
            values = read.astype(kind).filled(np.nan)
            if nodata is not None:
                values[values == kind(nodata)] = np.nan
            values[np.isinf(values)] = np.nan
            return values if (scale, offset) == (1.0, 0.0) else values.astype(np.float64) * scale + offset

    return Source()
