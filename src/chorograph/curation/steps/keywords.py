"""The keyword filter: captions that hold one of a list of patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from chorograph.curation.rows import Context, Drop, Row
from chorograph.ground.errors import InputError

#: Zhang et al. 2024 (RS5M), appendix B2: 27 patterns; a stem matches what begins with it ("imag": image, imagery).
REMOTE_SENSING = (
    "remote sensing", "earth observ",
    "aerial imag", "aerial photo", "aerial map", "aerial pic", "aerial view", "aerial scan", "aerial satellite",
    "satellite imag", "satellite photo", "satellite map", "satellite pic", "satellite view", "satellite scan",
    "satellite data", "satellite surveillance",
    "space photo", "spaceborne photo", "space-borne photo", "space imag", "spaceborne imag", "space-borne imag",
    "space view", "spaceborne view", "space-borne view", "space surveillance",
)  # fmt: skip
#: The same, group 2: 15 names of sensors, missions and tools ("Freesound" is odd, and kept as published).
SENSORS = (
    "Google Earth", "Freesound", "Sentinel-1", "Sentinel-2", "Gaofen", "USGS", "NAIP", "MODIS", "EOSDIS", "WorldView",
    "Planet Dove", "ArcGIS", "Maxar", "Landsat", "Geographic Information System",
)  # fmt: skip
RS5M_PATTERNS = REMOTE_SENSING + SENSORS


def keyword_regex(patterns: Sequence[str]) -> str:
    """Return one case-insensitive expression that matches where any of the plain `patterns` stands.

    Written so that Python's and Rust's engines read it alike. Raises `InputError` for an empty list or pattern.
    """
    if not patterns or not all(pattern.strip() for pattern in patterns):
        raise InputError("keywords: give at least one pattern, and none that is empty")
    return "(?i)" + "|".join(re.sub(r"([^A-Za-z0-9 ])", r"\\\1", pattern) for pattern in patterns)


@dataclass(frozen=True)
class Keywords:
    """Keep captions with one of `patterns`, whatever their case; the default is the published list of 42.

    With `record` false, what is dropped is counted and not kept row by row (it is the input without the output): at
    web scale it would be written a second time.
    """

    name: ClassVar[str] = "keywords"

    patterns: tuple[str, ...] = RS5M_PATTERNS
    record: bool = True

    @cached_property
    def regex(self) -> str:
        """The expression that a caption must match."""
        return keyword_regex(self.patterns)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.regex)

    def keeps(self, caption: str | None) -> bool:
        """Whether a caption holds one of the patterns."""
        return caption is not None and self._compiled.search(caption) is not None

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Judge captions one by one; where the filter comes first in a plan, Daft runs it instead."""
        return [
            None if self.keeps(row["caption"]) else Drop("no caption" if row["caption"] is None else "no keyword")
            for row in rows
        ]

    def describe(self) -> str:
        """Say what it does."""
        published = " (the published 27 + 15)" if self.patterns == RS5M_PATTERNS else ""
        return f"caption holds one of {len(self.patterns)} patterns{published}"
