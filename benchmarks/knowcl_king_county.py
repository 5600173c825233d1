"""KnowCL on an area of your own: spatial-block scores with and without the graph, every fold inductive.

`python benchmarks/knowcl_king_county.py AREA --vectors NAME` writes results/knowcl_king_county.json. AREA is a folder
with images, a graph and indicators; NAME are image vectors made by `chorograph embed`. For each of five folds of 6 km
blocks the facts and images of the tested regions are kept from TuckER and from the alignment, then their facts are
restored and the graph tower tells them anew. A Gaussian process on each set of features is fitted on the other folds.
`--fold K` runs one fold and keeps its predictions beside the result, `--gather` puts them together.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.splits import SpatialBlocks, duplicate_groups
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import METRICS
from chorograph.prediction.labels import Question, read_labels
from chorograph.prediction.modalities import image_features, location_features
from chorograph.prediction.probes.processes.exact import GaussianProcess
from chorograph.pretraining.config import AlignConfig, GraphEmbedConfig
from chorograph.pretraining.graph_vectors import embed_graph
from chorograph.pretraining.objectives.knowcl import align

RESULT = Path(__file__).parent / "results" / "knowcl_king_county.json"
TARGETS: dict[str, dict[str, Any]] = {
    "sale_price_median_usd": {"scale": "log"},
    "sale_price_per_sqft_median_usd": {"scale": "log"},
    "bachelor_or_higher": {"per": "population"},
    "average_household_size": {},
    "poverty_male_percent": {},
}
SETS = {
    "image": ["image"],
    "image aligned with the graph": ["aligned"],
    "image and image aligned": ["image", "aligned"],
    "graph": ["graph"],
    "image and graph": ["image", "graph"],
    "image, image aligned and graph": ["image", "aligned", "graph"],
    "location": ["location"],
    "image and location": ["image", "location"],
    "image, graph and location": ["image", "graph", "location"],
    "image, image aligned, graph and location": ["image", "aligned", "graph", "location"],
}


def run_fold(path: Path, vectors: str, fold: int, epochs: int, seed: int) -> pd.DataFrame:
    """Return one row a tested region, target and set of features: truth and prediction."""
    area = Area.open(path)
    held = Embeddings.read(area.embeddings_path(vectors))
    ids = area.regions["region_id"]
    image = image_features(area.images, held.image_ids, held.vectors, ids, "mean")
    usable = np.isfinite(image).all(1) & np.isfinite(read_labels(area, Question("sale_price_median_usd"), Ledger()).own)
    regions = area.regions[usable]
    folds = SpatialBlocks(6000.0, 0.0, 5, 0).folds(area, regions, duplicate_groups(area.images, regions["region_id"]))
    tested = np.zeros(len(ids), dtype=bool)
    tested[np.flatnonzero(usable)[folds.fold == fold]] = True
    split = f"knowcl-{fold}"
    area.write_split(split, pd.DataFrame({"region_id": ids, "role": np.where(tested, "test", "train")}))
    told = f"TuckER-{split}"
    embed_graph(area, GraphEmbedConfig(area=path, epochs=30, inductive=split, name=told, seed=seed), Ledger())
    with tempfile.TemporaryDirectory() as out:
        config = AlignConfig(
            area=path, out=Path(out), tower=f"vectors:{vectors}", graph=told, inductive=split, epochs=epochs, seed=seed
        )
        found = align(area, config, Ledger())
    place = pd.Index(found.region_ids).get_indexer(pd.Index(ids))
    blocks = {
        "image": image,
        "aligned": image_features(area.images, found.image_ids, found.image_features, ids, "mean"),
        "graph": np.where(place[:, None] >= 0, found.region_features[place].astype(np.float64), np.nan),
        "location": location_features(area.regions),
    }
    rows = []
    for target, settings in TARGETS.items():
        labels = read_labels(area, Question(target, **settings), Ledger())
        known = np.isfinite(labels.fitted) & usable & np.isfinite(np.hstack(list(blocks.values()))).all(1)
        train, test = known & ~tested, known & tested
        for name, parts in SETS.items():
            X = np.hstack([blocks[part] for part in parts])
            ends = np.cumsum([0, *(blocks[part].shape[1] for part in parts)])
            groups = {part: slice(int(ends[i]), int(ends[i + 1])) for i, part in enumerate(parts)}
            probe = GaussianProcess(groups=groups).fit(X[train], labels.fitted[train])
            rows.append(
                pd.DataFrame(
                    {"target": target, "set": name, "region_id": ids[test].to_numpy(), "truth": labels.fitted[test],
                     "predicted": probe.predict(X[test])}
                )
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("area", type=Path)
    parser.add_argument("--vectors", default="colour+rcf:1024+efficientnet-lite0")
    parser.add_argument("--fold", type=int)
    parser.add_argument("--gather", action="store_true")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folds = range(5) if asked.fold is None else [asked.fold]
    kept = [asked.area / f".knowcl-fold-{fold}.parquet" for fold in range(5)]
    if not asked.gather:
        for fold in folds:
            start = time.perf_counter()
            run_fold(asked.area, asked.vectors, fold, asked.epochs, asked.seed).to_parquet(kept[fold])
            print(f"fold {fold}: {time.perf_counter() - start:.0f} s", flush=True)
        if asked.fold is not None:
            return
    table = pd.concat([pd.read_parquet(path) for path in kept])
    scores: dict[str, dict[str, float]] = {}
    for (target, name), rows in table.groupby(["target", "set"], sort=False):
        truth, predicted = rows["truth"].to_numpy(), rows["predicted"].to_numpy()
        scores.setdefault(str(name), {})[str(target)] = round(
            float(METRICS["r2"](truth, predicted, np.ones(len(truth)))), 3
        )
    result = {"vectors": asked.vectors, "regions": int(table["region_id"].nunique()), "r2, five spatial folds": scores}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
