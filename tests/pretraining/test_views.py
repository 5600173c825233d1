from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

torch = pytest.importorskip("torch")

from chorograph.acquisition.layouts.urbanvlp import import_urbanvlp  # noqa: E402
from chorograph.area.draft import AreaDraft  # noqa: E402
from chorograph.area.folder import Area, Source  # noqa: E402
from chorograph.area.vector_tables import VectorTable, read_vector_table  # noqa: E402
from chorograph.ground.errors import InputError  # noqa: E402
from chorograph.ground.settings import configure  # noqa: E402
from chorograph.ground.stage import Ledger, silent  # noqa: E402
from chorograph.models.coca import towers as coca  # noqa: E402
from chorograph.models.encoders.open_clip import new_model  # noqa: E402
from chorograph.models.views.multi_granularity import MultiGranularity, fuse, load_towers  # noqa: E402
from chorograph.pretraining.config import ViewsConfig  # noqa: E402
from chorograph.pretraining.feeds.pairs import InMemory  # noqa: E402
from chorograph.pretraining.objectives.views import Scene  # noqa: E402
from chorograph.verbs.predict import Settings as PredictSettings  # noqa: E402
from chorograph.verbs.predict import run as predict  # noqa: E402
from chorograph.verbs.pretrain_views import run as pretrain_views  # noqa: E402

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "white": (240, 240, 240)}
SIZE = 32


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make clip-small a tower for tiles of 32 px."""
    small = coca.SMALL["clip-small"]
    vision = {**small["vision_cfg"], "image_size": SIZE, "patch_size": 8, "width": 48, "head_width": 24, "layers": 1}
    text = {**small["text_cfg"], "width": 32, "heads": 2, "layers": 1}
    settings = {**small, "embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    monkeypatch.setitem(coca.SMALL, "clip-small", settings)


@pytest.fixture
def town(tmp_path: Path) -> Area:
    """Eighteen regions of two tiles; colour above and in the streets, three street views but for the last region."""
    path = tmp_path / "town"
    rng = np.random.default_rng(0)
    names, number = list(COLOURS), 18
    regions = [f"r{region:02d}" for region in range(number)]
    images, captions, values = [], [], []
    with AreaDraft(path, "town", "Town", [Source("made up", "CC0-1.0")], synthetic=True) as draft:
        draft.write("regions", gpd.GeoDataFrame(
            {"region_id": regions}, geometry=[box(n / 50, 0, (n + 1) / 50, 0.02) for n in range(number)], crs=4326
        ))  # fmt: skip
        for at, region in enumerate(regions):
            above, along = names[at % 4], names[(at // 2) % 4]
            kinds = [("satellite", above)] * 2 + [("street", along)] * (0 if at == number - 1 else 3)
            for place, (view, colour) in enumerate(kinds):
                image_id = f"{view}{at:02d}-{place}"
                noise = rng.integers(-20, 20, (SIZE, SIZE, 3))
                uri, sha256 = draft.write_image(image_id, np.clip(COLOURS[colour] + noise, 0, 255).astype(np.uint8))
                images.append(
                    {"image_id": image_id, "region_id": region, "view": view, "source": "made up", "licence": "CC0-1.0",
                     "uri": uri, "sha256": sha256, "lon": (at + 0.1 * place) / 50, "lat": 0.01}
                )  # fmt: skip
                said = f"a {above} field and {along} streets" if view == "satellite" else f"walls of {colour}"
                captions.append(
                    {"caption_id": image_id, "image_id": image_id, "rank": 0, "caption": said, "origin": "template"}
                )
            values.append({"region_id": region, "value": float(names.index(along)), "indicator": "wealth"})
        draft.write("images", pd.DataFrame(images))
        draft.write("captions", pd.DataFrame(captions))
        draft.write("indicators", pd.DataFrame(values).assign(unit="USD", source="made up"))
    return Area.open(path)


def run(area: Area, out: Path, **settings: Any) -> tuple[dict[str, Any], VectorTable]:
    given = {"street_views": 2, "epochs": 2, "batch_size": 8, "location_hidden": 16, "device": "cpu", **settings}
    config = configure(ViewsConfig, {"area": area.path, "out": out, **given})
    manifest = dict(pretrain_views(config, silent).manifest)
    manifest["warnings"] = [text for text in manifest["warnings"] if "old name" not in text]
    return manifest, read_vector_table(area.embeddings_path(config.name), ("image_id", "sha256"), "", "vectors")


def history(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


# The stage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["gated", "sum"])
def test_the_losses_fall_and_predict_reads_the_vectors(town: Area, tmp_path: Path, fusion: str) -> None:
    out = tmp_path / "towers"
    manifest, table = run(town, out, epochs=8, lr=0.003, fusion=fusion)
    assert manifest["counts"] == {
        "tiles without a caption": 0,
        "tiles trained on": 32, "tiles held out": 4, "street views": 51, "street views with captions trained on": 48,
        "tiles without street views": 2, "tiles encoded": 36,
    }  # fmt: skip
    assert manifest["warnings"] == []
    rows = history(out)
    assert rows[-1]["train_contrastive"] < 0.8 * rows[0]["train_contrastive"]
    assert rows[-1]["train_token"] < 0.8 * rows[0]["train_token"]
    assert {"val_contrastive", "val_token", "val_loss"} <= set(rows[0])
    assert rows[0]["train_loss"] == pytest.approx(
        0.5 * rows[0]["train_contrastive"] + 0.5 * rows[0]["train_token"], abs=1e-5
    )
    hashes = town.images.set_index("image_id")["sha256"]
    assert table.columns["sha256"].tolist() == hashes[table.columns["image_id"]].tolist()
    assert np.allclose(np.linalg.norm(table.vectors, axis=1), 1, atol=1e-5)
    assert json.loads((out / "config.json").read_text())["trained"]["fusion"] == fusion
    asked = PredictSettings(
        area=town.path, indicator=["wealth"], out=tmp_path / "run", embeddings="urbanvlp", modalities="image",
        block_m=3000.0, folds=3, probe="ridge",
    )  # fmt: skip
    scores = predict(asked, silent).manifest["facts"]["rows"]
    assert all(np.isfinite(value) for value in scores.values())


def test_the_seed_decides(town: Area, tmp_path: Path) -> None:
    runs = [run(town, tmp_path / str(number), seed=seed) for number, seed in enumerate((0, 0, 1))]
    weights = [(tmp_path / str(number) / "model.safetensors").read_bytes() for number in range(3)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    assert np.array_equal(runs[0][1].vectors, runs[1][1].vectors)
    assert runs[0][1].notes == runs[1][1].notes != runs[2][1].notes


def test_a_finished_run_is_not_done_again(town: Area, tmp_path: Path) -> None:
    config = ViewsConfig(
        area=town.path, out=tmp_path / "towers", epochs=1, street_views=1, location_hidden=0, device="cpu"
    )
    assert not pretrain_views(config, silent).skipped
    assert pretrain_views(config, silent).skipped
    assert not pretrain_views(dataclasses.replace(config, seed=1), silent).skipped


# Street views that are not there -------------------------------------------------------------------------------------


def test_without_street_views_none_is_read(town: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, alone = run(town, tmp_path / "alone", street_views=0, name="alone")
    images = town.images
    for uri in images.loc[images["view"] == "street", "uri"]:
        town.resolve(uri).write_bytes(b"poison")
    manifest, poisoned = run(town, tmp_path / "poisoned", street_views=0, name="poisoned")
    assert np.array_equal(alone.vectors, poisoned.vectors)
    assert manifest["dropped"] == {}
    assert "train_token" not in history(tmp_path / "alone")[0]
    # Asked for, all of them are bad: every tile is on its own, and it is said why.
    manifest, _ = run(town, tmp_path / "bad", name="bad")
    assert manifest["dropped"] == {"image not an image": 51}
    assert "no tile has a street view" in manifest["warnings"][0]


def test_tiles_without_street_views_have_the_vector_of_the_tile(town: Area, tmp_path: Path) -> None:
    """A region's views change nothing in the vectors of a region that has none, whatever stands in their place."""
    loaded = new_model("clip-small", seed=0, captions=town.captions["caption"].tolist())
    config = ViewsConfig(area=town.path, out=tmp_path / "none", street_views=3)
    scene = Scene.read(town, loaded, config, Ledger(), silent)
    tiles = np.arange(len(scene.tiles))
    drawn = scene.draw(tiles, 3, np.random.default_rng(0))
    assert drawn.held.sum(1).tolist() == [3] * 34 + [0] * 2
    for tile in range(34):
        views = {scene.views.image_ids[row] for row in drawn.rows[drawn.which[tile]]}
        assert views == {f"street{tile // 2:02d}-{place}" for place in (2, 3, 4)}
    fewer = scene.draw(tiles, 1, np.random.default_rng(0))
    assert fewer.held.sum() == 34
    assert len(fewer.rows) <= 34
    other = scene.draw(tiles, 1, np.random.default_rng(1))
    assert fewer.rows[fewer.which].tolist() != other.rows[other.which].tolist()
    # A view that cannot be read leaves the draw, and the others keep their places.
    read = np.arange(len(drawn.rows)) % 3 != 0
    left = drawn.readable(read)
    assert left.held.sum() == 34 * 2
    assert set(left.rows[left.which[left.held]]) == set(drawn.rows[read])
    model = MultiGranularity(loaded, "gated", 16)
    above, places = torch.randn(36, 32), scene.places[torch.from_numpy(drawn.rows)]
    which, held = torch.from_numpy(drawn.which), torch.from_numpy(drawn.held)
    found = fuse(model, above, torch.randn(len(drawn.rows), 32), places, which, held)
    own = torch.nn.functional.normalize(model.fusion.satellite(above), dim=-1)
    assert torch.equal(found[-2:], own[-2:])
    assert not torch.isclose(found[:-2], own[:-2]).all(1).any()


def test_views_without_captions_and_tiles_without(town: Area, tmp_path: Path) -> None:
    captions = town.captions
    street = captions["image_id"].str.startswith("street")
    town.write("captions", captions[~street])
    manifest, _ = run(town, tmp_path / "untold")
    assert "the contrast of tokens (--beta) is left out" in manifest["warnings"][0]
    assert history(tmp_path / "untold")[0]["train_loss"] == pytest.approx(
        0.5 * history(tmp_path / "untold")[0]["train_contrastive"], abs=1e-5
    )
    town.write("captions", captions[street])
    with pytest.raises(InputError, match=r"0 readable tiles with a caption.*`chorograph caption`"):
        run(town, tmp_path / "wordless")
    assert not (tmp_path / "wordless").exists()


def test_towers_encode_another_area(town: Area, tmp_path: Path) -> None:
    """What is kept gives the same vectors again, with its own fusion, whatever is asked for."""
    _, trained = run(town, tmp_path / "trained", fusion="sum", location_hidden=0)
    assert load_towers(tmp_path / "trained")[1].settings == {"fusion": "sum", "location_hidden": 0}
    again, encoded = run(town, tmp_path / "again", init=tmp_path / "trained", epochs=0, name="again")
    assert np.allclose(encoded.vectors, trained.vectors, atol=1e-5)
    assert again["facts"]["last epoch"] is None
    assert history(tmp_path / "again") == []
    further, _ = run(town, tmp_path / "further", init=tmp_path / "trained", name="further")
    assert further["facts"]["last epoch"]["train_loss"] < history(tmp_path / "trained")[0]["train_loss"]
    (tmp_path / "trained" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="is not what `chorograph pretrain-views` writes"):
        load_towers(tmp_path / "trained")


def test_one_held_out_tile_is_no_contrast(town: Area, tmp_path: Path) -> None:
    manifest, _ = run(town, tmp_path / "all", holdout="0", epochs=1)
    assert manifest["counts"]["tiles trained on"] == 36
    assert "no validation" in manifest["warnings"][0]
    assert "val_loss" not in history(tmp_path / "all")[0]


@pytest.mark.parametrize("setting", [{"street_views": -1}, {"beta": -0.5}, {"epochs": 0}, {"batch_size": 1}])
def test_settings_that_cannot_be_meant(town: Area, tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting)).replace("_", ".")):
        run(town, tmp_path / "never", **setting)


def test_images_decoded_as_they_come_give_the_same(town: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, kept = run(town, tmp_path / "kept", epochs=1, name="kept")
    monkeypatch.setattr(sys.modules["chorograph.pretraining.feeds.pairs"], "_MEMORY_BYTES", 0)
    _, read = run(town, tmp_path / "read", epochs=1, name="read")
    assert np.array_equal(kept.vectors, read.vectors)
    loaded = new_model("clip-small", seed=0, captions=["a"])
    scene = Scene.read(town, loaded, ViewsConfig(area=town.path, out=tmp_path), Ledger(), silent)
    assert not isinstance(scene.views.images, InMemory)
    uris = town.images.set_index("image_id")["uri"]
    for name in ("street00-2", "satellite03-0"):
        town.resolve(uris[name]).write_bytes(b"poison")
    manifest, left = run(town, tmp_path / "left", epochs=1, name="left", street_views=3)
    assert manifest["dropped"] == {"image not an image": 2}
    assert len(left.vectors) == 35


@pytest.mark.real
def test_the_published_sample(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Ten tiles, three street views, none of them in one of the ten: their captions are learnt from all the same."""
    import_urbanvlp(real_data("urbanvlp"), tmp_path / "sample", Ledger())
    sample = Area.open(tmp_path / "sample")
    manifest, table = run(sample, tmp_path / "towers", epochs=1)
    assert manifest["counts"]["street views with captions trained on"] == 3
    assert manifest["counts"]["tiles without street views"] == 10
    assert any("no tile has a street view" in warning for warning in manifest["warnings"])
    assert history(tmp_path / "towers")[0]["train_token"] > 0
    assert len(table.vectors) == 10


def test_another_architecture_and_its_tokens(town: Area, tmp_path: Path) -> None:
    """CoCa's image tower gives other tokens than CLIP's, and its text tower has a class token."""
    manifest, table = run(town, tmp_path / "coca", model="coca-small", epochs=1, street_views=1)
    assert np.isfinite(manifest["facts"]["last epoch"]["val_token"])
    assert table.vectors.shape == (36, 128)
