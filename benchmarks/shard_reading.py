"""Reading shards: ours beside webdataset with open_clip's preprocessing, as RS5M's loader puts them together.

    python benchmarks/shard_reading.py [--images FOLDER] [--device cpu|cuda] [--rounds 5]

Prints one JSON object and writes results/shard_reading.json (with `--device cuda`, results/shard_reading-cuda.json).
One process and one thread a side, and rates go by its processor time, so they are a core's, also on a machine that
others use; sides take turns within the run, each time in a process of its own, whose peak memory is told. Both shuffle,
read captions and batch; the peer delivers normalised float32, ours uint8, which is normalised where the model is: the
rate with that done on the same core stands beside.

`--images` is a folder of JPEGs; larger ones are mosaics of them. Without it, images are made of noise at many scales.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

RESULTS = Path(__file__).with_name("results")
#: Side of the images in pixels, and how many.
SIZES = {256: 1500, 1024: 200}
SIDE, BATCH, SHUFFLE = 224, 100, 1000


# The two sides ------------------------------------------------------------------------------------------------------


def read_ours(shards: list[Path], device: str, normalise: bool) -> Iterator[Any]:
    import open_clip
    import torch

    from chorograph.models.preprocessing import Preprocessing
    from chorograph.shards.order import epoch_order, global_batches
    from chorograph.shards.pairs import open_pairs

    settings = {"size": SIDE, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    preprocessing = Preprocessing.of(settings)
    pairs = open_pairs(shards, lambda reason: sys.exit(f"the benchmark's own shard: {reason}"))
    for rows in global_batches(epoch_order(len(pairs), seed=0, epoch=0), BATCH):
        pixels = np.stack([preprocessing.decode(pairs.image(row)) for row in rows])
        captions = [pairs.caption(row) for row in rows]
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        yield (preprocessing.normalise(batch, device) if normalise or device != "cpu" else batch), captions


def read_peer(shards: list[Path], device: str, normalise: bool) -> Iterator[Any]:
    """Read as RS5M's loader does, its three keys decoded and open_clip's transform applied as samples are read."""
    import open_clip
    import webdataset

    transform = open_clip.transform.image_transform(SIDE, is_train=False)
    dataset = (
        webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False)
        .shuffle(SHUFFLE)
        .to_tuple("img_content", "img_name", "caption")
        .map_tuple(lambda data: transform(Image.open(io.BytesIO(data))), bytes.decode, bytes.decode)
        .batched(BATCH)
    )
    for images, _, captions in dataset:
        yield images.to(device), captions


def measure(side: str, shards: list[Path], device: str) -> dict[str, float]:
    """Time one pass over the shards, after a first batch that warms libraries up."""
    import torch

    torch.set_num_threads(1)
    read = read_peer if side == "peer" else read_ours
    for images, captions in read(shards, device, side != "ours"):
        assert len(images) == len(captions)  # noqa: S101
        break
    number, start, began = 0, time.process_time(), time.perf_counter()
    for images, _ in read(shards, device, side != "ours"):
        number += len(images)
    if device != "cpu":
        torch.cuda.synchronize()
    seconds, passed = time.process_time() - start, time.perf_counter() - began
    return {
        "rate": number / seconds,
        "wall": number / passed,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


# What they read -----------------------------------------------------------------------------------------------------


def make_images(folder: Path | None, side: int, number: int) -> list[bytes]:
    """Return encoded images of side x side pixels: files of that size, else mosaics of them, else noise."""
    if folder is None:
        return [_encode(_noise(side, seed)) for seed in range(min(number, 40))] * -(-number // min(number, 40))
    files = sorted([*folder.glob("*.jpg"), *folder.glob("*.jpeg")])
    first = np.asarray(Image.open(files[0]).convert("RGB"))
    if first.shape[:2] == (side, side):
        return [file.read_bytes() for file in files[:number]]
    across = -(-side // first.shape[1])
    mosaics = []
    for start in range(0, min(number, 60) * across**2, across**2):
        tiles = [
            np.asarray(Image.open(files[(start + k) % len(files)]).convert("RGB").resize(first.shape[1::-1]))
            for k in range(across**2)
        ]
        rows = [np.concatenate(tiles[row * across : (row + 1) * across], axis=1) for row in range(across)]
        mosaics.append(_encode(np.concatenate(rows, axis=0)[:side, :side]))
    return (mosaics * -(-number // len(mosaics)))[:number]


def _noise(side: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for scale in (4, 16, 64, side):
        small = Image.fromarray(rng.integers(0, 256, (scale, scale, 3), dtype=np.uint8))
        total += np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)) / (1 + scale / 32)
    return (255 * (total - total.min()) / (total.max() - total.min())).astype(np.uint8)


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(
        simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90, colorspace="RGB", colorsubsampling="420")
    )


def pixel_difference(images: list[bytes]) -> dict[str, float]:
    """Return how far ours is from open_clip's transform, in grey levels of 255."""
    import open_clip

    from chorograph.models.preprocessing import Preprocessing

    settings = {"size": SIDE, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    preprocessing, transform = Preprocessing.of(settings), open_clip.transform.image_transform(SIDE, is_train=False)
    mean, std = (np.array(settings[name])[:, None, None] for name in ("mean", "std"))
    differences = []
    for data in images:
        theirs = 255 * (transform(Image.open(io.BytesIO(data))).numpy() * std + mean)
        differences.append(np.abs(preprocessing.decode(data).transpose(2, 0, 1) - theirs))
    values = np.concatenate([difference.ravel() for difference in differences])
    return {
        "mean": round(float(values.mean()), 2),
        "99th percentile": round(float(np.percentile(values, 99)), 1),
        "largest": round(float(values.max()), 1),
    }


# The comparison -----------------------------------------------------------------------------------------------------


def compare(folder: Path | None, side: int, number: int, rounds: int, device: str) -> dict[str, Any]:
    from chorograph.shards.write import ShardWriter

    images = make_images(folder, side, number)
    with tempfile.TemporaryDirectory() as scratch:
        with ShardWriter(Path(scratch), "{:04d}.tar", max_samples=-(-len(images) // 4)) as writer:
            for row, data in enumerate(images):
                name = f"pub11/{row}.jpg"
                members = {"img_name": name, "img_content": data, "caption": f"an aerial photo of place {row}"}
                writer.write(f"{row:07d}", members)
        told: dict[str, list[dict[str, float]]] = {"ours": [], "peer": [], "ours, normalised": []}
        for _ in range(rounds):
            for name, measured in told.items():
                command = [sys.executable, __file__, "--side", name, "--device", device, *map(str, writer.paths)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                measured.append(json.loads(done.stdout))
    rates = {name: statistics.median(one["rate"] for one in measured) for name, measured in told.items()}
    ratios = [ours["rate"] / peer["rate"] for ours, peer in zip(told["ours"], told["peer"], strict=True)]
    return {
        "images": len(images),
        "kB an image": round(sum(map(len, images)) / len(images) / 1000, 1),
        "ours, images/s a core": round(rates["ours"]),
        "peer, images/s a core": round(rates["peer"]),
        "ratio": round(rates["ours"] / rates["peer"], 2),
        "ratio, lowest and highest round": [round(min(ratios), 2), round(max(ratios), 2)],
        "ours normalised on the same core, images/s a core": round(rates["ours, normalised"]),
        "ratio with that": round(rates["ours, normalised"] / rates["peer"], 2),
        "images/s by the clock, others at work beside": {
            name: round(statistics.median(one["wall"] for one in measured)) for name, measured in told.items()
        },
        "peak GiB": {name: round(max(one["peak"] for one in measured), 2) for name, measured in told.items()},
        "difference from open_clip's transform, of 255": pixel_difference(images[:60]),
    }


def machine() -> dict[str, Any]:
    import open_clip
    import torch
    import webdataset

    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "webdataset": webdataset.__version__,
        "simplejpeg": simplejpeg.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of JPEGs; without it, images are made")
    parser.add_argument("--device", default="cpu", help="where batches are needed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("shards", nargs="*", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(measure(asked.side, asked.shards, asked.device)))
        return
    result = {
        "what": f"JPEGs in tars to {SIDE} px, one core",
        "peer": f"webdataset, Pillow, open_clip's evaluation transform; shuffle {SHUFFLE}",
        "from": "given images" if asked.images else "made of noise",
        "device": asked.device,
        **{
            f"{side} px": compare(asked.images, side, number, asked.rounds, asked.device)
            for side, number in SIZES.items()
        },
        "machine": machine(),
    }
    name = "shard_reading.json" if asked.device == "cpu" else f"shard_reading-{asked.device}.json"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
