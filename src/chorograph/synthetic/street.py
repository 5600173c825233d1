"""Street-level views of the synthetic city: the fronts of what stands in a tile, drawn plainly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from chorograph.synthetic.land import Use
from chorograph.synthetic.things import Thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chorograph.synthetic.words import Facts

WIDTH, HEIGHT = 256, 192
_SCALE = 2
_GROUND = 132  # where fronts meet the ground, in pixels from the top

Colour = tuple[int, int, int]

_WALLS = ((214, 202, 180), (196, 178, 156), (178, 112, 92), (222, 216, 206), (168, 164, 158), (206, 184, 140))
_ROOFS = ((150, 92, 76), (116, 96, 88), (92, 94, 102), (132, 124, 116))
_CARS = ((220, 220, 220), (60, 62, 68), (158, 44, 40), (52, 80, 128), (136, 140, 146))


@dataclass(frozen=True)
class StreetView:
    """What a view shows: fronts of one kind, `cars` parked, `trees` beside the road; `what` says so in words."""

    front: str
    cars: int
    trees: int
    what: str
    seed: int

    @classmethod
    def of(cls, facts: Facts, seed: int, rng: np.random.Generator) -> StreetView:
        """Choose what is seen from a street in a tile with these facts."""
        front, words = _front(facts)
        cars = min(3, int(rng.poisson(facts.things[Thing.CAR] / 25)))
        trees = min(4, int(rng.poisson(facts.trees / 30)))
        named = [words]
        if cars:
            named.append(("a parked car", "two parked cars", "parked cars")[cars - 1])
        if trees:
            named.append(("a tree", "a few trees", "trees", "trees")[trees - 1])
        return cls(front, cars, trees, " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named),
                   seed)  # fmt: skip


def _front(facts: Facts) -> tuple[str, str]:
    things = facts.things
    weight = {
        "houses": 3 * facts.detached, "terrace": 2 * things[Thing.ROW], "court": 4 * things[Thing.COURT],
        "slab": 9 * things[Thing.SLAB], "tower": 14 * things[Thing.TOWER], "hall": 20 * things[Thing.HALL],
        "shop": 12 * things[Thing.SHOP],
    }  # fmt: skip
    front = max(weight, key=lambda kind: weight[kind])
    if weight[front] == 0:
        return ("wood", "woods") if facts.main == Use.FOREST else ("open", "open ground")
    return front, {
        "houses": "detached houses with front gardens", "terrace": "a row of terraced houses",
        "court": "tall town houses wall to wall", "slab": "a long block of flats with balconies",
        "tower": "high-rise towers", "hall": "an industrial hall", "shop": "a shop with large windows",
    }[front]  # fmt: skip


def draw_street(view: StreetView) -> NDArray[np.uint8]:
    """Return the view as uint8 (192, 256, 3)."""
    rng = np.random.default_rng([view.seed, 8])
    width, ground = WIDTH * _SCALE, _GROUND * _SCALE
    sky = np.linspace(0, 1, ground)[:, None]
    top, bottom = np.array([118, 158, 206]) + rng.normal(0, 12), np.array([206, 218, 228]) + rng.normal(0, 8)
    pixels = np.empty((HEIGHT * _SCALE, width, 3), dtype=np.uint8)
    pixels[:ground] = np.clip(top + (bottom - top) * sky, 0, 255)[:, None]
    pixels[ground:] = (128, 138, 92) if view.front in ("houses", "open", "wood") else (160, 156, 150)
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 6))):  # clouds
        x, y, size = rng.uniform(0, width), rng.uniform(10, ground * 0.4), rng.uniform(30, 70)
        for k in range(4):
            pen.ellipse((x + k * size * 0.5, y - size * 0.12 * (k % 2), x + k * size * 0.5 + size, y + size * 0.3),
                        fill=(232, 236, 240))  # fmt: skip
    _FRONTS[view.front](pen, width, ground, rng)
    road = ground + 34
    pen.rectangle((0, ground + 14, width, road), fill=(172, 168, 160))
    pen.rectangle((0, road, width, HEIGHT * _SCALE), fill=(104, 104, 108))
    pen.rectangle((0, road, width, road + 3), fill=(142, 140, 136))
    for x in range(int(rng.integers(0, 60)), width, 90):
        pen.rectangle((x, road + 54, x + 44, road + 58), fill=(206, 204, 196))
    for place in rng.permutation(5)[: view.trees].tolist():
        _tree(pen, (place + rng.uniform(0.2, 0.8)) * width / 5, ground + 20, rng)
    for place in rng.permutation(3)[: view.cars].tolist():
        _car(pen, (place + 0.5) * width / 3 + rng.uniform(-20, 20), road + 14, rng)
    image = image.reduce(_SCALE).filter(ImageFilter.GaussianBlur(0.4))
    noisy = np.asarray(image, dtype=np.float32) * rng.uniform(0.9, 1.08) + rng.normal(0, 2.5, (HEIGHT, WIDTH, 1))
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def _shift(colour: Colour, by: float) -> Colour:
    red, green, blue = (min(255, max(0, int(part + by))) for part in colour)
    return red, green, blue


def _choose(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return _shift(colours[int(rng.integers(len(colours)))], rng.uniform(-10, 10))


def _windows(
    pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], columns: int, storeys: int, wall: Colour
) -> None:
    left, top, right, bottom = box
    wide, high = (right - left) / columns, (bottom - top) / storeys
    for row in range(storeys):
        for column in range(columns):
            x, y = left + (column + 0.28) * wide, top + (row + 0.25) * high
            pen.rectangle((x - 1, y - 1, x + wide * 0.44 + 1, y + high * 0.5 + 1), fill=_shift(wall, 24))
            pen.rectangle((x, y, x + wide * 0.44, y + high * 0.5), fill=(76, 92, 110))


def _houses(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    x = rng.uniform(-80, 0)
    while x < width:
        wide, high, rise = rng.uniform(130, 180), rng.uniform(58, 84), rng.uniform(40, 58)
        wall, roof = _choose(_WALLS, rng), _choose(_ROOFS, rng)
        pen.rectangle((x, ground - high, x + wide, ground), fill=wall)
        _windows(pen, (x + 6, ground - high, x + wide * 0.66, ground - 6), 2, 2 if high > 70 else 1, wall)
        pen.rectangle((x + wide * 0.74, ground - 40, x + wide * 0.88, ground), fill=_shift(roof, -20))
        if rng.random() < 0.5:
            pen.polygon(
                (x - 8, ground - high, x + wide / 2, ground - high - rise, x + wide + 8, ground - high), fill=roof
            )
        else:
            pen.polygon((x - 8, ground - high, x + 24, ground - high - rise, x + wide - 24, ground - high - rise,
                         x + wide + 8, ground - high), fill=roof)  # fmt: skip
        pen.rectangle((x - 10, ground - 4, x + wide + rng.uniform(20, 60), ground + 14), fill=(96, 118, 72))
        if rng.random() < 0.6:
            pen.rectangle((x - 8, ground - 2, x + wide * 0.6, ground + 12), fill=(70, 92, 56))
        x += wide + rng.uniform(36, 80)


def _terrace(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    wide, high = rng.uniform(72, 92), rng.uniform(92, 116)
    roof = _choose(_ROOFS, rng)
    base = _choose(_WALLS, rng)
    x = rng.uniform(-60, 0)
    while x < width:
        wall = _shift(base, rng.uniform(-22, 22))
        pen.rectangle((x, ground - high, x + wide, ground), fill=wall)
        pen.polygon((x, ground - high, x, ground - high - 34, x + wide, ground - high - 34, x + wide, ground - high),
                    fill=_shift(roof, rng.uniform(-10, 10)))  # fmt: skip
        _windows(pen, (x + 4, ground - high + 4, x + wide - 4, ground - 40), 2, 2, wall)
        pen.rectangle((x + wide * 0.1, ground - 38, x + wide * 0.34, ground), fill=_choose(_CARS, rng))
        pen.rectangle((x + wide * 0.5, ground - 34, x + wide * 0.88, ground - 12), fill=(76, 92, 110))
        pen.rectangle((x + wide - 12, ground - high - 50, x + wide - 2, ground - high - 30), fill=_shift(roof, -16))
        x += wide


def _court(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    x = rng.uniform(-80, 0)
    while x < width:
        wide, high = rng.uniform(130, 190), rng.uniform(190, 226)
        wall = _choose(_WALLS, rng)
        pen.rectangle((x, ground - high, x + wide, ground), fill=wall)
        _windows(pen, (x + 6, ground - high + 8, x + wide - 6, ground - 44), 5, 4, wall)
        pen.rectangle((x, ground - 42, x + wide, ground), fill=_shift(wall, -24))
        for k in range(3):
            pen.rectangle((x + wide * (0.08 + 0.31 * k), ground - 36, x + wide * (0.3 + 0.31 * k), ground - 2),
                          fill=(84, 98, 112))  # fmt: skip
        pen.rectangle((x, ground - high - 4, x + wide, ground - high + 4), fill=_shift(wall, 22))
        pen.rectangle((x + 4, ground - high - 26, x + wide - 4, ground - high - 4), fill=_choose(_ROOFS, rng))
        x += wide


def _slab(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    wall, high, storeys = _choose(_WALLS, rng), rng.uniform(150, 220), int(rng.integers(5, 9))
    left, right = rng.uniform(-40, 60), width - rng.uniform(-40, 60)
    pen.rectangle((0, ground - 6, width, ground + 14), fill=(112, 128, 84))
    pen.rectangle((left, ground - high, right, ground), fill=wall)
    _windows(pen, (left + 4, ground - high + 4, right - 4, ground - 10), 12, storeys, wall)
    step = (high - 14) / storeys
    for k in range(storeys):
        y = ground - high + 4 + (k + 0.72) * step
        for column in range(0, 12, 2):
            x = left + 4 + (column + 0.1) * (right - left - 8) / 12
            pen.rectangle((x, y, x + (right - left) / 15, y + step * 0.22), fill=_shift(wall, -30))


def _tower(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    for _ in range(3):
        x, wide, high = rng.uniform(-20, width - 60), rng.uniform(64, 104), rng.uniform(200, 262)
        wall = _shift((132, 150, 164), rng.uniform(-30, 40))
        pen.rectangle((x, ground - high, x + wide, ground), fill=wall)
        pen.rectangle((x + wide * 0.8, ground - high, x + wide, ground), fill=_shift(wall, -26))
        _windows(pen, (x + 2, ground - high + 4, x + wide - 2, ground - 20), 6, 18, wall)
        pen.rectangle((x - 6, ground - 22, x + wide + 6, ground), fill=_shift(wall, -40))


def _hall(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    wall = _shift(((186, 190, 194), (150, 170, 186), (190, 176, 150))[int(rng.integers(3))], rng.uniform(-14, 10))
    high = rng.uniform(84, 120)
    pen.rectangle((0, ground - high, width, ground), fill=wall)
    for x in range(0, width, 7):
        pen.line((x, ground - high, x, ground), fill=_shift(wall, -10), width=1)
    pen.rectangle((0, ground - high - 8, width, ground - high), fill=_shift(wall, -40))
    for k in range(int(rng.integers(2, 5))):
        gate = 30 + k * rng.uniform(104, 126)
        pen.rectangle((gate, ground - 58, gate + 56, ground), fill=_shift(wall, -58))
        for y in range(ground - 54, ground, 9):
            pen.line((gate, y, gate + 56, y), fill=_shift(wall, -72), width=1)


def _shop(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    wall, sign = _shift((206, 202, 194), rng.uniform(-20, 10)), _choose(_CARS[2:4], rng)
    pen.rectangle((0, ground - 116, width, ground), fill=wall)
    pen.rectangle((0, ground - 104, width, ground - 74), fill=sign)
    for x in range(20, width, 96):
        pen.rectangle((x, ground - 94, x + 58, ground - 84), fill=(236, 232, 220))
        pen.rectangle((x - 12, ground - 64, x + 70, ground - 4), fill=(104, 126, 142))
        pen.line((x + 29, ground - 64, x + 29, ground - 4), fill=(220, 220, 220), width=3)


def _wood(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    for _ in range(26):
        _tree(pen, rng.uniform(0, width), ground + rng.uniform(-6, 14), rng)


def _open(pen: ImageDraw.ImageDraw, width: int, ground: int, rng: np.random.Generator) -> None:
    pen.polygon((0, ground, 0, ground - 26, width * 0.4, ground - 44, width, ground - 20, width, ground),
                fill=(112, 132, 88))  # fmt: skip
    for _ in range(6):
        _tree(pen, rng.uniform(0, width), ground - rng.uniform(0, 12), rng, size=22)


_FRONTS = {
    "houses": _houses, "terrace": _terrace, "court": _court, "slab": _slab, "tower": _tower, "hall": _hall,
    "shop": _shop, "wood": _wood, "open": _open,
}  # fmt: skip


def _tree(pen: ImageDraw.ImageDraw, x: float, foot: float, rng: np.random.Generator, size: float = 44) -> None:
    size *= rng.uniform(0.8, 1.25)
    pen.rectangle((x - size * 0.07, foot - size * 1.2, x + size * 0.07, foot), fill=(96, 78, 62))
    green = _shift((74, 102, 58), rng.uniform(-14, 18))
    for _ in range(9):
        dx, dy, radius = rng.normal(0, size * 0.3), rng.normal(0, size * 0.28), size * rng.uniform(0.28, 0.46)
        colour = _shift(green, -18 * dy / size - 4)
        left, top = x + dx - radius, foot - size * 1.5 + dy - radius
        pen.ellipse((left, top, left + 2 * radius, top + 2 * radius), fill=colour)


def _car(pen: ImageDraw.ImageDraw, x: float, foot: float, rng: np.random.Generator) -> None:
    paint = _choose(_CARS, rng)
    pen.ellipse((x - 60, foot - 4, x + 60, foot + 8), fill=(74, 74, 78))
    pen.rounded_rectangle((x - 56, foot - 26, x + 56, foot), 8, fill=paint)
    pen.polygon((x - 36, foot - 26, x - 24, foot - 46, x + 22, foot - 46, x + 38, foot - 26), fill=paint)
    pen.polygon((x - 29, foot - 27, x - 20, foot - 42, x + 18, foot - 42, x + 30, foot - 27), fill=(64, 76, 88))
    for wheel in (-34, 34):
        pen.ellipse((x + wheel - 11, foot - 12, x + wheel + 11, foot + 10), fill=(34, 34, 36))
        pen.ellipse((x + wheel - 5, foot - 6, x + wheel + 5, foot + 4), fill=(150, 150, 152))
