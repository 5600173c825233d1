"""Reading a run folder: predictions, scores and manifest, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from chorograph.area.folder import CRS, Area
from chorograph.ground.errors import AreaError, InputError, UnknownNameError
from chorograph.ground.files import check_regular, check_row_count, naming_damage, read_json
from chorograph.ground.stage import read_manifest
from chorograph.prediction.judging.scores import Scores
from chorograph.prediction.profile import read_scores

_COLUMNS = ("region_id", "indicator", "fold", "target", "predicted", "lower", "upper")
_AGAIN = "run `chorograph predict` again"


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


def read_runs(path: Path) -> tuple[list[Run], dict[str, str]]:
    """Read every indicator of the run folder at `path`, and those that were left out with their reasons."""
    first = read_run(path)
    content = read_json(path / "scores.json")
    held = read_scores(content, str(path / "scores.json"))
    runs = [first]
    for indicator, scores in list(held.items())[1:]:
        frame = _with_names(_read_predictions(path / "predictions.parquet", indicator), first.area)
        runs.append(replace(first, frame=frame, scores=_stated(scores)))
    left_out = content.get("left_out", {})
    return runs, {str(name): str(why) for name, why in left_out.items()} if isinstance(left_out, dict) else {}


def read_run(path: Path, indicator: str | None = None) -> Run:
    """Read the run folder at `path` and, through its manifest, the area; its first indicator, or `indicator`.

    Raises `UnknownNameError` for an indicator that the run does not have, `InputError` naming a file that is missing or
    damaged. An area that has moved is no error: the report can be drawn without it, and `notes` says what is lost.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a run folder; make one with `chorograph predict AREA ... --out {path}`")
    for name in ("predictions.parquet", "scores.json", "manifest.json"):
        if not (path / name).is_file():
            raise InputError(f"{path / name} is missing; run `chorograph predict AREA ... --out {path}` again")
    held = read_scores(read_json(path / "scores.json"), str(path / "scores.json"))
    if indicator is not None and indicator not in held:
        raise UnknownNameError.of(f"indicator of {path}", indicator, held)
    scores = _stated(held[indicator or next(iter(held))])
    manifest = read_manifest(path / "manifest.json")
    frame = _read_predictions(path / "predictions.parquet", scores.indicator)
    area, notes = _open_area(path, manifest)
    return Run(path, _with_names(frame, area), scores, manifest, area, tuple(notes))


def short_unit(scores: Scores) -> str:
    """Return the unit as it stands behind a number: nothing for a share, which needs none."""
    return "" if scores.unit.startswith("share of ") else scores.unit


def axis_unit(scores: Scores) -> str:
    """Return the unit as it stands on an axis."""
    return scores.unit or "unit not stated"


def fitted_unit(scores: Scores) -> str:
    """Return the unit that was fitted in, as it stands above a column."""
    return scores.fitted_unit or "fitted unit"


def _stated(scores: Scores) -> Scores:
    """Return the scores with units as they may be written: one that nobody gave is called "unstated" in an area."""
    unit = "" if scores.unit == "unstated" else scores.unit
    fitted = "" if scores.fitted_unit == "unstated" else scores.fitted_unit.replace("ln(unstated)", "ln")
    return replace(scores, unit=unit, fitted_unit=fitted)


def _read_predictions(path: Path, indicator: str) -> gpd.GeoDataFrame:
    frame = _read_parquet(path)
    if missing := [column for column in _COLUMNS if column not in frame.columns]:
        raise InputError(f"{path} lacks the column {missing[0]!r}; run `chorograph predict` again")
    frame = frame[frame["indicator"] == indicator].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{path} holds no prediction of {indicator!r}, which scores.json is about")
    if (odd := ~frame["region_id"].map(lambda value: isinstance(value, str))).any():
        row = int(np.flatnonzero(odd)[0])
        raise InputError(f"{path}: region_id of row {row + 1} must be text, not {frame['region_id'].iloc[row]!r}")
    if frame["region_id"].duplicated().any():
        twice = frame.loc[frame["region_id"].duplicated(), "region_id"].iloc[0]
        raise InputError(f"{path}: region {twice!r} appears twice for {indicator!r}")
    for column in ("target", "predicted", "lower", "upper"):
        if not (pd.api.types.is_numeric_dtype(frame[column]) or frame[column].isna().all()):
            raise InputError(f"{path}: {column} must be numbers, the column holds {frame[column].dtype}; {_AGAIN}")
        numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        frame[column] = numbers.where(np.isfinite(numbers))
    for column in ("level", "basis", "n_images"):
        if column not in frame.columns:
            frame[column] = None
    return frame if frame.crs is None else frame.to_crs(CRS)


def _read_parquet(path: Path) -> gpd.GeoDataFrame:
    check_regular(path)
    with naming_damage(path, "predictions", _AGAIN):
        with pq.ParquetFile(path) as file:
            check_row_count(path, file.metadata.num_rows)
            if b"geo" in (file.schema_arrow.metadata or {}):
                geographic: gpd.GeoDataFrame = gpd.read_parquet(path)
                return geographic.set_geometry("geometry")
            # Regions without polygons (a leave-group-out run of a plain table): the page has no maps then.
            plain = file.read().to_pandas(ignore_metadata=True)
        return gpd.GeoDataFrame(plain.assign(geometry=None), geometry="geometry", crs=CRS)


def _open_area(run: Path, manifest: Mapping[str, Any]) -> tuple[Area | None, list[str]]:
    """Open the area that the manifest names, as it stands or relative to the run folder."""
    named = manifest.get("config", {}).get("area")
    if not named:
        return None, ["The manifest of this run names no area: names, sample tiles, sources and licences are left out."]
    for candidate in (Path(named), run / named):
        if _is_folder(candidate):
            try:
                return Area.open(candidate), []
            except AreaError as error:
                return None, [f"The area could not be read: {error}. Names, tiles, sources and licences are left out."]
    return None, [
        f"The area {Path(named).name!r} is no longer where the manifest says. Names, sample tiles, sources and "
        "licences are left out; put the area back, or run `chorograph predict` where it is now."
    ]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that no file system takes
        return False


def _with_names(frame: gpd.GeoDataFrame, area: Area | None) -> gpd.GeoDataFrame:
    names: dict[str, str] = {}
    if area is not None and area.has_regions:
        named = area.regions[area.regions["name"].notna()]
        names = dict(zip(named["region_id"].astype(str), named["name"].astype(str), strict=True))
    return frame.assign(name=[names.get(str(region), "") for region in frame["region_id"]])
