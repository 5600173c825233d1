"""What `predict` returns, and how it is filed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.ground.files import atomic_path, slug, write_json

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from chorograph.area.folder import Area

_FILED = ("region_id", "indicator", "fold", "predicted", "lower", "upper", "level", "basis")


@dataclass(frozen=True)
class Prediction:
    """Predictions of every region (`frame`), and the scores of model and baselines (`scores`, as in scores.json).

    `frame`: region_id, indicator, fold (null: predicted by the model of all labels), target (null: unlabelled),
    predicted, lower, upper (the indicator's own unit), level, basis (modalities used), supported (false: unlike any
    training region), n_images, geometry. `tables`: what else was asked for, written as CSV under these names.
    """

    frame: gpd.GeoDataFrame
    scores: dict[str, Any]
    area: Area
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def r2(self) -> float:
        """R2 of the model in the fitted unit, on held-out regions."""
        return float(self.scores["rows"][0]["fitted"]["r2"][0])

    def write(self, out: Path) -> list[Path]:
        """Write predictions.parquet (GeoParquet), predictions.geojson, scores.json and the tables into `out`."""
        table, map_, scores = out / "predictions.parquet", out / "predictions.geojson", out / "scores.json"
        with atomic_path(table) as temporary:
            self.frame.to_parquet(temporary, index=False)
        with atomic_path(map_) as temporary:
            temporary.write_text(self.frame.to_json(na="null", drop_id=True), encoding="utf-8")
        write_json(scores, self.scores)
        written = [table, map_, scores]
        for name, content in self.tables.items():
            written.append(out / f"{name}.csv")
            with atomic_path(written[-1]) as temporary:
                content.to_csv(temporary, index=False)
        return written

    def save(self, name: str) -> Path:
        """File the predictions in the area as `predictions/NAME.parquet`, without truth or geometry."""
        path = self.area.path / "predictions" / f"{slug(name)}.parquet"
        with atomic_path(path) as temporary:
            self.frame[list(_FILED)].to_parquet(temporary, index=False)
        return path
