"""Does text help? Towers trained with and without it, on the same images, read by the same probe on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.embedding.run import embed_images
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.regression import BlockBootstrap, Metric, r2
from chorograph.models.checkpoint import load_checkpoint
from chorograph.models.encoders.lsa import latent_vectors
from chorograph.models.encoders.open_clip import ImageTextModel, new_model
from chorograph.models.weights import weights_digest
from chorograph.prediction.crossfit import cross_fit
from chorograph.prediction.features import Features, read_features
from chorograph.prediction.fits import probe_maker
from chorograph.prediction.questions import make_question
from chorograph.prediction.task import Task, build_task, make_split
from chorograph.study.settings import TextSettings

_BATCH = 64


@dataclass(frozen=True)
class Variant:
    """A way to train a tower, and which of its features is read.

    `feature`: `pooled`, the contrastive feature; `tokens`, the mean of what the decoder reads, which is all that
    captioning alone trains.
    """

    name: str
    folder: str
    objective: str
    feature: str
    shuffled: bool = False


#: Trains a variant with a seed into a checkpoint folder, unless that was done before.
Train = Callable[[Variant, int, Path], None]

VARIANTS = (
    Variant("contrastive only", "contrastive", "clip", "pooled"),
    Variant("captioning only", "captioning", "caption", "tokens"),
    Variant("captioning only, pooled feature", "captioning", "caption", "pooled"),
    Variant("both", "both", "coca", "pooled"),
    Variant("both, decoder's tokens", "both", "coca", "tokens"),
    Variant("both, shuffled captions", "shuffled", "coca", "pooled", shuffled=True),
    Variant("both, shuffled captions, decoder's tokens", "shuffled", "coca", "tokens", shuffled=True),
)
UNTRAINED = "untrained (random weights)"
IMAGE, TEXT = "default image features, no text", "text alone"
#: The rows that every other one is compared with.
RIVALS = (IMAGE, "both, shuffled captions", "contrastive only")


def run_ablation(
    area: Area,
    indicator: str,
    config: TextSettings,
    out: Path,
    train: Train,
    ledger: Ledger,
    progress: Progress,
) -> list[Path]:
    """Train every variant, predict from each, write text.json and text.md into `out`; returns the files.

    `train` keeps trainings that were done before. Raises `InputError` where labels, captions or folds do not suffice.
    """
    if "image" not in config.modalities.split(","):
        raise InputError("options: --modalities must have image, which is what differs between the rows")
    question = make_question(area, indicator, config, ledger)
    anywhere = replace(config, modalities="all")
    task = build_task(Features.none(area), question, anywhere, make_split(config), ledger)
    labels, labelled = task.labels, task.labelled
    vectors = _all_vectors(area, config, out, train, ledger, progress)
    predicted = {name: [_predict(area, one, config, task) for one in several] for name, several in vectors.items()}
    scored = labelled.copy()
    scored[labelled] = task.folds.fold >= 0
    for several in predicted.values():
        for one in several:
            scored &= np.isfinite(one)
    if not scored.any():
        raise InputError("no labelled region has images with captions, so nothing can be compared")
    ledger.count("regions scored", int(scored.sum()))
    groups = task.groups
    rows = compare({name: [one[scored] for one in several] for name, several in predicted.items()},
                   labels.fitted[scored], groups[scored])  # fmt: skip
    ledger.facts["rows"] = {row["name"]: row["r2"][0] for row in rows}
    result = {
        "area": {"name": area.name, "title": area.title, "synthetic": area.synthetic},
        "indicator": indicator,
        "fitted_unit": labels.fitted_unit,
        "model": config.model,
        "epochs": config.epochs,
        "seeds": list(config.seeds),
        "probe": config.probe,
        "modalities": config.modalities,
        "split": {"name": config.split, **{n: getattr(config, n) for n in ("block_m", "buffer_m", "folds")}},
        "counts": dict(ledger.counts),
        "dropped": dict(ledger.dropped),
        "rows": rows,
    }  # fmt: skip
    write_json(out / "text.json", result)
    with atomic_path(out / "text.md") as temporary:
        temporary.write_text(as_markdown(rows, len(config.seeds)), encoding="utf-8")
    return [out / "text.json", out / "text.md"]


def compare(
    predicted: Mapping[str, Sequence[NDArray[np.float64]]], target: NDArray[np.float64], groups: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return a row a set of features: R2 (mean over its seeds) and its differences to `RIVALS`, with 95 % intervals.

    Intervals are from resampling whole blocks of regions, the same ones for both sides of a difference; they hold the
    chance of which regions there are, not that of training, which `by_seed` shows.
    """
    bootstrap = BlockBootstrap()
    rows = []
    for name, several in predicted.items():
        row: dict[str, Any] = {
            "name": name,
            "r2": bootstrap.estimate(_mean_r2(several), target, several[0], groups).as_list(),
            "by_seed": [round(float(r2(target, one, np.ones(len(target)))), 4) for one in several],
        }
        for rival in RIVALS:
            if rival != name:
                ahead = _ahead(several, predicted[rival])
                row[f"minus {rival}"] = bootstrap.estimate(ahead, target, several[0], groups).as_list()
        rows.append(row)
    return rows


def as_markdown(rows: Sequence[Mapping[str, Any]], seeds: int) -> str:
    """Return the rows as a Markdown table; intervals are 95 %, of whole blocks resampled."""
    heads = ["features", f"R² (mean of {seeds} seeds)" if seeds > 1 else "R²", *(f"minus {rival}" for rival in RIVALS)]
    lines = [" | ".join(heads), " | ".join(["---"] + ["---:"] * (len(heads) - 1))]
    for row in rows:
        cells = [_cell(row["r2"], ""), *(_cell(row.get(f"minus {rival}"), "+") for rival in RIVALS)]
        if len(row["by_seed"]) > 1:
            cells[0] += f"; seeds {', '.join(f'{value:.2f}' for value in row['by_seed'])}"
        lines.append(" | ".join([row["name"], *cells]))
    return "".join(f"| {line} |\n" for line in lines)


def text_vectors(area: Area, images: NDArray[np.object_], components: int, seed: int = 0) -> Embeddings:
    """Return TF-IDF of the captions of each image, reduced to `components` by singular value decomposition.

    An image without a caption has none. Fitted on all captions: no label is involved.
    """
    captions = area.captions[area.captions["image_id"].isin(images)]
    texts = captions.sort_values(["image_id", "rank"]).groupby("image_id")["caption"].agg(" ".join)
    if texts.empty:
        raise InputError(f"{area.path} holds no captions; `chorograph caption` writes some")
    vectors = latent_vectors(texts.tolist(), components, seed, min_df=2).astype(np.float32)
    unhashed = np.full(len(texts), "", dtype=object)
    return Embeddings(TEXT, f"tfidf {vectors.shape[1]}", texts.index.to_numpy(object), unhashed, vectors)


def encode_area(area: Area, loaded: ImageTextModel, images: pd.DataFrame, name: str) -> dict[str, Embeddings]:
    """Return both features of every image: `pooled` of unit length, and `tokens`, the mean of the decoder's tokens."""
    towers: Any = loaded.model
    towers.eval()
    uris = images["uri"].tolist()
    parts: dict[str, list[NDArray[np.float32]]] = {"pooled": [], "tokens": []}
    with torch.inference_mode():
        for start in range(0, len(uris), _BATCH):
            pixels = loaded.preprocessing.batch([area.read_image(uri) for uri in uris[start : start + _BATCH]])
            pooled, tokens = towers.visual(loaded.preprocessing.normalise(pixels, loaded.device))
            parts["pooled"].append(functional.normalize(pooled, dim=-1).cpu().numpy())
            parts["tokens"].append(tokens.mean(1).cpu().numpy())
    ids, hashes = images["image_id"].to_numpy(object), images["sha256"].fillna("").to_numpy(object)
    return {
        feature: Embeddings(f"{name}, {feature}", weights_digest(towers), ids, hashes, np.concatenate(batches))
        for feature, batches in parts.items()
    }


def _all_vectors(
    area: Area, config: TextSettings, out: Path, train: Train, ledger: Ledger, progress: Progress
) -> dict[str, list[Embeddings]]:
    """Return the vectors of every row of the table, one a seed."""
    images = area.images
    images = images[(images["view"] == "satellite") & images["uri"].notna()].drop_duplicates("image_id")
    ledger.count("images", len(images))
    vectors: dict[str, list[Embeddings]] = {variant.name: [] for variant in VARIANTS}
    vectors[UNTRAINED] = []
    for seed in config.seeds:
        encoded = {
            variant.folder: encode_area(area, _trained(config, variant, seed, out, train), images, variant.folder)
            for variant in {variant.folder: variant for variant in VARIANTS}.values()
        }
        for variant in VARIANTS:
            vectors[variant.name].append(encoded[variant.folder][variant.feature])
        fresh = new_model(config.model, seed=seed, captions=area.captions["caption"].tolist())
        vectors[UNTRAINED].append(encode_area(area, fresh, images, "untrained")["pooled"])
    vectors[TEXT] = [text_vectors(area, images["image_id"].to_numpy(object), config.components)]
    vectors[IMAGE] = [embed_images(area, "default", Ledger(), progress=progress)]
    return vectors


def _trained(config: TextSettings, variant: Variant, seed: int, out: Path, train: Train) -> ImageTextModel:
    """Return a trained model; one that was trained before with the same settings is read again."""
    folder = out / "models" / f"{variant.folder}-seed{seed}"
    train(variant, seed, folder)
    return load_checkpoint(folder, "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu")


def _predict(area: Area, embeddings: Embeddings, config: TextSettings, task: Task) -> NDArray[np.float64]:
    """Return held-out predictions (n,) in the fitted unit, NaN where a region lacks one of the modalities."""
    features = read_features(area, embeddings, modalities=config.modalities, pooling=config.pooling)
    seen = task.seen_by(features, config.modalities)
    predicted = cross_fit(seen.fused, seen.target, seen.folds, probe_maker(config)).predicted
    return np.where(seen.fused.present.all(1), predicted, np.nan)


def _mean_r2(several: Sequence[NDArray[np.float64]]) -> Metric:
    """Return a metric: the mean R2 of several predictions, whatever prediction it is handed."""
    return lambda target, _, weight: np.asarray(np.mean([r2(target, one, weight) for one in several], axis=0))


def _ahead(several: Sequence[NDArray[np.float64]], rival: Sequence[NDArray[np.float64]]) -> Metric:
    """Return a metric: by how much the mean R2 of `several` is above that of `rival`."""
    ours, theirs = _mean_r2(several), _mean_r2(rival)
    return lambda target, predicted, weight: np.asarray(
        ours(target, predicted, weight) - theirs(target, predicted, weight)
    )


def _cell(triple: Sequence[float | None] | None, sign: str) -> str:
    if triple is None or triple[0] is None:
        return ""
    value, lower, upper = triple
    interval = "" if lower is None or upper is None else f" ({lower:{sign}.2f} to {upper:{sign}.2f})"
    return f"{value:{sign}.2f}{interval}"
