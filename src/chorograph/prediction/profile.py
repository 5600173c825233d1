"""What a run of predictions is: a profile of an area, with a prediction for each indicator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import pandas as pd

from chorograph.area.map_files import ColouredColumn, write_geopackage, write_style
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, slug, write_json
from chorograph.prediction.judging.scores import Scores

if TYPE_CHECKING:
    from chorograph.area.folder import Area

FORMAT = "chorograph-scores-2"
#: The columns of predictions that are filed in an area: no truth, no geometry.
_FILED = ("region_id", "indicator", "fold", "predicted", "lower", "upper", "level", "basis")
#: What a map layer holds of each indicator.
_WIDE = ("target", "predicted", "lower", "upper", "supported")


@dataclass(frozen=True, repr=False)
class Prediction:
    """One indicator of every region.

    `frame`: region_id, indicator, fold (null: predicted by the model of all labels), target (null: unlabelled),
    predicted, lower, upper (the indicator's own unit), level, basis (modalities used), supported (false: unlike any
    training region), n_images, geometry. `tables`: what else was asked for.
    """

    frame: gpd.GeoDataFrame
    scores: Scores
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def r2(self) -> float:
        """R2 of the model in the fitted unit, on held-out regions."""
        return self.scores.model.r2

    def __repr__(self) -> str:
        """Say what was predicted and how well."""
        scores = self.scores
        counts = f"{scores.counts.get('predicted', 0)} regions, {scores.counts.get('scored', 0)} scored"
        return f"<Prediction of {scores.indicator}: {counts}, R2 {self.r2:.3f} by {scores.split.get('name')}>"


@dataclass(frozen=True, repr=False)
class Profile:
    """The indicators of every region of an area: predictions with intervals, and scores beside baselines.

    `predictions` by indicator. `left_out`: indicators that could not be predicted, each with its reason.
    """

    area: Area
    predictions: Mapping[str, Prediction]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, indicator: str) -> Prediction:
        """Return one indicator's prediction; `UnknownNameError` with near misses for another name."""
        if indicator not in self.predictions:
            raise UnknownNameError.of("predicted indicator", indicator, self.predictions)
        return self.predictions[indicator]

    def __len__(self) -> int:
        """Return how many indicators there are."""
        return len(self.predictions)

    @property
    def indicators(self) -> tuple[str, ...]:
        """The names of the indicators."""
        return tuple(self.predictions)

    @property
    def frame(self) -> gpd.GeoDataFrame:
        """The predictions, long: a row a region and indicator; the columns are those of `Prediction.frame`."""
        frames = [prediction.frame for prediction in self.predictions.values()]
        if len(frames) == 1:
            return frames[0]
        joined: gpd.GeoDataFrame = pd.concat(frames, ignore_index=True)
        return joined

    @property
    def wide(self) -> gpd.GeoDataFrame:
        """The predictions, wide: a row a region, with INDICATOR_predicted, _lower, _upper, _target, _supported."""
        first = next(iter(self.predictions.values())).frame
        columns = {
            f"{indicator}_{column}": prediction.frame[column].to_numpy()
            for indicator, prediction in self.predictions.items()
            for column in _WIDE
        }
        ids = first[["region_id"]].reset_index(drop=True)
        joined = pd.concat([ids, pd.DataFrame(columns)], axis=1)
        return gpd.GeoDataFrame(joined, geometry=first.geometry.to_numpy(), crs=first.crs)

    @property
    def scores(self) -> pd.DataFrame:
        """The scores: a row an indicator and model or baseline.

        Columns: indicator, name, kind, n, r2, r2_lower, r2_upper (fitted unit), rmse, mae (own unit), spearman,
        coverage, mean_width.
        """
        rows = []
        for indicator, prediction in self.predictions.items():
            for row in prediction.scores.rows:
                r2 = row.fitted["r2"]
                own = {name: estimate.value if estimate else None for name, estimate in row.own.items()}
                rows.append(
                    {
                        "indicator": indicator,
                        "name": row.name,
                        "kind": row.kind,
                        "n": row.n,
                        "r2": r2.value if r2 else None,
                        "r2_lower": r2.lower if r2 else None,
                        "r2_upper": r2.upper if r2 else None,
                        "rmse": own.get("rmse"),
                        "mae": own.get("mae"),
                        "spearman": own.get("spearman"),
                        "coverage": row.coverage.value if row.coverage else None,
                        "mean_width": row.mean_width,
                    }
                )
        return pd.DataFrame(rows).astype({"n": "Int64"})

    @property
    def chosen(self) -> dict[str, str]:
        """What a probe that chooses was at last, by indicator: fitted on every label, where regions have none."""
        models = {indicator: prediction.scores.model for indicator, prediction in self.predictions.items()}
        return {name: model.meaning.partition(": ")[2] for name, model in models.items() if ": " in model.meaning}

    def r2_table(self) -> dict[str, dict[str, float | None]]:
        """Return R2 in the fitted unit by row and indicator, as a terminal shows it.

        Beside the model's stands what is to be expected where there are no labels.
        """
        table: dict[str, dict[str, float | None]] = {}
        for indicator, prediction in self.predictions.items():
            for row in prediction.scores.rows:
                r2 = row.fitted["r2"]
                table.setdefault(row.name, {})[indicator] = r2.as_list()[0] if r2 else None
                if row is prediction.scores.model and (expected := prediction.scores.unlabelled):
                    table.setdefault(f"{row.name}, where unlabelled", {})[indicator] = expected["r2"][0]
        return table

    def region(self, region_id: str) -> pd.DataFrame:
        """Return what is known of one region: a row an indicator. `UnknownNameError` for an id that is not there."""
        frame = pd.DataFrame(self.frame.drop(columns="geometry"))
        rows = frame[frame["region_id"] == region_id]
        if rows.empty:
            raise UnknownNameError.of(f"region of {self.area.path}", region_id, frame["region_id"].unique())
        return rows.set_index("indicator")

    def write(self, out: Path) -> list[Path]:
        """Write the predictions long (.parquet) and wide (.geojson, .gpkg), scores.json and the tables into `out`.

        QGIS shows the map when the GeoPackage, which has a style an indicator, or the GeoJSON is dropped in.
        """
        table, map_, scores = out / "predictions.parquet", out / "predictions.geojson", out / "scores.json"
        wide = self.wide
        coloured = [
            ColouredColumn(f"{indicator}_predicted", prediction.scores.title or indicator)
            for indicator, prediction in self.predictions.items()
        ]
        with atomic_path(table) as temporary:
            self.frame.to_parquet(temporary, index=False)
        with atomic_path(map_) as temporary:
            temporary.write_text(wide.to_json(na="null", drop_id=True), encoding="utf-8")
        blocks = {indicator: prediction.scores.as_dict() for indicator, prediction in self.predictions.items()}
        # A run of one indicator says its name outside too, where the first format had it.
        only = {"indicator": next(iter(blocks))} if len(blocks) == 1 else {}
        write_json(scores, {"format": FORMAT, **only, "indicators": blocks, "left_out": dict(self.left_out)})
        styled = [write_geopackage(out / "predictions.gpkg", wide, coloured)]
        if wide.geometry.notna().any():
            styled.append(write_style(out / "predictions.qml", wide, coloured[0]))
        return [table, map_, scores, *styled, *self._write_tables(out)]

    def _write_tables(self, out: Path) -> list[Path]:
        """Write each table that was asked for, of all indicators together."""
        names = dict.fromkeys(name for prediction in self.predictions.values() for name in prediction.tables)
        written = []
        for name in names:
            parts = {indicator: p.tables[name] for indicator, p in self.predictions.items() if name in p.tables}
            content = pd.concat(parts, names=["indicator"]).reset_index(level="indicator")
            with atomic_path(out / f"{name}.csv") as temporary:
                content.to_csv(temporary, index=False)
            written.append(out / f"{name}.csv")
        return written

    def save(self, name: str) -> Path:
        """File the predictions in the area as `predictions/NAME.parquet`, without truth or geometry."""
        path = self.area.path / "predictions" / f"{slug(name)}.parquet"
        with atomic_path(path) as temporary:
            pd.DataFrame(self.frame[list(_FILED)]).to_parquet(temporary, index=False)
        return path

    def __repr__(self) -> str:
        """Say of which area and how many indicators it is."""
        return f"<Profile of {self.area.name}: {', '.join(self.indicators)}>"

    def _repr_html_(self) -> str:
        """Show the models' scores in a notebook."""
        models = self.scores.query("kind == 'model'").drop(columns="kind")
        return f"<p>{self!r}</p>{models.to_html(index=False, float_format='{:.3f}'.format)}"


def read_scores(content: object, where: str) -> dict[str, Scores]:
    """Return the scores of each indicator in a parsed scores.json, of an earlier version too.

    Raises `InputError` that names `where` and what is wrong.
    """
    try:
        if not isinstance(content, dict):
            raise TypeError("it is not an object of names and values")
        blocks = content["indicators"] if "indicators" in content else {content["indicator"]: content}
        if not blocks:
            raise ValueError("it holds no indicator")
        return {str(name): Scores.of(block, f"{where}, {name}") for name, block in blocks.items()}
    except InputError as error:
        raise InputError(f"{error}; run `chorograph predict` again") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{where} does not hold the scores of a run: {what}; run `chorograph predict` again"
        ) from error
