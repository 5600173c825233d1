"""Exact retrieval ranks against the bare matrix products: time and peak memory.

    OMP_NUM_THREADS=2 python benchmarks/retrieval.py [--images 100000] [--texts 500000] [--dim 512]

In one run, on the same features and blocks: half of the bare products, the ranks, the other half, so that whatever else
the machine does slows both. Writes benchmarks/results/retrieval.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.files import write_json
from chorograph.metrics import retrieval
from chorograph.metrics.retrieval import Belonging, best_ranks, recalls

RESULTS = Path(__file__).parent / "results" / "retrieval.json"


def features(number: int, dim: int, rng: np.random.Generator) -> NDArray[np.float32]:
    vectors = rng.standard_normal((number, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def bare(images: NDArray[np.float32], texts: NDArray[np.float32]) -> float:
    """Multiply all blocks, keep nothing; return the seconds it took."""
    started = time.perf_counter()
    for a in range(0, len(images), retrieval._IMAGES):
        for b in range(0, len(texts), retrieval._TEXTS):
            images[a : a + retrieval._IMAGES] @ texts[b : b + retrieval._TEXTS].T
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    images, texts = features(asked.images, asked.dim, rng), features(asked.texts, asked.dim, rng)
    owner = np.arange(asked.texts) % asked.images
    for start in range(0, asked.texts, 10_000):  # texts somewhat like their images, without a second copy of all
        texts[start : start + 10_000] += 0.2 * images[owner[start : start + 10_000]]
    pairs = Belonging(asked.images, asked.texts, owner, np.arange(asked.texts))
    half = asked.images // 2
    before = bare(images[:half], texts)
    held = peak_gib()
    started = time.perf_counter()
    ranks = best_ranks(images, texts, pairs, count_ties=False)
    seconds = time.perf_counter() - started
    peak = peak_gib()
    products = before + bare(images[half:], texts)
    found = {
        "images": asked.images,
        "texts": asked.texts,
        "dim": asked.dim,
        "bare_products_s": round(products, 2),
        "ranks_s": round(seconds, 2),
        "ratio": round(seconds / products, 3),
        "peak_gib": round(peak, 2),
        "peak_before_gib": round(held, 2),
        "recalls": recalls(ranks),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "machine": platform.processor() or platform.machine(),
        "numpy": np.__version__,
    }
    write_json(asked.out, found)
    print(found)


if __name__ == "__main__":
    main()
