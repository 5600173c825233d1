"""Indicators as layers of a map: what was observed, and what each run predicted, one value a region."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chorograph.area.descriptions import Description, read_descriptions
from chorograph.area.folder import Area
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import AreaError, InputError, UnknownNameError
from chorograph.ground.files import check_regular, read_json, slug
from chorograph.ground.stage import read_manifest

Measure = Literal["observed", "predicted", "width", "residual"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

_NEEDED = ("region_id", "indicator", "predicted", "lower", "upper")
_READ = (*_NEEDED, "fold", "target", "level", "basis", "supported")


@dataclass(frozen=True)
class Predicted:
    """What one run says of an indicator, by region: numbers (n,) in the indicator's unit, NaN where it says nothing.

    `held_out` (n,): predicted by a model that had not seen the region's label. `supported` (n,): the region resembles
    training regions; all true where the run does not say. `r2`: on held-out regions, in the fitted unit.
    """

    run: str
    predicted: Vector
    lower: Vector
    upper: Vector
    held_out: NDArray[np.bool_]
    supported: NDArray[np.bool_]
    basis: NDArray[np.object_]
    level: float | None
    r2: float | None
    folder: Path | None


@dataclass(frozen=True)
class Layer:
    """An indicator: `observed` (n,), NaN where unknown, and the runs that predicted it, the best first."""

    key: str
    title: str
    unit: str
    observed: Vector
    runs: tuple[Predicted, ...] = ()

    def run(self, name: str | None = None) -> Predicted | None:
        """Return the run of that name, or the best one; None where nothing was predicted."""
        if name is None:
            return self.runs[0] if self.runs else None
        for run in self.runs:
            if run.run == name:
                return run
        raise UnknownNameError.of(f"run of {self.key}", name, [run.run for run in self.runs])

    def measures(self, run: Predicted | None) -> tuple[Measure, ...]:
        """Return what can be mapped."""
        if run is None:
            return ("observed",)
        known = np.isfinite(self.observed).any()
        return MEASURES if known else ("predicted", "width")

    def values(self, measure: Measure, run: Predicted | None = None) -> Vector:
        """Return (n,) values of a measure.

        `width`: upper less lower; `residual`: observed less predicted, where the region was held out.
        """
        if measure == "observed":
            return self.observed
        if run is None:
            raise InputError(f"{self.key} was not predicted; only `observed` can be shown")
        if measure == "predicted":
            return run.predicted
        if measure == "width":
            return run.upper - run.lower
        return np.where(run.held_out, self.observed - run.predicted, np.nan)


def title_of(
    indicator: str, per: str | None = None, unit: str = "", said: Mapping[str, Description] | None = None
) -> str:
    """Return the title that the area gives an indicator, else `median_income` as `Median income`.

    A unit at its end is left to stand behind the numbers. A title of what is divided `per` another is not that of what
    was counted.
    """
    described = (said or {}).get(indicator, Description())
    if described.title and described.per == per:
        return described.title
    words = indicator.replace("_", " ").split()
    if len(words) > 1 and words[-1].lower() == unit.lower() and words[:-1] != ["n"]:
        words.pop()
    text = " ".join(words) or indicator
    shown = text[0].upper() + text[1:]
    return f"{shown} per {per.replace('_', ' ')}" if per else shown


def read_layers(area: Area, region_ids: Sequence[str], runs: Sequence[Path]) -> dict[str, Layer]:
    """Return the layers of an area by key: its indicators, and the predictions of its own tables and of run folders.

    Raises `InputError` or `AreaError` naming a file that cannot be read.
    """
    index, said = pd.Index(region_ids), read_descriptions(area)
    layers = {layer.key: layer for layer in _observed(area, index, said)}
    found: dict[str, list[tuple[Layer, Predicted]]] = {}
    tables = sorted((area.path / "predictions").glob("*.parquet"))
    for name, path, described in [
        *((run.name, run / "predictions.parquet", _described(run)) for run in runs),
        *((table.stem, table, {}) for table in tables),
    ]:
        for layer, run in _predicted(name, path, described, index, said):
            found.setdefault(layer.key, []).append((layer, run))
    for key, made in found.items():
        base = layers.get(key, made[0][0])
        # Two runs beside each other may have one name; the table that `--save` filed is the run's own again.
        distinct: dict[str, Predicted] = {}
        for _, run in made:
            if not any(_same(run, other) for other in distinct.values()):
                distinct[_fresh(run.run, distinct)] = run
        ranked = sorted(distinct.values(), key=lambda run: -math.inf if run.r2 is None else run.r2, reverse=True)
        observed = base.observed if np.isfinite(base.observed).any() else made[0][0].observed
        layers[key] = Layer(key, base.title, base.unit or made[0][0].unit, observed, tuple(ranked))
    return layers


def find_runs(area: Path) -> list[Path]:
    """Return the folders beside an area and inside it that hold predictions of it, by name."""
    beside = [path.parent for path in sorted(area.resolve().parent.glob("*/predictions.parquet"))]
    inside = [path.parent for path in sorted((area / "runs").glob("*/predictions.parquet"))]
    return [run for run in [*beside, *inside] if _is_about(run, area)]


def area_of_run(run: Path) -> Path:
    """Return the area that a run folder is about, as its manifest says; `InputError` where it is not there."""
    named = read_manifest(run / "manifest.json")["config"].get("area")
    for candidate in (Path(named), run / named, run.parent / Path(named).name) if named else ():
        if (candidate / "area.toml").is_file():
            return candidate
    raise InputError(f"{run} is a run, but its area {named!r} is not there; name the area's folder instead")


def _is_about(run: Path, area: Path) -> bool:
    try:
        return area_of_run(run).resolve() == area.resolve()
    except (InputError, AttributeError, TypeError):
        return False


def _fresh(name: str, taken: Mapping[str, object]) -> str:
    return name if name not in taken else _fresh(f"{name}*", taken)


def _same(run: Predicted, other: Predicted) -> bool:
    return np.array_equal(run.predicted, other.predicted, equal_nan=True) and np.array_equal(
        run.lower, other.lower, equal_nan=True
    )


def _observed(area: Area, index: pd.Index[str], said: Mapping[str, Description]) -> Iterator[Layer]:
    """Give the indicators of an area; of several years, the latest that a region has."""
    rows = area.indicators.dropna(subset=["value"]).sort_values("year", na_position="first", kind="stable")
    for name, group in rows.groupby("indicator", sort=True):
        latest = group.drop_duplicates("region_id", keep="last")
        unit = "" if latest["unit"].iloc[0] == "unstated" else str(latest["unit"].iloc[0])
        values = _placed(index, latest["region_id"], latest["value"])
        yield Layer(slug(str(name)), title_of(str(name), unit=unit, said=said), unit, values)


def _described(run: Path) -> dict[str, Any]:
    """Return what a run says of itself: its scores, and the settings in its manifest."""
    described: dict[str, Any] = {"folder": run}
    for name in ("scores.json", "manifest.json"):
        if (run / name).is_file() and isinstance(content := read_json(run / name), dict):
            described[name] = content
    return described


def _predicted(
    name: str, path: Path, described: Mapping[str, Any], index: pd.Index[str], said: Mapping[str, Description]
) -> Iterator[tuple[Layer, Predicted]]:
    check_regular(path)
    try:
        held = set(pq.read_schema(path).names)
        if missing := [column for column in _NEEDED if column not in held]:
            raise AreaError(f"{path} lacks the column {missing[0]!r}; run `chorograph predict` again")
        frame = pq.read_table(path, columns=[column for column in _READ if column in held]).to_pandas()
    except (OSError, ValueError) as error:
        raise AreaError(f"{path} cannot be read as predictions: {error}") from error
    for indicator, rows in frame.groupby("indicator", sort=True):
        rows = rows.drop_duplicates("region_id")
        scores = _scores_of(described.get("scores.json", {}), str(indicator))
        per = scores.get("per") or described.get("manifest.json", {}).get("config", {}).get("per")
        unit = str(scores.get("unit") or "")
        title = title_of(str(indicator), per, unit, said)
        key = slug(f"{indicator}-per-{per}" if per else str(indicator))

        def at(column: str, rows: pd.DataFrame = rows) -> Vector:
            missing = pd.Series(np.nan, index=rows.index)
            return _placed(index, rows["region_id"], rows.get(column, missing))

        predicted = Predicted(
            run=name,
            predicted=at("predicted"),
            lower=at("lower"),
            upper=at("upper"),
            held_out=np.isfinite(at("fold")) if "fold" in rows else np.zeros(len(index), dtype=bool),
            supported=at("supported") != 0,
            basis=_texts(index, rows),
            level=_level(rows),
            r2=_r2(scores),
            folder=described.get("folder"),
        )
        yield Layer(key, title, unit, at("target")), predicted


def _scores_of(content: Mapping[str, Any], indicator: str) -> Mapping[str, Any]:
    """Return the scores of one indicator, out of a file of one or of many."""
    many = content.get("indicators")
    if many is None and content.get("indicator") == indicator:
        return content
    if isinstance(many, Mapping) and isinstance(many.get(indicator), Mapping):
        return dict(many[indicator])
    if isinstance(many, list):
        return next((one for one in many if isinstance(one, Mapping) and one.get("indicator") == indicator), {})
    return {}


def _r2(scores: Mapping[str, Any]) -> float | None:
    try:
        return float(next(row for row in scores["rows"] if row["kind"] == "model")["fitted"]["r2"][0])
    except (KeyError, IndexError, TypeError, StopIteration):
        return None


def _level(rows: pd.DataFrame) -> float | None:
    levels = rows["level"].dropna().tolist() if "level" in rows else []
    return float(levels[0]) if levels else None


def _placed(index: pd.Index[str], region_ids: pd.Series[str], values: pd.Series[Any]) -> Vector:
    """Put values into the order of the regions; NaN where there is none."""
    placed = np.full(len(index), np.nan)
    rows = index.get_indexer(pd.Index(region_ids))
    numbers = pd.to_numeric(values, errors="coerce").astype("float64").to_numpy(dtype=np.float64, na_value=np.nan)
    placed[rows[rows >= 0]] = numbers[rows >= 0]
    placed[~np.isfinite(placed)] = np.nan
    return placed


def _texts(index: pd.Index[str], rows: pd.DataFrame) -> NDArray[np.object_]:
    placed = np.full(len(index), "", dtype=object)
    if "basis" in rows:
        at = index.get_indexer(pd.Index(rows["region_id"]))
        placed[at[at >= 0]] = rows["basis"].fillna("").to_numpy(object)[at >= 0]
    return placed
