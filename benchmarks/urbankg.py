"""Indicators of anonymous regions from a published urban knowledge graph, on its published split.

    chorograph area import urbankg SRC AREA
    chorograph graph embed AREA --epochs 5 --candidates 1024 --batch-size 2048 --lr 0.01
    chorograph graph embed AREA --model CompGCN --epochs 8 --batch-size 8192 --lr 0.01
    python benchmarks/urbankg.py AREA

writes results/urbankg-NAME.json. R2 of ln(1 + y) on the test regions, fitted on the train and valid ones. Which
features and probe make the last row is chosen for each indicator by five-fold cross-validation within train and valid,
never by the test regions; the row before it is the mean prediction of all candidates, with nothing chosen. An area of
more than a thousand regions has one candidate, the richest, and no choice. The first two rows are what this is to beat:
ridge on a region's counts of facts by relation, plain and as ln(1 + count).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorograph.area.folder import Area
from chorograph.graph.facts import Graph
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import METRICS
from chorograph.prediction.labels import Question, read_labels
from chorograph.prediction.modalities import graph_part
from chorograph.prediction.probes.registry import make_probe_maker

INDICATORS = ("population", "economic_activity", "comments", "rating")
PARTS = ["graph-degrees", "graph-categories", "graph-surroundings", "graph-position"]
FEW = 1000
#: Predictions by features, probe, rows and target: a mean of probes takes up what was fitted alone.
FITTED: dict[Any, Any] = {}


def plain_counts(area: Area) -> Any:
    """Return a region's counts of facts by relation, as head and as tail, as they are."""
    graph = Graph.read(area)
    head, relation, tail = graph.facts.T
    table = np.zeros((graph.number_of_entities, 2 * graph.number_of_relations))
    np.add.at(table, (head, relation), 1.0)
    np.add.at(table, (tail, relation + graph.number_of_relations), 1.0)
    rows = graph.rows_of(area.regions["region_id"])
    return table[rows][:, table[rows].any(0)]


def fit_predict(blocks: dict[str, Any], names: list[str], probe: str, y: Any, train: Any, test: Any) -> Any:
    X = np.hstack([blocks[name] for name in names])
    if " + " in probe:
        return np.mean([fit_predict(blocks, names, one, y, train, test) for one in probe.split(" + ")], axis=0)
    key = (*names, probe, train.tobytes(), test.tobytes(), y.tobytes())
    if key not in FITTED:
        FITTED[key] = _fit_predict(blocks, names, probe, X, y, train, test)
    return FITTED[key]


def _fit_predict(blocks: dict[str, Any], names: list[str], probe: str, X: Any, y: Any, train: Any, test: Any) -> Any:
    if probe == "plain ridge":
        plain: Any = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 25)))
        return plain.fit(X[train], y[train]).predict(X[test])
    ends = np.cumsum([0, *(blocks[name].shape[1] for name in names)])
    columns = {name: slice(int(ends[i]), int(ends[i + 1])) for i, name in enumerate(names)}
    model = make_probe_maker(probe, seed=0)(columns, len(train))
    return model.fit(X[train], y[train]).predict(X[test])


def r2(y: Any, predicted: Any) -> float:
    return float(METRICS["r2"](y, predicted, np.ones(len(y))))


def chosen_by(blocks: Any, names: Any, probe: str, y: Any, train: Any, valid: Any) -> float:
    """Return the cross-validated score that decides among features and probes, from train and valid alone."""
    rows = np.random.default_rng(0).permutation(np.concatenate([train, valid]))
    predicted = np.full(len(y), np.nan)
    for fold in np.array_split(rows, 5):
        predicted[fold] = fit_predict(blocks, names, probe, y, np.setdiff1d(rows, fold), fold)
    return r2(y[rows], predicted[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("area", type=Path)
    parser.add_argument("--vectors", nargs="*", default=["TuckER-64", "CompGCN-64"])
    parser.add_argument("--only", choices=INDICATORS, help="one indicator; the others of the result stay")
    asked = parser.parse_args()
    area = Area.open(asked.area)
    held = [name for name in asked.vectors if area.embeddings_path(name).is_file()]
    vectors = [f"graph:{name}" for name in held]
    blocks = {name: graph_part(area, name) for name in (*PARTS, *vectors)}
    blocks["counts"] = plain_counts(area)
    role = area.split("published").set_index("region_id")["role"].reindex(area.regions["region_id"]).to_numpy()
    sets = [PARTS, [*PARTS, *vectors], ["graph-degrees", *vectors]] if vectors else [PARTS]
    candidates = [(names, probe) for names in sets for probe in ("gp", "gp + ridge + boosting")]
    many = len(role) > FEW
    if many:
        candidates = [([*PARTS, *vectors], "gp + ridge + boosting")]
    path = Path(__file__).parent / "results" / f"urbankg-{asked.area.name}.json"
    result = json.loads(path.read_text()) if path.is_file() else {"area": area.name, "test R2": {}, "chosen": {}}
    for indicator in [asked.only] if asked.only else INDICATORS:
        start = time.perf_counter()
        y = read_labels(area, Question(indicator, "log1p"), Ledger()).fitted
        usable = np.isfinite(y) & np.isfinite(np.hstack([blocks[name] for name in blocks])).all(1)
        train, valid, test = (np.flatnonzero(usable & (role == name)) for name in ("train", "val", "test"))
        both = np.concatenate([train, valid])
        rows: dict[str, float] = {}
        rows["ridge on plain counts"] = r2(y[test], fit_predict(blocks, ["counts"], "plain ridge", y, both, test))
        blocks["ln counts"] = np.log1p(blocks["counts"])
        logged = fit_predict(blocks, ["ln counts"], "plain ridge", y, both, test)
        rows["ridge on ln(1 + counts)"] = r2(y[test], logged)
        for name in vectors:
            alone = "ridge + boosting" if many else "gp"
            rows[f"{alone} on {name}"] = r2(y[test], fit_predict(blocks, [name], alone, y, both, test))
        scores = {
            f"{probe} on {' + '.join(names)}": 0.0 if many else chosen_by(blocks, names, probe, y, train, valid)
            for names, probe in candidates
        }
        found = {}
        for (names, probe), title in zip(candidates, scores, strict=True):
            found[title] = fit_predict(blocks, names, probe, y, both, test)
            rows[title] = r2(y[test], found[title])
        if not many:
            rows["mean of all of them, nothing chosen"] = r2(y[test], np.mean(list(found.values()), axis=0))
        best = max(scores, key=lambda title: scores[title])
        rows["chosen within train and valid"] = rows[best]
        if many:
            rows["nothing chosen"] = rows.pop("chosen within train and valid")
        for title, value in rows.items():
            result["test R2"].setdefault(title, {})[indicator] = round(value, 3)
        result["chosen"][indicator] = {"what": best, "by": {title: round(value, 3) for title, value in scores.items()}}
        result.setdefault("regions", {})[indicator] = {"fitted": len(both), "tested": len(test)}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(
            indicator,
            json.dumps({t: round(v, 3) for t, v in rows.items()}),
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
