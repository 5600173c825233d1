"""The funnel's arithmetic: what came in, what each step took, what stayed, by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


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
