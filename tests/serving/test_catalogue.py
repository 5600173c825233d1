"""What is served: layers out of tables and runs, classes, cards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mapclassify
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorograph.area.descriptions import Description, write_descriptions
from chorograph.area.folder import Area
from chorograph.ground.errors import AreaError, InputError, UnknownNameError
from chorograph.serving.catalogue.cards import card, rank
from chorograph.serving.catalogue.classes import CLASSES, STEPS, classify
from chorograph.serving.catalogue.conditions import allowed_rows
from chorograph.serving.catalogue.layers import read_layers, title_of
from chorograph.serving.catalogue.served import Catalogue, ServedArea
from chorograph.serving.catalogue.survey import survey_next

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def test_runs_beside_an_area_are_found_and_the_best_comes_first(served: ServedArea) -> None:
    layer = served.layer("median_income")
    assert [run.run for run in layer.runs] == ["income", "income-worse"]
    assert layer.unit == "crowns/year"
    assert np.isfinite(layer.run("income").predicted).all()
    assert served.layer("population").runs == ()
    assert served.layer("population").measures(None) == ("observed",)


def test_a_filed_table_of_the_same_run_is_not_another_run(city: Path, tmp_path: Path) -> None:
    place = tmp_path / "copy"
    shutil.copytree(city, place)
    frame = pd.read_parquet(place / "income" / "predictions.parquet")
    (place / "area" / "predictions").mkdir()
    frame[["region_id", "indicator", "fold", "predicted", "lower", "upper", "level", "basis"]].to_parquet(
        place / "area" / "predictions" / "first.parquet"
    )
    for run in ("income", "income-worse"):
        manifest = place / run / "manifest.json"
        manifest.write_text(manifest.read_text().replace(str(city), str(place)))
    layer = next(iter(Catalogue.open([place], cache=False))).layer("median_income")
    assert len(layer.runs) == 2


def test_one_table_may_hold_many_indicators(city: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(city / "income" / "predictions.parquet").drop(columns="geometry")
    both = pd.concat([frame, frame.assign(indicator="carbon", predicted=1.0)])
    (tmp_path / "run").mkdir()
    both.to_parquet(tmp_path / "run" / "predictions.parquet")
    served = Catalogue.open([city], cache=False)["city"]
    layers = read_layers(served.area, served.index.tolist(), [tmp_path / "run"])
    assert (layers["carbon"].runs[0].predicted == 1.0).all()
    assert layers["median_income"].runs[0].run == "run"


def test_residuals_are_of_held_out_regions_only(served: ServedArea) -> None:
    layer = served.layer("median_income")
    run = layer.run()
    residual = layer.values("residual", run)
    assert np.array_equal(np.isfinite(residual), run.held_out & np.isfinite(layer.observed))
    assert np.allclose(layer.values("width", run), run.upper - run.lower)


def test_unknown_names_offer_near_misses(served: ServedArea) -> None:
    with pytest.raises(UnknownNameError, match="median_income"):
        served.layer("median_incom")
    with pytest.raises(UnknownNameError, match="income"):
        served.layer("median_income").run("incom")


def test_what_is_no_area_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match="not an area"):
        Catalogue.open([tmp_path])


@given(st.lists(FINITE, min_size=1, max_size=200))
def test_every_value_is_in_one_class_and_codes_rise_with_it(numbers: list[float]) -> None:
    values = np.array([*numbers, np.nan])
    for method in ("quantile", "equal"):
        for diverging in (False, True):
            classes = classify(values, method, diverging=diverging)
            assert classes.counts.sum() == len(numbers)
            assert classes.missing == 1
            assert (np.diff(classes.edges) > 0).all()
            codes = classes.codes(values)
            assert codes[-1] == 0
            order = np.argsort(values[:-1])
            assert (np.diff(codes[:-1][order].astype(int)) >= 0).all()
            assert codes.max() <= STEPS * CLASSES


def test_quantiles_are_mapclassify_s() -> None:
    values = np.random.default_rng(0).lognormal(size=500)
    theirs = mapclassify.Quantiles(values, k=CLASSES)
    ours = classify(values, "quantile")
    assert np.allclose(ours.edges[1:], theirs.bins)
    assert np.abs(ours.counts - theirs.counts).max() <= 1


def test_a_card_tells_all_there_is(served: ServedArea) -> None:
    told = card(served, 0)
    income = next(entry for entry in told["indicators"] if entry["id"] == "median_income")
    assert income["lower"] < income["predicted"] < income["upper"]
    assert income["supported"] is False
    assert told["images"]
    assert told["neighbours"]
    assert told["sources"][0]["licence"]
    assert told["area_km2"] > 0


def test_a_card_has_the_region_s_description(city: Path, tmp_path: Path) -> None:
    shutil.copytree(city, tmp_path / "city")
    served = Catalogue.open([tmp_path / "city"], cache=False)["city"]
    hostile = "<script>alert(2)</script>"
    lines = [
        ("R01", hostile, 1, "c3", "model:m"),
        ("R01", "Roofs.", 0, "c1 c2", "facts"),
        ("R02", "Trees.", 0, "c4", "facts"),
    ]
    columns = ["region_id", "sentence", "rank", "evidence", "origin"]
    served.area.write("descriptions", pd.DataFrame(lines, columns=columns))
    told = card(served, served.row("R01"))
    assert told["descriptions"] == [
        {"sentence": "Roofs.", "origin": "facts", "evidence": ["c1", "c2"]},
        {"sentence": hostile, "origin": "model:m", "evidence": ["c3"]},
    ]


def test_ranks_count_from_the_highest() -> None:
    values = np.array([3.0, np.nan, 5.0, 1.0])
    assert [rank(values, row) for row in range(4)] == [2, None, 1, 3]


def test_surveys_go_to_unlabelled_regions_unlike_others_first(served: ServedArea) -> None:
    layer = served.layer("median_income")
    found = survey_next(served, layer, layer.run())
    assert found
    rows = [region["row"] for region in found]
    assert not np.isfinite(layer.observed[rows]).any()
    supported = layer.run().supported[rows]
    assert (np.diff(supported.astype(int)) >= 0).all()


def test_a_run_s_own_suggestions_come_before_ours(
    city: Path, served: ServedArea, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "suggesting", city / "area")
    (run / "suggested.csv").write_text("rank,region_id,variance_gone\n1,R07,0.25\n", encoding="utf-8")
    layer = read_layers(served.area, served.index.tolist(), [run])["median_income"]
    found = survey_next(served, layer, layer.run("suggesting"))
    assert [region["id"] for region in found] == ["R07"]
    assert "25 %" in found[0]["reason"]


def test_conditions_narrow_by_place_and_number(served: ServedArea) -> None:
    layer = served.layer("median_income")
    known = np.where(np.isfinite(layer.observed), layer.observed, layer.run().predicted)
    middle = float(np.median(known))
    assert np.array_equal(allowed_rows(served, None, [f"median_income:{middle}.."]), known >= middle)
    west, south, east, north = served.bounds
    assert allowed_rows(served, f"{west},{south},{east},{north}", None).all()
    assert not allowed_rows(served, "100,40,101,41", None).any()
    for wrong in ("median_income", "median_income:a..b"):
        with pytest.raises(InputError):
            allowed_rows(served, None, [wrong])


def test_titles_leave_the_unit_behind_the_numbers() -> None:
    assert title_of("sale_price_median_usd", unit="USD") == "Sale price median"
    assert title_of("bachelor", "population") == "Bachelor per population"
    assert title_of("n_sales", unit="sales") == "N sales"


def test_layers_bear_the_titles_that_the_area_gives_its_indicators(city: Path, tmp_path: Path) -> None:
    place = tmp_path / "titled" / "area"
    shutil.copytree(city / "area", place, ignore=shutil.ignore_patterns("images", "embeddings"))
    area = Area.open(place)
    said = {
        "median_income": Description(title="Income of households"),
        "carbon": Description(title="Carbon a head", per="population"),
    }
    write_descriptions(area, said)
    run = tmp_path / "run"
    shutil.copytree(city / "income", run)
    frame = pd.read_parquet(run / "predictions.parquet").drop(columns="geometry")
    frame.assign(indicator="carbon").to_parquet(run / "predictions.parquet")
    (run / "scores.json").write_text('{"indicator": "carbon", "per": "population", "rows": []}', encoding="utf-8")
    layers = read_layers(area, area.regions["region_id"].tolist(), [run])
    titles = {key: layers[key].title for key in ("median_income", "carbon", "carbon-per-population", "population")}
    assert titles == {
        "median_income": "Income of households",
        "carbon": "Carbon",  # what was counted: made of its name
        "carbon-per-population": "Carbon a head",
        "population": "Population",
    }
