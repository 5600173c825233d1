"""Reading a run folder: predictions, scores and manifest, checked before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from chorograph.area.folder import CRS, Area
from chorograph.ground.errors import AreaError, InputError
from chorograph.ground.files import read_json

_COLUMNS = ("region_id", "indicator", "fold", "target", "predicted", "lower", "upper")
_METRICS = ("r2", "rmse", "mae", "spearman")


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % block-bootstrap interval; the ends are `None` where none was computed."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Row:
    """What one model or baseline scored: `fitted` in the unit it was fitted in, `own` in the indicator's own.

    `n` is `None` for the attainable score, which no region was predicted for.
    """

    name: str
    kind: str
    meaning: str
    n: int | None
    fitted: Mapping[str, Estimate | None]
    own: Mapping[str, Estimate | None]
    coverage: Estimate | None
    mean_width: float | None
    decision: Mapping[str, Estimate | None] = field(default_factory=dict)
    cost_curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Scores:
    """The content of `scores.json`."""

    indicator: str
    unit: str
    fitted_unit: str
    log: bool
    per: str | None
    level: float
    leaky: bool
    split: Mapping[str, Any]
    counts: Mapping[str, Any]
    dropped: Mapping[str, Any]
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    neediest: str = "low"
    repeats: tuple[float, ...] = ()

    @property
    def short_unit(self) -> str:
        """The unit as it stands behind a number: nothing for a share, which needs none."""
        return "" if self.unit.startswith("share of ") else self.unit

    @property
    def axis_unit(self) -> str:
        """The unit as it stands on an axis."""
        return self.unit or "unit not stated"

    @property
    def model(self) -> Row:
        """The model that made the predictions: the first row of that kind."""
        return next(row for row in self.rows if row.kind == "model")

    @property
    def best_baseline(self) -> Row | None:
        """The baseline with the highest R2 in the fitted unit, or `None` where none was scored."""
        scored = [row for row in self.rows if row.kind == "baseline" and row.fitted["r2"] is not None]
        return max(scored, key=fitted_r2, default=None)

    @property
    def attainable(self) -> Row | None:
        """The best that any model could reach, known only where the data is synthetic."""
        return next((row for row in self.rows if row.kind == "attainable"), None)


@dataclass(frozen=True)
class Run:
    """A run folder in memory.

    `frame` has one row a region (EPSG:4326): the columns of `predictions.parquet`, and `name`, `level`, `basis`,
    `n_images` also where the file lacks them.
    """

    path: Path
    frame: gpd.GeoDataFrame
    scores: Scores
    manifest: Mapping[str, Any]
    area: Area | None
    notes: tuple[str, ...]

    @cached_property
    def unlabelled(self) -> pd.Series[bool]:
        """Regions without a known truth."""
        unlabelled: pd.Series[bool] = self.frame["target"].isna()
        return unlabelled

    @cached_property
    def scored(self) -> pd.Series[bool]:
        """Regions with a truth and a prediction by a model that had not seen it."""
        scored: pd.Series[bool] = self.frame[["fold", "target", "predicted"]].notna().all(axis=1)
        return scored


def fitted_r2(row: Row) -> float:
    """Return a row's R2 in the fitted unit, minus infinity where it has none: a key to sort by."""
    estimate = row.fitted["r2"]
    return -math.inf if estimate is None else estimate.value


def read_run(path: Path) -> Run:
    """Read the run folder at `path` and, through its manifest, the area.

    Raises `InputError` naming a file that is missing or damaged. An area that has moved is no error: the report can be
    drawn without it, and `notes` says what is lost.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a run folder; make one with `chorograph predict AREA ... --out {path}`")
    for name in ("predictions.parquet", "scores.json", "manifest.json"):
        if not (path / name).is_file():
            raise InputError(f"{path / name} is missing; run `chorograph predict AREA ... --out {path}` again")
    scores = read_scores(path / "scores.json")
    manifest = read_json(path / "manifest.json")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("config", {}), dict):
        raise InputError(f"{path / 'manifest.json'} is not the manifest of a stage; run `chorograph predict` again")
    frame = _read_predictions(path / "predictions.parquet", scores.indicator)
    area, notes = _open_area(path, manifest)
    return Run(path, _with_names(frame, area), scores, manifest, area, tuple(notes))


def read_scores(path: Path) -> Scores:
    """Read and check `scores.json`; `InputError` naming the file and what is wrong with it."""
    content = read_json(path)
    try:
        scores = Scores(
            indicator=str(content["indicator"]),
            unit=_stated(content["unit"]),
            fitted_unit=_stated(content["fitted_unit"]),
            log=bool(content["log"]),
            per=content["per"],
            level=float(content["level"]),
            leaky=bool(content["leaky"]),
            split=dict(content["split"]),
            counts=dict(content["counts"]),
            dropped=dict(content.get("dropped", {})),
            rows=tuple(_row(row) for row in content["rows"]),
            warnings=tuple(str(warning) for warning in content["warnings"]),
            neediest=str(content.get("neediest", "low")),
            repeats=tuple(float(value) for value in content.get("repeats", ()) if value is not None),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} does not hold the scores of a run: {what}; run `chorograph predict` again") from error
    if not any(row.kind == "model" for row in scores.rows):
        raise InputError(f"{path} holds no row of kind 'model'; run `chorograph predict` again")
    return scores


def _stated(unit: Any) -> str:
    """Return a unit as it may be written: `acquire` calls one that nobody gave "unstated"."""
    return "" if unit in (None, "unstated") else str(unit).replace("ln(unstated)", "ln")


def _row(content: Mapping[str, Any]) -> Row:
    return Row(
        name=str(content["name"]),
        kind=str(content["kind"]),
        meaning=str(content.get("meaning") or ""),
        n=None if content["n"] is None else int(content["n"]),
        fitted={metric: _estimate(content["fitted"].get(metric)) for metric in _METRICS},
        own={metric: _estimate(content["own"].get(metric)) for metric in _METRICS},
        coverage=_estimate(content.get("coverage")),
        mean_width=_finite(content.get("mean_width")),
        decision={name: _estimate(triple) for name, triple in content.get("decision", {}).items()},
        cost_curve=tuple((float(served), float(found)) for served, found in content.get("cost_curve", ())),
    )


def _estimate(triple: Any) -> Estimate | None:
    """Turn `[value, lower, upper]` into an estimate; a constant prediction has no Spearman, hence `None`."""
    if triple is None:
        return None
    value, lower, upper = (_finite(number) for number in triple)
    return None if value is None else Estimate(value, lower, upper)


def _finite(number: Any) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def _read_predictions(path: Path, indicator: str) -> gpd.GeoDataFrame:
    frame = _read_parquet(path)
    if missing := [column for column in _COLUMNS if column not in frame.columns]:
        raise InputError(f"{path} lacks the column {missing[0]!r}; run `chorograph predict` again")
    frame = frame[frame["indicator"] == indicator].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path} holds no prediction of {indicator!r}, which scores.json is about")
    if frame["region_id"].duplicated().any():
        twice = frame.loc[frame["region_id"].duplicated(), "region_id"].iloc[0]
        raise InputError(f"{path}: region {twice!r} stands twice for {indicator!r}")
    for column in ("target", "predicted", "lower", "upper"):
        numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        frame[column] = numbers.where(np.isfinite(numbers))
    for column in ("level", "basis", "n_images"):
        if column not in frame.columns:
            frame[column] = None
    return frame if frame.crs is None else frame.to_crs(CRS)


def _read_parquet(path: Path) -> gpd.GeoDataFrame:
    try:
        geographic: gpd.GeoDataFrame = gpd.read_parquet(path)
    except (OSError, ValueError, AttributeError) as error:
        try:
            plain = pd.read_parquet(path)
        except (OSError, ValueError):
            raise InputError(f"{path} cannot be read: {error}; run `chorograph predict` again") from error
        # Regions without polygons (a leave-group-out run of a plain table): the page has no maps then.
        return gpd.GeoDataFrame(plain.assign(geometry=None), geometry="geometry", crs=CRS)
    return geographic


def _open_area(run: Path, manifest: Mapping[str, Any]) -> tuple[Area | None, list[str]]:
    """Open the area that the manifest names, as it stands or relative to the run folder."""
    named = manifest.get("config", {}).get("area")
    if not named:
        return None, ["The manifest of this run names no area: names, sample tiles, sources and licences are left out."]
    for candidate in (Path(named), run / named):
        if candidate.is_dir():
            try:
                return Area.open(candidate), []
            except AreaError as error:
                return None, [f"The area could not be read: {error}. Names, tiles, sources and licences are left out."]
    return None, [
        f"The area {Path(named).name!r} is no longer where the manifest says. Names, sample tiles, sources and "
        "licences are left out; put the area back, or run `chorograph predict` where it is now."
    ]


def _with_names(frame: gpd.GeoDataFrame, area: Area | None) -> gpd.GeoDataFrame:
    names: dict[str, str] = {}
    if area is not None and area.has_regions:
        named = area.regions[area.regions["name"].notna()]
        names = dict(zip(named["region_id"].astype(str), named["name"].astype(str), strict=True))
    return frame.assign(name=[names.get(str(region), "") for region in frame["region_id"]])
