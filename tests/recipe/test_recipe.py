from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chorograph.ground.errors import ChorographError
from chorograph.ground.recipe_file import find_recipe, shipped_recipes
from chorograph.ground.stage import Outcome, silent
from chorograph.recipe.run import read_recipe, run_recipe


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_to_the_last_setting(path: Path, tmp_path: Path) -> None:
    arguments = dict.fromkeys(yaml.safe_load(path.read_text()).get("arguments") or {}, "somewhere")
    arguments |= {"zoom": "16"} if "zoom" in arguments else {}
    recipe = read_recipe(path, arguments, tmp_path)
    assert recipe.stages
    assert "{out}" not in str(recipe.resolved)
    assert "{data}" not in str(recipe.resolved)
    for _, config in recipe.stages:
        assert config


def test_there_are_the_three_promised() -> None:
    assert {"synthetic", "king-county", "yan2024_urbanclip"} <= {path.stem for path in shipped_recipes()}
    assert find_recipe("synthetic").name == "synthetic.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "cannot be read as a recipe"),
        ("title: x", "needs a list of stages"),
        ("stages: []\nstage: 1", "did you mean 'stages'"),
        ("stages: [{embedd: {area: x}}]", "did you mean 'embed'"),
        ("stages: [{embed: {area: x, modell: y}}]", "did you mean 'model'"),
        ("stages: [{embed: {model: y}}]", "area must be given"),
        ("stages: [{embed: {area: '{data}'}}]", "argument used in"),
        ("stages: [embed]", "stage 1 must be one verb"),
        ("arguments: {data: a folder}\nstages: [{embed: {area: '{data}'}}]", r"--set data=… \(a folder\)"),
    ],
)
def test_mistakes_are_found_before_anything_runs(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ChorographError, match=message):
        read_recipe(path, {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stages_run_in_order_and_the_recipe_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: mine\nstages:\n"
        "  - area synthetic: {out: '{out}/area', regions: 24, tiles_per_region: 1, street_views_per_region: 0}\n"
        "  - area check: {area: '{out}/area'}\n"
        "expects: [{run: '{out}/none', metric: r2, value: 0.5, source: nowhere}]\n"
    )
    told: list[tuple[str, bool]] = []

    def announce(name: str, outcome: Outcome) -> None:
        told.append((name, outcome.skipped))

    recipe = read_recipe(path, {}, tmp_path / "out")
    result = run_recipe(recipe, tmp_path / "out", silent, announce)
    assert told == [("area synthetic", False), ("area check", False)]
    assert result["expects"][0]["reached"] is None
    assert yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["title"] == "mine"
    run_recipe(recipe, tmp_path / "out", silent, announce)
    assert told[2] == ("area synthetic", True)
