"""Recipes: a YAML file of stages, run in order, with what is expected of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, read_json
from chorograph.ground.recipe_file import fill, read_recipe_file
from chorograph.ground.settings import configure
from chorograph.ground.stage import Outcome, Progress
from chorograph.prediction.judging.scores import Scores
from chorograph.prediction.profile import read_scores
from chorograph.verbs.table import get_verb
from chorograph.verbs.verb import Verb


@dataclass(frozen=True)
class Recipe:
    """A recipe whose arguments are filled in: its stages are (verb, configuration), checked before the first runs."""

    title: str
    paper: str
    stages: tuple[tuple[Verb, Any], ...]
    expects: tuple[dict[str, Any], ...]
    resolved: dict[str, Any]


def read_recipe(path: Path, arguments: Mapping[str, str], out: Path) -> Recipe:
    """Read a recipe and fill in its arguments, `{out}` among them.

    Raises `InputError` for a file that is not such YAML or lacks an argument, `UnknownNameError` for an unknown key,
    verb, setting or argument, each naming the file.
    """
    content = read_recipe_file(path, "stages", arguments)
    declared: dict[str, str] = content.get("arguments") or {}
    if missing := [name for name in declared if name not in arguments]:
        wanted = "; ".join(f"--set {name}=… ({declared[name]})" for name in missing)
        raise InputError(f"{path} needs: {wanted}")
    given = {**arguments, "out": str(out)}
    filled = fill(content, given, lambda name: UnknownNameError.of(f"argument used in {path}", name, given))
    stages = []
    for number, stage in enumerate(filled["stages"], start=1):
        if not isinstance(stage, dict) or len(stage) != 1:
            raise InputError(f"{path}: stage {number} must be one verb with its settings, not {stage!r}")
        name, settings = next(iter(stage.items()))
        verb = get_verb(str(name))
        stages.append((verb, configure(verb.settings, settings or {}, where=f"{path}, stage {number} ({name})")))
    return Recipe(
        title=str(filled.get("title", path.stem)),
        paper=str(filled.get("paper", "")),
        stages=tuple(stages),
        expects=tuple(filled.get("expects") or ()),
        resolved=filled,
    )


def run_recipe(
    recipe: Recipe, out: Path, progress: Progress, announce: Callable[[str, Outcome], None]
) -> dict[str, Any]:
    """Run every stage in order; returns R2 of all predictions by row and indicator, and how expectations came out.

    `announce` is told of each stage as it ends. The resolved recipe is saved in `out` first.
    """
    with atomic_path(out / "recipe.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(recipe.resolved, sort_keys=False, allow_unicode=True), encoding="utf-8")
    table: dict[tuple[str, str], dict[str, float | None]] = {}
    report: str | None = None
    for verb, config in recipe.stages:
        outcome = verb(config, progress)
        announce(verb.name, outcome)
        if verb.name == "predict":
            _enter(table, config)
        if verb.name == "report":
            report = outcome.manifest["config"]["out"]
    # Models first, then baselines, then what anybody could reach; each in the order of the runs.
    kinds = ("model", "baseline", "attainable")
    ordered = {name: row for kind in kinds for (row_kind, name), row in table.items() if row_kind == kind}
    return {"r2": ordered, "report": report, "expects": [_compare(expected) for expected in recipe.expects]}


def _enter(table: dict[tuple[str, str], dict[str, float | None]], config: Any) -> None:
    """Enter R2 of a run's model and baselines, by (kind, name) and indicator; of equal ones, the first run's stays."""
    for indicator, scores in _scores(config.out).items():
        for row in scores.rows:
            name = row.name
            if row.kind == "model" and scores.embeddings:
                name += f", {Path(scores.embeddings).name}"
            if row.kind == "model" and scores.split.get("buffer_m"):
                name += f", buffer {scores.split['buffer_m'] / 1000:g} km"
            r2 = row.fitted["r2"]
            table.setdefault((row.kind, name), {}).setdefault(indicator, r2.as_list()[0] if r2 else None)


def _scores(run: Path) -> dict[str, Scores]:
    return read_scores(read_json(run / "scores.json"), str(run / "scores.json"))


def _compare(expected: Mapping[str, Any]) -> dict[str, Any]:
    """Set a published number beside ours, where its run exists; never a reason to fail."""
    try:
        scores = next(iter(_scores(Path(expected["run"])).values()))
        estimate = scores.model.fitted[expected["metric"]]
        reached = None if estimate is None else estimate.as_list()[0]
    except (InputError, KeyError):
        reached = None
    return {**expected, "reached": reached}
