"""What the command line prints: progress and errors on stderr, summaries on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chorograph.ground.stage import Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

#: Where progress goes into a log, not to a terminal.
_SECONDS_BETWEEN_LINES = 10.0


class Bar:
    """A progress bar on stderr with the time left; where stderr is no terminal, a line every ten seconds at most."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = _err()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        """Begin drawing."""
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        if self._console.is_terminal:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Draw that `done` of `total` steps of `what` are finished."""
        # What follows a bar (a rate) changes from step to step and belongs to the same task.
        task = what.partition(" | ")[0]
        if self._console.is_terminal:
            if task not in self._tasks:
                self._tasks[task] = self._progress.add_task(what, total=total)
            self._progress.update(self._tasks[task], description=what, completed=done, total=total)
            return
        if (now := time.monotonic()) - self._told_at >= _SECONDS_BETWEEN_LINES:
            self._told_at = now
            self._console.print(f"{what}: {done} of {total}", markup=False)

    def clear(self) -> None:
        """Forget the bars of a stage that has ended."""
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()


def show_outcome(verb: str, outcome: Outcome, as_json: bool) -> None:
    """Print how a stage ended."""
    manifest = outcome.manifest
    if as_json:
        show_json({"verb": verb, "skipped": outcome.skipped, **manifest})
        return
    if outcome.skipped:
        _out().print(f"{verb}: nothing to do, done before ({manifest.get('finished_at', '')})", markup=False)
    else:
        wall = manifest.get("wall_s")
        _out().print(verb + (f": done in {wall:.1f} s" if wall is not None else ""), markup=False)
    for name, number in manifest.get("counts", {}).items():
        _out().print(f"  {name}: {number:,}", markup=False)
    for reason, number in manifest.get("dropped", {}).items():
        _out().print(f"  left out, {reason}: {number:,}", markup=False)
    facts = manifest.get("facts", {})
    if "r2" in facts:
        _print_r2(facts["r2"])
    elif "rows" in facts:
        _print_r2({name: {"": value} for name, value in facts["rows"].items()})
    for indicator, chosen in facts.get("chosen", {}).items():
        _out().print(f"  {indicator}: {chosen}", markup=False)
    if "r2" not in facts and "rows" not in facts:
        for name, value in facts.items():
            if name == "table":
                _print_table(value["columns"], value["rows"])
            else:
                _out().print(f"  {name}: {value}", markup=False)
    for warning in manifest.get("warnings", []):
        _out().print(f"  note: {warning}", markup=False)
    if out := manifest.get("config", {}).get("out"):
        _out().print(f"  -> {out}", markup=False)


def show_recipe(title: str, result: dict[str, Any], as_json: bool) -> None:
    """Print what a recipe reached: the table of R2, and what was expected."""
    if as_json:
        show_json({"verb": "run", "title": title, **result})
        return
    _out().print(f"\n{title}", markup=False)
    _print_r2(result["r2"])
    for expected in result["expects"]:
        reached = "not run" if expected["reached"] is None else f"{expected['reached']:.3f}"
        _out().print(
            f"  expected {expected['metric']} {expected['value']} ({expected['source']}): reached {reached}",
            markup=False,
        )
    if result["report"]:
        _out().print(f"report: {result['report']}", markup=False)


def show_error(message: str, kind: str, as_json: bool) -> None:
    """Print an error on stderr, and as JSON on stdout where JSON was asked for."""
    _err().print(f"error: {message}", markup=False, style="red")
    if as_json:
        show_json({"error": kind, "message": message})


def show_json(content: dict[str, Any]) -> None:
    """Print one JSON object as the last line of stdout."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print lines of text; a name that the line above has too is said once."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", overflow="fold")
    before = ""
    for name, *values in rows:
        table.add_row("" if name == before else name, *values)
        before = name
    _out().print(table, markup=False)


def _print_r2(rows: Mapping[str, Mapping[str, float | None]]) -> None:
    """Print R2 by indicator and row, narrow enough for any terminal."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    table.add_column("R2 on held-out regions", no_wrap=True)
    table.add_column("", justify="right")
    for indicator in dict.fromkeys(indicator for row in rows.values() for indicator in row):
        if indicator:
            table.add_row(indicator, style="bold")
        for name, row in rows.items():
            if indicator in row:
                value = row[indicator]
                table.add_row("  " + name, "" if value is None else f"{value:.3f}")
    _out().print(table)


@cache
def _out() -> Console:
    return _console(stderr=False)


@cache
def _err() -> Console:
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    # Imported when something is printed: `--help` does without.
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)
