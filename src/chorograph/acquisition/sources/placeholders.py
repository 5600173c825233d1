"""Pictures that mean 'no imagery here': known by their hash, or by standing for many places."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from chorograph.acquisition.sources.journal import Row
from chorograph.acquisition.sources.keeping import PLACEHOLDER, Keeper
from chorograph.area.images import read_rgb
from chorograph.ground.errors import ImageError, SettingError
from chorograph.ground.files import sha256_file
from chorograph.ground.stage import Ledger

#: The same bytes at so many places are no picture of any of them.
_SEVERAL = 3
#: Grey levels: a picture that varies less is of one colour, such as open water.
_FLAT = 1.0


def known_placeholders(given: Sequence[str]) -> frozenset[str]:
    """Return hashes of `--placeholder`: files or SHA-256 as hex; `SettingError` for what is neither."""
    return frozenset(_hash(text) for text in given)


def drop_placeholders(
    keeper: Keeper, rows: Sequence[Row], known: frozenset[str], repeated: str | None, ledger: Ledger
) -> list[Row]:
    """Return rows without the pictures of placeholders, which are counted and told.

    A picture whose hash is known is one. So is one that stands for three places or more and is not of one colour
    (open water is): unless `repeated` is `keep`; with `drop` one of one colour is too.
    """
    times = Counter(row.sha256 for row in rows if row.uri is not None)
    names: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.uri is not None and row.sha256 in times and times[row.sha256] >= _SEVERAL:
            names[str(row.sha256)].append(row.name)
    first = {row.sha256: row for row in reversed(rows) if row.uri is not None}
    gone = set(known)
    for digest, places in names.items():
        flat = _is_flat(keeper.folder / str(first[digest].uri))
        said = f"one picture {'of one colour ' if flat else ''}stands for {len(places)} places ({places[0]}, …)"
        if digest in known or repeated == "drop" or (repeated is None and not flat):
            gone.add(digest)
            ledger.warnings.append(f"{said}: taken for 'no imagery here' and not held (--repeated keep holds them)")
        else:
            ledger.warnings.append(f"{said}: it is held; --repeated drop leaves it out")
    found = [keeper.remove(row, PLACEHOLDER) if row.uri and row.sha256 in gone else row for row in rows]
    ledger.count("placeholders", sum(row.reason == PLACEHOLDER for row in found))
    return found


def _is_flat(path: Path) -> bool:
    try:
        return bool(read_rgb(path).std(axis=(0, 1)).max() < _FLAT)
    except ImageError:
        return False


def _hash(text: str) -> str:
    if len(text) == 64 and all(sign in "0123456789abcdef" for sign in text.lower()):
        return text.lower()
    path = Path(text).expanduser()
    if not path.is_file():
        raise SettingError(f"--placeholder is a file, or the SHA-256 of one in 64 hex digits, not {text!r}")
    return sha256_file(path)
