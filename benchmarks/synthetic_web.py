"""A small web of image-text pairs drawn from a seed, where we know what is wrong with every row.

Sources have the published names, so that the published priority decides which copy should stay: originals lie in
laion2b and wit, copies in laioncoco.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image, ImageDraw

Draw = Callable[[np.random.Generator], Image.Image]

#: What is planted, and which steps are meant to take it away ("": nothing should).
PLANTED: dict[str, tuple[str, ...]] = {
    "good": (),
    "no keyword": ("keywords",),
    "no caption": ("keywords",),
    "short caption": ("captions",),
    "repetitive caption": ("captions",),
    "foreign caption": ("captions",),
    "boilerplate caption": ("captions",),
    "same row": ("repeated_rows",),
    "same URL": ("url_duplicates",),
    "gone": ("fetch",),
    "truncated": ("valid_images",),
    "text file": ("fetch", "valid_images"),
    "same bytes": ("byte_duplicates", "hash_duplicates"),
    "recompressed": ("hash_duplicates", "embedding_duplicates"),
    "smaller": ("hash_duplicates", "embedding_duplicates"),
    "cropped": ("hash_duplicates", "embedding_duplicates"),
    "turned": ("hash_duplicates", "embedding_duplicates"),
    "another day": (),
    "off topic": ("relevance", "detector", "quantiles"),
}
_COPIES = ("same bytes", "recompressed", "smaller", "cropped", "turned")
_SIDE = 192


@dataclass(frozen=True)
class SyntheticWeb:
    """Rows with their truth: id, source, url, caption, lon, lat, captured, kind, of (the original), image."""

    rows: pd.DataFrame

    def table(self, source: str, base: str = "", *, images: bool = False) -> pa.Table:
        """Return what the input of `curate` holds of a source; URLs begin with `base`."""
        rows = self.rows[self.rows["source"] == source]
        columns = ["url", "caption", "lon", "lat", "captured", *(["image"] if images else [])]
        table = pa.Table.from_pandas(rows[columns], preserve_index=False)
        urls = pa.array([f"{base}{url}" for url in rows["url"]])
        table = table.set_column(0, "url", urls)
        place = table.schema.get_field_index("captured")
        return table.set_column(place, "captured", table["captured"].cast(pa.string()))

    def pictures(self) -> dict[str, bytes]:
        """Return what a server should serve, by path; what is gone is not there."""
        there = self.rows[self.rows["kind"] != "gone"]
        return dict(zip(there["url"].tolist(), there["image"].tolist(), strict=True))

    @property
    def sources(self) -> list[str]:
        """The sources, in the order in which they are given."""
        return list(dict.fromkeys(self.rows["source"]))


def draw_aerial(generator: np.random.Generator) -> Image.Image:
    """Draw fields, roads and roofs from above."""
    greens = np.array([[88, 120, 62], [120, 138, 84], [150, 140, 96], [66, 96, 58], [170, 160, 120]])
    image = Image.new("RGB", (_SIDE, _SIDE), tuple(greens[generator.integers(5)].tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(generator.integers(5, 12)):
        x, y = generator.integers(-30, _SIDE, 2)
        w, h = generator.integers(30, 120, 2)
        colour = greens[generator.integers(5)] + generator.integers(-15, 16, 3)
        draw.rectangle((int(x), int(y), int(x + w), int(y + h)), fill=tuple(colour.tolist()))
    for _ in range(generator.integers(1, 4)):
        (x0, x1), (y0, y1) = generator.integers(0, _SIDE, 2), (0, _SIDE)
        line = [(int(x0), y0), (int(x1), y1)] if generator.random() < 0.5 else [(y0, int(x0)), (y1, int(x1))]
        draw.line(line, fill=(150, 150, 152), width=int(generator.integers(3, 9)))
    for _ in range(generator.integers(4, 30)):
        x, y = generator.integers(0, _SIDE - 20, 2)
        w, h = generator.integers(6, 20, 2)
        roof = [(176, 84, 66), (196, 196, 200), (120, 104, 96)][generator.integers(3)]
        draw.rectangle((int(x), int(y), int(x + w), int(y + h)), fill=roof)
    return _grained(image, generator)


def draw_portrait(generator: np.random.Generator) -> Image.Image:
    """Draw something that nobody takes from above: a face before a plain wall."""
    wall = tuple(int(value) for value in generator.integers(60, 256, 3))
    image = Image.new("RGB", (_SIDE, _SIDE), wall)
    draw = ImageDraw.Draw(image)
    x, y = (int(value) for value in generator.integers(70, 120, 2))
    r = int(generator.integers(35, 60))
    skin = [(236, 188, 160), (198, 134, 100), (120, 80, 60)][generator.integers(3)]
    draw.ellipse((x - r, y - int(1.2 * r), x + r, y + int(1.2 * r)), fill=skin)
    draw.rectangle((x - r, y + r, x + r, _SIDE), fill=tuple(int(value) for value in generator.integers(0, 256, 3)))
    for side in (-1, 1):
        draw.ellipse((x + side * r // 2 - 6, y - 14, x + side * r // 2 + 6, y - 4), fill=(30, 30, 40))
    draw.arc((x - r // 2, y, x + r // 2, y + r // 2 + 10), 20, 160, fill=(150, 40, 40), width=4)
    return _grained(image, generator)


def make_web(originals: int = 120, each: int = 12, seed: int = 0, aerial: Draw | None = None) -> SyntheticWeb:
    """Return a web of `originals` good rows and `each` rows of everything else; `aerial` may draw other originals."""
    generator = np.random.default_rng(seed)
    draw = aerial or draw_aerial
    rows: list[dict[str, Any]] = []

    def add(kind: str, source: str, image: bytes, caption: str | None = "", of: int = -1, **more: Any) -> int:
        number = len(rows)
        said = _caption(generator) if caption == "" else caption
        place: dict[str, Any] = {"lon": None, "lat": None, "captured": None}
        row = {"id": number, "source": source, "url": f"/{source}/{number}.jpg", "caption": said, **place}
        rows.append({**row, "kind": kind, "of": of, "image": image, **more})
        return number

    pictures: list[Image.Image] = []
    for number in range(originals):
        pictures.append(draw(generator))
        dated: dict[str, Any] = {"lon": 10.0 + 0.01 * number, "lat": 59.0, "captured": "2019-06-01"}
        add("good", ("laion2b", "wit")[number % 2], _jpeg(pictures[-1], 92), **dated)
    for number in range(each):
        of = number % originals
        original = rows[of]
        add("no keyword", "laion2b", _jpeg(draw(generator)), f"a nice day number {number} at our house by the lake")
        add("no caption", "wit", _jpeg(draw(generator)), None)
        add("short caption", "laion2b", _jpeg(draw(generator)), "aerial photo")
        looped = "aerial photo of the farm " * 12
        add("repetitive caption", "laioncoco", _jpeg(draw(generator)), looped.strip())
        add("foreign caption", "wit", _jpeg(draw(generator)), f"Luftbild der Stadt {number} und des Hafens, Landsat")
        add("boilerplate caption", "laion2b", _jpeg(draw(generator)), f"Aerial photo {number} of a coast, stock photo")
        same = {"url": original["url"], **_place(original)}
        add("same row", original["source"], original["image"], original["caption"], of, **same)
        add("same URL", "laioncoco", original["image"], of=of, url=original["url"])
        add("gone", "laion2b", b"")
        add("truncated", "wit", _jpeg(draw(generator))[:-900])
        add("text file", "laion2b", b"<html>There was an aerial photo here.</html>")
        add("off topic", "laion2b", _jpeg(draw_portrait(generator)))
        for place, kind in enumerate(_COPIES):
            copied = (number * len(_COPIES) + place) % originals
            add(kind, "laioncoco", _copy(kind, pictures[copied], rows[copied]["image"]), of=copied)
        # A season later: the same field, a little brighter.
        later = Image.eval(pictures[of], lambda value: min(255, value + 6))
        add("another day", "laion2b", _jpeg(later, 92), of=of, **{**_place(original), "captured": "2020-09-01"})
    return SyntheticWeb(pd.DataFrame(rows))


def precision_and_recall(web: SyntheticWeb, dropped: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Return, for each step that dropped rows, how many, how many rightly, and recall of what it was first to meet.

    `dropped` and `kept` have url (as in the web) and caption, which name a row. A row counts for the first of its steps
    that the run had; rows that an earlier step took are not missed by a later one.
    """
    named = web.rows[web.rows["kind"] != "same row"]
    truth = {(r["source"], r["url"], r["caption"]): str(r["kind"]) for r in named.to_dict("records")}
    steps = list(dict.fromkeys(dropped["step"]))
    rows = []
    for step in steps:
        taken = dropped[dropped["step"] == step]
        kinds = [truth[key] for key in zip(taken["source"], taken["url"], taken["caption"], strict=True)]
        right = sum(step in PLANTED[kind] for kind in kinds) if step != "repeated_rows" else len(taken)
        left = [truth[key] for key in zip(kept["source"], kept["url"], kept["caption"], strict=True)]
        missed = sum(step in PLANTED[kind] for kind in left)
        rows.append({"step": step, "dropped": len(taken), "right": right, "missed": missed})
    frame = pd.DataFrame(rows, columns=["step", "dropped", "right", "missed"])
    frame["precision"] = frame["right"] / frame["dropped"]
    frame["recall"] = frame["right"] / (frame["right"] + frame["missed"])
    return frame


def _place(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("lon", "lat", "captured")}


def _copy(kind: str, picture: Image.Image, encoded: bytes) -> bytes:
    side = picture.width
    if kind == "same bytes":
        return encoded
    if kind == "recompressed":
        return _jpeg(picture, 45)
    if kind == "smaller":
        return _jpeg(picture.resize((side * 2 // 3, side * 2 // 3), Image.Resampling.LANCZOS))
    if kind == "cropped":
        edge = round(0.05 * side)
        return _jpeg(picture.crop((edge, edge, side - edge, side - edge)))
    return _jpeg(picture.transpose(Image.Transpose.ROTATE_90))


def _jpeg(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _grained(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    noise = generator.integers(-8, 9, (_SIDE, _SIDE, 3))
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + noise, 0, 255).astype(np.uint8))


def _caption(generator: np.random.Generator) -> str:
    kinds = ("aerial photo", "satellite image", "aerial view", "Landsat scene", "satellite map")
    things = ("farmland", "a village", "two roads", "red roofs", "an industrial estate", "meadows", "a crossing")
    where = ("near the river", "in the north", "at the edge of town", "beside the railway", "under thin cloud")
    one, two = generator.choice(len(things), 2, replace=False)
    kind, place = kinds[generator.integers(5)], where[generator.integers(5)]
    return f"{kind} of {things[one]} and {things[two]} {place}, sheet {generator.integers(10**6)}"
