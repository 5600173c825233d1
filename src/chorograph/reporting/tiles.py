"""Tiles of the regions, and which regions are worth a look: the best, the worst and the least certain."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, ImageError
from chorograph.reporting.run import Run, short_unit

REGIONS = 3
#: Tiles of a region at most; their side in pixels where there are few regions, and many.
TILES, LARGE_PX, SMALL_PX = 4, 128, 88
#: What a thumbnail of each size weighs as text, and what all may: the page stays below 6 MB.
_BYTES, _MOST_BYTES = {128: 5200, 88: 2600}, 3_600_000


@dataclass(frozen=True)
class Group:
    """A handful of regions shown for a reason, as rows of the run's frame."""

    title: str
    why: str
    rows: tuple[int, ...]


def sample_regions(run: Run) -> tuple[Group, ...]:
    """Choose the regions with the smallest error, the largest error and the widest interval.

    Errors and widths are compared in the fitted unit (as ratios under a logarithm), so that dear regions are not the
    worst by their price alone. Only regions with satellite images of the area count.
    """
    if run.area is None:
        return ()
    frame, log = run.frame, run.scores.log
    shown = frame["region_id"].isin(_satellite(run.area)["region_id"]).to_numpy()
    truth, predicted, lower, upper = (
        _fitted(frame[column], log=log) for column in ("target", "predicted", "lower", "upper")
    )
    error = np.where(run.scored.to_numpy() & shown, np.abs(predicted - truth), np.nan)
    width = np.where(shown, upper - lower, np.nan)
    measure = "as a ratio of the truth" if log else f"in {short_unit(run.scores)}" if short_unit(run.scores) else ""
    chosen = [
        Group("Best", f"smallest error {measure}".strip(), _first(error)),
        Group("Worst", f"largest error {measure}".strip(), _first(-error)),
        Group("Most uncertain", "widest interval" + (" relative to its value" if log else ""), _first(-width)),
    ]
    if not _differ(width):
        chosen.pop()
    return tuple(group for group in chosen if group.rows)


def thumbnails(run: Run) -> tuple[list[list[str]], Counter[str]]:
    """Return small tiles of each region as data URIs, and what could not be opened, counted by reason.

    As many and as large as the page has place for.
    """
    found: list[list[str]] = [[] for _ in range(len(run.frame))]
    skipped: Counter[str] = Counter()
    if run.area is None:
        return found, skipped
    by_region = _satellite(run.area).groupby("region_id")["uri"].apply(list).to_dict()
    number = max(1, len(by_region))
    side = LARGE_PX if TILES * number * _BYTES[LARGE_PX] < _MOST_BYTES else SMALL_PX
    each = max(1, min(TILES, _MOST_BYTES // (_BYTES[side] * number)))
    if number * _BYTES[SMALL_PX] > _MOST_BYTES:
        skipped["no place on the page: too many regions"] = number
        return found, skipped
    for row, region in enumerate(run.frame["region_id"]):
        found[row] = _thumbnails(run.area, by_region.get(region, []), each, side, skipped)
    return found, skipped


def thumbnail(pixels: NDArray[np.uint8], side: int) -> str:
    """Return uint8 (height, width, 3) pixels as the data URI of a JPEG of at most `side` pixels a side."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _satellite(area: Area) -> pd.DataFrame:
    images = area.images
    held = images["uri"].notna() & images["region_id"].notna() & (images["view"] == "satellite")
    return images.loc[held, ["image_id", "region_id", "uri"]].sort_values("image_id")


def _fitted(column: pd.Series[float], *, log: bool) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.asarray(column, dtype=np.float64)
    if not log:
        return values
    logged: NDArray[np.float64] = np.full(len(values), np.nan)
    np.log(values, out=logged, where=values > 0)
    return logged


def _first(values: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the rows with the smallest finite values."""
    order = np.argsort(values, kind="stable")
    return tuple(int(row) for row in order if np.isfinite(values[row]))[:REGIONS]


def _differ(widths: NDArray[np.float64]) -> bool:
    """Tell whether intervals differ in width at all: plain split conformal ones do not."""
    finite = widths[np.isfinite(widths)]
    return bool(finite.size) and float(np.ptp(finite)) > 1e-6 * float(np.abs(finite).max())


def _thumbnails(area: Area, uris: Sequence[str], most: int, side: int, skipped: Counter[str]) -> list[str]:
    """Open tiles spread over the region's list; count what cannot be opened."""
    found: list[str] = []
    for index in np.linspace(0, len(uris) - 1, min(most, len(uris))).round().astype(int):
        try:
            found.append(thumbnail(area.read_image(uris[index]), side))
        except ImageError as error:
            skipped[error.reason] += 1
        except ChorographError:
            skipped["outside the area folder"] += 1
    return found
