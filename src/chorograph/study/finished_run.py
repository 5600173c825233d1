"""A finished run of `predict` taken up again: the labels, folds, features and tiles that its probes were fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.splits import Folds, duplicate_groups
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, Progress
from chorograph.models.encoders.protocols import FittedEncoder, ImageEncoder
from chorograph.models.encoders.registry import load_encoder, parts_of, resolve
from chorograph.prediction.config import PredictConfig
from chorograph.prediction.crossfit import Fused
from chorograph.prediction.labels import Labels, read_labels
from chorograph.prediction.run import make_split, probe_maker, read_modalities
from chorograph.study.attribution import HeldOutModel, PooledTiles, Vector, fit_held_out, own_share, pool

#: Added to the seed of re-drawn weights: a training's seed also drew the weights that it began with.
_OTHER_WEIGHTS = 1_000_003
#: Difference to the run's own predictions, as a share of their spread, above which this is not that run's model.
_SAME = 1e-3
_BATCH = 64


@dataclass(frozen=True)
class FinishedRun:
    """A run as one encoder sees it.

    `image_ids` (t,) and `uris` (t,) of the tiles; `groups` (n,): the blocks of labelled regions, one of its own for
    each other region.
    """

    area: Area
    config: PredictConfig
    labels: Labels
    folds: Folds
    fused: Fused
    tiles: PooledTiles
    image_ids: NDArray[np.object_]
    uris: NDArray[np.object_]
    groups: NDArray[np.int64]
    encoder: ImageEncoder

    def fit(self, target: Vector | None = None, keep: NDArray[np.bool_] | None = None) -> HeldOutModel:
        """Fit the run's probes again; to other labels (n,), or on the regions of `keep` (n,) alone, where given."""
        labels = self.labels.fitted if target is None else target
        return fit_held_out(self.fused, labels, self.folds, probe_maker(self.config), keep=keep)

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
        fused = _features(self.area, embeddings, self.config, tuple(self.fused.blocks))
        tiles = replace(self.tiles, vectors=vectors.astype(np.float64))
        return replace(self, fused=fused, tiles=tiles, encoder=encoder)

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return the pixels of the tile in `row`."""
        try:
            return self.area.read_image(self.uris[row])
        except ImageError as error:
            raise InputError(
                f"{error}; it was there when it was embedded, so put it back, or embed and predict again"
            ) from None


def take_up(area: Area, asked: Mapping[str, Any], run: Path, device: str) -> FinishedRun:
    """Read what the run in the folder `run` was made from; `asked` is the configuration in its manifest.

    Raises `InputError` where the run used no imagery, or the encoder is not the one that made its vectors.
    """
    config = configure(PredictConfig, asked, where=str(run / "manifest.json"))
    embeddings = Embeddings.read(area.embeddings_path(resolve(config.embeddings)))
    frame = gpd.read_parquet(run / "predictions.parquet")
    # The run's modalities in its own order: those of the region that had the most.
    names = max((str(basis).split("+") for basis in frame["basis"]), key=len)
    if "image" not in names:
        raise InputError(f"{run} was predicted from {', '.join(names)}, without imagery: there is nothing to look into")
    regions, images = area.regions, area.images.set_index("image_id")
    labels = read_labels(
        area, config.indicator, Ledger(), log=config.log, per=config.per, year=config.year, plus=config.plus
    )
    labelled = np.isfinite(labels.fitted)
    duplicates = duplicate_groups(area.images, regions["region_id"][labelled])
    folds = make_split(config).folds(area, regions[labelled], duplicates)
    groups = len(regions) + np.arange(len(regions))
    groups[labelled] = folds.groups
    fused = _features(area, embeddings, config, tuple(names))
    rows = regions.set_index("region_id").index.get_indexer(images["region_id"].reindex(embeddings.image_ids))
    share = own_share(regions, fused.blocks["image"]) if "context" in names else np.zeros(len(regions))
    return FinishedRun(
        area,
        config,
        labels,
        folds,
        fused,
        PooledTiles(embeddings.vectors[rows >= 0].astype(np.float64), rows[rows >= 0], share, config.pooling),
        embeddings.image_ids[rows >= 0],
        images["uri"].reindex(embeddings.image_ids).to_numpy(object)[rows >= 0],
        groups,
        _load(area, embeddings, device),
    )


def check_same(finished: FinishedRun, model: HeldOutModel, run: Path) -> None:
    """Raise `InputError` unless the model predicts what the run predicted."""
    then = gpd.read_parquet(run / "predictions.parquet").set_index("region_id")["predicted"]
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


def _features(area: Area, embeddings: Embeddings, config: PredictConfig, names: Sequence[str]) -> Fused:
    blocks = read_modalities(area, embeddings, config)
    return Fused({name: blocks[name] for name in names})


def _load(area: Area, embeddings: Embeddings, device: str) -> ImageEncoder:
    """Load the encoder that made the vectors, fitted as it was then."""
    encoder = load_encoder(embeddings.model, device)
    for part in parts_of(encoder):
        if isinstance(part, FittedEncoder):
            part.restore(load_file(area.embeddings_path(part.name).with_suffix(".safetensors")))
    if encoder.fingerprint != embeddings.fingerprint:
        raise InputError(f"{embeddings.model} is no longer what made the vectors; embed and predict again")
    return encoder
