"""Whole runs of `predict` on areas made so that the right answer is known."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shapely.geometry import box

import chorograph as cg
from chorograph.area.draft import AreaDraft
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.embedding.texts import embed_captions
from chorograph.ground.errors import InputError, LeakError, UnknownNameError
from chorograph.ground.stage import Ledger
from chorograph.models.encoders.protocols import SEEN
from chorograph.prediction.judging.intervals import METHODS
from chorograph.prediction.labels import Question, read_labels
from chorograph.prediction.profile import Prediction
from chorograph.prediction.settings import PredictionSettings

SIDE = 14


def _area(path: Path, *, same_image: tuple[int, int] | None = None, permute: bool = False) -> tuple[Area, Embeddings]:
    """A chessboard of regions of about a kilometre, one image vector each; the label is a function of the vector."""
    rng = np.random.default_rng(0)
    number = SIDE * SIDE
    ids = [f"r{k}" for k in range(number)]
    step = 0.01
    cells = [
        box(step * (k % SIDE), step * (k // SIDE), step * (k % SIDE + 1), step * (k // SIDE + 1)) for k in range(number)
    ]
    vectors = rng.normal(size=(number, 6)).astype(np.float32)
    value = np.exp(1.0 + vectors[:, 0] + 0.5 * np.sin(np.arange(number) / SIDE) + rng.normal(0, 0.2, number))
    if permute:
        value = rng.permutation(value)
    value[5] = 0.0
    value[7] = np.nan
    sha = [f"h{k}" for k in range(number)]
    if same_image:
        sha[same_image[0]] = sha[same_image[1]]
    images = pd.DataFrame({"image_id": ids, "region_id": ids, "sha256": sha}).assign(
        view="satellite", source="t", licence="t"
    )
    people = pd.DataFrame({"region_id": ids, "indicator": "people", "value": 100.0, "unit": "people", "source": "t"})
    rents = pd.DataFrame({"region_id": ids, "indicator": "rent", "value": value, "unit": "EUR", "source": "t"})
    with AreaDraft(path, "board") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids}, geometry=cells, crs=4326))
        draft.write("images", images)
        draft.write("indicators", pd.concat([rents, people]))
        roles = np.where(np.arange(number) % 3 == 0, "test", "train")
        draft.write_split("published", pd.DataFrame({"region_id": ids, "role": roles}))
    return Area.open(path), Embeddings("made", "f", np.array(ids, dtype=object), np.array(sha, dtype=object), vectors)


def _predict(area: Area, embeddings: Embeddings | None, **settings: Any) -> Prediction:
    settings = {"indicator": "rent", "log": True, "block_m": 3000, "modalities": "image", **settings}
    return cg.predict(area, embeddings, **settings)[settings["indicator"]]


@pytest.mark.parametrize("probe", ["gp", "ridge"])
def test_what_imagery_knows_is_found(tmp_path: Path, probe: str) -> None:
    result = _predict(*_area(tmp_path / "area"), probe=probe)
    assert result.r2 > 0.8
    row = result.scores.model
    assert 0.82 <= row.coverage.value <= 0.97
    assert result.frame["predicted"].notna().all()
    zero = result.frame.set_index("region_id").loc["r5"]
    assert np.isnan(zero["target"])  # no logarithm of zero
    assert zero["predicted"] > 0
    assert result.scores.dropped == {"label at or below zero, which has no logarithm": 1}


@pytest.mark.parametrize("split", ["spatial_block", "random", "given:published"])
@pytest.mark.parametrize("probe", ["gp", "ridge"])
def test_permuted_labels_give_nothing_on_any_split(tmp_path: Path, split: str, probe: str) -> None:
    result = _predict(*_area(tmp_path / "area", permute=True), probe=probe, split=split)
    assert result.r2 <= 0.03


def test_a_given_split_scores_its_test_set_alone(tmp_path: Path) -> None:
    result = _predict(*_area(tmp_path / "area"), split="given:published", probe="ridge")
    row = result.scores.model
    tested = result.frame[result.frame["fold"].notna()]
    assert row.n == len(tested)
    assert set(tested["region_id"]) <= {f"r{k}" for k in range(0, SIDE * SIDE, 3)}
    assert result.scores.model.coverage.value > 0.75
    assert result.frame["lower"].notna().all()


def test_a_planted_duplicate_is_an_error_in_a_given_split_and_joined_otherwise(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area", same_image=(0, 100))
    with pytest.raises(LeakError, match="identical images stand on both sides"):
        _predict(area, embeddings, split="given:published")
    allowed = _predict(area, embeddings, split="given:published", allow_leaks=True, probe="ridge")
    assert allowed.scores.leaky
    assert any(warning.startswith("leak, allowed: identical images") for warning in allowed.scores.warnings)
    result = _predict(area, embeddings, probe="ridge")
    fold = result.frame.set_index("region_id")["fold"]
    assert fold["r0"] == fold["r100"]
    assert result.scores.counts["duplicate image groups"] == 1


def test_a_label_among_the_features_is_caught(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    rents = area.indicators.query("indicator == 'rent' and value > 0").assign(poi="shops")
    counts = rents.rename(columns={"value": "count"})[["region_id", "poi", "count"]]
    area.write("poi_counts", counts.assign(count=(1000 * counts["count"]).round()))
    with pytest.raises(LeakError, match="column 1 of the modality poi is the label"):
        _predict(area, embeddings, modalities="image,poi")
    honest = _predict(area, embeddings, modalities="image", probe="ridge")
    assert not any(finding["leak"] for finding in honest.scores.leaks)


def test_recompressed_copies_across_folds_are_caught(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    area, _ = _area(tmp_path / "area")
    number = SIDE * SIDE
    vectors = rng.normal(size=(number, 6)).astype(np.float32)
    vectors[100] = vectors[0] + 1e-3
    (area.path / "images").mkdir()
    for row in (0, 100):
        pixels = np.random.default_rng(7).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(area.path / f"images/{row}.jpg", quality=95 if row else 60)
    images = area.images
    images["uri"] = [f"images/{row}.jpg" if row in (0, 100) else None for row in range(number)]
    area.write("images", images)
    embeddings = Embeddings("made", "f", images["image_id"].to_numpy(object), np.full(number, "h"), vectors)
    with pytest.raises(LeakError, match="nearly the same as one of a training region, for example r0 and r100"):
        _predict(Area.open(area.path), embeddings)


def test_what_an_encoder_was_pretrained_on_is_noted(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    (tmp_path / "coca").mkdir()
    (tmp_path / "coca" / SEEN).write_text("h1\nh2\nelsewhere\n")
    seen = replace(embeddings, model=str(tmp_path / "coca"))
    result = _predict(area, seen, probe="ridge")
    assert any("2 of 194 labelled regions have images" in warning for warning in result.scores.warnings)
    assert not result.scores.leaky


def test_ablation_scores_every_subset_on_the_same_regions(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    profile = cg.predict(
        area, embeddings, indicator="rent", log=True, block_m=3000, modalities=["image", "location", "shape"],
        probe="ridge", ablate=True,
    )  # fmt: skip
    result = profile["rent"]
    table = result.tables["ablation"].set_index("modalities")["r2"]
    assert len(table) == 7
    assert np.isclose(table["image + location + shape"], result.r2)
    alone = _predict(area, embeddings, modalities="image", probe="ridge")
    assert np.isclose(table["image"], alone.r2)
    profile.write(tmp_path / "run")
    assert (tmp_path / "run" / "ablation.csv").is_file()


def test_repeats_deal_the_folds_anew(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    result = _predict(area, embeddings, probe="ridge", repeats=3)
    other = _predict(area, embeddings, probe="ridge", seed=1)
    assert len(result.scores.repeats) == 2
    assert np.isclose(result.scores.repeats[0], other.r2)
    with pytest.raises(InputError, match="only one way"):
        _predict(area, embeddings, split="given:published", repeats=2)


def test_suggestions_are_unlabelled_regions(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    result = _predict(area, embeddings, suggest=5)
    assert set(result.tables["suggested"]["region_id"]) == {"r5", "r7"}
    with pytest.raises(InputError, match="--probe gp"):
        _predict(area, embeddings, suggest=5, probe="ridge")


def test_a_region_unlike_all_others_is_outside_the_support(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    vectors = embeddings.vectors.copy()
    vectors[[7, 20]] += 30.0  # r7 has no label
    frame = _predict(area, replace(embeddings, vectors=vectors), probe="ridge").frame.set_index("region_id")
    assert not frame["supported"]["r7"]
    assert not frame["supported"]["r20"]
    assert frame["supported"].mean() > 0.9


@pytest.mark.parametrize("settings", [{"interval": "split"}, {"interval": "quantile"}, {"shift_weights": True}])
def test_other_intervals_cover_too(tmp_path: Path, settings: dict[str, Any]) -> None:
    area, embeddings = _area(tmp_path / "area")
    result = _predict(area, embeddings, **settings)
    assert 0.82 < result.scores.model.coverage.value < 0.97
    places = result.tables["intervals_by_place"]
    weighed = np.average(places["coverage"], weights=places["regions"])
    assert np.isclose(weighed, result.scores.model.coverage.value, atol=1e-3)


def test_decisions_stand_beside_the_scores(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    row = _predict(area, embeddings, probe="ridge", neediest="low").scores.model
    assert row.decision["recall@20"].value > 0.4
    assert row.cost_curve[0] == (0.0, 0.0)
    assert row.cost_curve[-1] == (1.0, 1.0)


def test_split_objects_and_buffers(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    result = _predict(area, embeddings, split=cg.SpatialBlocks(block_m=3000, buffer_m=1500), probe="ridge")
    assert result.scores.split["buffer_m"] == 1500
    assert result.scores.split["name"] == "spatial_block"


def test_a_region_without_imagery_is_predicted_from_place(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    part = Embeddings("made", "f", embeddings.image_ids[:-20], embeddings.sha256[:-20], embeddings.vectors[:-20])
    result = _predict(area, part, modalities="image,location")
    basis = result.frame.set_index("region_id")["basis"]
    assert basis["r0"] == "image+location"
    assert basis[f"r{SIDE * SIDE - 1}"] == "location"
    assert result.scores.counts["scored"] < SIDE * SIDE - 20
    assert any("lack a modality" in warning for warning in result.scores.warnings)


def test_an_area_without_images_needs_no_vectors(tmp_path: Path) -> None:
    area, _ = _area(tmp_path / "area")
    found = cg.predict(area, indicator="rent", scale="log1p", probe="ridge")
    assert set(found["rent"].frame["basis"]) == {"location"}
    with pytest.raises(InputError, match="chorograph embed"):
        cg.predict(area, "colour", indicator="rent")


def test_shares_and_their_unit(tmp_path: Path) -> None:
    area, _ = _area(tmp_path / "area")
    labels = read_labels(area, Question("rent", per="people"), Ledger())
    assert labels.unit == "EUR per people"
    assert np.isclose(labels.own[0] * 100, read_labels(area, Question("rent"), Ledger()).own[0])
    logged = read_labels(area, Question("rent", "log"), Ledger())
    assert logged.fitted_unit == "ln(EUR)"
    assert np.allclose(logged.to_own(logged.fitted), logged.own, equal_nan=True)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"indicator": "rents"}, UnknownNameError, "did you mean 'rent'"),
        ({"modalities": "image,poi"}, InputError, "has no poi features"),
        ({"modalities": "images"}, UnknownNameError, "did you mean 'image'"),
        ({"split": "given:other"}, InputError, "it holds: published"),
        ({"block_m": 50_000}, InputError, "cannot fill 5 folds"),
        ({"level": 90}, InputError, "above 0 and below 1, not 90"),
        ({"year": 1999}, InputError, "no values for the year 1999"),
    ],
)
def test_mistakes(tmp_path: Path, settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _predict(*_area(tmp_path / "area"), **settings)


def test_same_seed_same_result(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    first, second = (_predict(area, embeddings, modalities="all") for _ in range(2))
    assert first.frame["predicted"].equals(second.frame["predicted"])
    assert first.scores.as_dict() == second.scores.as_dict()


def test_the_mlp_has_the_published_number_of_parameters() -> None:
    from chorograph.prediction.probes.mlp import UrbanClipMlp

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 768))
    fitted = UrbanClipMlp(epochs=2).fit(X, X[:, 0])
    assert sum(p.numel() for p in fitted.network_.parameters()) == 197_121
    again = UrbanClipMlp(epochs=2).fit(X, X[:, 0])
    assert np.array_equal(fitted.predict(X), again.predict(X))
    assert not np.array_equal(fitted.predict(X), UrbanClipMlp(epochs=2, seed=1).fit(X, X[:, 0]).predict(X))


@pytest.mark.parametrize(
    "settings",
    [
        {"probe": "boosting"},
        {"probe": "stack"},
        {"probe": "ridge", "kriging": True, "modalities": "image,location"},
    ],
)
def test_every_probe_finds_what_imagery_knows(tmp_path: Path, settings: dict[str, Any]) -> None:
    area, embeddings = _area(tmp_path / "area")
    assert _predict(area, embeddings, **settings).r2 > 0.6


def test_attention_says_what_it_weighed(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    result = _predict(area, embeddings, probe="ridge", pooling="attention")
    assert result.r2 > 0.6
    weights = result.tables["tile_weights"].set_index("image_id")
    assert set(weights.columns) == {"region_id", "weight"}
    region_of = area.images.set_index("image_id")["region_id"]
    assert (weights["region_id"] == region_of.reindex(weights.index)).all()
    assert weights.groupby("region_id")["weight"].sum().to_numpy() == pytest.approx(1)


def test_the_settings_name_every_interval() -> None:
    named = next(field for field in fields(PredictionSettings) if field.name == "interval")
    assert named.metadata["choices"] == METHODS


def test_captions_are_a_modality(tmp_path: Path) -> None:
    area, embeddings = _area(tmp_path / "area")
    words = np.where(embeddings.vectors[:, 0] > 0, "many towers and offices", "fields and farms")
    captions = pd.DataFrame({"caption_id": embeddings.image_ids, "image_id": embeddings.image_ids, "caption": words})
    area.write("captions", captions.assign(rank=0, origin="human"))
    embed_captions(area, "lsa:4", Ledger())
    told = _predict(area, None, modalities="text", texts="lsa:4", probe="ridge")
    assert 0.2 < told.r2 < 0.8
    assert set(told.frame["basis"]) == {"text"}
    with pytest.raises(InputError, match="has no text features"):
        _predict(area, None, modalities="text")


@pytest.mark.parametrize("fusion", ["concat", "late", "attention"])
def test_modalities_are_fused_in_every_way(tmp_path: Path, fusion: str) -> None:
    result = _predict(*_area(tmp_path / "area"), modalities="image,location", fusion=fusion, probe="ridge")
    assert result.r2 > 0.7
    assert (fusion in result.scores.model.name) == (fusion != "concat")


def test_the_probe_that_chooses_tells_its_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorograph.prediction.probes.candidates.TREES", 10)
    area, embeddings = _area(tmp_path / "area")
    result = _predict(area, embeddings, probe="auto", modalities="standard")
    model, baseline = result.scores.model, result.scores.best_baseline
    assert "a weighted mean of" in model.meaning
    assert "gp on" in model.meaning
    assert model.r2 > 0.7
    assert baseline is not None
    assert model.r2 >= baseline.r2
    # Imagery alone, where it is asked for: nothing else is chosen.
    alone = _predict(area, embeddings, probe="auto", modalities="image")
    assert "location" not in alone.scores.model.meaning
    with pytest.raises(InputError, match="weighs modalities"):
        _predict(area, embeddings, probe="auto", kriging=True)
