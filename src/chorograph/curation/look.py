"""A contact sheet: what a shard holds, at a glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chorograph.area.images import open_image
from chorograph.curation.pictures import Picture, read_pictures
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import atomic_path

_SIDE, _GAP, _TEXT, _COLUMNS = 160, 8, 30, 8


def draw_some(path: Path, number: int, seed: int, drop: Callable[[str], None]) -> list[Picture]:
    """Return `number` pictures drawn at random in one pass, in the order in which they lie."""
    generator = np.random.default_rng(seed)
    chosen: list[tuple[int, Picture]] = []
    for place, picture in enumerate(read_pictures(path, drop)):
        if place < number:
            chosen.append((place, picture))
        elif (slot := int(generator.integers(place + 1))) < number:
            chosen[slot] = (place, picture)
    return [picture for _, picture in sorted(chosen, key=lambda pair: pair[0])]


def contact_sheet(pictures: Sequence[Picture]) -> Image.Image:
    """Return the pictures in rows of eight, each whole, with the beginning of its caption; a broken one says why."""
    if not pictures:
        raise InputError("there are no pictures to look at; name a shard, an area or a folder that holds some")
    rows = -(-len(pictures) // _COLUMNS)
    columns = min(len(pictures), _COLUMNS)
    size = (columns * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _TEXT + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for place, picture in enumerate(pictures):
        left = _GAP + place % _COLUMNS * (_SIDE + _GAP)
        top = _GAP + place // _COLUMNS * (_SIDE + _TEXT + _GAP)
        text = picture.caption or picture.name
        try:
            image = open_image(picture.data)
            image.thumbnail((_SIDE, _SIDE))
            sheet.paste(image, (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2))
        except ImageError as error:
            draw.rectangle((left, top, left + _SIDE, top + _SIDE), outline="#b3001b")
            text = f"{error.reason}: {text}"
        for line, part in enumerate((text[:26], text[26:51] + ("…" if len(text) > 51 else ""))):
            draw.text((left, top + _SIDE + 2 + 13 * line), part, fill="#1b2733", font=font)
    return sheet


def write_sheet(path: Path, sheet: Image.Image) -> None:
    """Write a sheet; the format follows the name."""
    with atomic_path(path) as temporary:
        sheet.save(temporary, quality=88)
