"""Encoding an area's images: `chorograph embed` beside a plain open_clip loop over a DataLoader.

    python benchmarks/bulk_embedding.py [--images FOLDER] [--model ViT-B-32] [--number 512] [--device cpu|cuda]

Prints one JSON object and writes results/bulk_embedding.json (with `--device cuda`, results/bulk_embedding-cuda.json).
The peer is what open_clip's users write: files, open_clip's transform in DataLoader workers, `encode_image` in
inference mode, float32. Ours is `embed_images` of an area with the same files, in float32 and in bfloat16 (`@bf16`),
vectors written at the end. The weights are random, drawn from one seed: their values do not change the time. Sides take
turns within the run, each time in a process of its own. On a CPU, rates go by the processor time of all its threads and
workers, so that other work on the machine does not decide them; on a GPU, by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RESULTS = Path(__file__).with_name("results")
BATCH, SEED = 64, 0
SIDES = ("ours, fp32", "ours, bf16", "peer")


def encode_ours(area: str, model: str, device: str, workers: int) -> NDArray[np.float32]:
    from chorograph.area.folder import Area
    from chorograph.embedding.run import embed_images
    from chorograph.ground.stage import Ledger

    return embed_images(Area.open(area), model, Ledger(), device=device).vectors


def encode_peer(area: str, model: str, device: str, workers: int) -> NDArray[np.float32]:
    """Encode the files of a folder, as open_clip's users do."""
    import open_clip
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    architecture, _, file = model.removeprefix("open_clip:").partition("/")
    net, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=file, device=device)
    files = sorted(Path(area, "images").iterdir())

    class Files(Dataset[Any]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, row: int) -> Any:
            return transform(Image.open(files[row]))

    net.eval()
    with torch.inference_mode():
        batches = DataLoader(Files(), batch_size=BATCH, num_workers=workers)
        return np.concatenate([net.encode_image(part.to(device), normalize=True).cpu().numpy() for part in batches])


def measure(side: str, area: str, model: str, device: str, threads: int, out: str) -> dict[str, float]:
    """Time one pass over all images, less one over a few: loading of libraries and weights is in both."""
    import torch

    torch.set_num_threads(threads)
    encode = encode_peer if side == "peer" else encode_ours
    name = f"{model}@bf16" if side == "ours, bf16" else model
    encode(f"{area}-few", name, device, threads)
    for stale in Path(f"{area}-few").glob("embeddings/*"):
        stale.unlink()
    fixed, few = _timed(lambda: encode(f"{area}-few", name, device, threads), device)
    seconds, vectors = _timed(lambda: encode(area, name, device, threads), device)
    np.save(out, vectors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"rate": (len(vectors) - len(few)) / (seconds - fixed), "whole": len(vectors) / seconds, "peak": peak}


def _timed(work: Any, device: str) -> tuple[float, Any]:
    def now() -> float:
        if device != "cpu":
            return time.perf_counter()
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    start = now()
    result = work()
    return now() - start, result


def make_area(path: Path, files: list[bytes]) -> None:
    from chorograph.area.draft import AreaDraft

    with AreaDraft(path, path.name) as draft:
        ids = [f"{row:06d}" for row in range(len(files))]
        added = [draft.add_image(image_id, data) for image_id, data in zip(ids, files, strict=True)]
        images = pd.DataFrame({"image_id": ids, "uri": [uri for uri, _ in added], "sha256": [s for _, s in added]})
        draft.write("images", images.assign(view="satellite", source="benchmark", licence="each image's own"))


def compare(folder: Path | None, model: str, number: int, rounds: int, device: str, threads: int) -> dict[str, Any]:
    import torch

    from chorograph.models.encoders.open_clip import load_open_clip

    if folder is None:
        from shard_reading import make_images

        files = [data + row.to_bytes(4) for row, data in enumerate(make_images(None, 256, number))]
    else:
        files = [file.read_bytes() for file in sorted(folder.glob("*.jpg"))[:number]]
    told: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch, "weights.pt")
        torch.save(load_open_clip(model, seed=SEED).model.state_dict(), weights)
        area = Path(scratch, "area")
        make_area(area, files)
        make_area(Path(f"{area}-few"), files[: min(BATCH, len(files)) // 2])
        for _ in range(rounds):
            for side in SIDES:
                for stale in (*area.glob("embeddings/*"), *Path(f"{area}-few").glob("embeddings/*")):
                    stale.unlink()
                out = Path(scratch, f"{side}.npy")
                command = [sys.executable, __file__, "--side", side, "--area", str(area), "--device", device]
                command += ["--model", f"open_clip:{model}/{weights}", "--threads", str(threads), "--out", str(out)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                told[side].append(json.loads(done.stdout))
        vectors = {side: np.load(Path(scratch, f"{side}.npy")) for side in SIDES}
    rates = {side: statistics.median(one["rate"] for one in measured) for side, measured in told.items()}
    unit = "images/s a core" if device == "cpu" else "images/s"
    similarity = {side: (vectors[side] * vectors["peer"]).sum(1) for side in SIDES[:2]}
    return {
        "images": len(files),
        **{f"{side}, {unit}": round(rate, 1) for side, rate in rates.items()},
        "ratio": round(rates["ours, bf16"] / rates["peer"], 2),
        "images/s, loading of the model included": {
            side: round(statistics.median(one["whole"] for one in measured), 1) for side, measured in told.items()
        },
        "ratio in fp32": round(rates["ours, fp32"] / rates["peer"], 2),
        "ratio, lowest and highest round": [
            round(pick(a["rate"] / b["rate"] for a, b in zip(told["ours, bf16"], told["peer"], strict=True)), 2)
            for pick in (min, max)
        ],
        "cosine with the peer's vectors, lowest": {side: round(float(s.min()), 6) for side, s in similarity.items()},
        "largest difference of a component from the peer's": {
            side: float(np.abs(vectors[side] - vectors["peer"]).max()) for side in SIDES[:2]
        },
        "peak GiB": {side: round(max(one["peak"] for one in measured), 2) for side, measured in told.items()},
    }


def machine() -> dict[str, Any]:
    import open_clip
    import torch

    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "bfloat16": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of JPEGs; without it, images are made")
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--number", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the model, and workers of the peer's DataLoader")
    for hidden in ("--side", "--area", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        told = measure(asked.side, asked.area, asked.model, asked.device, asked.threads, asked.out)
        print(json.dumps(told))
        return
    result = {
        "what": f"{asked.model}, 256 px images of an area to vectors",
        "peer": "open_clip's model and transform, DataLoader, float32",
        "from": "given images" if asked.images else "made of noise",
        "device": asked.device,
        "threads, and workers of the peer": asked.threads,
        **compare(asked.images, asked.model, asked.number, asked.rounds, asked.device, asked.threads),
        "machine": machine(),
    }
    name = "bulk_embedding.json" if asked.device == "cpu" else f"bulk_embedding-{asked.device}.json"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
