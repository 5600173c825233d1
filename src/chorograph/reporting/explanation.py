"""What drove the predictions, as the report shows it: what `chorograph evaluate explain` left in the run folder."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from chorograph.area.images import open_image
from chorograph.ground.errors import ImageError
from chorograph.ground.files import naming_damage, read_json, sha256_file, slug, within
from chorograph.reporting.numbers import Quantity, plain
from chorograph.reporting.run import Run

FOLDER = "explanation"
#: Width of a tile and its overlay side by side, in pixels.
_WIDTH_PX = 440
_TONES = ("good", "unclear", "bad")


@dataclass(frozen=True)
class Card:
    """A tile that was looked into: its region, what is predicted there, what the tile does to it, and the picture."""

    name: str
    region_id: str
    predicted: str
    influence: str
    picture: str


@dataclass(frozen=True)
class Word:
    """A concept word whose similarity to the images goes with the indicator."""

    name: str
    correlation: str
    interval: str


@dataclass(frozen=True)
class Explanation:
    """What the section says: the sanity check's verdict, tiles by what they do, and words beyond chance."""

    tone: str
    verdict: str
    groups: tuple[tuple[str, tuple[Card, ...]], ...]
    words: tuple[Word, ...]
    words_note: str


def read_explanation(run: Run, quantity: Quantity) -> tuple[Explanation | None, str]:
    """Read the explanation in the run folder, if any, and a note where it is left out.

    One that was made from other predictions than the folder now holds is left out. Raises `InputError` naming the file
    that is damaged.
    """
    folder = run.path / FOLDER / slug(run.scores.indicator)
    if not folder.is_dir():
        folder = run.path / FOLDER  # where runs of one indicator were explained by an earlier version
    path = folder / "explanation.json"
    if not path.is_file():
        return None, ""
    content = read_json(path, {str: object})
    with naming_damage(path, "an explanation", "run `chorograph evaluate explain` again"):
        if content["predictions_sha256"] != sha256_file(run.path / "predictions.parquet"):
            return None, (
                "The explanation in this run folder is of earlier predictions and is left out; run "
                "`chorograph evaluate explain` again."
            )
        tone, verdict = str(content["sanity"]["tone"]), str(content["sanity"]["verdict"])
        cards = [(_sign(tile), _card(tile, folder, run, quantity)) for tile in content["tiles"]]
        groups = tuple(
            (title, tuple(card for sign, card in cards if sign == wanted))
            for wanted, title in (
                (1, "Tiles that raise the prediction"),
                (-1, "Tiles that lower it"),
                (0, "The only tile of its region"),
            )
        )
        words, note = _words(content)
    shown = tuple((title, held) for title, held in groups if held)
    return Explanation(tone if tone in _TONES else "unclear", verdict, shown, words, note), ""


def _card(tile: Mapping[str, Any], folder: Path, run: Run, quantity: Quantity) -> Card:
    region = str(tile["region_id"])
    names = run.frame.loc[run.frame["region_id"].astype(str) == region, "name"]
    name = str(names.iloc[0]) if len(names) and names.iloc[0] else ""
    influence = "" if tile["influence"] is None else quantity.text(tile["influence"], signed=True)
    return Card(
        name or region, region if name else "", quantity.text(tile["predicted"]), influence, _picture(tile, folder)
    )


def _picture(tile: Mapping[str, Any], folder: Path) -> str:
    """Return an overlay as the data URI of a JPEG; nothing where it cannot be opened."""
    try:
        image = open_image(within(folder, str(tile["file"])))
    except ImageError:
        return ""
    image.thumbnail((_WIDTH_PX, _WIDTH_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _sign(tile: Mapping[str, Any]) -> int:
    influence = tile["influence"]
    return 0 if not influence else 1 if influence > 0 else -1


def _words(content: Mapping[str, Any]) -> tuple[tuple[Word, ...], str]:
    """Return the words whose interval leaves out zero, from the most positive to the most negative, and a note."""
    rows = content["concepts"]
    if not rows:
        return (), str(content["concepts_note"] or "")
    clear = [row for row in rows if row["lower"] is not None and row["lower"] * row["upper"] > 0]
    clear.sort(key=lambda row: -float(row["spearman"]))
    words = tuple(
        Word(
            str(row["concept"]),
            plain(row["spearman"], 2, signed=True),
            f"{plain(row['lower'], 2, signed=True)} to {plain(row['upper'], 2, signed=True)}",
        )
        for row in clear
    )
    note = (
        f"{len(clear)} of {len(rows)} words go with the indicator beyond their 95 % interval, where about "
        f"{plain(max(0.05 * len(rows), 1), 0)} would by chance alone."
    )
    if content["concepts_note"]:
        note += f" {content['concepts_note']}"
    return words, note
