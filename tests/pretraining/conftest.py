"""A small area whose pictures are told apart by colour, with three captions a picture."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area, Source

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "white": (240, 240, 240)}


@pytest.fixture
def colours(tmp_path: Path) -> Area:
    """Eight regions of four tiles; one tile is not an image, one is known but not held, one has no caption."""
    path = tmp_path / "colours"
    rng = np.random.default_rng(0)
    images, captions = [], []
    with AreaDraft(path, "colours", "Colours", [Source("made up", "CC0-1.0")], synthetic=True) as draft:
        regions = [f"r{number}" for number in range(8)]
        draft.write("regions", gpd.GeoDataFrame(
            {"region_id": regions}, geometry=[box(n, 0, n + 1, 1) for n in range(8)], crs=4326
        ))  # fmt: skip
        for number in range(32):
            name = list(COLOURS)[number % 4]
            image_id = f"t{number:02d}"
            noise = rng.integers(-20, 20, (32, 32, 3))
            pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
            uri, sha256 = draft.write_image(image_id, pixels)
            if number == 5:
                uri, sha256 = draft.add_image(image_id, b"this is text")
            images.append(
                {"image_id": image_id, "region_id": regions[number // 4], "view": "satellite", "source": "made up",
                 "licence": "CC0-1.0", "uri": None if number == 6 else uri, "sha256": sha256}
            )  # fmt: skip
            if number == 7:
                continue
            for rank, text in enumerate((f"a {name} place", f"all is {name}", f"{name} land, tile {number}")):
                captions.append(
                    {"caption_id": f"{image_id}-{rank}", "image_id": image_id, "rank": rank, "caption": text,
                     "origin": "template"}
                )  # fmt: skip
        draft.write("images", pd.DataFrame(images))
        draft.write("captions", pd.DataFrame(captions))
    return Area.open(path)


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty captioned regions of eight hues, and of points of interest that say the hue; twelve are for testing."""
    pytest.importorskip("torch_geometric")
    from chorograph.ground.stage import silent
    from chorograph.pretraining.config import GraphEmbedConfig
    from chorograph.verbs.graph.embed import run as embed_graph

    rng, number = np.random.default_rng(0), 80
    hue = rng.integers(0, 8, number)
    ids = [f"R{n:02d}" for n in range(number)]
    facts = [(f"P{n}-{k}", "locateAt", ids[n]) for n in range(number) for k in range(3)]
    facts += [(f"P{n}-{k}", "cateOf", f"C{hue[n]}") for n in range(number) for k in range(3)]
    triples = pd.DataFrame(facts, columns=["head", "relation", "tail"])
    names = sorted({*triples["head"], *triples["tail"]})
    kinds = [{"R": "region", "P": "poi", "C": "category"}[name[0]] for name in names]
    entities = pd.DataFrame({"entity": names, "kind": kinds, "region_id": [n if n in ids else None for n in names]})
    path = tmp_path_factory.mktemp("hues") / "area"
    with AreaDraft(path, "hues") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids, "geometry": [None] * number}, crs=4326))
        draft.write("triples", triples)
        draft.write("entities", entities)
        rows = []
        for n, region in enumerate(ids):
            for k in range(2):
                colour = 128 + 100 * np.array([np.cos(hue[n]), np.sin(hue[n]), np.cos(2 * hue[n])])
                pixels = np.clip(colour + rng.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
                uri, digest = draft.write_image(f"{region}-{k}", pixels)
                rows.append({"image_id": f"{region}-{k}", "region_id": region, "uri": uri, "sha256": digest})
        captions = [(f"{ids[n]}-{k}", f"a place of hue {hue[n]}") for n in range(number) for k in range(2)]
        frame = pd.DataFrame(captions, columns=["image_id", "caption"])
        draft.write("captions", frame.assign(caption_id=frame["image_id"], rank=0, origin="template"))
        draft.write("images", pd.DataFrame(rows).assign(view="satellite", source="made", licence="none"))
        roles = np.where(np.arange(number) < 12, "test", "train")
        draft.write_split("published", pd.DataFrame({"region_id": ids, "role": roles}))
    embed_graph(GraphEmbedConfig(area=path, dim=16, epochs=30, batch_size=64, lr=0.01), silent)
    return path
