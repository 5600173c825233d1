"""Decoding, judging and hashing JPEGs as `valid_images` does it, and a bare Pillow loop over as many threads.

`python benchmarks/curate_decode.py [FOLDER]` writes results/curate_decode.json: drawn images, and those of the folder.
Both sides are given the encoded bytes in memory (ours reads them from its pack); Pillow only decodes to RGB. Sides take
turns.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chorograph.curation.packs import PackWriter
from chorograph.curation.rows import SCHEMA, Context
from chorograph.curation.steps.validity import ValidImages
from synthetic_web import draw_aerial

RESULT = Path(__file__).parent / "results" / "curate_decode.json"
ROUNDS = 11
SIDES = (256, 512, 1024)
NUMBER = {256: 2000, 512: 800, 1024: 250}


def drawn(side: int, number: int) -> list[bytes]:
    """Return JPEGs of scenes drawn from a seed; a twentieth of them different, so that drawing does not take long."""
    generator = np.random.default_rng(side)
    scenes = []
    for _ in range(max(20, number // 20)):
        file = io.BytesIO()
        draw_aerial(generator).resize((side, side)).save(file, "JPEG", quality=85)
        scenes.append(file.getvalue())
    return [scenes[place % len(scenes)] for place in range(number)]


def pillow(data: bytes) -> tuple[int, int]:
    """Decode as anybody would."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.load()
    return image.size


def compare(images: list[bytes]) -> dict[str, Any]:
    threads = os.cpu_count() or 1
    seconds: dict[str, list[float]] = {"pillow": [], "ours": []}
    cpu: dict[str, list[float]] = {"pillow": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        context = Context(folder)
        empty = dict.fromkeys(SCHEMA.names)
        with PackWriter(Path(folder)) as writer:
            records = [writer.add(place, {}, data) for place, data in enumerate(images)]
        for _ in range(ROUNDS):
            begun, used = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(max_workers=threads) as pool:
                sizes = list(pool.map(pillow, images))
            seconds["pillow"].append(time.perf_counter() - begun)
            cpu["pillow"].append(time.process_time() - used)
            rows = [{**empty, "key": r.key, "pack": r.pack, "offset": r.offset, "length": r.length} for r in records]
            begun, used = time.perf_counter(), time.process_time()
            drops = ValidImages().apply(rows, context)
            seconds["ours"].append(time.perf_counter() - begun)
            cpu["ours"].append(time.process_time() - used)
            if any(drops) or sizes != [(row["width"], row["height"]) for row in rows]:
                raise SystemExit("the two sides disagree")
    rate = {side: len(images) / float(np.median(times)) for side, times in seconds.items()}
    # Round by round: what others do to the machine meanwhile is likelier to meet both sides of one round alike.
    ratios = [theirs / ours for theirs, ours in zip(seconds["pillow"], seconds["ours"], strict=True)]
    spent = {side: 1e3 * min(times) / len(images) for side, times in cpu.items()}
    return {
        "images": len(images),
        "kB each": round(float(np.mean([len(data) for data in images])) / 1e3, 1),
        "images a second": {side: round(value) for side, value in rate.items()},
        "CPU ms an image": {side: round(value, 3) for side, value in spent.items()},
        "ours / Pillow": round(float(np.median(ratios)), 2),
        "ours / Pillow, by CPU": round(spent["pillow"] / spent["ours"], 2),
    }


def main() -> None:
    rows = {f"drawn, {side} px": compare(drawn(side, NUMBER[side])) for side in SIDES}
    if len(sys.argv) > 1:
        files = sorted(Path(sys.argv[1]).rglob("*.jpg"))[:2000]
        rows[f"files of {Path(sys.argv[1]).name}"] = compare([file.read_bytes() for file in files])
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__},
        "threads": os.cpu_count(),
        **rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
