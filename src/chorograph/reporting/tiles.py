"""Sample tiles: what the images of the best, worst and least certain regions look like."""

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
TILES = 4
THUMBNAIL_PX = 160


@dataclass(frozen=True)
class Sample:
    """A region of a group, as its row in the run's frame, and its thumbnails as data URIs."""

    row: int
    tiles: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """A handful of regions shown for a reason."""

    title: str
    why: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Gallery:
    """The groups that can be shown, and what was left out, counted by reason."""

    groups: tuple[Group, ...]
    skipped: Counter[str]


def sample_tiles(run: Run) -> Gallery:
    """Choose the regions with the smallest error, the largest error and the widest interval, and open their tiles.

    Errors and widths are compared in the fitted unit (as ratios under a logarithm), so that dear regions are not the
    worst by their price alone. Only regions with satellite images of the area count.
    """
    if run.area is None:
        return Gallery((), Counter())
    images = _satellite(run.area)
    frame, log = run.frame, run.scores.log
    shown = frame["region_id"].isin(images["region_id"]).to_numpy()
    truth, predicted, lower, upper = (
        _fitted(frame[column], log=log) for column in ("target", "predicted", "lower", "upper")
    )
    error = np.where(run.scored.to_numpy() & shown, np.abs(predicted - truth), np.nan)
    width = np.where(shown, upper - lower, np.nan)
    measure = "as a ratio of the truth" if log else f"in {short_unit(run.scores)}" if short_unit(run.scores) else ""
    chosen = [
        ("Best", f"smallest error {measure}", _first(error)),
        ("Worst", f"largest error {measure}", _first(-error)),
        ("Most uncertain", "widest interval" + (" relative to its value" if log else ""), _first(-width)),
    ]
    if not _differ(width):
        chosen.pop()
    skipped: Counter[str] = Counter()
    by_region = images.groupby("region_id")["uri"]
    groups = []
    for title, why, rows in chosen:
        samples = tuple(
            Sample(row, _thumbnails(run.area, by_region.get_group(frame["region_id"].iloc[row]).tolist(), skipped))
            for row in rows
        )
        if samples:
            groups.append(Group(title, why.strip(), samples))
    return Gallery(tuple(groups), skipped)


def thumbnail(pixels: NDArray[np.uint8], side: int = THUMBNAIL_PX) -> str:
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


def _first(values: NDArray[np.float64]) -> list[int]:
    """Return the rows with the smallest finite values."""
    order = np.argsort(values, kind="stable")
    return [int(row) for row in order if np.isfinite(values[row])][:REGIONS]


def _differ(widths: NDArray[np.float64]) -> bool:
    """Tell whether intervals differ in width at all: plain split conformal ones do not."""
    finite = widths[np.isfinite(widths)]
    return bool(finite.size) and float(np.ptp(finite)) > 1e-6 * float(np.abs(finite).max())


def _thumbnails(area: Area, uris: Sequence[str], skipped: Counter[str]) -> tuple[str, ...]:
    """Open tiles spread over the region's list until enough are found; count what cannot be opened."""
    spread = np.linspace(0, len(uris) - 1, min(TILES, len(uris))).round().astype(int)
    order = [*spread, *(index for index in range(len(uris)) if index not in set(spread.tolist()))]
    found: list[str] = []
    for index in order:
        if len(found) == TILES:
            break
        try:
            found.append(thumbnail(area.read_image(uris[index])))
        except ImageError as error:
            skipped[error.reason] += 1
        except ChorographError:
            skipped["outside the area folder"] += 1
    return tuple(found)
