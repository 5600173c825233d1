"""Kill -9 drills: every long verb is killed, relaunched until it finishes, and must give what an undisturbed run gives.

Two ways of killing:
  random   SIGKILL to the whole process group at a random moment of the run (default 4 kills a cycle, 2 cycles);
  points   SIGKILL by the process itself at each commit to disk (rename, rmdir, rmtree, remove): right before it and
           right after it. What a random kill hits once in a thousand runs, this hits every time.

A drill is ok where every relaunch ends with 0, the result equals the undisturbed one, and no file under its final name
was ever half-written. Leftovers are reported, and fail only with --strict.

    python tests/drills/programs/kill.py --exe .venv/bin/chorograph                    # all verbs, some minutes each
    python tests/drills/programs/kill.py --exe .venv/bin/chorograph --only embed,build --mode points
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from common import (
    Box,
    Ended,
    Ledger,
    Verdict,
    chosen,
    copy_tree,
    kill_group,
    leftovers,
    parser,
    same,
    size_mb,
    tree,
    with_exe_python,
)  # fmt: skip

HOOK = Path(__file__).resolve().parent / "hook"
_PROGRESS = re.compile(r"^(?!error)(.*?: (\d+) of (\d+))\s*$", re.M)


@dataclass
class Drill:
    """A command, what it needs in its stage folder, and the folder that is compared."""

    name: str
    args: Callable[[Path], list[str]]
    fill: dict[str, Path] = field(default_factory=dict)  # name in the stage: folder or file to copy there
    without: tuple[str, ...] = ()  # patterns removed from the stage after copying
    server: Path | None = None  # a folder served on loopback while the drill runs
    ignore: str = "^$"  # names that are not compared (a pattern)
    resumes: bool = False


@dataclass
class Tally:
    """What was seen in a drill."""

    kills: int = 0
    finished: int = 0
    problems: list[str] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)
    litter_mb: float = 0.0
    restarts: list[str] = field(default_factory=list)
    points: int = 0


def drills(box: Box, data: Path, base: Path) -> dict[str, Callable[[], Drill]]:
    """Return the makers of all drills by name: inputs are made when a drill is asked for."""
    import inputs as i

    city = lambda: i.city(box, base)  # noqa: E731
    kc = lambda: i.king_county(data, base / "kc")  # noqa: E731
    ckpt = lambda: str(i.checkpoint(box, base))  # noqa: E731
    cpu = ["--device", "cpu"]

    def in_area(name: str, words: list[str], without: tuple[str, ...] = (), more: tuple[str, ...] = (), **kw: object):
        at = (lambda: i.kc_area(box, data, base)) if name.startswith("graph") else city
        return lambda: Drill(
            name, lambda s: [*words[:1], *words[1:2][: 1 if name.startswith("graph") else 0], str(s / "area"),
                             *words[(2 if name.startswith("graph") else 1):], *[m.replace("{s}", str(s)) for m in more]],
            {"area": at()}, without, **kw,
        )  # fmt: skip

    def recipe(s: Path) -> list[str]:
        city()  # names its indicators
        (s / "mini.yaml").write_text(
            "title: Mini\nstages:\n  - area synthetic: {out: '{out}/city', regions: 30, tiles_per_region: 1}\n"
            "  - embed: {area: '{out}/city', model: colour}\n"
            f"  - predict: {{area: '{{out}}/city', embeddings: colour, indicator: {i.indicator(base)}, probe: ridge,"
            " folds: 3, block_m: 1000, out: '{out}/run'}\n  - report: {run: '{out}/run'}\n"
        )
        return ["run", str(s / "mini.yaml"), "--out", str(s / "out")]

    return newer(box, data, base) | {
        "synthetic": lambda: Drill("synthetic", lambda s: ["area", "synthetic", str(s / "out"), "--regions", "24", "--tiles-per-region", "2"]),
        "build": lambda: Drill("build", lambda s: i.kc_build(i.king_county(data, base / "kc"), str(s / "out"))),
        "import": lambda: Drill("import", lambda s: ["area", "import", "rsicd", str(i.rsicd(data, base / "rsicd")), str(s / "out")]),
        "import-urbankg": lambda: Drill("import-urbankg", lambda s: ["area", "import", "urbankg", str(data / "urbankg-beijing"), str(s / "out")]),
        "pack": lambda: Drill("pack", lambda s: ["area", "pack", str(city()), "--out", str(s / "out"), "--shard-samples", "20"]),
        "embed": in_area("embed", ["embed", "--model", "default", *cpu], ("area/embeddings",)),
        "caption": in_area("caption", ["caption", "--seed", "3"]),
        "graph-embed-tucker": in_area("graph-embed-tucker", ["graph", "embed", "--epochs", "4", "--dim", "16"]),
        "graph-embed-compgcn": in_area("graph-embed-compgcn", ["graph", "embed", "--model", "CompGCN", "--epochs", "2", "--dim", "16"]),
        "graph-align": in_area("graph-align", ["graph", "align", "--tower", "vectors:colour", "--graph", "small", "--epochs", "6"], more=("--out", "{s}/out")),
        "pretrain-area": lambda: Drill("pretrain-area", lambda s: ["pretrain", str(city()), "--out", str(s / "out"), "--epochs", "3", "--batch-size", "16", "--checkpoint-every", "2", *cpu], resumes=True),
        "pretrain-shards": lambda: Drill("pretrain-shards", lambda s: ["pretrain", str(i.corpus(box, base) / "shards"), "--out", str(s / "out"), "--epochs", "2", "--batch-size", "16", "--checkpoint-every", "2", "--objective", "clip", "--model", "clip-small", *cpu], resumes=True),
        "pretrain-lora": lambda: Drill("pretrain-lora", lambda s: ["pretrain", str(city()), "--init", ckpt(), "--adapter", "lora", "--out", str(s / "out"), "--epochs", "1", "--batch-size", "16", "--checkpoint-every", "2", *cpu], resumes=True),
        "pretrain-views": in_area("pretrain-views", ["pretrain-views", "--epochs", "1", "--street-views", "1", "--batch-size", "32", *cpu], more=("--out", "{s}/out")),
        "predict": lambda: Drill("predict", lambda s: ["predict", str(city()), "--embeddings", "colour", "--indicator", i.indicator(base), "--folds", "3", "--block-m", "1000", "--ablate", "--out", str(s / "out")]),
        "report": lambda: Drill("report", lambda s: ["report", str(s / "run")], {"run": i.run_folder(box, base)}),
        "retrieval": lambda: Drill("retrieval", lambda s: ["evaluate", "retrieval", "--model", ckpt(), "--data", str(city()), "--out", str(s / "out")]),
        "captions": lambda: Drill("captions", lambda s: ["evaluate", "captions", "--model", ckpt(), "--data", str(city()), "--out", str(s / "out"), "--max-length", "12"]),
        "localize": lambda: Drill("localize", lambda s: ["localize", str(i.scene(data, base / "scene.png")), "houses beside a road", "--model", ckpt(), "--steps", "256", "--out", str(s / "out")]),
        "curate": lambda: Drill("curate", lambda s: ["curate", str(s / "recipe.yaml"), "--in", str(s / "pairs.parquet"), "--out", str(s / "out"), "--partition-rows", "15", "--batch-rows", "16"], server=i.web(data, base / "web"), ignore="^out/work/", resumes=True),
        "recipe": lambda: Drill("recipe", recipe, {}, resumes=True),
        "new": lambda: Drill("new", lambda s: ["area", "new", str(s / "out"), "--regions", str(kc() / "tracts.geojson"), "--region-id", "geoid"]),
        "add-imagery": lambda: Drill("add-imagery", lambda s: ["area", "add", "imagery", str(s / "area"), "--from", str(kc() / "tiles"), "--tiles-table", str(kc() / "tiles.csv"), "--region-id", "geoid"], {"area": i.begun(box, data, base)}),
        "add-indicators": lambda: Drill("add-indicators", lambda s: ["area", "add", "indicators", str(s / "area"), "--from", str(kc() / "indicators.csv"), "--region-id", "geoid"], {"area": i.begun(box, data, base)}),
        "add-places": lambda: Drill("add-places", lambda s: ["area", "add", "places", str(s / "area"), "--from", str(kc() / "poi_counts.csv"), "--region-id", "geoid"], {"area": i.begun(box, data, base)}),
        "add-graph": lambda: Drill("add-graph", lambda s: ["area", "add", "graph", str(s / "area"), "--from", str(kc() / "triples.tsv")], {"area": i.begun(box, data, base)}),
        "describe": lambda: Drill("describe", lambda s: ["area", "describe", str(s / "area"), f"{i.indicator(base)}=title:A title,need:low"], {"area": city()}),
        "embed-captions": in_area("embed-captions", ["embed", "--of", "captions", "--model", "lsa:8"], ("area/embeddings/text*",)),
        "predict-all": lambda: Drill("predict-all", lambda s: ["predict", str(city()), "--embeddings", "colour", "--probe", "ridge", "--folds", "3", "--block-m", "1000", "--out", str(s / "out")]),
        "pretrain-siglip": lambda: Drill("pretrain-siglip", lambda s: ["pretrain", str(city()), "--out", str(s / "out"), "--objective", "siglip", "--model", "clip-small", "--epochs", "2", "--batch-size", "16", "--checkpoint-every", "2", *cpu], resumes=True),
        "publish": lambda: Drill("publish", lambda s: ["publish", str(s / "area"), str(s / "out"), "--pictures", "1"], {"area": city()}),
    }  # fmt: skip


def newer(box: Box, data: Path, base: Path) -> dict[str, Callable[[], Drill]]:
    """Return the makers of the drills of verbs, objectives and ways in that came later."""
    import inputs as i

    city = lambda: i.city(box, base)  # noqa: E731
    kc = lambda: i.kc_area(box, data, base)  # noqa: E731
    begun = lambda: i.begun(box, data, base)  # noqa: E731
    run = lambda: i.run_folder(box, base)  # noqa: E731
    ckpt = lambda: str(i.checkpoint(box, base))  # noqa: E731
    fitting = lambda: [
        "--embeddings",
        "colour",
        "--indicator",
        i.indicator(base),
        "--probe",
        "ridge",
        "--folds",
        "3",
        "--block-m",
        "1000",
    ]  # noqa: E731
    names = lambda area: {"area": area()}  # noqa: E731

    def trained(objective: str, area: Callable[[], Path], *words: str, init: str = "", inside: bool = False):
        """Pretrain by an objective; `inside` where it writes vectors into the area too."""

        def args(s: Path) -> list[str]:
            begin = ["--init", str(i.tiny(box, base, init)), "--adapter", "lora"] if init else []
            place = str(s / "area") if inside else str(area())
            return ["pretrain", place, "--objective", objective, "--out", str(s / "out"), "--checkpoint-every", "2",
                    "--device", "cpu", *begin, *words]  # fmt: skip

        return lambda: Drill(f"pretrain-{objective}", args, names(area) if inside else {}, resumes=True)

    def add(kind: str, area: Callable[[], Path], words: Callable[[], list[str]]):
        return lambda: Drill(
            f"add-{kind}", lambda s: ["area", "add", kind, str(s / "area"), "--from", *words()], names(area)
        )

    def judged(suite: str, words: Callable[[], list[str]]):
        return lambda: Drill(suite, lambda s: ["evaluate", suite, *words(), "--out", str(s / "out")])

    small = ("--epochs", "2", "--batch-size", "16")
    return {
        "rebuild": lambda: Drill("rebuild", lambda s: i.kc_build(i.changed(data, base), str(s / "area")), names(kc)),
        "pretrain-clip": trained("clip", city, "--model", "clip-small", *small),
        "pretrain-caption": trained("caption", city, *small),
        "pretrain-distill": lambda: Drill("pretrain-distill", lambda s: ["pretrain", str(city()), "--out", str(s / "out"), "--objective", "clip", "--model", "clip-small", "--distill", ckpt(), "--checkpoint-every", "2", "--device", "cpu", *small], resumes=True),
        "pretrain-by-views": trained("views", city, "--set", "street_views=1", *small, inside=True),
        "pretrain-neighbours": trained("neighbours", kc, "--epochs", "2", "--set", "batch_size=16", "--set", "vectors=colour", inside=True),
        "pretrain-knowcl": trained("knowcl", kc, "--epochs", "4", "--set", "tower=vectors:colour", "--set", "graph=small", inside=True),
        "pretrain-tucker": trained("tucker", kc, "--epochs", "2", "--set", "dim=16", inside=True),
        "pretrain-compgcn": trained("compgcn", kc, "--epochs", "2", "--set", "dim=16", inside=True),
        "pretrain-blip2": trained("blip2", city, *small, init="blip2"),
        "pretrain-diffusion": trained("diffusion", city, *small, init="diffusion"),
        "export": lambda: Drill("export", lambda s: ["export", str(i.open_clip_checkpoint(box, base)), "--to", "open_clip", "--out", str(s / "out")]),
        "generate": lambda: Drill("generate", lambda s: ["generate", "a road", "--model", str(i.tiny(box, base, "diffusion")), "--out", str(s / "out"), "--area", str(s / "drawn"), "--number", "4", "--steps", "2", "--device", "cpu"]),
        "describe-regions": lambda: Drill("describe-regions", lambda s: ["describe", str(s / "area")], names(city)),
        "caption-coca": lambda: Drill("caption-coca", lambda s: ["caption", str(s / "area"), "--captioner", f"coca:{ckpt()}"], names(city)),
        "captions-refine": lambda: Drill("captions-refine", lambda s: ["captions", "refine", str(s / "area"), "--rules", "length", "--rules", "sameness", "--rules", "place_name"], names(city)),
        "captions-restore": lambda: Drill("captions-restore", lambda s: ["captions", "restore", str(s / "area")], names(lambda: i.refined(box, base))),
        "captions-meta": lambda: Drill("captions-meta", lambda s: ["captions", "meta", str(s / "area")], names(city)),
        "filter": lambda: Drill("filter", lambda s: ["area", "filter", str(city()), "--out", str(s / "out"), "--caption-word", "river"]),
        "graph-build": lambda: Drill("graph-build", lambda s: ["graph", "build", str(s / "area"), "--replace"], names(kc)),
        "add-raster": add("raster", begun, lambda: [str(i.raster(base / "people.tif")), "--statistic", "sum", "--name", "people", "--unit", "people"]),
        "add-captions": add("captions", kc, lambda: [str(i.captions_table(base))]),
        "add-embeddings": add("embeddings", begun, lambda: [str(i.vectors_table(base)), "--name", "alpha", "--region-id", "geoid"]),
        "add-streetviews": add("streetviews", begun, lambda: [str(i.king_county(data, base / "kc") / "tiles"), "--tiles-table", str(i.king_county(data, base / "kc") / "tiles.csv"), "--region-id", "geoid"]),
        "ratings-export": lambda: Drill("ratings-export", lambda s: ["ratings", "export", str(i.rated(box, base)), str(s / "out.csv")]),
        "captions-choose": lambda: Drill("captions-choose", lambda s: ["captions", "choose", str(s / "area"), "--origin", "model:candidates", "--encoders", ckpt(), "--encoders", ckpt()], names(lambda: i.candidates(box, base))),
        "decontaminate": lambda: Drill("decontaminate", lambda s: ["curate", "decontaminate", str(i.corpus(box, base)), "--against", str(i.classes(data, base / "classes")), "--out", str(s / "out")]),
        "fit-detector": lambda: Drill("fit-detector", lambda s: ["curate", "fit-detector", *(str(i.classes(data, base / "classes") / name) for name in ("forest", "river")), "--model", "colour", "--out", str(s / "out")]),
        "suite": lambda: Drill("suite", lambda s: ["evaluate", "suite", "georsclip", "--model", ckpt(), "--data", str(i.suite(data, base / "suite")), "--out", str(s / "out")]),
        "generated": lambda: Drill("generated", lambda s: ["evaluate", "generated", str(i.pictures(box, base)), "--real", str(i.classes(data, base / "classes") / "forest"), "--model", "colour", "--out", str(s / "out")]),
        "evaluate-localize": judged("localize", lambda: ["--model", ckpt(), "--data", str(i.suite(data, base / "suite") / "AIR-SLT"), "--steps", "256"]),
        "zero-shot": judged("zero-shot", lambda: ["--model", ckpt(), "--data", str(i.classes(data, base / "classes")), "--prompts", "name"]),
        "probe": judged("probe", lambda: ["--model", ckpt(), "--data", str(i.classes(data, base / "classes"))]),
        "explain": judged("explain", lambda: [str(run()), "--tiles", "2", "--grid", "2", "--draws", "3"]),
        "transfer": judged("transfer", lambda: [str(city()), str(i.other_city(box, base)), *fitting()]),
        "robustness": judged("robustness", lambda: [str(city()), *fitting()[2:], "--model", "colour", "--corruptions", "noise", "--no-matrix"]),
        "text": judged("text", lambda: [str(city()), *fitting()[2:], "--epochs", "1", "--device", "cpu"]),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ running a drill


class Stage:
    """A drill's folder, filled anew for every cycle, always at the same place."""

    def __init__(self, drill: Drill, box: Box, work: Path) -> None:
        self.drill, self.box = drill, box
        self.folder = work / "kill" / drill.name
        self.web: object | None = None
        self.asked: dict[str, int] = {}
        if drill.server is not None:
            from webserver import Web

            self.web = Web.files(drill.server / "files", delay_s=0.03)

    def fresh(self) -> Path:
        """Empty the stage and fill it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name, source in self.drill.fill.items():
            if source.is_dir():
                copy_tree(source, self.folder / name)
            else:
                shutil.copy2(source, self.folder / name)
        for pattern in self.drill.without:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.web is not None:
            import inputs as i

            table = i.web_table(self.drill.server, self.web.port)  # type: ignore[union-attr, arg-type]
            shutil.copy2(table, self.folder / "pairs.parquet")
            os.utime(self.folder / "pairs.parquet", (1.7e9, 1.7e9))
            (self.folder / "recipe.yaml").write_text(i.RECIPE)
            self.web.asked.clear()  # type: ignore[union-attr]
        return self.folder

    def args(self) -> list[str]:
        """Return the command's arguments."""
        return self.drill.args(self.folder)

    def tree(self) -> dict[str, str]:
        """Return what stands in the stage."""
        return {name: e for name, e in tree(self.folder).items() if not re.search(self.drill.ignore, name)}

    def close(self) -> None:
        """Stop serving."""
        if self.web is not None:
            self.web.close()  # type: ignore[union-attr]


def whole(folder: Path) -> list[str]:
    """Return files under their final names that cannot be read as what they are."""
    import pyarrow.parquet as pq
    from PIL import Image

    broken = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if not path.is_file() or any(p.startswith(".") or p.endswith(".resume") or p == "work" for p in parts):
            continue
        try:
            if path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".jsonl":
                [json.loads(line) for line in path.read_text().splitlines()]
            elif path.suffix == ".safetensors":
                size = int.from_bytes(path.read_bytes()[:8], "little")
                header = json.loads(path.read_bytes()[8 : 8 + size])
                ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
                assert path.stat().st_size == 8 + size + max(ends, default=0)
            elif path.suffix == ".html":
                assert path.read_text().rstrip().endswith("</html>")
            elif path.suffix in (".png", ".jpg", ".tif"):
                with Image.open(path) as image:
                    image.load()
        except Exception as error:
            broken.append(f"{path.relative_to(folder)}: {type(error).__name__} {str(error)[:60]}")
    return broken


def first_progress(text: str) -> str:
    """Return the first line of progress of a run's last task: where it took up."""
    lines = _PROGRESS.findall(text)
    task = lines[-1][0].split(":")[0].split(" | ")[0] if lines else ""
    return next((line[0][:90] for line in lines if line[0].startswith(task)), "")


def undisturbed(stage: Stage) -> tuple[dict[str, str], set[str], float]:
    """Run twice without a kill; returns the result, the files that differ anyway, and the seconds."""
    results, walls = [], []
    for _ in range(2):
        stage.fresh()
        ended = stage.box.run(stage.args(), stage.folder)
        if ended.code:
            raise RuntimeError(f"the undisturbed run failed ({ended.code}): {ended.said}")
        results.append(stage.tree())
        walls.append(ended.wall_s)
    one, other = results
    shaky = {name for name in one if other.get(name) != one[name]}
    if set(one) != set(other):
        raise RuntimeError(f"two undisturbed runs leave other files: {sorted(set(one) ^ set(other))[:5]}")
    return one, shaky, min(walls)


def relaunch(stage: Stage, tally: Tally, seen: str) -> Ended:
    """Run to the end after kills, and note how it went."""
    ended = stage.box.run(stage.args(), stage.folder)
    if ended.code:
        tally.problems.append(f"{seen}: relaunch ends with {ended.code}: {ended.said[:260]}")
    elif ended.traceback:
        tally.problems.append(f"{seen}: relaunch prints a traceback: {ended.said[:260]}")
    tally.restarts.append(first_progress(ended.err))
    tally.finished += ended.code == 0
    return ended


def judge(stage: Stage, tally: Tally, before: dict[str, str], shaky: set[str], seen: str) -> None:
    """Compare what stands there with the undisturbed result."""
    after = stage.tree()
    litter = leftovers(stage.folder, set(before))
    kept = {
        name: e for name, e in after.items() if not any(name == left or name.startswith(left + "/") for left in litter)
    }
    tally.problems += [f"{seen}: {problem}" for problem in same(before, kept, shaky)[:4]]
    tally.litter += litter
    tally.litter_mb += sum(size_mb(stage.folder / name) for name in litter)


def at_random(
    stage: Stage, tally: Tally, before: dict[str, str], shaky: set[str], wall: float, kills: int, cycles: int
) -> None:
    """Kill at random moments."""
    rng = random.Random(f"{stage.drill.name}")
    for cycle in range(cycles):
        stage.fresh()
        killed = 0
        while killed < kills:
            process = stage.box.start(stage.args(), stage.folder)
            begun = time.monotonic()
            wait = rng.uniform(0.25, 1.05) * wall
            while process.poll() is None and time.monotonic() - begun < wait:
                time.sleep(0.01)
            if process.poll() is None:
                kill_group(process)
                killed += 1
                tally.kills += 1
                err = process.stderr.read().decode(errors="replace")  # type: ignore[union-attr]
                tally.restarts.append(first_progress(err))
                broken = whole(stage.folder)
                tally.problems += [f"cycle {cycle}, after kill {killed}: half-written {b}" for b in broken[:3]]
            else:
                err = process.stderr.read().decode(errors="replace")  # type: ignore[union-attr]
                if process.returncode:
                    tally.problems.append(
                        f"cycle {cycle}, after kill {killed}: relaunch ends with {process.returncode}: {err[-260:]}"
                    )
                    break
                if "nothing to do" in process.stdout.read().decode(errors="replace"):  # type: ignore[union-attr]
                    break  # finished in an earlier round: killed after the end
        relaunch(stage, tally, f"cycle {cycle} after {killed} kills")
        judge(stage, tally, before, shaky, f"cycle {cycle}")


def at_points(stage: Stage, tally: Tally, before: dict[str, str], shaky: set[str], most: int) -> None:
    """Kill right before and right after commits to disk."""
    hook = {"PYTHONPATH": str(HOOK), "DRILL_ROOT": str(stage.folder)}
    log = stage.folder.with_suffix(".events")
    log.unlink(missing_ok=True)
    stage.fresh()
    stage.box.run(stage.args(), stage.folder, env={**hook, "DRILL_LOG": str(log)})
    events = log.read_text().splitlines() if log.exists() else []
    tally.points = len(events)
    numbers = list(range(1, len(events) + 1))
    if len(numbers) > most:  # the last ones publish results; of the others an even choice
        numbers = sorted({*numbers[-(most // 2) :], *numbers[:: max(1, len(numbers) // (most - most // 2))]})
    for number in numbers:
        for when in ("before", "after"):
            stage.fresh()
            ended = stage.box.run(stage.args(), stage.folder, env={**hook, "DRILL_KILL": f"{when}:{number}"})
            if ended.code != -signal.SIGKILL and ended.code != 137:
                if when == "before":
                    tally.problems.append(f"{when} {number}: was not killed, ended with {ended.code}")
                continue
            tally.kills += 1
            seen = f"killed {when} commit {number} of {len(events)} ({events[number - 1]})"
            tally.problems += [f"{seen}: half-written {b}" for b in whole(stage.folder)[:3]]
            relaunch(stage, tally, seen)
            judge(stage, tally, before, shaky, seen)


def main() -> int:
    """Run the drills asked for."""
    words = parser(__doc__ or "")
    words.add_argument("--mode", choices=("random", "points", "both"), default="both")
    words.add_argument("--kills", type=int, default=4, help="random kills a cycle")
    words.add_argument("--cycles", type=int, default=2, help="cycles of random kills")
    words.add_argument("--points", type=int, default=10, help="commits tried a verb, at most; each before and after")
    words.add_argument("--strict", action="store_true", help="leftovers are faults")
    asked = words.parse_args()
    exe = asked.exe.absolute()
    with_exe_python(exe)
    box, base = Box(exe, warm=not asked.cold), asked.work / "base"
    base.mkdir(parents=True, exist_ok=True)
    makers = drills(box, asked.data, base)
    if asked.list:
        print("\n".join(makers))
        return 0
    ledger = Ledger(path=asked.json)
    for name in chosen(list(makers), asked.only, asked.skip):
        stage = Stage(makers[name](), box, asked.work)
        tally = Tally()
        begun = time.monotonic()
        try:
            before, shaky, wall = undisturbed(stage)
            once = dict(stage.web.asked) if stage.web is not None else {}  # type: ignore[union-attr]
            if asked.mode in ("random", "both"):
                at_random(stage, tally, before, shaky, wall, asked.kills, asked.cycles)
            again = sum(n - 1 for n in stage.web.asked.values() if n > 1) if stage.web is not None else None  # type: ignore[union-attr]
            if asked.mode in ("points", "both"):
                at_points(stage, tally, before, shaky, asked.points)
        except RuntimeError as error:
            ledger.add(Verdict(name, False, str(error), "drill"))
            continue
        finally:
            stage.close()
        kind = (
            "relaunch fails"
            if any("relaunch" in p for p in tally.problems)
            else "half-written"
            if any("half-written" in p for p in tally.problems)
            else "result differs"
            if tally.problems
            else "leftovers"
            if tally.litter
            else ""
        )
        what = f"{tally.kills} kills, {tally.finished} relaunches finished, {len(tally.problems)} problems"
        if tally.litter:
            what += f", {len(tally.litter)} leftovers ({tally.litter_mb:.1f} MB), e.g. {tally.litter[0]}"
        for problem in tally.problems[:6]:
            what += f"\n       - {problem}"
        facts = {
            "kills": tally.kills, "finished": tally.finished, "commits": tally.points, "wall_s": round(wall, 1),
            "not deterministic": sorted(shaky), "problems": tally.problems, "leftovers": tally.litter,
            "leftovers_mb": round(tally.litter_mb, 2), "first progress of each start": tally.restarts,
            "urls asked again after kills": again if once else None, "urls": len(once) or None,
            "took_s": round(time.monotonic() - begun, 1),
        }  # fmt: skip
        ok = not tally.problems and not (asked.strict and tally.litter)
        ledger.add(Verdict(name, ok, what, kind, facts))
    return ledger.end("kill drills")


if __name__ == "__main__":
    sys.exit(main())
