"""What a profile of many indicators costs beside one of them, in CPU seconds of one run.

    python benchmarks/profiles.py AREA --embeddings default
    python benchmarks/profiles.py --regions 20000 --indicators 30

The first predicts one indicator of an area and then all of them, each in a process of its own, and writes the ratio.
The second draws made-up regions, vectors and indicators of that size, half of the regions labelled (the same for all
but every tenth indicator), and says time and peak memory. (Not called profile.py: a script of that name hides Python's
own module.)
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import box

import chorograph as cg
from chorograph.area.draft import AreaDraft

_CHILD = """
import resource, sys, time
import chorograph as cg
started = time.process_time()
indicators = sys.argv[3].split(",") if sys.argv[3] else None
vectors = None if sys.argv[2] == "none" else sys.argv[2]
profile = cg.predict(sys.argv[1], vectors, indicator=indicators, probe=sys.argv[4])
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, len(profile))
"""


def measure(area: Path, embeddings: str, indicators: str, probe: str) -> tuple[float, float, int]:
    """Return CPU seconds, peak memory in GiB and the number of indicators of one run in a process of its own."""
    words = [sys.executable, "-c", _CHILD, str(area), embeddings, indicators, probe]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, gib, number = done.stdout.split()[-3:]
    return float(seconds), float(gib), int(number)


def made_area(path: Path, regions: int, indicators: int, seed: int = 0) -> np.ndarray:
    """Draw square regions, smooth fields over them as indicators (half labelled), and vectors that tell them partly."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(regions**0.5))
    x, y = np.arange(regions) % side, np.arange(regions) // side
    cells = [box(0.01 * a, 0.01 * b, 0.01 * (a + 1), 0.01 * (b + 1)) for a, b in zip(x, y, strict=True)]
    ids = np.array([f"r{k:06d}" for k in range(regions)])
    vectors = rng.normal(size=(regions, 64))
    rows, surveyed = [], rng.random(regions) < 0.5
    for number in range(indicators):
        waves = np.sin(x / side * rng.uniform(2, 9) + rng.uniform(0, 6)) + np.cos(y / side * rng.uniform(2, 9))
        value = waves + vectors @ rng.normal(size=64) / 16 + rng.normal(0, 0.5, regions)
        value[rng.random(regions) < 0.5 if number % 10 == 9 else ~surveyed] = np.nan
        rows.append(pd.DataFrame({"region_id": ids, "indicator": f"field_{number:02d}", "value": value}))
    with AreaDraft(path, "made") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids}, geometry=cells, crs=4326))
        draft.write("indicators", pd.concat(rows).assign(unit="u", source="made"))
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("area", type=Path, nargs="?")
    parser.add_argument("--embeddings", default="default")
    parser.add_argument("--probe", default="auto")
    parser.add_argument("--one", default="sale_price_median_usd")
    parser.add_argument("--regions", type=int, default=0)
    parser.add_argument("--indicators", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "profiles.json")
    asked = parser.parse_args()
    found: dict[str, object] = {"probe": asked.probe}
    if asked.area is not None:
        one, gib_one, _ = measure(asked.area, asked.embeddings, asked.one, asked.probe)
        many, gib_many, number = measure(asked.area, asked.embeddings, "", asked.probe)
        found |= {"indicators": number, "one_s": round(one, 1), "all_s": round(many, 1), "ratio": round(many / one, 2)}
        found |= {"peak_gib_one": round(gib_one, 2), "peak_gib_all": round(gib_many, 2)}
    if asked.regions:
        with TemporaryDirectory() as folder:
            vectors = made_area(Path(folder) / "made", asked.regions, asked.indicators)
            started = time.perf_counter()
            cg.predict(Path(folder) / "made", vectors, probe=asked.probe, block_m=10_000.0)
            wall = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        found |= {"regions": asked.regions, "made_indicators": asked.indicators}
        found |= {"wall_s": round(wall, 1), "peak_gib": round(peak, 2)}
    print(json.dumps(found, indent=2))
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
