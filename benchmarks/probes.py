"""How long probes take: many indicators at once, many regions, a head on cached vectors beside UrbanCLIP's protocol.

    python benchmarks/probes.py [--encoder coca-small] [--large coca_ViT-B-32] [--area AREA]

Writes results/probes.json. Features and labels of the first two parts are made up: time does not depend on them. Each
part runs in a process of its own, whose peak memory is told. `--encoder` and `--large` are checkpoint folders or names
of architectures, which are then untrained; `--area` gives images, else they are made up. The published protocol,
written anew from its description, holds resized images in memory and encodes each one again in every epoch, two at a
time; its hundred epochs are extrapolated from the two that are measured.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from chorograph.area.splits import Folds
from chorograph.prediction.crossfit import Fused, cross_fit_many
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.probes.ridge import RidgePath

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
    from chorograph.models.encoders.open_clip import OpenClipEncoder, new_model
    from chorograph.prediction.probes.mlp import UrbanClipMlp

    words = ["a road", "houses and trees"]
    loaded = load_checkpoint(Path(encoder)) if Path(encoder).is_dir() else new_model(encoder, seed=0, captions=words)
    pixels = _images(area, images)
    y = np.random.default_rng(0).normal(size=len(pixels))
    embed, vectors = _timed(lambda: OpenClipEncoder(encoder, loaded).encode(pixels))
    UrbanClipMlp(epochs=1).fit(vectors, y)  # importing the optimiser takes seconds, once
    head, _ = _timed(lambda: UrbanClipMlp(epochs=EPOCHS).fit(vectors, y))
    ridge, _ = _timed(lambda: RidgePath().fit(vectors, y))
    prepare, in_memory = _timed(lambda: loaded.preprocessing.batch(pixels))

    z = torch.as_tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    kept, held = torch.arange(len(y)).tensor_split([int(0.8 * len(y))])
    network = torch.nn.Sequential(
        torch.nn.Linear(loaded.dim, 256), torch.nn.ReLU(), torch.nn.Dropout(0.01), torch.nn.Linear(256, 1)
    )
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(False)
    # The published optimiser holds the frozen parameters too.
    optimiser = torch.optim.AdamW([*loaded.model.parameters(), *network.parameters()], lr=3e-4, weight_decay=0.01)

    def epochs() -> None:
        for _ in range(MEASURED_EPOCHS):
            for batch in kept[torch.randperm(len(kept))].split(2):
                predicted = network(loaded.encode_pixels(in_memory[batch]))[:, 0]
                loss = torch.nn.functional.mse_loss(predicted, z[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                for batch in held.split(2):
                    network(loaded.encode_pixels(in_memory[batch]))

    epoch = _timed(epochs)[0] / MEASURED_EPOCHS
    published = prepare + EPOCHS * epoch
    parameters = sum(parameter.numel() for parameter in loaded.model.visual.parameters())
    return {
        "encoder": f"{loaded.architecture}, {parameters:,} parameters in the image tower",
        "images": len(pixels),
        "published: seconds an epoch, mean of 2": round(epoch, 3),
        "published: seconds of 100 epochs, extrapolated": round(published, 1),
        "ours: seconds of embedding once, resizing included": round(embed, 3),
        "ours: seconds of the same head on cached vectors, 100 epochs of pairs": round(head, 3),
        "ours: seconds of ridge on cached vectors": round(ridge, 4),
        "published / ours, ridge": round(published / (embed + ridge), 1),
        "published / ours, same head": round(published / (embed + head), 1),
        # It is run anew for carbon, population and GDP; vectors serve all three.
        "published / ours, three indicators, ridge": round(3 * published / (embed + 3 * ridge), 1),
        "published / ours, three indicators, same head": round(3 * published / (embed + 3 * head), 1),
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


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
    parser.add_argument("--large", default="coca_ViT-B-32")
    parser.add_argument("--area")
    parser.add_argument("--part", help="one part, to standard output")
    asked = parser.parse_args()
    parts = {
        "many indicators": many_indicators,
        "many regions": many_regions,
        "protocol, small encoder": lambda: published_protocol(asked.encoder, asked.area, 400),
        "protocol, larger encoder": lambda: published_protocol(asked.large, asked.area, 64),
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
