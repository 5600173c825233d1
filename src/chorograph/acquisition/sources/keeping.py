"""Keeping what a source gives as it comes: a file in the area, then a row in the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.acquisition.sources.journal import Journal, Row
from chorograph.ground.disk import naming_trouble
from chorograph.ground.errors import InputError
from chorograph.ground.files import sha256_bytes, slug
from chorograph.ground.image_formats import extension_of
from chorograph.ground.stage import Ledger, Progress

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.acquisition.sources.source import Picture, Take

#: Refusals of a whole service: after so many of them alone it is not asked further.
_REFUSED = ("HTTP 401", "HTTP 403", "HTTP 429", "private address", "host given up")
_MOST_REFUSED = 100


@dataclass
class Keeper:
    """Writes pictures into an area's folder `images` and their rows into a journal.

    A file that the area's table names is never written over: another picture of that name lies beside it.
    """

    folder: Path
    journal: Journal
    named: set[str]
    _made: bool = field(default=False, init=False)

    def keep(self, name: str, picture: Picture, url: str | None) -> Row:
        """Keep one picture, or why there is none."""
        url = picture.url or url
        if picture.reason is not None:
            row = Row(name, reason=picture.reason, url=url)
        else:
            uri, digest = self._written(name, picture.data)
            row = Row(name, uri, digest, None, url, picture.captured, nodata=picture.nodata, cloud=picture.cloud)
        self.journal.add(row)
        return row

    def remove(self, row: Row, reason: str) -> Row:
        """Take a picture out again: it is known from now on by its hash and a reason."""
        left = Row(row.name, None, row.sha256, reason, row.url, row.captured, row.nodata, row.cloud)
        self.journal.add(left)
        if row.uri is not None and row.uri not in self.named:
            (self.folder / row.uri).unlink(missing_ok=True)
        return left

    def _written(self, name: str, data: bytes) -> tuple[str, str]:
        digest, suffix = sha256_bytes(data), extension_of(data) or "bin"
        uri = f"images/{slug(name)}.{suffix}"
        if uri in self.named and (self.folder / uri).is_file() and (self.folder / uri).read_bytes() != data:
            uri = f"images/{slug(name)}-{digest[:12]}.{suffix}"
        path = self.folder / uri
        with naming_trouble(path):
            if not self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made = True
            # Plainly: a file whose writer was killed half-way stands in no journal, and is written anew.
            with open(path, "wb") as file:  # noqa: PTH123  # per tile, and pathlib costs as much as the writing
                file.write(data)
        return uri, digest


def keep_all(
    keeper: Keeper,
    names: Sequence[str],
    urls: Callable[[int], str | None],
    fetch: Callable[[Sequence[int], Take], None],
    ledger: Ledger,
    progress: Progress,
    what: str,
    *,
    again: bool = False,
) -> list[Row]:
    """Get every picture that the journal has not; returns the rows of all, in the order of `names`.

    With `again` what failed for good is asked for again.

    `fetch` is given the numbers that are left. Raises `InputError` where a service refuses everything.
    """
    settled = keeper.journal.settled(keeper.folder, failed=not again)
    left = [number for number, name in enumerate(names) if name not in settled]
    ledger.count(f"{what} had already", len(names) - len(left))
    ended: Counter[str | None] = Counter()

    def take(place: int, picture: Picture) -> None:
        number = left[place]
        row = keeper.keep(names[number], picture, urls(number))
        ended[row.reason] += 1
        if not ended[None] and sum(ended[reason] for reason in _REFUSED) >= _MOST_REFUSED:
            raise InputError(refusal(ended, len(names), what))
        progress(f"fetching {what}", ended.total(), len(left))

    if left:
        fetch(left, take)
    rows = [keeper.journal.rows[name] for name in names]
    if names and all(row.uri is None and row.reason != PLACEHOLDER for row in rows):
        raise InputError(refusal(Counter(row.reason for row in rows), len(names), what))
    return rows


#: Why a picture that means 'no imagery here' is not held.
PLACEHOLDER = "placeholder"


def refusal(ended: Counter[str | None], number: int, what: str) -> str:
    """Return why nothing was had, and what may be done."""
    said = ", ".join(f"{reason} ({count:,})" for reason, count in ended.most_common(3))
    worst = ended.most_common(1)[0][0] or ""
    remedy = {
        "private address": "the service lies in a private network: name it with --allow, such as --allow 127.0.0.0/8",
        "HTTP 401": "it wants a token or key: write it into the address as ${NAME}, a variable of the environment",
        "HTTP 403": "it does not let you: is a token or key missing, or your permission?",
        "HTTP 404": "are the address, --zoom and the regions' place right?",
        "wrong type": "it answers with something else than pictures: is the address right?",
        "HTTP 429": "it wants fewer requests: lower --per-host, raise --pause-s, and run it again later",
    }.get(worst, "run it again when the service answers; what was had is kept")
    return f"none of {number:,} {what} could be had: {said}; {remedy}"


def held_before(images: pd.DataFrame, names: Sequence[str], urls: Callable[[int], str | None]) -> list[Row]:
    """Return rows of pictures that the area holds of the same URL already: they are not fetched again."""
    held = images[images["uri"].notna() & images["url"].notna()].set_index("image_id")
    found = []
    for number, name in enumerate(names if len(held) else ()):
        if name in held.index and held["url"].loc[name] == urls(number):
            row: dict[Any, Any] = held.loc[name].to_dict()
            captured = row["captured"] if isinstance(row["captured"], str) else None
            found.append(Row(name, row["uri"], row["sha256"], None, row["url"], captured))
    return found
