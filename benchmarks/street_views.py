"""What street views add on the synthetic city: none, 1, 10 and 25 of them a region.

`python benchmarks/street_views.py` writes results/street_views.json. R2 of the city's indicators on spatial blocks, a
Gaussian process on the mean vectors of a region's tiles, with and without those of its street views; fewer views are
the first of the 25. Two more rows: a third of the regions have no street view at all (predicted from their tiles), and
the same with zeros in their place, as published code has it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from chorograph.embedding.run import embed_images
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import METRICS
from chorograph.prediction.crossfit import cross_fit
from chorograph.prediction.features import Features
from chorograph.prediction.labels import Question
from chorograph.prediction.modalities import image_features
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.settings import TaskSettings
from chorograph.prediction.task import build_task, make_split
from chorograph.synthetic import SyntheticCityConfig, build_synthetic

RESULT = Path(__file__).parent / "results" / "street_views.json"
VIEWS = (0, 1, 10, 25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=100)
    parser.add_argument("--encoder", default="colour")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        city = SyntheticCityConfig(
            regions=asked.regions, tiles_per_region=2, street_views_per_region=max(VIEWS), seed=asked.seed
        )
        area = build_synthetic(city, Path(folder) / "area")
        above = embed_images(area, asked.encoder, Ledger())
        streets = embed_images(area, asked.encoder, Ledger(), view="street")
        ids = area.regions["region_id"]
        image = image_features(area.images, above.image_ids, above.vectors, ids, "mean")
        rank = np.array([int(str(name).rpartition("_")[2]) for name in streets.image_ids])
        indicators = sorted(set(area.indicators["indicator"]))
        scores: dict[str, dict[str, float]] = {}
        asks = TaskSettings(block_m=1500.0, modalities="all")

        def enter(name: str, blocks: dict[str, Any]) -> None:
            for indicator in indicators:
                task = build_task(Features(area, blocks), Question(indicator), asks, make_split(asks), Ledger())
                run = cross_fit(task.fused, task.target, task.folds, make_probe_maker("gp", seed=0))
                tested = task.labelled & (run.fold >= 0) & np.isfinite(run.predicted)
                r2 = METRICS["r2"](task.target[tested], run.predicted[tested], np.ones(int(tested.sum())))
                scores.setdefault(name, {})[indicator] = round(float(r2), 3)

        for number in VIEWS:
            if not number:
                enter("0 street views", {"image": image})
                continue
            some = rank <= number
            street = image_features(area.images, streets.image_ids[some], streets.vectors[some], ids, "mean")
            enter(f"{number} street views", {"image": image, "street": street})
        absent = np.random.default_rng(asked.seed).random(len(ids)) < 1 / 3
        street[absent] = np.nan
        enter("25 street views, a third of the regions without: masked", {"image": image, "street": street})
        zeros = np.where(np.isnan(street), 0.0, street)
        enter("25 street views, a third of the regions without: zeros", {"image": image, "street": zeros})
    result = {"regions": asked.regions, "encoder": asked.encoder, "seed": asked.seed, "r2": scores}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
