"""Time and memory of an epoch of CompGCN: on an area's graph, and on made ones of up to five million facts.

`python benchmarks/compgcn_scale.py [--area AREA]` writes results/compgcn_scale.json. Every part runs in its own
process, so that its peak of memory is its own. An epoch visits every fact once as something to predict, with sampled
neighbourhoods. Made graphs have twenty relations; facts grow among 50,000 entities, and with an entity for ten facts.

Facts of one batch share their neighbourhoods, the more the fewer entities there are: a step of 32,768 facts reads 0.4
million facts among 50,000 entities, 1.8 million among 500,000, and never more than 120 for each of its own (10 into
each end, 5 into each of theirs). So both are given: time by facts of the graph, and by facts that were read.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULT = Path(__file__).parent / "results" / "compgcn_scale.json"
SIZES = (500_000, 1_500_000, 5_000_000)
ENTITIES = 50_000
#: Steps that are timed of a made graph's epoch; its other steps are the same work.
STEPS = 4
BATCH, FAN_OUT, DIM = 32_768, 10, 64


def _made(facts: int, number: int) -> Any:
    from chorograph.graph.facts import Graph

    rng = np.random.default_rng(0)
    # Popular entities, as in a city's graph: squares of uniform draws.
    ends = (number * rng.random((2, facts)) ** 2).astype(np.int64)
    table = np.stack([ends[0], rng.integers(0, 20, facts), ends[1]], axis=1)
    names = np.arange(number).astype(object)
    kinds, ids = np.full(number, "thing", dtype=object), np.full(number, None, dtype=object)
    return Graph(names, kinds, ids, np.arange(20).astype(object), table)


def epoch(graph: Any, steps: int | None) -> dict[str, Any]:
    """Time an epoch, or `steps` of it and what the whole would take by them."""
    from chorograph.graph.neighbours import Neighbours
    from chorograph.models.graph.compgcn import CompGcn
    from chorograph.models.graph.links import CompGcnLinks
    from chorograph.pretraining.config import GraphEmbedConfig
    from chorograph.pretraining.loop.session import Session
    from chorograph.pretraining.loop.world import World
    from chorograph.pretraining.objectives.links import CompGcnObjective, FactBatches

    times: list[float] = []
    read: list[int] = []
    sample = Neighbours.sample

    def counted(neighbours: Neighbours, *asked: Any) -> Any:
        found = sample(neighbours, *asked)
        read.append(len(found.facts))
        return found

    Neighbours.sample = counted  # type: ignore[method-assign]
    start = time.perf_counter()

    class Enough(Exception):  # noqa: N818
        pass

    def progress(what: str, done: int, total: int) -> None:
        times.append(time.perf_counter())
        if steps is not None and done == steps:
            raise Enough

    whole = -(-len(graph.facts) // BATCH)
    try:
        tower = CompGcn(graph.number_of_relations, DIM)
        objective = CompGcnObjective(CompGcnLinks(graph, tower, DIM))
        source = FactBatches(graph, graph.facts, FAN_OUT, len(tower.layers), BATCH, 0, World())
        settings = GraphEmbedConfig(area=Path("area"), epochs=1, batch_size=BATCH)
        Session(progress).train(objective, source, settings, 0.003, "")
    except Enough:
        pass
    took = np.diff(times)
    a_step = float(np.median(took)) if len(took) else times[0] - start
    return {
        "facts": len(graph.facts),
        "entities": graph.number_of_entities,
        "steps an epoch": whole,
        "steps timed": len(times),
        "seconds of preparation and first step": round(times[0] - start, 2),
        "seconds a step": round(a_step, 3),
        "facts read a step": int(np.median(read)),
        "microseconds a fact read": round(1e6 * a_step / np.median(read), 2),
        "seconds an epoch": round(
            times[-1] - start if len(times) == whole else times[0] - start + a_step * (whole - 1), 1
        ),
        "peak GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--area", type=Path)
    parser.add_argument("--part", help="(facts of a made graph, its entities), or area")
    asked = parser.parse_args()
    if asked.part == "area":
        from chorograph.area.folder import Area
        from chorograph.graph.facts import Graph

        print(json.dumps(epoch(Graph.read(Area.open(asked.area)), None)))
        return
    if asked.part:
        facts, entities = map(int, asked.part.split(","))
        print(json.dumps(epoch(_made(facts, entities), STEPS)))
        return
    result: dict[str, Any] = {
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load of the machine by others at the start": round(os.getloadavg()[0], 1),
    }
    parts = (["area"] if asked.area else []) + [f"{size},{ENTITIES}" for size in SIZES]
    parts += [f"{size},{size // 10}" for size in SIZES[1:]]
    for part in parts:
        command = [sys.executable, __file__, "--part", part, *(["--area", str(asked.area)] if asked.area else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        result[part] = json.loads(done.stdout.splitlines()[-1])
        print(part, json.dumps(result[part]), flush=True)
    small = result[f"{SIZES[0]},{ENTITIES}"]
    for name, entities in (("the same entities", ENTITIES), ("ten times the entities", SIZES[-1] // 10)):
        large = result[f"{SIZES[-1]},{entities}"]
        per_fact = [row["seconds an epoch"] / row["facts"] for row in (small, large)]
        by_read = [row["microseconds a fact read"] for row in (small, large)]
        result[f"five million facts / half a million, {name}"] = {
            "time a fact": round(per_fact[1] / per_fact[0], 2),
            "time a fact read": round(by_read[1] / by_read[0], 2),
        }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
