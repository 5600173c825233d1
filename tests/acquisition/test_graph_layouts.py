from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from chorograph.acquisition.layouts.knowcl import import_knowcl
from chorograph.acquisition.layouts.urbankg import import_urbankg
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, silent
from chorograph.verbs.graph import check

REGIONS = [f"9900500{n}" for n in range(10)]  # no id holds the published prefix "360"


def make_knowcl(folder: Path) -> Path:
    """A small copy of KnowCL's layout, everything made up."""
    rng = np.random.default_rng(0)
    facts = [f"{a}\tborderBy\t{b}" for a, b in pairwise(REGIONS)]
    facts += [f"{b}\tborderBy\t{a}" for a, b in pairwise(REGIONS)]
    pois = [f"poi360{n}" for n in range(30)]
    facts += [f"{poi}\tlocateAt\t{rng.choice(REGIONS)}" for poi in pois]
    facts += [f"{poi}\tcateOf\tfood" for poi in pois]
    folder.mkdir()
    (folder / "made_0715.txt").write_text("\n".join(facts) + "\n")
    info = {region: {"pop": float(n), "edu": n / 10, "crime": n} for n, region in enumerate(REGIONS)}
    (folder / "made_region2allinfo.json").write_text(json.dumps(info))
    (folder / "made_zl15_region_img_name.csv").write_text("imagename\n" + "\n".join(REGIONS) + "\n")
    for role, rows in (("train", range(6)), ("val", (6, 7)), ("test", (8, 9))):
        (folder / f"made_{role}.csv").write_text("csvindex\n" + "\n".join(map(str, rows)) + "\n")
    (folder / "satellite_image" / "zl15_224").mkdir(parents=True)
    names: dict[str, list[str]] = {}
    for number, region in enumerate(REGIONS):
        pixels = np.full((16, 16, 4), 20 * number, dtype=np.uint8)  # an alpha channel, as PNGs may have
        Image.fromarray(pixels, "RGBA").save(folder / "satellite_image" / "zl15_224" / f"{region}.png")
        street = folder / "streetview_image" / "Region" / region
        street.mkdir(parents=True)
        names[region] = [f"pano{number}&40.{number}&-73.9&90.jpg"]
        jpeg = simplejpeg.encode_jpeg(np.full((16, 16, 3), 20 * number, dtype=np.uint8))
        (street / names[region][0]).write_bytes(jpeg)
    (folder / "streetview_image" / "region_5_10_poi_image_filename.json").write_text(json.dumps(names))
    vectors = rng.normal(size=(len(REGIONS) + len(pois) + 1, 64))
    np.savez(folder / "whole_ER_made_TuckER64.npz", E_pretrain=vectors, R_pretrain=np.zeros((6, 64)))
    return folder


def test_knowcl(tmp_path: Path) -> None:
    source, ledger = make_knowcl(tmp_path / "made"), Ledger()
    import_knowcl(source, tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert check.run(check.Settings(area=area.path), silent).manifest["warnings"] == []
    assert area.regions["region_id"].tolist() == REGIONS
    # A point of interest with "360" in its name stays one.
    assert (area.entities["kind"] == "poi").sum() == 30
    assert (area.images["view"] == "street").sum() == (area.images["view"] == "satellite").sum() == 10
    assert area.images.loc[area.images["view"] == "street", "lat"].iloc[3] == 40.3
    assert area.split("published")["role"].value_counts().to_dict() == {"train": 6, "val": 2, "test": 2}
    kept = GraphEmbeddings.read(area.embeddings_path("TuckER-published"))
    with np.load(source / "whole_ER_made_TuckER64.npz") as content:
        assert np.allclose(kept.vectors, content["E_pretrain"][:10])
    assert kept.region_ids.tolist() == REGIONS


def test_knowcl_bad_input_names_the_line_and_leaves_nothing(tmp_path: Path) -> None:
    source = make_knowcl(tmp_path / "made")
    path = source / "made_0715.txt"
    good = path.read_text()
    for bad, message in (
        ("poi1\tlocatedAt\tfood\n", "line 79: 'locatedAt' is no relation"),
        (
            f"food\tlocateAt\t{REGIONS[0]}\n",
            "line 79: locateAt connects poi to region, but its head 'food' is a category",
        ),
        ("one\ttwo\n", "line 79 is not head, relation, tail"),
    ):
        path.write_text(good + bad)
        with pytest.raises(InputError, match=message):
            import_knowcl(source, tmp_path / "area", Ledger())
        assert not (tmp_path / "area").exists()


def test_vectors_of_another_graph_are_left_out(tmp_path: Path) -> None:
    source, ledger = make_knowcl(tmp_path / "made"), Ledger()
    np.savez(source / "whole_ER_made_TuckER64.npz", E_pretrain=np.zeros((3, 64)), R_pretrain=np.zeros((6, 64)))
    import_knowcl(source, tmp_path / "area", ledger)
    assert any("published vectors" in reason for reason in ledger.dropped)
    assert not (tmp_path / "area" / "embeddings").exists()


def make_urbankg(folder: Path) -> Path:
    folder.mkdir()
    (folder / "relations.tsv").write_text(
        "relation\thead_kind\tname\ttail_kind\nrel_1\tPOI\tLocateAt\tRegion\nrel_2\tRegion\tNearBy\tRegion\n"
        "rel_3\tBrand\tExistIn\tPOI\nrel_4\tCategory1\tExistIn\tPOI\n"
    )
    facts = "POI_1\trel_1\tRegion_2\nRegion_10\trel_2\tRegion_2\nBrand_1\trel_3\tPOI_1\n"
    (folder / "triples.tsv.gz").write_bytes(gzip.compress(facts.encode()))
    parts = {
        "train_data": {"Region_2": {"pop": 5.0, "eco": 0, "comments": 3, "rating": 0}},
        "valid_data": {"Region_3": {"pop": 0.0, "eco": 2, "comments": 0, "rating": 4.5}},
        "test_data": {"Region_10": {"pop": 7.0, "eco": 2, "comments": 1, "rating": 4.5}},
    }
    (folder / "indicators.json").write_text(json.dumps(parts))
    return folder


def test_urbankg(tmp_path: Path) -> None:
    ledger = Ledger()
    import_urbankg(make_urbankg(tmp_path / "made"), tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert area.regions["region_id"].tolist() == ["Region_2", "Region_3", "Region_10"]
    # A population of 0 is a population; 0 firms, comments or rating mean missing.
    assert area.indicators["indicator"].value_counts().to_dict() == {
        "population": 3, "economic_activity": 2, "comments": 2, "rating": 2,
    }  # fmt: skip
    assert sum(ledger.dropped.values()) == 3
    assert set(area.triples["relation"]) == {"LocateAt", "NearBy", "Brand ExistIn POI"}
    assert area.split("published").set_index("region_id")["role"].to_dict() == {
        "Region_2": "train", "Region_3": "val", "Region_10": "test",
    }  # fmt: skip
    notes = check.run(check.Settings(area=area.path), silent).manifest["warnings"]
    assert notes == ["1 of 3 regions have no fact, for example 'Region_3'"]


def test_urbankg_bad_input(tmp_path: Path) -> None:
    source = make_urbankg(tmp_path / "made")
    for facts, message in (
        ("POI_1\trel_1\tRegion_2\nRegion_10\trel_1\tRegion_2\n", "line 2: rel_1 .* but its head is 'Region_10'"),
        ("POI_1\trel_9\tRegion_2\n", "line 1: relation 'rel_9' is not in relations.tsv"),
    ):
        (source / "triples.tsv.gz").write_bytes(gzip.compress(facts.encode()))
        with pytest.raises(InputError, match=message):
            import_urbankg(source, tmp_path / "area", Ledger())
        assert not (tmp_path / "area").exists()


def test_published_json_of_another_form_is_named(tmp_path: Path) -> None:
    source = make_urbankg(tmp_path / "kg")
    path = source / "indicators.json"
    content = json.loads(path.read_text())
    content["train_data"]["Region_2"]["pop"] = "many"
    path.write_text(json.dumps(content))
    ledger = Ledger()
    import_urbankg(source, tmp_path / "area", ledger)
    assert sorted(Area.open(tmp_path / "area").indicators["value"].tolist()) == [0.0, 1.0, 2.0, 2.0, 3.0, 4.5, 4.5, 7.0]
    assert ledger.dropped["population not given"] == 1
    path.write_text(json.dumps({**content, "test_data": [1]}))
    with pytest.raises(InputError, match=r"indicators\.json: test_data must be a table"):
        import_urbankg(source, tmp_path / "other", Ledger())
    known = make_knowcl(tmp_path / "knowcl")
    info = next(known.glob("*region2allinfo.json"))
    info.write_text(json.dumps({**json.loads(info.read_text()), REGIONS[0]: "7"}))
    with pytest.raises(InputError, match=rf"region2allinfo\.json: {REGIONS[0]} must be a table"):
        import_knowcl(known, tmp_path / "third", Ledger())


@pytest.mark.real
def test_urbankg_beijing_as_published(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    import_urbankg(real_data("urbankg-beijing"), tmp_path / "area", Ledger())
    area = Area.open(tmp_path / "area")
    assert (len(area.triples), len(area.regions)) == (277_616, 528)
    assert area.split("published")["role"].value_counts().to_dict() == {"train": 313, "val": 105, "test": 105}
