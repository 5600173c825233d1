"""Where output goes wrong: two processes at once, full disks, folders that may not be written, odd paths.

A verb must end with 0 and the same result as on a quiet day, or with an error of its own (1 or 2) and nothing
half-written; never with a traceback.

    python tests/drills/programs/output.py --exe .venv/bin/chorograph                   # needs root for the full disks (mount)
    python tests/drills/programs/output.py --exe .venv/bin/chorograph --only 'full*'
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import Box, Ended, Ledger, Verdict, chosen, copy_tree, leftovers, parser, same, tree, with_exe_python
from kill import whole


@dataclass
class Verb:
    """A verb as these drills use it: arguments from (stage, out); `inside`: what it writes stands in the stage's area."""

    name: str
    args: Callable[[Path, Path], list[str]]
    fill: dict[str, Path]
    inside: bool = False
    ignore: tuple[str, ...] = ()


def verbs(box: Box, data: Path, base: Path) -> dict[str, Callable[[], Verb]]:
    """Return makers of the verbs by name."""
    import inputs as i

    cpu = ["--device", "cpu"]
    city, kc = lambda: i.city(box, base), lambda: i.kc_area(box, data, base)
    ckpt = lambda: str(i.checkpoint(box, base))  # noqa: E731
    predict = lambda name: (
        lambda s, o: [
            "predict",
            str(city()),
            "--embeddings",
            "colour",
            "--indicator",
            name,
            "--probe",
            "ridge",
            "--folds",
            "3",
            "--block-m",
            "1000",
            "--out",
            str(o),
        ]
    )
    return {
        "synthetic": lambda: Verb("synthetic", lambda s, o: ["area", "synthetic", str(o), "--regions", "24", "--tiles-per-region", "1"], {}),
        "build": lambda: Verb("build", lambda s, o: i.kc_build(i.king_county(data, base / "kc"), str(o)), {}),
        "pack": lambda: Verb("pack", lambda s, o: ["area", "pack", str(city()), "--out", str(o), "--shard-samples", "20"], {}),
        "embed": lambda: Verb("embed", lambda s, o: ["embed", str(s / "area"), "--model", "rcf:64", *cpu], {"area": city()}, inside=True),
        "caption": lambda: Verb("caption", lambda s, o: ["caption", str(s / "area"), "--seed", "5"], {"area": city()}, inside=True),
        "graph-embed": lambda: Verb("graph-embed", lambda s, o: ["graph", "embed", str(s / "area"), "--epochs", "1", "--dim", "16"], {"area": kc()}, inside=True),
        "graph-align": lambda: Verb("graph-align", lambda s, o: ["graph", "align", str(s / "area"), "--tower", "vectors:colour", "--graph", "small", "--epochs", "2", "--out", str(o)], {"area": kc()}),
        "pretrain": lambda: Verb("pretrain", lambda s, o: ["pretrain", str(city()), "--out", str(o), "--epochs", "1", "--batch-size", "16", "--checkpoint-every", "2", *cpu], {}),
        "pretrain-views": lambda: Verb("pretrain-views", lambda s, o: ["pretrain-views", str(s / "area"), "--epochs", "1", "--street-views", "1", "--out", str(o), *cpu], {"area": city()}),
        "predict": lambda: Verb("predict", predict(i.indicator(city().parent)), {}),
        "report": lambda: Verb("report", lambda s, o: ["report", str(i.run_folder(box, base)), "--out", str(o / "page.html")], {}),
        "retrieval": lambda: Verb("retrieval", lambda s, o: ["evaluate", "retrieval", "--model", ckpt(), "--data", str(city()), "--out", str(o)], {}),
        "captions": lambda: Verb("captions", lambda s, o: ["evaluate", "captions", "--model", ckpt(), "--data", str(city()), "--out", str(o), "--max-length", "8"], {}),
        "localize": lambda: Verb("localize", lambda s, o: ["localize", str(i.scene(data, base / "scene.png")), "houses", "--model", ckpt(), "--steps", "256", "--out", str(o)], {}),
        "new": lambda: Verb("new", lambda s, o: ["area", "new", str(o), "--regions", str(i.king_county(data, base / "kc") / "tracts.geojson"), "--region-id", "geoid"], {}),
        "add-indicators": lambda: Verb("add-indicators", lambda s, o: ["area", "add", "indicators", str(s / "area"), "--from", str(i.king_county(data, base / "kc") / "indicators.csv"), "--region-id", "geoid"], {"area": i.begun(box, data, base)}, inside=True),
        "publish": lambda: Verb("publish", lambda s, o: ["publish", str(s / "area"), str(o), "--pictures", "1"], {"area": city()}),
        "curate": lambda: Verb("curate", lambda s, o: ["curate", str(_local_recipe(base)), "--in", str(_local_pairs(data, base)), "--out", str(o), "--partition-rows", "15"], {}, ignore=("work/",)),
    }  # fmt: skip


def _local_recipe(base: Path) -> Path:
    path = base / "local.yaml"
    path.write_text(
        "columns: {caption: TEXT, url: '', image: IMAGE}\nsteps:\n  - keywords: {patterns: [aerial]}\n  - valid_images\n  - hash_duplicates: {distance: 4}\noutput: {name: local}\n"
    )
    os.utime(path, (1.7e9, 1.7e9))
    return path


def _local_pairs(data: Path, base: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = base / "local.parquet"
    if not path.exists():
        tiles = sorted((data / "king-county" / "tiles").iterdir())[:60]
        pq.write_table(
            pa.table({"TEXT": [f"aerial picture {i}" for i in range(60)], "IMAGE": [t.read_bytes() for t in tiles]}),
            path,
            row_group_size=15,
        )
    return path


# ------------------------------------------------------------------------------------------------ what is common


class Stage:
    """A verb's folder and the result of a quiet day."""

    def __init__(self, verb: Verb, box: Box, work: Path) -> None:
        self.verb, self.box, self.folder = verb, box, work / "output" / verb.name
        self.quiet: dict[str, str] = {}
        self.shaky: set[str] = set()
        self.fresh()
        for place in range(2):
            out = self.out()
            ended = box.run(verb.args(self.folder, out), self.folder)
            if ended.code:
                raise RuntimeError(f"a quiet run of {verb.name} failed ({ended.code}): {ended.said}")
            found = self.result(out)
            self.shaky = {n for n in found if place and self.quiet.get(n) != found[n]}
            self.quiet = found
            self.fresh()

    def fresh(self) -> None:
        """Empty the stage and fill it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name, source in self.verb.fill.items():
            copy_tree(source, self.folder / name)

    def out(self) -> Path:
        """The output folder of a quiet day."""
        return self.folder / "out"

    def result(self, out: Path) -> dict[str, str]:
        """Return what a run left: in the area for verbs that write there, else at the output."""
        found = tree(self.folder / "area") if self.verb.inside else tree(out) if out.exists() else {}
        # Settings hold the path of the output: only that they are there is compared where it is another.
        return {n: e for n, e in found.items() if not n.startswith(self.verb.ignore or ("\0",))}

    def compare(self, out: Path, moved: bool = False) -> list[str]:
        """Return what differs from the quiet day."""
        free = {
            n
            for n in self.quiet
            if moved and (n.endswith(("manifest.json", "config.json", "scores.json", ".toml", ".md", "seen.txt")))
        }
        after = {n: e for n, e in self.result(out).items() if not any(part.startswith(".") for part in Path(n).parts)}
        before = {n: e for n, e in self.quiet.items() if not any(part.startswith(".") for part in Path(n).parts)}
        return same(before, after, self.shaky | free)


def failed_well(ended: Ended, stage: Stage, watched: Path) -> list[str]:
    """Return what is wrong with a failure: a traceback, no error of its own, something half-written, litter."""
    wrong = []
    if ended.timed_out:
        wrong.append("hang")
    if ended.traceback:
        last = [
            line.strip()
            for line in ended.err.splitlines()
            if "/chorograph/" in line and line.strip().startswith("File")
        ]
        wrong.append(
            f"traceback: {ended.said[:160]}" + (f" at {last[-1].split('/src/chorograph/')[-1][:60]}" if last else "")
        )
    elif ended.code not in (1, 2):
        wrong.append(f"ended with {ended.code}: {ended.said[:160]}")
    elif "error:" not in ended.err:
        wrong.append(f"no error of its own: {ended.said[:160]}")
    if watched.exists():
        wrong += [f"half-written {b}" for b in whole(watched)[:3]]
        litter = [
            n
            for n in leftovers(watched, set())
            if not n.endswith(".resume") and "/work" not in n and not n.startswith("work")
        ]
        wrong += [f"leaves {litter[:3]}"] if litter else []
    return wrong


def text_of(ended: Ended) -> str:
    """Return code and message on a line."""
    return f"{ended.code}: {ended.said[:170]}"


# ------------------------------------------------------------------------------------------------ the drills


def two_at_once(stage: Stage) -> tuple[list[str], str]:
    """The same command twice at the same time, on the same output."""
    processes = []
    for delay in (0.0, 0.4):
        time.sleep(delay)
        processes.append((time.monotonic(), stage.box.start(stage.verb.args(stage.folder, stage.out()), stage.folder)))
    ends = [stage.box.finish(process, begun) for begun, process in processes]
    wrong = []
    for number, ended in enumerate(ends, start=1):
        if ended.code != 0:
            wrong += [f"process {number}: {w}" for w in failed_well(ended, stage, stage.folder / "nowhere")]
    if all(ended.code for ended in ends):
        wrong.append("both failed")
    wrong += [f"half-written {b}" for b in whole(stage.folder)[:3]]
    wrong += stage.compare(stage.out())[:4]
    litter = leftovers(stage.folder, set())
    wrong += [f"leaves {litter[:3]}"] if litter else []
    again = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
    if again.code:
        wrong.append(f"the same command afterwards ends with {text_of(again)}")
    return wrong, " | ".join(text_of(e) for e in ends)


def two_different(stage: Stage) -> tuple[list[str], str]:
    """Two predictions of different indicators at once, into one run folder: what stands there is of one of them."""
    import json

    import pandas as pd

    area = Path(stage.verb.args(stage.folder, stage.out())[1])
    names = sorted(pd.read_parquet(area / "indicators.parquet")["indicator"].unique())[:2]
    wrong, said = [], []
    for delay in (0.0, 0.3, 0.8):
        shutil.rmtree(stage.out(), ignore_errors=True)
        running = []
        for name in names:
            args = stage.verb.args(stage.folder, stage.out())
            args[args.index("--indicator") + 1] = name
            running.append((time.monotonic(), stage.box.start(args, stage.folder)))
            time.sleep(delay)
        ends = [stage.box.finish(process, begun) for begun, process in running]
        found = {
            "predictions": str(pd.read_parquet(stage.out() / "predictions.parquet")["indicator"].iloc[0]),
            "scores": json.loads((stage.out() / "scores.json").read_text())["indicator"],
            "manifest": json.loads((stage.out() / "manifest.json").read_text())["config"]["indicator"],
        }
        said.append(f"{[e.code for e in ends]} {found}")
        if len(set(found.values())) > 1:
            report = stage.box.run(["report", str(stage.out())], stage.folder)
            wrong.append(f"{found}; both ended with {[e.code for e in ends]}; report then ends with {text_of(report)}")
    return wrong, " | ".join(said)


def out_is_a_file(stage: Stage) -> tuple[list[str], str]:
    """A file stands where the output folder should be."""
    stage.out().write_text("mine")
    ended = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
    wrong = ["ended with 0"] if ended.code == 0 else failed_well(ended, stage, stage.folder)
    if not stage.out().is_file() or stage.out().read_text() != "mine":
        wrong.append("the user's file is gone")
    return wrong, text_of(ended)


def out_holds_other_things(stage: Stage) -> tuple[list[str], str]:
    """The output folder holds a file of the user's: it may be refused or kept, never lost."""
    (stage.out() / "sub").mkdir(parents=True)
    (stage.out() / "sub" / "thesis.txt").write_text("mine")
    ended = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
    wrong = failed_well(ended, stage, stage.folder) if ended.code else []
    if not (stage.out() / "sub" / "thesis.txt").exists():
        wrong.append("the user's file is gone")
    return wrong, text_of(ended)


def out_is_a_link_to_a_folder(stage: Stage) -> tuple[list[str], str]:
    """The output is a symbolic link to an empty folder, as where a large disk is mounted elsewhere."""
    (stage.folder / "real").mkdir()
    stage.out().symlink_to(stage.folder / "real")
    ended = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
    if ended.code:
        return [*failed_well(ended, stage, stage.folder), f"refused: {text_of(ended)}"], text_of(ended)
    return stage.compare(stage.out(), moved=True)[:4], text_of(ended)


def out_is_a_broken_link(stage: Stage) -> tuple[list[str], str]:
    """The output is a symbolic link to nothing."""
    stage.out().symlink_to(stage.folder / "nowhere")
    ended = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
    if ended.code:
        return failed_well(ended, stage, stage.folder), text_of(ended)
    return stage.compare(stage.out(), moved=True)[:4], text_of(ended)


def odd_path(stage: Stage) -> tuple[list[str], str]:
    """Spaces, unicode, brackets, braces, percent and hash in every path."""
    odd = stage.folder / "a b/straße {1..3} [x] #%40 城市 é"
    odd.mkdir(parents=True)
    for name in stage.verb.fill:
        shutil.move(stage.folder / name, odd / name)
    ended = stage.box.run(stage.verb.args(odd, odd / "out put"), odd)
    if ended.code:
        return [f"refused: {text_of(ended)}"], text_of(ended)
    inside = stage.folder
    stage.folder = odd
    try:
        return stage.compare(odd / "out put", moved=True)[:4], text_of(ended)
    finally:
        stage.folder = inside


def relative_path(stage: Stage) -> tuple[list[str], str]:
    """Relative paths; then the same from another folder must be done before (or done again), never fail."""
    args = [
        w.replace(f"{stage.folder}/", "") if w.startswith(str(stage.folder)) else w
        for w in stage.verb.args(stage.folder, stage.out())
    ]
    ended = stage.box.run(args, stage.folder)
    wrong = [f"refused: {text_of(ended)}"] if ended.code else stage.compare(stage.out(), moved=True)[:4]
    (stage.folder / "sub").mkdir(exist_ok=True)
    args = [
        f"../{w.replace(f'{stage.folder}/', '')}" if w.startswith(str(stage.folder)) else w
        for w in stage.verb.args(stage.folder, stage.out())
    ]
    again = stage.box.run(args, stage.folder / "sub")
    if again.code:
        wrong.append(f"from another folder: {text_of(again)}")
    return (
        wrong,
        f"{text_of(ended)} | {again.code}: {'done before' if 'nothing to do' in again.out else again.said[:100]}",
    )


def not_writable(stage: Stage) -> tuple[list[str], str]:
    """The place of the output may not be written (no permission; root's right to pass over that is dropped)."""
    place = stage.folder / ("area" if stage.verb.inside else "locked")
    place.mkdir(exist_ok=True)
    out = place / "out"
    folders = [place, *[p for p in place.rglob("*") if p.is_dir()]]
    for folder in folders:
        folder.chmod(0o555)
    try:
        ended = stage.box.run(stage.verb.args(stage.folder, out), stage.folder, before=_DROPPED)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    return (["ended with 0"] if ended.code == 0 else failed_well(ended, stage, place)), text_of(ended)


def not_readable(stage: Stage) -> tuple[list[str], str]:
    """An input may not be read."""
    if not stage.verb.inside:
        return [], "left out: its input is shared"
    names = {"graph-embed": "triples", "add-indicators": "regions"}
    place = stage.folder / "area" / f"{names.get(stage.verb.name, 'images')}.parquet"
    place.chmod(0)
    try:
        ended = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder, before=_DROPPED)
    finally:
        place.chmod(0o644)
    return (["ended with 0"] if ended.code == 0 else failed_well(ended, stage, stage.folder)), text_of(ended)


#: Root without its right to pass over permissions.
_DROPPED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


class Disk:
    """A small file system in memory, mounted while the block runs."""

    def __init__(self, place: Path, size: str, options: str = "") -> None:
        self.place, self.size, self.options = place, size, options

    def __enter__(self) -> Path:
        self.place.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.size}{self.options}", "tmpfs", str(self.place)], check=True
        )
        return self.place

    def read_only(self) -> None:
        """Make it read-only."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)

    def __exit__(self, *error: object) -> None:
        for _ in range(20):
            if subprocess.run(["umount", str(self.place)], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.5)


def _on_disk(stage: Stage, leave_kb: int, *, read_only: bool = False) -> tuple[list[str], str]:
    """Run a verb whose output lies on a file system with `leave_kb` left."""
    import inputs  # noqa: F401

    inside = sum(p.stat().st_size for p in (stage.folder / "area").rglob("*") if p.is_file()) if stage.verb.fill else 0
    disk = Disk(stage.folder / "disk", f"{inside // 1024 * 2 + leave_kb + 4000}k")
    with disk as place:
        for name, source in stage.verb.fill.items():
            copy_tree(source, place / name)
        state = os.statvfs(place)
        fill = state.f_bavail * state.f_frsize - leave_kb * 1024
        if fill > 0:
            with (place / "filler").open("wb") as file:
                file.write(bytes(fill))
        if read_only:
            disk.read_only()
        before = tree(place / "area") if stage.verb.inside else {}
        ended = stage.box.run(stage.verb.args(place, place / "out"), stage.folder)
        if ended.code == 0:
            return [
                "ended with 0 (nothing went wrong: the disk was large enough)"
            ] if read_only else [], f"0: fitted into {leave_kb} kB"
        wrong = failed_well(ended, stage, place)
        if stage.verb.inside:
            wrong += [f"an earlier file {p}" for p in same(before, tree(place / "area")) if not p.startswith("extra")]
        return wrong, text_of(ended)


def full_disk(stage: Stage) -> tuple[list[str], str]:
    """The disk fills while the output is written: with nothing, an eighth and a half of what it takes left."""
    size = sum(p.stat().st_size for p in _outputs(stage)) // 1024
    wrong, said = [], []
    for left in dict.fromkeys((0, size // 8, size // 2)):
        stage.fresh()
        one, text = _on_disk(stage, int(left))
        wrong += [f"{left} kB left: {w}" for w in one]
        said.append(f"{left} kB left: {text}")
    return wrong, " | ".join(said)


def _outputs(stage: Stage) -> list[Path]:
    """Return the files that a quiet run writes."""
    stage.fresh()
    known = {p for p in stage.folder.rglob("*") if p.is_file()}
    stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
    return [p for p in stage.folder.rglob("*") if p.is_file() and p not in known]


def read_only_disk(stage: Stage) -> tuple[list[str], str]:
    """The file system of the output is read-only."""
    return _on_disk(stage, 100, read_only=True)


def out_is_a_mount(stage: Stage) -> tuple[list[str], str]:
    """The output folder is itself an empty mounted file system, as a volume of a container is."""
    with Disk(stage.out(), "300m"):
        ended = stage.box.run(stage.verb.args(stage.folder, stage.out()), stage.folder)
        if ended.code:
            return [*failed_well(ended, stage, stage.folder), f"refused: {text_of(ended)}"], text_of(ended)
        return stage.compare(stage.out(), moved=True)[:4], text_of(ended)


DRILLS: dict[str, Callable[[Stage], tuple[list[str], str]]] = {
    "two": two_at_once, "different": two_different, "file": out_is_a_file, "others": out_holds_other_things, "link": out_is_a_link_to_a_folder,
    "broken-link": out_is_a_broken_link, "odd": odd_path, "relative": relative_path, "locked": not_writable,
    "unreadable": not_readable, "full": full_disk, "readonly": read_only_disk, "mount": out_is_a_mount,
}  # fmt: skip
#: What makes no sense for verbs that write into the area that they are given.
_NOT_INSIDE = ("file", "others", "link", "broken-link", "mount")


def main() -> int:
    """Run the drills asked for: names are DRILL-VERB, for example full-embed."""
    words = parser(__doc__ or "")
    asked = words.parse_args()
    exe = asked.exe.absolute()
    with_exe_python(exe)
    box, base = Box(exe, warm=not asked.cold), asked.work / "base"
    base.mkdir(parents=True, exist_ok=True)
    makers = verbs(box, asked.data, base)
    inside = ("embed", "caption", "graph-embed", "add-indicators")
    names = [
        f"{drill}-{verb}"
        for verb in makers
        for drill in DRILLS
        if not (verb in inside and drill in _NOT_INSIDE)
        and not (drill == "unreadable" and verb not in inside)
        and not (drill == "different" and verb != "predict")
    ]
    if asked.list:
        print("\n".join(names))
        return 0
    ledger, stages = Ledger(path=asked.json), {}
    for name in chosen(names, asked.only, asked.skip):
        drill, _, verb = next(
            (d, "", name.removeprefix(f"{d}-"))
            for d in sorted(DRILLS, key=len, reverse=True)
            if name.startswith(f"{d}-")
        )
        try:
            if verb not in stages:
                stages[verb] = Stage(makers[verb](), box, asked.work)
            stage = stages[verb]
            stage.fresh()
            wrong, said = DRILLS[drill](stage)
        except (RuntimeError, subprocess.CalledProcessError, OSError) as error:
            ledger.add(Verdict(name, False, f"the drill failed: {error!r}", "drill"))
            continue
        finally:
            subprocess.run(["umount", str(asked.work / "output" / verb / "disk")], check=False, capture_output=True)
        kind = (
            "traceback"
            if any("traceback" in w for w in wrong)
            else "lost"
            if any("gone" in w for w in wrong)
            else "half-written"
            if any(w.startswith("half-written") or ": half-written" in w for w in wrong)
            else "differs"
            if any(w.startswith(("missing ", "extra ", "differs ")) for w in wrong)
            else "refused"
            if any("refused" in w for w in wrong)
            else "leftovers"
            if any("leaves" in w for w in wrong)
            else "other"
            if wrong
            else ""
        )
        ledger.add(Verdict(name, not wrong, ("; ".join(wrong) if wrong else said)[:700], kind, {"said": said}))
    return ledger.end("output drills")


if __name__ == "__main__":
    sys.exit(main())
