"""A million 64-bit hashes deduplicated within distance 4, at once and in steps; and what more cost.

`python benchmarks/curate_hashes.py` writes results/curate_hashes.json. Each size runs in a process of its own. A tenth
of the hashes are copies with up to four bits turned, so what must be found is known.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chorograph.curation.steps.duplicates import HashDuplicates
from chorograph.curation.steps.near_hashes import HashIndex, band_masks

RESULT = Path(__file__).parent / "results" / "curate_hashes.json"
SIZES = (1_000_000, 5_000_000)


def made(number: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return hashes, and how many of them are copies."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(1, 2**63, number, dtype=np.uint64)
    copies = number // 10
    turned = hashes[:copies].copy()
    for _ in range(4):
        turned ^= np.uint64(1) << generator.integers(0, 64, copies).astype(np.uint64)
    hashes[-copies:] = turned
    return generator.permutation(hashes), copies


def once(number: int) -> dict[str, Any]:
    """Decide which rows leave, as the step does: pairs, priority, and who stays for whom."""
    hashes, copies = made(number)
    empty = pa.nulls(number, pa.float64())
    table = pa.table(
        {
            "key": pa.array(np.arange(1, number + 1, dtype=np.uint64)),
            "source": pa.array(["laion2b"] * number),
            "phash": pa.array(hashes),
            "lon": empty,
            "lat": empty,
            "captured": pa.nulls(number, pa.string()),
        }
    )
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    decision = HashDuplicates(distance=4).decide(table)
    seconds = time.perf_counter() - begun
    return {
        "rows": number,
        "sorts": len(band_masks(4, number)),
        "seconds": round(seconds, 2),
        "peak GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "peak GiB before": round(base / 2**20, 3),
        "copies planted": copies,
        "rows dropped": len(decision.rows),
    }


def in_steps(number: int) -> dict[str, Any]:
    """Build an index of all but a tenth, add the tenth, and compare with a rebuild."""
    hashes, _ = made(number)
    cut = number - number // 10
    with tempfile.TemporaryDirectory() as place:
        steps, whole = HashIndex(Path(place) / "steps"), HashIndex(Path(place) / "whole")
        steps.add(hashes[:cut])
        begun = time.perf_counter()
        steps.add(hashes[cut:])
        added = time.perf_counter() - begun
        begun = time.perf_counter()
        whole.add(hashes)
        rebuilt = time.perf_counter() - begun
        same = all(np.array_equal(a, b) for a, b in zip(steps.read(), whole.read(), strict=True))
    if not same:
        raise SystemExit("adding in steps differs from a rebuild")
    return {
        "rows": number,
        "tenth added, seconds": round(added, 2),
        "rebuilt, seconds": round(rebuilt, 2),
        "same": same,
    }


def main() -> None:
    if sys.argv[1:2] == ["--once"]:
        print(json.dumps(once(int(sys.argv[2]))))
        return
    sizes = []
    for number in SIZES:
        done = subprocess.run([sys.executable, __file__, "--once", str(number)], stdout=subprocess.PIPE, check=True)
        sizes.append(json.loads(done.stdout))
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__},
        "distance": 4,
        "at once": sizes,
        "in steps": in_steps(SIZES[0]),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
