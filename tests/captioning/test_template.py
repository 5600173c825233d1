from __future__ import annotations

from collections import Counter
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import box

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.captioning.run.area import caption_area
from chorograph.captioning.settings import CaptionSettings
from chorograph.captioning.template import Facts, image_classes, region_facts, sentence
from chorograph.ground.stage import Ledger


def _area(path: Path) -> Area:
    images = pd.DataFrame({"image_id": ["one", "two", "three"], "region_id": ["a", "b", None]})
    entities = [
        ("r:a", "region", "a"),
        ("r:b", "region", "b"),
        ("image:three", "image", None),
        ("class:PortArea", "class", None),
    ]
    with AreaDraft(path, "area") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ["a", "b"]}, geometry=[box(0, 0, 1, 1)] * 2, crs=4326))
        draft.write("images", images.assign(view="satellite", source="t", licence="t"))
        draft.write("poi_counts", pd.DataFrame({"region_id": ["a"], "poi": ["poi_fast_food"], "count": [3]}))
        draft.write("entities", pd.DataFrame(entities, columns=["entity", "kind", "region_id"]))
        facts = [("r:a", "borderBy", "r:b"), ("image:three", "isOf", "class:PortArea")]
        draft.write("triples", pd.DataFrame(facts, columns=["head", "relation", "tail"]))
        values = {"region_id": ["a"], "indicator": "rent", "value": 777.0, "unit": "EUR", "source": "t"}
        draft.write("indicators", pd.DataFrame(values))
    return Area.open(path)


def test_facts_come_from_counts_graph_and_classes(tmp_path: Path) -> None:
    area = _area(tmp_path / "area")
    assert region_facts(area)["a"].poi == Counter({"fast food": 3})
    assert region_facts(area)["a"].links == Counter({"borderBy": 1})
    assert image_classes(area) == {"three": ["port area"]}


def test_captions_say_the_facts_and_no_indicator(tmp_path: Path) -> None:
    area = _area(tmp_path / "area")
    ledger = Ledger()
    captions = caption_area(area, CaptionSettings(per_image=2), ledger)[0]
    assert captions.groupby("image_id").size().to_dict() == {"one": 2, "three": 2}
    assert ledger.dropped == {"image that no fact is known of": 1}
    one = captions[captions["image_id"] == "one"]["caption"]
    assert one.str.contains("a few fast food").all()
    assert one.str.contains("bordering one other region").all()
    assert captions[captions["image_id"] == "three"]["caption"].str.contains("a port area").all()
    assert not captions["caption"].str.contains("rent|777").any()
    assert set(captions["origin"]) == {"template"}


def test_words_depend_on_the_seed_only() -> None:
    facts = Facts(Counter({"shop": 20, "school": 1, "park": 2, "church": 1, "bar": 60}))
    same = [sentence(facts, "street", np.random.default_rng(5)) for _ in range(2)]
    assert same[0] == same[1]
    assert len({sentence(facts, "street", np.random.default_rng(seed)) for seed in range(20)}) > 5
