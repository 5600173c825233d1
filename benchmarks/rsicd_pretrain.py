"""A CoCa from scratch on RSICD beside what needs no training: canonical correlation, and the nearest image's caption.

    chorograph area import rsicd DATA rsicd
    chorograph pretrain rsicd rsicd-coca ...      # the settings are in the checkpoint's config.json
    OMP_NUM_THREADS=2 python benchmarks/rsicd_pretrain.py rsicd rsicd-coca

All three see the same training images and are judged on the same held-out ones (the checkpoint's own hold-out).
Canonical correlation maps `default` image features and TF-IDF captions into one space; its ridge and its number of
components are chosen on a tenth of the training images. The nearest image is the one of highest cosine of standardised
`default` features among the training images, or of the trained tower's own features; its first caption is taken.
Writes benchmarks/results/rsicd_pretrain.json, with ten generated captions beside the human ones.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.feature_extraction.text import TfidfVectorizer

from chorograph.area.folder import Area
from chorograph.ground.files import read_json, write_json
from chorograph.metrics.captions import cider_d, distinct, tokenize
from chorograph.metrics.retrieval import belonging, best_ranks, recalls
from chorograph.models.checkpoint import load_checkpoint
from chorograph.models.coca.decoding import caption_evidence, generate
from chorograph.models.encoders.open_clip import OpenClipEncoder
from chorograph.models.encoders.registry import load_encoder
from chorograph.pretraining.feeds.pairs import assign_roles

RESULTS = Path(__file__).parent / "results" / "rsicd_pretrain.json"
Matrix = NDArray[np.float64]
Captions = list[tuple[str, ...]]
RIDGES = (0.01, 0.1, 1.0, 10.0)
COMPONENTS = (16, 32, 64, 128, 256)


def unit(features: Any) -> Any:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def whitening(covariance: Matrix, ridge: float) -> Matrix:
    """Return W with W.T @ (covariance + ridge * mean variance) @ W = 1."""
    values, vectors = eigh(covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
    return vectors / np.sqrt(values)


class Canonical:
    """Regularised canonical correlation in closed form; directions are weighted by their correlation."""

    def __init__(self, images: Matrix, texts: Matrix, ridge: float) -> None:
        self.means = images.mean(0), texts.mean(0)
        x, y = images - self.means[0], texts - self.means[1]
        left, right = whitening(x.T @ x / len(x), ridge), whitening(y.T @ y / len(y), ridge)
        u, correlation, vt = np.linalg.svd(left.T @ (x.T @ y / len(x)) @ right, full_matrices=False)
        self.maps = left @ u * correlation, right @ vt.T * correlation

    def __call__(self, side: int, features: Matrix, components: int) -> NDArray[np.float32]:
        return unit((features - self.means[side]) @ self.maps[side][:, :components]).astype(np.float32)


def linear(train: Matrix, captions: Captions, test: Matrix, test_captions: Captions, seed: int) -> dict[str, Any]:
    """Return the recalls of canonical correlation, and the ridge and components that were chosen for it."""

    def fit(rows: NDArray[np.int64], ridge: float) -> tuple[TfidfVectorizer, Canonical]:
        texts = [text for row in rows for text in captions[row]]
        owner = np.repeat(rows, [len(captions[row]) for row in rows])
        words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, min_df=2)  # noqa: S106  # no password
        return words, Canonical(train[owner], words.fit_transform(texts).toarray(), ridge)

    def score(fitted: Any, components: int, images: Matrix, wanted: Captions) -> dict[str, float]:
        words, canonical = fitted
        texts, pairs = belonging(wanted)
        encoded = canonical(1, words.transform(texts).toarray(), components)
        return recalls(best_ranks(canonical(0, images, components), encoded, pairs))

    order = np.random.default_rng(seed).permutation(len(train))
    inner, outer = order[: len(order) // 10], order[len(order) // 10 :]
    tried = {}
    for ridge in RIDGES:
        fitted = fit(outer, ridge)
        for components in COMPONENTS:
            found = score(fitted, components, train[inner], [captions[row] for row in inner])
            tried[ridge, components] = found["mean_recall"]
    ridge, components = max(tried, key=lambda key: tried[key])
    return {
        "ridge": ridge,
        "components": components,
        **score(fit(np.sort(order), ridge), components, test, test_captions),
    }


def nearest(train: Any, captions: Captions, test: Any) -> list[str]:
    """Return the first caption of the training image nearest to each test image, by cosine."""
    return [captions[row][0] for row in (unit(test) @ unit(train).T).argmax(1)]


def cider(written: list[str], captions: Captions) -> float:
    return float(cider_d([tokenize(t) for t in written], [[tokenize(t) for t in group] for group in captions]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("area", type=Path)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="without it, the baselines alone")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    area = Area.open(asked.area)
    settings = {"holdout": "0.1", "seed": 0}
    if asked.checkpoint:
        settings = read_json(asked.checkpoint / "config.json")["settings"]
    images = area.images[area.images["uri"].notna()].sort_values("image_id").reset_index(drop=True)
    ordered = area.captions.sort_values(["image_id", "rank", "caption_id"])
    grouped = ordered.groupby("image_id", sort=False)["caption"].agg(tuple)
    captions: Captions = [grouped[image_id] for image_id in images["image_id"]]
    roles = assign_roles(area, images, str(settings["holdout"]), int(settings["seed"]))
    train, held = np.flatnonzero(roles.train), np.flatnonzero(roles.held)
    pixels = [area.read_image(uri) for uri in images["uri"]]
    known, wanted = [captions[row] for row in train], [captions[row] for row in held]

    started = time.perf_counter()
    encoder: Any = load_encoder("default")
    for part in encoder.parts:
        if hasattr(part, "fit"):
            part.fit([pixels[row] for row in train], seed=0)
    raw = np.asarray(encoder.encode(pixels), dtype=np.float64)
    default = (raw - raw[train].mean(0)) / np.maximum(raw[train].std(0), 1e-9)
    copied = nearest(default[train], known, default[held])
    found: dict[str, Any] = {
        "training_images": len(train),
        "held_out_images": len(held),
        "held_out": roles.how,
        "linear": linear(default[train], known, default[held], wanted, seed=0),
        "nearest_caption_cider": cider(copied, wanted),
        "baseline_s": round(time.perf_counter() - started, 1),
    }
    if asked.checkpoint:
        loaded = load_checkpoint(asked.checkpoint)
        model = OpenClipEncoder(str(asked.checkpoint), loaded)
        features = model.encode(pixels)
        texts, pairs = belonging(wanted)
        text_features = model.encode_texts(texts)
        scores = recalls(best_ranks(features[held], text_features, pairs))
        logits = float(loaded.model.logit_scale.detach().exp()) * features[held] @ text_features.T
        both = (logits + caption_evidence(loaded, [pixels[row] for row in held], texts)).astype(np.float32)
        written = generate(loaded, [pixels[row] for row in held])
        own = nearest(features[train], known, features[held])
        found["coca"] = {
            **scores,
            "contrast_and_decoder": recalls(best_ranks(both, np.eye(len(texts), dtype=np.float32), pairs)),
            "cider": cider(written, wanted),
            "nearest_by_its_own_features_cider": cider(own, wanted),
            "distinct_2": distinct([tokenize(text) for text in written], 2),
            "distinct_captions": len(set(written)),
            "settings": {name: value for name, value in settings.items() if name not in ("area", "out", "init")},
        }
        chosen = np.random.default_rng(0).choice(len(held), 10, replace=False)
        found["captions"] = [
            {"image": str(images["image_id"][held[row]]), "generated": written[row], "human": list(wanted[row])}
            for row in sorted(chosen)
        ]
    found |= {
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
    }
    write_json(asked.out, found)
    print(found)


if __name__ == "__main__":
    main()
