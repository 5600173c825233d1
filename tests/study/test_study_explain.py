"""`evaluate explain` on a small city whose cause of value can be seen, and the report's section on it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import made_city
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chorograph.area.folder import Area
from chorograph.area.tiles import tile_of
from chorograph.embedding.run import embed_images
from chorograph.ground.errors import InputError
from chorograph.ground.files import write_json
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, silent
from chorograph.metrics.regression import Estimate
from chorograph.models.checkpoint import save_checkpoint
from chorograph.models.coca import towers as coca
from chorograph.models.encoders.open_clip import new_model
from chorograph.models.encoders.registry import load_encoder
from chorograph.reporting.report import write_report
from chorograph.study.explanation import _verdict, read_concepts
from chorograph.study.finished_run import redrawn
from chorograph.study.overlay import overlay
from chorograph.verbs.evaluate.explain import Settings as ExplainSettings
from chorograph.verbs.evaluate.explain import run as evaluate_explain
from chorograph.verbs.predict import Settings as PredictSettings
from chorograph.verbs.predict import run as predict


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Area:
    return made_city.build(tmp_path_factory.mktemp("explain") / "roofs")


def _run(area: Area, out: Path, **settings: Any) -> Path:
    named = {"area": area.path, "indicator": "value", "out": out, "log": True, "block_m": 2500, **settings}
    predict(configure(PredictSettings, {"modalities": "image", **named}), silent)
    return out


@pytest.fixture(scope="module")
def run(area: Area, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on hand-made features, of imagery and surroundings, explained."""
    embed_images(area, "colour", Ledger())
    folder = _run(
        area, tmp_path_factory.mktemp("runs") / "colour", embeddings="colour", probe="ridge",
        modalities="image,context",
    )  # fmt: skip
    evaluate_explain(ExplainSettings(run=folder, tiles=4, grid=4, draws=3), silent)
    return folder


def test_the_tables_hold_every_tile(area: Area, run: Path) -> None:
    tiles = pd.read_parquet(run / "explanation" / "value" / "tiles.parquet")
    assert len(tiles) == made_city.SIDE**2 * made_city.TILES
    assert {"image_id", "region_id", "influence", "lon", "lat"} <= set(tiles.columns)
    layer = gpd.read_file(run / "explanation" / "value" / "tiles.geojson")
    assert len(layer) == len(tiles)
    assert layer.crs == "EPSG:4326"
    row = area.images.iloc[0]
    footprint = layer.set_index("image_id").loc[row["image_id"], "geometry"]
    x, y = tile_of(footprint.centroid.x, footprint.centroid.y, 18)
    assert (int(x), int(y)) == (row["x"], row["y"])
    # Within a region, tiles with more red roofs raise the prediction.
    red = {i: float((area.read_image(u)[..., 0] > 150).mean()) for i, u in area.images[["image_id", "uri"]].to_numpy()}
    shares = tiles.assign(red=tiles["image_id"].map(red))
    centred = shares.groupby("region_id")[["red", "influence_fitted"]].transform(lambda part: part - part.mean())
    assert np.corrcoef(centred["red"], centred["influence_fitted"])[0, 1] > 0.8


def test_the_summary_says_what_was_checked(run: Path) -> None:
    content = json.loads((run / "explanation" / "value" / "explanation.json").read_text())
    assert content["unit"] == "EUR"
    assert content["model"] == "ridge on image + context"
    assert len(content["tiles"]) == 4
    assert [tile["influence"] > 0 for tile in content["tiles"]] == [True, True, False, False]
    assert all((run / "explanation" / "value" / tile["file"]).stat().st_size > 200 for tile in content["tiles"])
    checks = content["sanity"]["checks"]
    assert checks["two halves of the regions"][0]["tiles"][0] > 0.6
    assert len(checks["permuted labels"]) == 3
    assert "rcf fitted on other patches" in checks["random weights"]
    assert content["concepts"] == []
    assert "no text tower" in content["concepts_note"]
    assert evaluate_explain(ExplainSettings(run=run, tiles=4, grid=4, draws=3), silent).skipped


def test_the_report_shows_it_and_leaves_out_a_stale_one(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "What drove the predictions" in page
    assert "Tiles that raise the prediction" in page
    assert "no text tower" in page
    path = run / "explanation" / "value" / "explanation.json"
    before = path.read_text()
    try:
        write_json(path, {**json.loads(before), "predictions_sha256": "another"})
        stale = write_report(run).read_text(encoding="utf-8")
        assert "is of earlier predictions" in stale
        assert "What drove the predictions" not in stale
        path.write_text("{}")
        with pytest.raises(InputError, match=r"explanation\.json"):
            write_report(run)
    finally:
        path.write_text(before)


def test_words_and_random_weights(area: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = coca.SMALL["coca-small"]
    monkeypatch.setitem(coca.SMALL, "coca-small", {**small, "vision_cfg": {**small["vision_cfg"], "image_size": 32}})
    loaded = new_model("coca-small", seed=0, captions=area.captions["caption"].tolist())
    save_checkpoint(tmp_path / "tiny", loaded, facts={"seed": 0}, card="", history=[])
    name = str(tmp_path / "tiny")
    embed_images(area, name, Ledger())
    folder = _run(area, tmp_path / "run", embeddings=name)
    words = tmp_path / "words.txt"
    words.write_text("# what to look for\nred roofs\ngreen land\n\nskyscrapers\nred roofs\n")
    config = ExplainSettings(run=folder, concepts=words, tiles=2, grid=2, draws=2, out=tmp_path / "out")
    outcome = evaluate_explain(config, silent)
    assert outcome.manifest["dropped"]["concept with a word that the encoder has never read"] == 1
    table = pd.read_csv(tmp_path / "out" / "concepts.csv")
    assert table["concept"].tolist() == ["red roofs", "green land"]
    assert table["spearman"].between(-1, 1).all()
    assert not np.allclose(table["spearman"], table["spearman_random_weights"])
    content = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert len(content["sanity"]["checks"]["random weights"]) == 1
    assert "skyscrapers" in content["concepts_note"]
    words.write_text("skyscrapers\n")
    evaluate_explain(config, silent)
    assert json.loads((tmp_path / "out" / "explanation.json").read_text())["concepts"] == []
    # Vectors of another encoder than the one that is loaded are refused.
    other = new_model("coca-small", seed=1, captions=area.captions["caption"].tolist())
    save_checkpoint(tmp_path / "tiny", other, facts={"seed": 1}, card="", history=[])
    with pytest.raises(InputError, match="no longer what made the vectors"):
        evaluate_explain(replace(config, seed=1), silent)


def test_redrawn_weights_are_another_network_of_the_same_shape(tmp_path: Path) -> None:
    loaded = new_model("clip-small", seed=0, captions=["a place", "a place"])
    save_checkpoint(tmp_path / "tiny", loaded, facts={"seed": 0}, card="", history=[])
    encoder = load_encoder(str(tmp_path / "tiny"))
    images = [np.random.default_rng(k).integers(0, 255, (40, 40, 3)).astype(np.uint8) for k in range(3)]
    first, again, other = (redrawn(encoder, seed) for seed in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.encode(images).shape == encoder.encode(images).shape
    assert np.array_equal(first.encode(images), again.encode(images))
    assert not np.allclose(first.encode(images), encoder.encode(images), atol=1e-2)
    assert not np.allclose(first.encode(images), other.encode(images), atol=1e-2)
    assert redrawn(load_encoder("colour"), 0) is None


def test_regions_of_one_tile_are_looked_into(tmp_path: Path) -> None:
    area = made_city.build(tmp_path / "single", tiles=1, captions=False)
    embed_images(area, "colour", Ledger())
    folder = _run(area, tmp_path / "run", embeddings="colour", probe="ridge")
    outcome = evaluate_explain(ExplainSettings(run=folder, tiles=3, grid=2, draws=1), silent)
    assert outcome.manifest["dropped"]["tile without others in its region to compare with"] == made_city.SIDE**2
    content = json.loads((folder / "explanation" / "value" / "explanation.json").read_text())
    assert len(content["tiles"]) == 3
    assert content["sanity"]["tone"] == "unclear"
    assert "The only tile of its region" in write_report(folder).read_text(encoding="utf-8")


def test_a_run_whose_data_changed_is_refused(area: Area, tmp_path: Path) -> None:
    embed_images(area, "colour", Ledger())
    folder = _run(area, tmp_path / "run", embeddings="colour", probe="ridge")
    frame = gpd.read_parquet(folder / "predictions.parquet")
    frame.assign(predicted=frame["predicted"] * 1.5).to_parquet(folder / "predictions.parquet")
    with pytest.raises(InputError, match="do not predict what"):
        evaluate_explain(ExplainSettings(run=folder), silent)
    blind = _run(area, tmp_path / "blind", embeddings="none", modalities="location", probe="ridge")
    with pytest.raises(InputError, match="without imagery"):
        evaluate_explain(ExplainSettings(run=blind), silent)
    with pytest.raises(InputError, match="not the manifest of a run"):
        write_json(tmp_path / "manifest.json", {"stage": "embed", "config": {}})
        evaluate_explain(ExplainSettings(run=tmp_path), silent)


@pytest.mark.parametrize(
    ("control", "labels", "weights", "tone", "said"),
    [
        ((0.9, 0.85, 0.93), [-0.2, 0.1], [0.3], "good", "depends on what was learnt"),
        ((0.6, 0.40, 0.80), [-0.5, 0.1], [], "unclear", "more than chance could give"),
        ((0.6, 0.50, 0.70), [0.1], [0.8], "bad", "do not lean on it"),
        ((float("nan"),) * 3, [], [], "unclear", "nothing was checked"),
    ],
)
def test_verdicts(control: Any, labels: list[float], weights: list[float], tone: str, said: str) -> None:
    found = _verdict(
        Estimate(*control), [Estimate(v, v - 0.1, v + 0.1) for v in labels], [Estimate(v, v, v) for v in weights]
    )
    assert found[0] == tone
    assert said in found[1]
    assert ("Random weights were not tried" in found[1]) == (not weights and "nothing" not in said)


def test_an_overlay_is_red_where_it_raises() -> None:
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    both = np.asarray(Image.open(io.BytesIO(overlay(grey, np.array([[1.0, -1.0], [0.0, 0.0]])))), dtype=int)
    plain, painted = both[:, :256], both[:, -256:]
    assert (plain == 128).all()
    assert painted[10, 10, 0] > 150 > painted[10, 10, 2]
    assert painted[10, 200, 2] > 150 > painted[10, 200, 0]
    assert (painted[200] == 128).all()


def test_lists_of_concepts(tmp_path: Path) -> None:
    assert "swimming pools" in read_concepts(None)
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(InputError, match="holds no concept"):
        read_concepts(tmp_path / "empty.txt")
    with pytest.raises(InputError, match="does not exist"):
        read_concepts(tmp_path / "absent.txt")
