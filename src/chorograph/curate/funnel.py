"""The funnel's arithmetic: what came in, what each step took, what stayed, by source; and the published funnel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PublishedRow:
    """A row of RS5M's table of PUB11 (Zhang et al. 2024, appendix B; every row closes)."""

    source: str
    keywords: int
    downloaded: int
    invalid: int
    duplicate: int
    outlier: int
    remain: int

    @property
    def after_duplicates(self) -> int:
        """What stood before the relevance filters."""
        return self.downloaded - self.invalid - self.duplicate

    @property
    def closes(self) -> bool:
        """Whether what remains is what was downloaded less what was removed."""
        return self.after_duplicates - self.outlier == self.remain


PUBLISHED = (
    PublishedRow("laion2b", 1_980_978, 1_737_584, 102, 343_017, 333_686, 1_060_779),
    PublishedRow("coyo700m", 680_089, 566_076, 28, 245_650, 94_329, 226_069),
    PublishedRow("laioncoco", 3_014_283, 2_549_738, 80, 417_689, 527_941, 1_604_028),
    PublishedRow("laion400m", 286_102, 241_324, 25, 141_658, 23_860, 75_781),
    PublishedRow("wit", 98_540, 93_754, 0, 74_081, 9_299, 10_374),
    PublishedRow("yfcc15m", 27_166, 25_020, 0, 265, 15_126, 9_629),
    PublishedRow("cc12m", 18_892, 16_234, 0, 1_870, 4_330, 10_034),
    PublishedRow("redcaps", 2_842, 2_686, 0, 228, 972, 1_486),
    PublishedRow("cc3m", 12_563, 11_718, 1, 328, 1_817, 9_572),
    PublishedRow("sbu", 102, 91, 0, 4, 36, 51),
    PublishedRow("vg", 26, 26, 0, 0, 20, 6),
)
PUBLISHED_TOTAL = PublishedRow("total", 6_121_583, 5_244_251, 236, 1_224_790, 1_011_416, 3_007_809)


@dataclass
class Funnel:
    """Counts of one run: rows read, and rows dropped by source, step and reason."""

    steps: tuple[str, ...]
    read: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, read: Mapping[str, int], dropped: Iterable[tuple[str, str, str, int]]) -> None:
        """Count a partition's rows by source, and its drops as (source, step, reason, number)."""
        self.read.update(read)
        for source, step, reason, number in dropped:
            self.dropped[source, step, reason] += number

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a source, largest first, and the total: read, taken by each step, remain."""
        sources = [name for name, _ in sorted(self.read.items(), key=lambda item: (-item[1], item[0]))]
        rows = [self._row(source, [source]) for source in sources]
        return [*rows, self._row("total", sources)]

    def _row(self, name: str, sources: list[str]) -> dict[str, Any]:
        read = sum(self.read[source] for source in sources)
        row: dict[str, Any] = {"source": name, "read": read}
        for step in self.steps:
            row[step] = sum(n for (s, st, _), n in self.dropped.items() if s in sources and st == step)
        row["remain"] = read - sum(row[step] for step in self.steps)
        return row

    def reasons(self) -> dict[str, dict[str, int]]:
        """Return drops by step and reason, most frequent first, over all sources."""
        found: dict[str, Counter[str]] = {step: Counter() for step in self.steps}
        for (_, step, reason), number in self.dropped.items():
            found[step][reason] += number
        return {step: dict(counter.most_common()) for step, counter in found.items()}
