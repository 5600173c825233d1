"""A finished run of `predict` taken up again: the labels, folds, features and tiles that its probes were fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import ImageError, InputError, UnknownNameError
from chorograph.ground.files import check_regular, naming_damage, read_json
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, Progress
from chorograph.models.encoders.kept import load_kept_encoder
from chorograph.models.encoders.protocols import ImageEncoder
from chorograph.models.encoders.registry import resolve
from chorograph.prediction.features import Features, read_features
from chorograph.prediction.fits import model_maker
from chorograph.prediction.labels import Labels, Question
from chorograph.prediction.profile import read_scores
from chorograph.prediction.settings import PredictionSettings
from chorograph.prediction.task import Task, build_task, make_split
from chorograph.study.attribution import HeldOutModel, PooledTiles, fit_held_out, own_share, pool

#: Added to the seed of re-drawn weights: a training's seed also drew the weights that it began with.
_OTHER_WEIGHTS = 1_000_003
#: Difference to the run's own predictions, as a share of their spread, above which this is not that run's model.
_SAME = 1e-3
_BATCH = 64


@dataclass(frozen=True)
class FinishedRun:
    """A run's task as one encoder sees it.

    `settings` are the run's. `image_ids` (t,) and `uris` (t,) of the tiles; `groups` (n,): the blocks of labelled
    regions, one of its own for each other region.
    """

    task: Task
    settings: PredictionSettings
    tiles: PooledTiles
    image_ids: NDArray[np.object_]
    uris: NDArray[np.object_]
    groups: NDArray[np.int64]
    encoder: ImageEncoder

    @property
    def area(self) -> Area:
        """The area of the run."""
        return self.task.area

    @property
    def labels(self) -> Labels:
        """The labels of the run."""
        return self.task.labels

    def fit(self, target: Vector | None = None, keep: NDArray[np.bool_] | None = None) -> HeldOutModel:
        """Fit the run's probes again; to other labels (n,), or on the regions of `keep` (n,) alone, where given."""
        labels = self.labels.fitted if target is None else target
        maker = model_maker(self.settings)
        return fit_held_out(self.task.fused, labels, self.task.folds, maker, keep=keep)

    def predicted(self, model: HeldOutModel, region: int) -> float:
        """Return what the model says of a region as it is, in the fitted unit."""
        vectors = self.tiles.vectors[self.tiles.of(region)]
        return float(model.predict(region, self.tiles, pool(vectors, self.tiles.pooling)[None])[0])

    def seen_by(self, encoder: ImageEncoder, progress: Progress) -> FinishedRun:
        """Return the same run with every tile encoded by another encoder; `InputError` where a tile has vanished."""
        parts = []
        for start in range(0, len(self.uris), _BATCH):
            parts.append(encoder.encode([self.read(row) for row in range(start, min(start + _BATCH, len(self.uris)))]))
            progress("encoding with random weights", min(start + _BATCH, len(self.uris)), len(self.uris))
        vectors = np.concatenate(parts)
        unhashed = np.full(len(vectors), "", dtype=object)
        embeddings = Embeddings(encoder.name, encoder.fingerprint, self.image_ids, unhashed, vectors)
        features = _features(self.area, embeddings, self.settings)
        task = replace(self.task, features=features, fused=features.fused(",".join(self.task.fused.blocks)))
        tiles = replace(self.tiles, vectors=vectors.astype(np.float64))
        return replace(self, task=task, tiles=tiles, encoder=encoder)

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return the pixels of the tile in `row`."""
        try:
            return self.area.read_image(self.uris[row])
        except ImageError as error:
            raise InputError(
                f"{error}; it was there when it was embedded, so put it back, or embed and predict again"
            ) from None


def take_up(area: Area, asked: Mapping[str, Any], run: Path, indicator: str, device: str) -> FinishedRun:
    """Read what one indicator of the run in the folder `run` was predicted from; `asked` is its manifest's config.

    Raises `InputError` where the run used no imagery, or the encoder is not the one that made its vectors.
    """
    settings = run_settings(asked, str(run / "manifest.json"))
    embeddings = Embeddings.read(area.embeddings_path(resolve(str(asked["embeddings"]))))
    frame = predictions_of(run, indicator)
    # The run's modalities in its own order: those of the region that had the most.
    names = max((str(basis).split("+") for basis in frame["basis"]), key=len)
    if "image" not in names:
        raise InputError(f"{run} was predicted from {', '.join(names)}, without imagery: there is nothing to look into")
    settings = replace(settings, modalities=",".join(names))
    features = _features(area, embeddings, settings)
    question = question_of(run, indicator, settings)
    task = build_task(features, question, settings, make_split(settings), Ledger())
    regions, images = area.regions, area.images.set_index("image_id")
    groups = np.where(task.labelled, task.groups, len(regions) + np.arange(len(regions)))
    rows = regions.set_index("region_id").index.get_indexer(images["region_id"].reindex(embeddings.image_ids))
    share = own_share(regions, task.fused.blocks["image"]) if "context" in names else np.zeros(len(regions))
    return FinishedRun(
        task,
        settings,
        PooledTiles(embeddings.vectors[rows >= 0].astype(np.float64), rows[rows >= 0], share, settings.pooling),
        embeddings.image_ids[rows >= 0],
        images["uri"].reindex(embeddings.image_ids).to_numpy(object)[rows >= 0],
        groups,
        _load(area, embeddings, device),
    )


def run_settings(asked: Mapping[str, Any], where: str) -> PredictionSettings:
    """Return how a run was fitted and judged, from the configuration in its manifest."""
    known = {field.name for field in fields(PredictionSettings)}
    return configure(PredictionSettings, {name: asked[name] for name in asked if name in known}, where=where)


def question_of(run: Path, indicator: str, settings: PredictionSettings) -> Question:
    """Return what a run asked of an indicator, from its scores: descriptions and guesses may have changed since."""
    scores = read_scores(read_json(run / "scores.json"), str(run / "scores.json"))
    if indicator not in scores:
        raise UnknownNameError.of(f"indicator of {run}", indicator, scores)
    asked = scores[indicator]
    return Question(indicator, asked.scale, asked.per, settings.year, asked.plus or settings.plus, asked.neediest)


def predictions_of(run: Path, indicator: str) -> gpd.GeoDataFrame:
    """Return the predictions of one indicator in a run folder, in the order of the regions."""
    path = run / "predictions.parquet"
    check_regular(path)
    with naming_damage(path, "predictions", "run `chorograph predict` again"):
        frame = gpd.read_parquet(path)
        frame = frame.assign(region_id=frame["region_id"], predicted=frame["predicted"].astype(float))
    held: gpd.GeoDataFrame = frame[frame["indicator"] == indicator].reset_index(drop=True)
    if held.empty:
        raise UnknownNameError.of(f"indicator of {run}", indicator, frame["indicator"].unique())
    return held


def check_same(finished: FinishedRun, model: HeldOutModel, run: Path) -> None:
    """Raise `InputError` unless the model predicts what the run predicted."""
    then = predictions_of(run, finished.task.question.indicator).set_index("region_id")["predicted"]
    ids = finished.area.regions["region_id"].to_numpy(object)[model.explained]
    now = finished.labels.to_own(np.array([finished.predicted(model, region) for region in model.explained]))
    before = then.reindex(ids).to_numpy(np.float64)
    apart = float(np.max(np.abs(now - before))) / max(float(np.ptp(before)), 1e-300)
    if not apart <= _SAME:
        raise InputError(
            f"the probes fitted again do not predict what {run} holds (they differ by {apart:.1%} of the spread): its "
            "area or vectors have changed, or its predictions are not of one probe on pooled imagery; predict again"
        )


def redrawn(encoder: ImageEncoder, seed: int) -> ImageEncoder | None:
    """Return an encoder of the same architecture with weights drawn anew; None where that is not possible.

    Hand-made features have no weights, and `rcf` fitted on other patches is as good an encoder as before.
    """
    if not hasattr(encoder, "loaded"):
        return None
    from chorograph.models.coca.towers import build
    from chorograph.models.encoders.open_clip import OpenClipEncoder

    if not isinstance(encoder, OpenClipEncoder):
        return None
    model = build(encoder.loaded.config, _OTHER_WEIGHTS + seed).to(encoder.loaded.device).eval()
    return OpenClipEncoder(f"{encoder.name}, random weights", replace(encoder.loaded, model=model))


def _features(area: Area, embeddings: Embeddings, settings: PredictionSettings) -> Features:
    return read_features(
        area, embeddings, modalities=settings.modalities, pooling=settings.pooling, texts=settings.texts
    )


def _load(area: Area, embeddings: Embeddings, device: str) -> ImageEncoder:
    """Load the encoder that made the vectors, fitted as it was then."""
    encoder = load_kept_encoder(area, embeddings.model, device)
    if encoder.fingerprint != embeddings.fingerprint:
        raise InputError(f"{embeddings.model} is no longer what made the vectors; embed and predict again")
    return encoder
