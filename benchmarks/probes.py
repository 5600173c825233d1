"""How long probes take: many indicators at once, many regions, a head on cached vectors beside UrbanCLIP's protocol.

    python benchmarks/probes.py [--encoder coca-small] [--area AREA] [--images 400]

Writes results/probes.json. Features and labels of the first two parts are made up: time does not depend on them. Each
part runs in a process of its own, whose peak memory is told. `--encoder` is a checkpoint folder or the name of an
architecture, which is then untrained; `--area` gives its images, else they are made up. The published protocol, written
anew from its description, holds decoded images in memory and encodes each one again in every epoch, two at a time; its
hundred epochs are extrapolated from the few that are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from chorograph.area.splits import Folds
from chorograph.predict.crossfit import Fused, cross_fit_many
from chorograph.predict.probes import make_probe_maker
from chorograph.predict.ridge import RidgePath

RESULT = Path(__file__).with_name("results") / "probes.json"
EPOCHS, MEASURED_EPOCHS = 100, 2


def many_indicators(regions: int = 400, width: int = 1024, indicators: int = 11, folds: int = 5) -> dict[str, Any]:
    """Cross-fit every indicator in every fold with ridge and with boosting, at once and one by one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(regions, width))
    targets = {f"i{k}": X[:, k] + rng.normal(size=regions) for k in range(indicators)}
    fold = np.arange(regions) % folds
    dealt = Folds(fold, fold, (np.zeros(regions, dtype=bool),) * folds)
    fused, seconds = Fused({"image": X}), {}
    for name in ("ridge", "boosting"):
        make = make_probe_maker(name, seed=0)
        start = time.perf_counter()
        together = cross_fit_many(fused, targets, lambda labelled: dealt, make)
        seconds[f"{name}, all at once"] = time.perf_counter() - start
        start = time.perf_counter()
        for key, target in targets.items():
            alone = cross_fit_many(fused, {key: target}, lambda labelled: dealt, make)[key]
            if not np.allclose(alone.predicted, together[key].predicted):
                raise SystemExit(f"{name}: together and one by one differ for {key}")
        seconds[f"{name}, one by one"] = time.perf_counter() - start
    return {
        "regions, columns, indicators, folds": [regions, width, indicators, folds],
        "seconds": {key: round(value, 2) for key, value in seconds.items()},
        "seconds of ridge and boosting, all at once": round(sum(v for k, v in seconds.items() if "once" in k), 2),
    }


def many_regions(regions: int = 100_000, width: int = 1024) -> dict[str, Any]:
    """Fit ridge with its whole path of penalties on float32 rows, and predict them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((regions, width), dtype=np.float32)
    y = X[:, :10].sum(1) + rng.normal(size=regions)
    before = _peak_gib()
    start = time.perf_counter()
    ridge = RidgePath().fit(X, y)
    fitted = time.perf_counter()
    ridge.predict(X)
    return {
        "regions, columns": [regions, width],
        "penalties": len(ridge.penalties),
        "seconds of fit, leave-one-out errors included": round(fitted - start, 1),
        "seconds of predict": round(time.perf_counter() - fitted, 1),
        "peak GiB, the rows' own included": round(_peak_gib(), 2),
        "peak GiB before": round(before, 2),
    }


def published_protocol(encoder: str, area: str | None, images: int) -> dict[str, Any]:
    """Time the head of UrbanCLIP on a frozen encoder: images encoded in every epoch, and once."""
    import torch

    from chorograph.models.checkpoint import load_checkpoint
    from chorograph.models.openclip import OpenClipEncoder, new_model
    from chorograph.predict.mlp import UrbanClipMlp

    words = ["a road", "houses and trees"]
    loaded = load_checkpoint(Path(encoder)) if Path(encoder).is_dir() else new_model(encoder, seed=0, captions=words)
    pixels = _images(area, images)
    y = np.random.default_rng(0).normal(size=len(pixels))
    start = time.perf_counter()
    vectors = OpenClipEncoder(encoder, loaded).encode(pixels)
    embedded = time.perf_counter()
    UrbanClipMlp(epochs=1).fit(vectors, y)  # importing the optimiser takes seconds, once
    warm = time.perf_counter()
    head = UrbanClipMlp().fit(vectors, y)
    trained = time.perf_counter()
    RidgePath().fit(vectors, y)
    ridge = time.perf_counter() - trained
    embed, mlp = embedded - start, trained - warm

    held_in_memory = loaded.preprocessing.batch(pixels)
    z = torch.as_tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    kept, held = torch.arange(len(y)).tensor_split([int(0.8 * len(y))])
    network = torch.nn.Sequential(
        torch.nn.Linear(loaded.dim, 256), torch.nn.ReLU(), torch.nn.Dropout(0.01), torch.nn.Linear(256, 1)
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-4, weight_decay=0.01)
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(False)
    start = time.perf_counter()
    for _ in range(MEASURED_EPOCHS):
        for batch in kept[torch.randperm(len(kept))].split(2):
            loss = torch.nn.functional.mse_loss(network(loaded.encode_pixels(held_in_memory[batch]))[:, 0], z[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            for batch in held.split(2):
                network(loaded.encode_pixels(held_in_memory[batch]))
    epoch = (time.perf_counter() - start) / MEASURED_EPOCHS
    return {
        "encoder": f"{loaded.architecture}, {sum(p.numel() for p in loaded.model.visual.parameters()):,} parameters",
        "images": len(pixels),
        "published: seconds an epoch, measured over": [round(epoch, 3), MEASURED_EPOCHS],
        f"published: seconds of {EPOCHS} epochs, extrapolated": round(EPOCHS * epoch, 1),
        "ours: seconds of embedding once": round(embed, 3),
        "ours: seconds of the same head on cached vectors, 100 epochs of pairs": round(mlp, 3),
        "ours: seconds of ridge on cached vectors": round(ridge, 4),
        "published / ours, same head": round(EPOCHS * epoch / (embed + mlp), 1),
        "published / ours, ridge": round(EPOCHS * epoch / (embed + ridge), 1),
        "a second indicator: published / ours, same head": round(EPOCHS * epoch / mlp, 1),
        "best epoch of the head": head.best_epoch_,
    }


def _images(area: str | None, number: int) -> list[Any]:
    if area is None:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(number)]
    from chorograph.area.folder import Area

    folder = Area.open(Path(area))
    return [folder.read_image(uri) for uri in folder.images["uri"].dropna().head(number)]


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="coca-small")
    parser.add_argument("--area")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--part", choices=("indicators", "regions", "protocol"), help="one part, to standard output")
    asked = parser.parse_args()
    parts = {
        "indicators": many_indicators,
        "regions": many_regions,
        "protocol": lambda: published_protocol(asked.encoder, asked.area, asked.images),
    }
    if asked.part:
        print(json.dumps(parts[asked.part]()))
        return
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    load = os.getloadavg()[0]
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), **versions},
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load of the machine by others at the start": round(load, 1),
    }
    for part in parts:
        command = [sys.executable, __file__, *sys.argv[1:], "--part", part]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        result[part] = json.loads(done.stdout)
        print(part, json.dumps(result[part], indent=2), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
