"""What refinement does to an area's tables: originals are set aside, and everything can come back.

`captions` holds what is in use. `captions_original` holds captions as they were before they were refined, and
`captions_dropped` the sentences that were dropped, with rule and reason. Nothing is ever destroyed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from chorograph.area.captions.by_origin import REFINED, unrefined
from chorograph.captioning.refining.refine import Refined
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    from chorograph.area.folder import Area

_COLUMNS = ["caption_id", "image_id", "rank", "caption", "origin", "score"]


def set_aside(area: Area, origins: list[str], refined: Refined) -> list[Path]:
    """Put refined captions of some origins in the place of the originals, which are set aside; returns the files."""
    before = unrefined(area)
    mine = before["origin"].isin(origins)
    ours = [REFINED + origin for origin in origins]
    old = area.read("captions_original")
    dropped = area.read("captions_dropped")
    kept = area.captions[~area.captions["origin"].isin([*origins, *ours])]
    # What is set aside is written first: a run that is killed in between leaves every caption somewhere.
    return [
        area.write("captions_original", _joined(old[~old["origin"].isin(origins)], before[mine])),
        area.write(
            "captions_dropped",
            pd.concat(
                [dropped[~dropped["origin"].isin(ours)], refined.dropped[[*_COLUMNS, "rule", "reason"]]],
                ignore_index=True,
            ),
        ),
        area.write("captions", _joined(kept, refined.kept[_COLUMNS])),
    ]


def can_restore(area: Area, rules: list[str]) -> bool:
    """Return whether there is anything to bring back: what some rules dropped, or with no rules all captions."""
    if rules:
        return bool(area.read("captions_dropped")["rule"].isin(rules).any())
    return not area.read("captions_original").empty


def restore(area: Area, rules: list[str]) -> tuple[int, Path]:
    """Bring back the sentences that some rules dropped, or with no rules all captions as they were before.

    Returns how many rows came back, and the file. They stay among what is set aside until `forget`: whoever is killed
    before that can bring them back again. Raises `InputError` where there is nothing to bring back.
    """
    dropped = area.read("captions_dropped")
    if not rules:
        original = area.read("captions_original")
        if original.empty:
            raise InputError(f"{area.path} holds no captions that were refined")
        kept = area.captions[~area.captions["origin"].str.startswith(REFINED)]
        return len(original), area.write("captions", _joined(kept, original))
    back = dropped[dropped["rule"].isin(rules)]
    if back.empty:
        held = ", ".join(sorted(set(dropped["rule"]))) or "none"
        raise InputError(f"{area.path}: nothing was dropped by {', '.join(rules)}; rules that dropped: {held}")
    return len(back), area.write("captions", _joined(area.captions, back[_COLUMNS]))


def forget(area: Area, rules: list[str]) -> None:
    """Take what was brought back out of what is set aside."""
    dropped = area.read("captions_dropped")
    area.write("captions_dropped", dropped[~dropped["rule"].isin(rules)] if rules else dropped.iloc[:0])
    if not rules:
        area.write("captions_original", area.read("captions_original").iloc[:0])


def _joined(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    frames = [frame for frame in (one, other) if len(frame)] or [one]
    return pd.concat(frames, ignore_index=True).drop_duplicates("caption_id", ignore_index=True)
