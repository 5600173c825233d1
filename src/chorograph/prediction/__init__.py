"""Indicators for regions: pooling, probes, cross-fitting, intervals, baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chorograph.area.embeddings import Embeddings
    from chorograph.area.folder import Area
    from chorograph.area.splits import Split
    from chorograph.ground.stage import Progress
    from chorograph.prediction.result import Prediction


def predict(
    area: Area,
    embeddings: Embeddings | str | None = "default",
    *,
    indicator: str,
    split: Split | str = "spatial_block",
    progress: Progress | None = None,
    **settings: Any,
) -> Prediction:
    """Predict an indicator for every region of an area, scored on held-out regions beside the baselines.

    `embeddings`: vectors from `embed`, the name of a model whose vectors the area holds, or None to go without
    imagery. `split`: a name, or an object such as `SpatialBlocks(buffer_m=1000)`. `settings` are those of
    `PredictConfig` (log, per, modalities, probe, level, ...). Raises `UnknownNameError` for an indicator or setting
    nobody knows, `InputError` where labels or folds do not suffice.
    """
    from chorograph.area.embeddings import Embeddings
    from chorograph.ground.settings import configure
    from chorograph.ground.stage import Ledger, silent
    from chorograph.models.encoders.registry import resolve
    from chorograph.prediction.config import PredictConfig
    from chorograph.prediction.run import make_split, run_predict

    named = {"area": area.path, "indicator": indicator, **settings}
    if isinstance(split, str):
        named["split"] = split
    config = configure(PredictConfig, named, where="predict")
    if isinstance(embeddings, str):
        embeddings = Embeddings.read(area.embeddings_path(resolve(embeddings)))
    chosen = make_split(config) if isinstance(split, str) else split
    return run_predict(area, embeddings, config, chosen, Ledger(), progress or silent)
