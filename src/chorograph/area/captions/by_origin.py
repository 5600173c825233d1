"""Captions by origin: refined ones, and those that were there before they were refined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import pandas as pd

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError

#: How the origin of refined captions begins.
REFINED = "refined:"


def unrefined(area: Area) -> pd.DataFrame:
    """Return the captions as they were before any refinement, those that never were refined included."""
    captions = area.captions
    plain = captions[~captions["origin"].str.startswith(REFINED)]
    before = area.read("captions_original")
    both = pd.concat([plain, before], ignore_index=True) if len(before) else plain
    return both.drop_duplicates("caption_id", ignore_index=True)


def captions_by(area: Area, origins: Sequence[str]) -> pd.DataFrame:
    """Return captions by origin, refined, as they were before, or `refined` for all that are; all without origins.

    Raises `InputError` naming the origins that there are, where one of those asked for is not among them.
    """
    captions = area.captions
    if not origins:
        return captions
    everything = pd.concat([captions, unrefined(area)], ignore_index=True).drop_duplicates("caption_id")
    found = []
    for origin in origins:
        its = everything["origin"]
        chosen = its.str.startswith(REFINED) if origin == REFINED[:-1] else its == origin
        if not chosen.any():
            held = ", ".join(sorted(set(its))) or "none"
            raise InputError(f"{area.path} holds no captions of origin {origin!r}; it holds: {held}")
        found.append(everything[chosen])
    return pd.concat(found, ignore_index=True).drop_duplicates("caption_id", ignore_index=True)


class Captioned(Area):
    """An area seen with some of its captions alone; its files are the same."""

    _said: pd.DataFrame

    @property
    def captions(self) -> pd.DataFrame:
        """The captions that it is seen with."""
        return self._said


def of_origin(area: Area, origins: Sequence[str]) -> Area:
    """Return an area with the captions of some origins alone; the area itself without origins."""
    if not origins:
        return area
    seen = Captioned(**{field.name: getattr(area, field.name) for field in fields(area)})
    object.__setattr__(seen, "_said", captions_by(area, origins))
    return seen
