"""Which probe reads King County best? R2 on held-out 6 km blocks of every probe, with and without kriging or attention.

    python benchmarks/king_county_probes.py AREA [--buffer-m 1000] [--rows "gp;stack"] [--modalities image]

AREA is the folder that recipes/king-county.yaml makes, with its vectors. Prints a row a probe, writes JSON. Folds,
features and scored regions are those of `chorograph predict`; the settings of the probes were not tuned on these
scores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.files import write_json
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import METRICS, BlockBootstrap
from chorograph.prediction.crossfit import cross_fit
from chorograph.prediction.features import read_features
from chorograph.prediction.labels import Question
from chorograph.prediction.probes.attention import Tiles, with_attention
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.settings import TaskSettings
from chorograph.prediction.task import build_task, make_split

INDICATORS = {
    "sale_price_median_usd": {"scale": "log"},
    "bachelor_or_higher": {"per": "population"},
    "average_household_size": {},
    "poverty_male_percent": {},
}
MODALITIES = {"standard": ("image", "context", "location"), "image": ("image",)}
#: name of the row: (probe, kriging, attention)
ROWS = {
    "gp": ("gp", False, False),
    "ridge": ("ridge", False, False),
    "boosting": ("boosting", False, False),
    "stack": ("stack", False, False),
    "mlp": ("mlp", False, False),
    "knowcl-mlp": ("knowcl-mlp", False, False),
    "ridge, kriged": ("ridge", True, False),
    "boosting, kriged": ("boosting", True, False),
    "stack, kriged": ("stack", True, False),
    "gp, attention": ("gp", False, True),
    "ridge, attention": ("ridge", False, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("area", type=Path)
    parser.add_argument("--vectors", default="colour+rcf:1024")
    parser.add_argument("--block-m", type=float, default=6000.0)
    parser.add_argument("--buffer-m", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", default=";".join(ROWS))
    parser.add_argument("--modalities", default=",".join(MODALITIES))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "king_county_probes.json")
    asked = parser.parse_args()
    area = Area.open(asked.area)
    regions = area.regions
    embeddings = Embeddings.read(area.embeddings_path(asked.vectors))
    features = read_features(area, embeddings)
    tiles = Tiles.of(area.images, embeddings.image_ids, embeddings.vectors, regions["region_id"])
    found: list[dict[str, object]] = []
    for name in asked.modalities.split(","):
        for row in asked.rows.split(";"):
            probe, kriging, attention = ROWS[row]
            if kriging and "location" not in MODALITIES[name]:
                continue
            for indicator, how in INDICATORS.items():
                start, estimates = time.perf_counter(), []
                for seed in range(asked.seeds):
                    asks = TaskSettings(
                        block_m=asked.block_m, buffer_m=asked.buffer_m, seed=seed, modalities=",".join(MODALITIES[name])
                    )
                    task = build_task(features, Question(indicator, **how), asks, make_split(asks), Ledger())
                    fused = task.fused
                    make = make_probe_maker(probe, seed=0, kriging=kriging, block_m=asked.block_m)
                    if attention:
                        fused, make = with_attention(fused, make, tiles, seed=0)
                    run = cross_fit(fused, task.target, task.folds, make)
                    scored = (run.fold >= 0) & fused.present.all(1)
                    target, predicted = task.target[scored], run.predicted[scored]
                    estimate = BlockBootstrap(seed=0).estimate(METRICS["r2"], target, predicted, task.groups[scored])
                    estimates.append(estimate.as_list())
                mean = round(float(np.mean([each[0] for each in estimates])), 4)
                found.append(
                    {
                        "modalities": name,
                        "probe": row,
                        "indicator": indicator,
                        "r2": mean,
                        "r2 by seed of the folds, with 95 % intervals": estimates,
                        "n": int(scored.sum()),
                        "seconds": round(time.perf_counter() - start, 1),
                    }
                )
            last = found[-len(INDICATORS) :]
            scores = (f"{each['r2']:.3f} ({each['seconds']:.0f} s)" for each in last)
            print(name.ljust(9), row.ljust(18), *scores, flush=True)
    settings = {"block_m": asked.block_m, "buffer_m": asked.buffer_m, "seeds": asked.seeds, "vectors": asked.vectors}
    write_json(asked.out, {"settings": settings, "rows": found})


if __name__ == "__main__":
    main()
