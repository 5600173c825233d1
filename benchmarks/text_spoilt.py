"""Does refinement help? The synthetic city with captions spoilt on purpose: what it costs, what refinement wins back.

    python benchmarks/text_spoilt.py [--regions 240] [--tiles 5] [--share 0.3] [--seed 0 --seed 1 …]

A share of the captions is replaced by hallucinated ones: captions of other tiles, many of which say what is not there.
They are refined by what a land-cover map knows, by the things that a street map knows (pitches, courts, tracks, ponds,
playgrounds, railways, main roads), and by a second captioner, of whose captions the same share is hallucinated, and who
must see more than half of what a sentence names. Houses, pools, trees and cars, which would tell nearly all, are known
to nobody. An indicator is then predicted from the captions alone (the row `text alone` of `evaluate text`: TF-IDF,
singular values, a probe) in held-out blocks. Prints R2 by origin, also with all false captions left out (`without`: no
refinement can win back more), and the share of the loss that refinement wins back; a line a seed, then their mean.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from caption_faults import cover_of, objects_of, second_captioner
from chorograph.area.captions.by_origin import of_origin
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.captioning.refining.run import refine_area
from chorograph.captioning.refining.settings import RefineSettings
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import r2
from chorograph.prediction.features import Features
from chorograph.prediction.questions import make_question
from chorograph.prediction.task import build_task, make_split
from chorograph.study.settings import TextSettings
from chorograph.study.text import _predict, text_vectors
from chorograph.synthetic.city import SyntheticCity, SyntheticCityConfig, plan_city
from chorograph.synthetic.words import Facts

#: What a street map knows of a tile.
MAPPED = ("football pitch", "tennis court", "running track", "pond", "playground", "railway", "main road")
ORIGINS = ("clean", "spoilt", "refined", "without")
INDICATORS = ("median_income", "population_density", "carbon")


def spoil(captions: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return captions of which a share is those of other images."""
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(len(captions)) < share)
    texts = captions["caption"].to_numpy(object).copy()
    texts[chosen] = captions["caption"].to_numpy(object)[rng.integers(len(captions), size=len(chosen))]
    return captions.assign(caption=texts)


def build(city: SyntheticCity, out: Path, share: float, seed: int) -> Area:
    """Write the tables of a planned city; its images are known and not drawn, as text needs none."""
    facts = {image_id: Facts.of(scene) for image_id, scene in city.scenes.items()}
    clean = city.captions[city.captions["image_id"].isin(facts)].assign(origin="clean")
    spoilt = spoil(clean, share, seed).assign(origin="spoilt", caption_id="s" + clean["caption_id"])
    other = spoil(second_captioner(city), share, seed + 1)
    true = (spoilt["caption"] == clean["caption"]).to_numpy()
    without = clean[true].assign(origin="without", caption_id="w" + clean["caption_id"][true])
    known = [(image_id, "cover", name, value) for image_id, of in facts.items() for name, value in cover_of(of).items()]
    known += [(image_id, "object", name, objects_of(of)[name]) for image_id, of in facts.items() for name in MAPPED]
    with AreaDraft(out, "spoilt", synthetic=True) as draft:
        draft.write("regions", city.regions)
        draft.write("images", city.images)
        draft.write("captions", pd.concat([clean, spoilt, without, other], ignore_index=True))
        draft.write("image_facts", pd.DataFrame(known, columns=["image_id", "kind", "name", "value"]))
        for table in ("indicators", "poi_counts", "triples", "entities"):
            draft.write(table, getattr(city, table))
    return Area.open(out)


def score(area: Area, origin: str, indicator: str) -> float:
    """Return R2 in held-out blocks of an indicator from the captions of an origin alone."""
    seen = of_origin(area, [origin])
    config = TextSettings(log=True, modalities="image")
    question = make_question(seen, indicator, config, Ledger())
    task = build_task(
        Features.none(seen), question, TextSettings(log=True, modalities="all"), make_split(config), Ledger()
    )
    images = area.images.loc[area.images["view"] == "satellite", "image_id"].to_numpy(object)
    predicted = _predict(seen, text_vectors(seen, images, config.components), config, task)
    scored = task.labelled & np.isfinite(predicted)
    held = task.labels.fitted[scored]
    return float(r2(held, predicted[scored], np.ones(len(held))))


def won_back(regions: int, tiles: int, share: float, seed: int) -> dict[str, dict[str, float]]:
    """Return R2 by indicator and origin, and the share of the loss that refinement wins back."""
    city = plan_city(SyntheticCityConfig(regions=regions, tiles_per_region=tiles, street_views_per_region=0, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        area = build(city, Path(folder) / "city", share, seed)
        # Captions of a plan repeat each other by design: what is said of many images is no fault here.
        rules = ["cover", "things", "agreement"]
        asked = RefineSettings(origin=["spoilt"], against="model:other", rules=rules, least_agreement=0.6)
        refine_area(area, asked, Ledger())
        rows = {}
        for indicator in INDICATORS:
            row = {origin: score(area, origin, indicator) for origin in ORIGINS}
            row["won back"] = (row["refined"] - row["spoilt"]) / (row["clean"] - row["spoilt"])
            rows[indicator] = {name: round(value, 4) for name, value in row.items()}
    mean = {name: float(np.mean([row[name] for row in rows.values()])) for name in ORIGINS}
    back = (mean["refined"] - mean["spoilt"]) / (mean["clean"] - mean["spoilt"])
    return {**rows, "mean": {**{name: round(value, 4) for name, value in mean.items()}, "won back": round(back, 4)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, default=240)
    parser.add_argument("--tiles", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, action="append")
    args = parser.parse_args()
    back = []
    for seed in args.seed or [0]:
        found = won_back(args.regions, args.tiles, args.share, seed)
        print(json.dumps({"seed": seed, **found}), flush=True)
        back.append(found["mean"]["won back"])
    print(json.dumps({"won back, mean": round(float(np.mean(back)), 3), "from": min(back), "to": max(back)}))


if __name__ == "__main__":
    main()
