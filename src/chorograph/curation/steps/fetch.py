"""The step that fetches each row's image by its URL, once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chorograph.curation.packs import PackWriter, Record, read_records
from chorograph.curation.rows import Context, Drop, Row
from chorograph.ground.fetching.fetcher import Fetched, FetchRules, Wanted, fetch_all
from chorograph.ground.fetching.images import image_fault


@dataclass(frozen=True)
class Fetch(FetchRules):
    """Fetch each row's URL; what is fetched, and what failed for good, is never asked for again after a restart.

    `again` lists failures of an earlier run that are tried again (a recipe changed so keeps what was fetched). The
    other settings are those of `FetchRules`.
    """

    name: ClassVar[str] = "fetch"

    max_pixels: int = 64_000_000
    again: tuple[str, ...] = ()

    @property
    def wanted(self) -> Wanted:
        """Images of at most `max_pixels`."""
        return Wanted(types=("image/",), judge=lambda data: image_fault(data, self.max_pixels))

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Fetch what the packs do not hold yet, and point each row to its bytes."""
        folder = Path(context.packs)
        keys = {row["key"] for row in rows}
        held: dict[int, Record] = {}
        for record in read_records(folder):
            reason = record.about.get("reason")
            # A success stands, whichever try it was; a failure only where there is nothing better.
            if record.key in keys and (reason is None or (record.key not in held and reason not in self.again)):
                held[record.key] = record
        missing = [row for row in rows if row["key"] not in held]
        with PackWriter(folder) as writer:

            def take(number: int, fetched: Fetched) -> None:
                about = {"reason": fetched.reason} if fetched.reason else {}
                key = missing[number]["key"]
                held[key] = writer.add(key, about, fetched.data)

            fetch_all([row["url"] for row in missing], self, take, self.wanted)
        return [_point(row, held[row["key"]]) for row in rows]

    def describe(self) -> str:
        """Say what it does."""
        polite = "robots.txt respected" if self.robots else "robots.txt NOT read"
        return (
            f"fetch by URL: {self.connections} connections, {self.per_host} a host, {self.tries} tries, "
            f"{self.sample_s:g} s and {self.max_bytes / 1e6:g} MB at most, {polite}"
        )


def _point(row: Row, record: Record) -> Drop | None:
    if reason := record.about.get("reason"):
        return Drop(reason)
    row.update(pack=record.pack, offset=record.offset, length=record.length)
    return None
