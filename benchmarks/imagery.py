"""What makes image vectors say more of a place? R2 from imagery alone on held-out blocks, beside the plain encoder.

    python benchmarks/imagery.py AREA --rsicd RSICD --work FOLDER [--rows "zoomed;adapted"]

AREA is the folder that recipes/king-county.yaml makes, with the vectors `colour+rcf:1024+efficientnet-lite0` and
`efficientnet-lite0`; RSICD is a folder of images named by class. Every row is the mean of a region's tiles read by a
Gaussian process on the folds of `chorograph predict`, with 95 % intervals and differences to the first row, both from
whole blocks resampled (the same ones). Nothing here sees a label before the probe does. Vectors are kept in FOLDER, so
that it can be run again.

Rows: `plain`; `coarse` (the tile also at half its size); `zoomed` (two opposite quarters, enlarged); `turned` (by a
quarter); `masked` (two opposite quarters grey); `adapted` (EfficientNet-Lite0 trained on RSICD's classes);
`neighbours` (`pretrain --objective neighbours` on the area's own tiles); `spread` (squares of the first components of
tiles, whose means hold a region's spread).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.ground.arrays import Matrix, Pixels, Vectors
from chorograph.ground.files import write_json
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import METRICS, BlockBootstrap
from chorograph.models.encoders.efficientnet import EfficientNetLite, load_efficientnet
from chorograph.models.graph.aligned import load_aligned
from chorograph.prediction.crossfit import cross_fit
from chorograph.prediction.features import Features, read_features
from chorograph.prediction.labels import Question
from chorograph.prediction.modalities import image_features
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.settings import TaskSettings
from chorograph.prediction.task import build_task, make_split
from chorograph.pretraining.config import NeighboursConfig
from chorograph.pretraining.objectives.neighbours import train_neighbours

VECTORS = "colour+rcf:1024+efficientnet-lite0"
#: The last numbers of `VECTORS` are EfficientNet's.
WIDTH = 768
INDICATORS = {
    "sale_price_median_usd": {"scale": "log"},
    "bachelor_or_higher": {"per": "population"},
    "average_household_size": {},
    "poverty_male_percent": {},
}
R2 = METRICS["r2"]
ROWS = ("plain", "coarse", "zoomed", "turned", "masked", "adapted", "neighbours", "spread")


def encode_tiles(area: Area, uris: list[str], encode: Callable[[Pixels], Vectors], path: Path) -> Vectors:
    """Return a vector a tile, kept in `path`."""
    if path.is_file():
        return np.asarray(np.load(path))
    start, vectors = time.perf_counter(), []
    for number, uri in enumerate(uris):
        vectors.append(encode(area.read_image(uri)))
        if number % 500 == 499:
            print(f"{path.stem}: {number + 1} of {len(uris)}, {time.perf_counter() - start:.0f} s", flush=True)
    np.save(path, np.stack(vectors))
    return np.stack(vectors)


def at_size(encoder: EfficientNetLite, size: int) -> EfficientNetLite:
    """Return the encoder that reads images at another size."""
    settings = {"mean": encoder.preprocessing.mean, "std": encoder.preprocessing.std, "size": size}
    return EfficientNetLite(encoder.model, type(encoder.preprocessing).of(settings))


def quarters(tile: Pixels) -> list[Pixels]:
    """Return two opposite quarters, which the encoder enlarges."""
    high, wide = tile.shape[0] // 2, tile.shape[1] // 2
    return [tile[:high, :wide], tile[high:, wide:]]


def turned(tile: Pixels) -> list[Pixels]:
    """Return the tile turned by a quarter."""
    return [np.ascontiguousarray(np.rot90(tile))]


def masked(tile: Pixels) -> list[Pixels]:
    """Return the tile with one diagonal pair of quarters in its mean colour."""
    hidden = tile.copy()
    high, wide = tile.shape[0] // 2, tile.shape[1] // 2
    hidden[:high, wide:] = hidden[high:, :wide] = tile.mean((0, 1)).astype(np.uint8)
    return [hidden]


VIEWS = {"zoomed": quarters, "turned": turned, "masked": masked}


def adapt(rsicd: Path, path: Path, epochs: int, seed: int) -> EfficientNetLite:
    """Return EfficientNet-Lite0 trained on the classes of `rsicd` (files named CLASS_NUMBER), kept in `path`."""
    encoder = load_efficientnet()
    model = encoder.model
    if path.is_file():
        model.load_state_dict(torch.load(path, weights_only=True))
        return encoder
    files = sorted((rsicd / "images").glob("*.jpg"))
    names = [file.stem.rpartition("_")[0] for file in files]
    classes = sorted(set(names))
    order = np.random.default_rng(seed).permutation(len(files))
    tested, trained = order[:300], order[300:]
    reader = at_size(encoder, 160)
    pixels = reader.preprocessing.batch([read_rgb(file.read_bytes()) for file in files])
    target = torch.tensor([classes.index(name) for name in names])
    torch.manual_seed(seed)
    head = nn.Linear(1280, len(classes))
    model.requires_grad_(True)
    optimiser = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-4, weight_decay=0.02)
    steps = epochs * (len(trained) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-4, total_steps=steps)

    def logits(rows: torch.Tensor) -> torch.Tensor:
        hidden = model.forward_features(reader.preprocessing.normalise(pixels[rows], "cpu"))  # type: ignore[operator]
        return head(hidden.mean((2, 3)))

    start = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        shuffled = torch.from_numpy(np.random.default_rng(seed + epoch).permutation(trained))
        for batch in shuffled[: len(trained) // 32 * 32].split(32):
            turned = torch.rot90(pixels[batch], int(torch.randint(4, (1,))), (2, 3))
            hidden = model.forward_features(reader.preprocessing.normalise(turned, "cpu"))  # type: ignore[operator]
            loss = functional.cross_entropy(head(hidden.mean((2, 3))), target[batch], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        model.eval()
        with torch.inference_mode():
            held = torch.from_numpy(tested)
            right = torch.cat([logits(part).argmax(1) == target[part] for part in held.split(64)])
        print(
            f"epoch {epoch + 1}: accuracy {right.float().mean():.3f}, {time.perf_counter() - start:.0f} s", flush=True
        )
    torch.save(model.state_dict(), path)
    model.requires_grad_(False)
    return encoder


def neighbours(area: Area, vectors: Vectors, work: Path, seed: int) -> Vectors:
    """Return the vectors of the layer that `pretrain --objective neighbours` trains on EfficientNet's."""
    out = work / f"neighbours-{seed}"
    if not (out / "model.safetensors").is_file():
        ledger = Ledger()
        train_neighbours(NeighboursConfig(area=area.path, out=out, seed=seed, device="cpu"), ledger)
        print(f"neighbours: loss {ledger.facts['loss']}", flush=True)
    with torch.inference_mode():
        return np.asarray(load_aligned(out).tower(torch.from_numpy(vectors)).numpy())


def spread(vectors: Vectors, components: int = 8) -> Vectors:
    """Return the squares of the first principal components of tiles: their means hold a region's spread."""
    centred = vectors - vectors.mean(0)
    scores = centred @ np.linalg.svd(centred, full_matrices=False)[2][:components].T
    return np.asarray((scores / scores.std(0)) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("area", type=Path)
    parser.add_argument("--rsicd", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", default=";".join(ROWS))
    parser.add_argument("--block-m", type=float, default=6000.0)
    parser.add_argument("--standard", action="store_true", help="context and location beside")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "imagery.json")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    area = Area.open(asked.area)
    held = Embeddings.read(area.embeddings_path(VECTORS))
    tiles = area.images.set_index("image_id").loc[held.image_ids]
    uris, ids = tiles["uri"].tolist(), area.regions["region_id"]
    plain = held.vectors

    def added(row: str) -> Vectors:
        if row == "coarse":
            half = at_size(load_efficientnet(), 128)
            return encode_tiles(area, uris, lambda tile: half.encode([tile])[0], asked.work / "coarse.npy")
        if row in VIEWS:
            encoder, views = load_efficientnet(), VIEWS[row]
            return encode_tiles(area, uris, lambda tile: encoder.encode(views(tile)).mean(0), asked.work / f"{row}.npy")
        if row == "adapted":
            adapted = adapt(asked.rsicd, asked.work / "adapted.pt", asked.epochs, asked.seed)
            return encode_tiles(area, uris, lambda tile: adapted.encode([tile])[0], asked.work / "adapted.npy")
        if row == "neighbours":
            return neighbours(area, np.ascontiguousarray(plain[:, -WIDTH:]), asked.work, asked.seed)
        return spread(plain[:, -WIDTH:])

    rows = [row for row in ROWS if row in asked.rows.split(";") or row == "plain"]
    parts = {row: added(row) for row in rows if row != "plain"}
    pooled = {row: image_features(area.images, held.image_ids, part, ids, "mean") for row, part in parts.items()}
    base = image_features(area.images, held.image_ids, plain, ids, "mean")
    ways: dict[str, dict[str, Matrix]] = {"plain": {"image": base}}
    for row in pooled:
        ways[f"plain and {row}"] = {"image": np.hstack([base, pooled[row]])}
        ways[f"plain and {row}, a kernel each"] = {"image": base, "street": pooled[row]}
        if row in ("turned", "masked", "adapted", "neighbours"):
            ways[f"{row} in place of EfficientNet"] = {"image": np.hstack([base[:, :-WIDTH], pooled[row]])}
            ways[f"{row} alone"] = {"image": pooled[row]}
    asks = {name: Features(area, blocks) for name, blocks in ways.items()}
    if asked.standard:
        vectors = {"plain": plain} | {f"{row} alone": part for row, part in parts.items() if row == "neighbours"}
        asks = {
            name: read_features(area, Embeddings(name, "", held.image_ids, held.sha256, some), modalities="standard")
            for name, some in vectors.items()
        }
    pictured = np.isfinite(base).all(1)
    modalities = "standard" if asked.standard else "all"
    settings = TaskSettings(block_m=asked.block_m, seed=asked.seed, modalities=modalities)
    bootstrap, found = BlockBootstrap(), []
    first: dict[str, Matrix] = {}
    for name, features in asks.items():
        scores: dict[str, dict[str, Any]] = {}
        for indicator, how in INDICATORS.items():
            task = build_task(features, Question(indicator, **how), settings, make_split(settings), Ledger())
            run = cross_fit(task.fused, task.target, task.folds, make_probe_maker("gp", seed=asked.seed))
            first.setdefault(indicator, run.predicted)
            rival = first[indicator]
            rows_ = task.labelled & pictured & np.isfinite(run.predicted) & np.isfinite(rival)
            target, groups = task.target[rows_], task.groups[rows_]

            def ahead(t: Matrix, p: Matrix, w: Matrix, other: Matrix = rival[rows_]) -> Matrix:
                return np.asarray(R2(t, p, w) - R2(t, other, w))

            scores[indicator] = {
                "r2": bootstrap.estimate(R2, target, run.predicted[rows_], groups).as_list(),
                "minus plain": bootstrap.estimate(ahead, target, run.predicted[rows_], groups).as_list(),
            }
        found.append({"row": name, "scores": scores})
        print(name, {indicator: score["r2"][0] for indicator, score in scores.items()}, flush=True)
    how = {"block_m": asked.block_m, "modalities": modalities, "epochs": asked.epochs, "seed": asked.seed}
    write_json(asked.out, {"vectors": VECTORS, **how, "rows": found})


if __name__ == "__main__":
    main()
