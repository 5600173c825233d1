"""Vectors deduplicated in bands: time, memory and what is missed, in partitions and in steps.

`python benchmarks/curate_embeddings.py` writes results/curate_embeddings.json. Each size runs in a process of its own.
A tenth of the vectors are planted: half of them at the very threshold, half nearer. All share a direction, as those of
real encoders do: two at random have a cosine of about 0.5. The exact comparison is numpy's, block by block. Seconds are
of CPU: run it with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from chorograph.curation.steps.neighbours import Bands, VectorIndex, digests

RESULT = Path(__file__).parent / "results" / "curate_embeddings.json"
SIZES = (20_000, 200_000)
EXACT = 20_000
PARTITION = 10_000
DIM = 512
SIMILARITY = 0.96
BLOCK = 4096


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def part(number: int) -> Any:
    """Return a partition's vectors: the last tenth are copies, first at the threshold, then at 0.98."""
    generator = np.random.default_rng(number)
    copies = PARTITION // 10
    base = unit(generator.standard_normal((PARTITION - copies, DIM), dtype=np.float32) + 1.0)
    cosine = np.repeat([SIMILARITY + 2e-4, 0.98], copies // 2)[:, None].astype(np.float32)
    near = base[:copies]
    aside = generator.standard_normal(near.shape, dtype=np.float32)
    aside = unit(aside - (aside * near).sum(axis=1, keepdims=True) * near)
    return np.concatenate([base, cosine * near + np.sqrt(1 - cosine**2) * aside]).astype(np.float16)


def missed(pairs: Any, parts: int) -> dict[str, int]:
    """Return how many planted pairs were not found."""
    known = {(int(a), int(b)) for a, b in pairs.tolist()}
    copies, counts = PARTITION // 10, {"at the threshold": 0, "at 0.98": 0}
    for number in range(parts):
        made = digests(part(number))
        for place, (one, other) in enumerate(zip(made[:copies], made[-copies:], strict=True)):
            name = "at the threshold" if place < copies // 2 else "at 0.98"
            counts[name] += (int(min(one, other)), int(max(one, other))) not in known
    return counts


def peak_of_our_own_gib() -> float:
    """Return the memory of this process that is not a file's: what cannot be given back."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) / 2**20


def once(rows: int) -> dict[str, Any]:
    """Build an index partition by partition, compare all, then add a tenth to another and compare."""
    parts = rows // PARTITION
    with tempfile.TemporaryDirectory() as place:
        whole = VectorIndex(Path(place) / "whole", SIMILARITY, DIM)
        seconds = {"added": 0.0, "compared": 0.0}
        for number in range(parts):
            vectors = part(number)
            begun = time.process_time()
            whole.add(vectors)
            seconds["added"] += time.process_time() - begun
        begun = time.process_time()
        pairs = whole.pairs()
        seconds["compared"] = time.process_time() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        on_disk = sum(file.stat().st_size for file in whole.folder.iterdir()) / rows
        steps = VectorIndex(Path(place) / "steps", SIMILARITY, DIM)
        for number in range(parts):
            if number == parts - max(1, parts // 10):
                steps.pairs()
            steps.add(part(number))
        begun = time.process_time()
        same = bool(np.array_equal(steps.pairs(), pairs))
        seconds["a tenth compared with all"] = time.process_time() - begun
        if not same:
            raise SystemExit("adding in steps differs from a rebuild")
    result = {
        "rows": rows,
        "CPU seconds": {name: round(value, 2) for name, value in seconds.items()},
        "peak GiB, files of the index that are mapped included": round(peak, 3),
        "GiB that are not a file's, at the end": round(peak_of_our_own_gib(), 3),
        "vectors, GiB": round(rows * DIM * 2 / 2**30, 3),
        "bytes a row on disk": round(on_disk),
        "pairs found": len(pairs),
        "planted": rows // 10,
        "missed": missed(pairs, parts),
        "in steps the same": same,
    }
    if rows <= EXACT:
        vectors = unit(np.concatenate([part(number) for number in range(parts)]).astype(np.float32))
        begun = time.process_time()
        exact = sum(
            int(np.count_nonzero(np.triu(vectors[a : a + BLOCK] @ vectors[b : b + BLOCK].T >= SIMILARITY, a + 1 - b)))
            for a in range(0, rows, BLOCK)
            for b in range(a, rows, BLOCK)
        )
        result["exact"] = {"CPU seconds": round(time.process_time() - begun, 2), "pairs": exact}
    return result


def main() -> None:
    if sys.argv[1:2] == ["--once"]:
        print(json.dumps(once(int(sys.argv[2]))))
        return
    sizes = []
    for number in SIZES:
        done = subprocess.run([sys.executable, __file__, "--once", str(number)], stdout=subprocess.PIPE, check=True)
        sizes.append(json.loads(done.stdout))
    bands = Bands.of(SIMILARITY)
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__},
        "cosine": SIMILARITY,
        "width": DIM,
        "bands": bands.number,
        "bits a band": bands.bits,
        "sizes": sizes,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
