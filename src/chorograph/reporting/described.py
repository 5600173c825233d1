"""What `chorograph describe` wrote of the regions of a run, for their cards."""

from __future__ import annotations

from collections.abc import Sequence

from chorograph.reporting.numbers import plain
from chorograph.reporting.run import Run

#: Beyond as many regions the words would outweigh the map.
_MOST_REGIONS = 3_000


def descriptions_of(run: Run) -> list[list[tuple[str, str]]]:
    """Return the paragraphs of each region of the run: text and origin; none where the area describes no region.

    Sentences of the same origin that follow each other are one paragraph. Texts are as they are: a model may have
    written them, so whoever shows them escapes them.
    """
    ids = run.frame["region_id"].astype(str).tolist()
    if run.area is None or len(ids) > _MOST_REGIONS:
        return [[] for _ in ids]
    said = run.area.read("descriptions").sort_values(["region_id", "rank"], kind="stable")
    lines = {region_id: own[["sentence", "origin"]] for region_id, own in said.groupby("region_id")}
    return [
        _paragraphs(list(lines[region_id].itertuples(index=False, name=None))) if region_id in lines else []
        for region_id in ids
    ]


def untold(run: Run) -> str:
    """Say that descriptions are left out where there are too many; else nothing."""
    if run.area is None or len(run.frame) <= _MOST_REGIONS or not run.area.has("descriptions"):
        return ""
    return f"Descriptions are shown for up to {plain(_MOST_REGIONS, 0)} regions; `chorograph serve` shows them all."


def _paragraphs(lines: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for sentence, origin in lines:
        if found and found[-1][1] == origin:
            found[-1] = (f"{found[-1][0]} {sentence}", origin)
        else:
            found.append((sentence, origin))
    return found
