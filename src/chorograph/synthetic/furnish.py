"""Furnishing the blocks and streets of the synthetic city: buildings, gardens, cars and trees.

A block is furnished from its own seed, whichever tile looks at it, so things continue across tile borders. Lengths are
pixels (about 0.6 m) on the ground and metres in height, in the grid plane of `chorograph.synthetic.land`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from chorograph.synthetic.land import CELL, STREET_HALF_LAND, STREET_HALF_WIDTH, Block, Land, Street, Use
from chorograph.synthetic.things import ANGLE, HEIGHT, THING, TONE, VARIANT, A, B, Thing, U, V

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    _Fill = Callable[["_Yard", dict[str, float]], None]


def furnish(land: Land, block: Block) -> tuple[Floats, Floats]:
    """Return the rectangles (n, 9) and trees (m, 4) of a block, in the grid plane."""
    column, row, number = block.key
    rng = np.random.default_rng([land.seed, 3, column + 100_000, row + 100_000, number])
    width, depth = block.east - block.west, block.south - block.north
    turned = depth > width
    yard = _Yard(max(width, depth), min(width, depth), rng)
    trait = {name: land.latent(name, column, row) for name in land.fields}
    strips = round(yard.depth / _DEEPEST[block.use]) if block.use in _DEEPEST else 1
    if strips > 1:
        _in_strips(yard, strips, _FURNISH[block.use], trait)
    else:
        _FURNISH[block.use](yard, trait)
    rows = np.concatenate(yard.rows) if yard.rows else np.empty((0, 9))
    trees = np.concatenate(yard.trees) if yard.trees else np.empty((0, 4))
    if turned:  # mirrored on the diagonal, which turns an angle to its complement
        rows[:, [U, V]] = rows[:, [V, U]]
        rows[:, ANGLE] = np.pi / 2 - rows[:, ANGLE]
        trees[:, [0, 1]] = trees[:, [1, 0]]
    rows[:, 1:3] += (block.west, block.north)
    trees[:, :2] += (block.west, block.north)
    return rows, trees


class _Yard:
    """A block being furnished: `length` along its longer side, `depth` across, from a corner."""

    def __init__(self, length: float, depth: float, rng: np.random.Generator) -> None:
        self.length, self.depth, self.rng = length, depth, rng
        self.rows: list[Floats] = []
        self.trees: list[Floats] = []

    def put(
        self,
        thing: Thing,
        s: Floats | float,
        t: Floats | float,
        a: Floats | float,
        b: Floats | float,
        angle: Floats | float = 0.0,
        height: Floats | float = 0.0,
        tone: Floats | float | None = None,
    ) -> None:
        """Put rectangles with centre (s, t), half length a and half width b."""
        number = np.broadcast(s, t, a, b, angle, height).size
        rows = np.empty((number, 9))
        rows[:, THING] = thing
        rows[:, U], rows[:, V], rows[:, A], rows[:, B], rows[:, ANGLE], rows[:, HEIGHT] = s, t, a, b, angle, height
        rows[:, TONE] = self.rng.random(number) if tone is None else tone
        rows[:, VARIANT] = self.rng.random(number)
        self.rows.append(rows)

    def plant(self, s: Floats, t: Floats, smallest: float = 3.5, largest: float = 9.5) -> None:
        """Plant trees that keep clear of the buildings and pools put so far."""
        rng = self.rng
        trees = np.column_stack([s, t, rng.uniform(smallest, largest, len(s)), rng.random(len(s))])
        if self.rows and len(trees):
            built = np.concatenate(self.rows)
            built = built[(built[:, THING] >= Thing.POND) & (built[:, THING] != Thing.HEDGE)]
            if len(built):
                apart = np.abs(trees[:, None, :2] - built[None, :, 1:3])
                clear = trees[:, None, 2] * 0.45
                level = np.abs(np.sin(built[:, ANGLE])) > 0.7  # on its end: half length and half width change places
                reach_s = np.where(level, built[:, B], built[:, A])
                reach_t = np.where(level, built[:, A], built[:, B])
                hit = (apart[..., 0] < reach_s + clear) & (apart[..., 1] < reach_t + clear)
                trees = trees[~hit.any(1)]
        self.trees.append(trees)

    def tones(self, number: int, painted: float) -> Floats:
        """Draw tones of roofs; those from 1 up are painted sheet metal."""
        return self.rng.random(number) + (self.rng.random(number) < painted)

    def scatter(self, number: float, margin: float = 4.0, smallest: float = 3.5, largest: float = 8.5) -> None:
        """Plant about `number` trees anywhere."""
        count = self.rng.poisson(max(number, 0))
        s = self.rng.uniform(margin, self.length - margin, count)
        self.plant(s, self.rng.uniform(margin, self.depth - margin, count), smallest, largest)


def _in_strips(yard: _Yard, strips: int, fill: _Fill, trait: dict[str, float]) -> None:
    """Furnish a deep block in strips with lanes between them."""
    lane = 9.0
    deep = (yard.depth - lane * (strips - 1)) / strips
    for k in range(strips):
        strip = _Yard(yard.length, deep, yard.rng)
        fill(strip, trait)
        for things in strip.rows:
            things[:, V] += k * (deep + lane)
        for trees in strip.trees:
            trees[:, 1] += k * (deep + lane)
        yard.rows += strip.rows
        yard.trees += strip.trees
        if k:
            yard.put(Thing.DRIVE, yard.length / 2, k * (deep + lane) - lane / 2, yard.length / 2, lane / 2, tone=0.0)


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def pool_share(trait: dict[str, float]) -> float:
    """Return the share of gardens that have a pool."""
    return 0.72 * _sigmoid(1.9 * trait["wealth"] - 0.9)


def painted_share(trait: dict[str, float]) -> float:
    """Return the share of roofs of painted sheet metal, a local custom that says nothing of wealth."""
    return 0.17 * _sigmoid(1.9 * trait["painted"] - 1.0)


def solar_share(trait: dict[str, float]) -> float:
    """Return the share of roofs that carry solar panels."""
    return 0.60 * _sigmoid(1.9 * trait["solar"] - 1.0)


def car_share(trait: dict[str, float]) -> float:
    """Return the share of parking spaces that are taken."""
    return 0.08 + 0.75 * _sigmoid(1.5 * trait["cars"] - 0.1)


def _tree_rate(trait: dict[str, float]) -> float:
    return 0.35 + 2.2 * _sigmoid(1.5 * trait["green"])


def _houses(yard: _Yard, trait: dict[str, float], *, villa: bool) -> None:
    """Detached houses on two rows of lots, back to back, with drives, gardens and pools."""
    rng = yard.rng
    rows = 2 if yard.depth > 66 else 1
    deep = yard.depth / rows
    number = max(1, int(yard.length / ((52 if villa else 33) * rng.uniform(0.92, 1.12))))
    lot = yard.length / number
    s = np.tile((np.arange(number) + 0.5) * lot, rows)
    inward = np.repeat([1.0, -1.0][:rows], number)
    front = np.where(inward > 0, 0.0, yard.depth)
    n = len(s)

    def at(distance: Floats | float) -> Floats:
        return np.asarray(front + inward * distance)

    yard.put(Thing.LOT, s, at(deep / 2), lot / 2, deep / 2)
    a = rng.uniform(11.5, 15.0, n) if villa else rng.uniform(8.5, 11.0, n)
    b = rng.uniform(8.0, 10.0, n) if villa else rng.uniform(6.0, 7.8, n)
    crosswise = rng.random(n) < 0.3
    setback = rng.uniform(8, 12, n) if villa else rng.uniform(6, 9, n)
    middle = setback + np.where(crosswise, a, b)
    side = rng.choice([-1.0, 1.0], n)
    s_house = s - side * (lot / 2 - np.where(crosswise, b, a)) * rng.uniform(0.1, 0.6, n)
    built = rng.random(n) < 0.95
    height = rng.uniform(5.5, 8.0, n)
    angle = np.where(crosswise, np.pi / 2, 0.0)
    hard = built & (rng.random(n) < 0.9)
    s_drive = np.clip(s_house + side * (np.where(crosswise, b, a) + 3.5), s - lot / 2 + 3, s + lot / 2 - 3)
    yard.put(Thing.DRIVE, s_drive[hard], at(setback * 0.75)[hard], 3.0, (setback * 0.75)[hard])
    terrace = built & (rng.random(n) < 0.5)
    yard.put(Thing.PAVED, s_house[terrace], at(middle + np.where(crosswise, a, b) + 3)[terrace], 6.0, 3.5)
    yard.put(Thing.VILLA if villa else Thing.HOUSE, s_house[built], at(middle)[built], a[built], b[built],
             angle[built], height[built], yard.tones(int(built.sum()), painted_share(trait)))  # fmt: skip
    if villa:
        winged = built & (rng.random(n) < 0.6)
        yard.put(Thing.WING, (s_house + side * rng.uniform(4, 7, n))[winged], at(middle + rng.uniform(5, 9, n))[winged],
                 rng.uniform(8, 10, n)[winged], 6.0, np.pi / 2 - angle[winged], height[winged] * 0.9)  # fmt: skip
    shed = rng.random(n) < 0.35 + 0.4 * painted_share(trait)
    yard.put(Thing.SHED, (s + side * (lot / 2 - 7))[shed], at(deep - 8)[shed], rng.uniform(4, 6.5, n)[shed], 3.6, 0.0,
             2.5, yard.tones(int(shed.sum()), 1.6 * painted_share(trait)))  # fmt: skip
    pool = built & (rng.random(n) < pool_share(trait) * (1.0 if villa else 0.85))
    long_side = np.minimum(rng.uniform(6.4, 9.4, n), lot / 2 - 5)
    yard.put(
        Thing.POOL, (s - side * rng.uniform(0, 0.3, n) * lot / 2)[pool], at(deep - rng.uniform(10, 14, n))[pool],
        long_side[pool], long_side[pool] * rng.uniform(0.52, 0.66, n)[pool],
        rng.choice([0.0, 0.0, np.pi / 2], n)[pool], 0.0,
    )  # fmt: skip
    panels = built & (rng.random(n) < solar_share(trait))
    up = np.where(rng.random(n) < 0.5, 1.0, -1.0) * b * 0.5
    yard.put(Thing.SOLAR, (s_house + np.where(crosswise, up, 0))[panels],
             at(middle + np.where(crosswise, 0, up))[panels], (a * 0.68)[panels], (b * 0.36)[panels],
             angle[panels], 0.0)  # fmt: skip
    car = hard & (rng.random(n) < car_share(trait))
    yard.put(Thing.CAR, s_drive[car], at(setback * 0.8)[car], 4.0, 2.0, np.pi / 2)
    toy = rng.random(n) < 0.10
    yard.put(Thing.TRAMPOLINE, (s + side * lot / 4)[toy], at(deep * 0.66)[toy], 3.6, 3.6)
    bed = rng.random(n) < 0.22
    yard.put(Thing.DIRT, (s + side * lot * 0.3)[bed], at(deep * 0.74)[bed], 4.5, 3.2)
    hedge = rng.random(n) < 0.55
    yard.put(Thing.HEDGE, (s + lot / 2)[hedge], at(deep * 0.62)[hedge], 0.8, deep * 0.36)
    if rows == 2:
        yard.put(Thing.HEDGE, yard.length / 2, yard.depth / 2, yard.length / 2, 0.8)
    rate = _tree_rate(trait) * (2.3 if villa else 1.1)
    count = rng.poisson(rate * n)
    which = rng.integers(0, n, count)
    yard.plant(s[which] + rng.uniform(-0.48, 0.48, count) * lot,
               at(0)[which] + inward[which] * deep * rng.choice([0.07, 0.55, 0.7, 0.82, 0.93], count))  # fmt: skip
    count = rng.poisson((1.0 + 0.8 * rate) * n)
    which = rng.integers(0, n, count)
    yard.plant(s[which] + lot / 2 * rng.choice([-0.95, 0.95, 0.5], count),
               at(0)[which] + inward[which] * deep * rng.uniform(0.05, 0.97, count), 1.6, 3.4)  # fmt: skip


def _villas(yard: _Yard, trait: dict[str, float]) -> None:
    _houses(yard, trait, villa=True)


def _detached(yard: _Yard, trait: dict[str, float]) -> None:
    _houses(yard, trait, villa=False)


def _terraces(yard: _Yard, trait: dict[str, float]) -> None:
    """Rows of houses wall to wall on both streets, narrow gardens between."""
    rng = yard.rng
    rows = 2 if yard.depth > 56 else 1
    deep = yard.depth / rows
    unit = rng.uniform(11.5, 14.0)
    b = rng.uniform(7.0, 8.5)
    yard.put(Thing.LOT, yard.length / 2, yard.depth / 2, yard.length / 2, yard.depth / 2)
    slots = int((yard.length - 6) / unit)
    length_of_row = int(rng.integers(5, 10))
    for row in range(rows):
        inward, front = (1.0, 0.0) if row == 0 else (-1.0, yard.depth)
        slot = np.arange(slots)
        slot = slot[(slot + int(rng.integers(0, 4))) % (length_of_row + 1) != length_of_row]
        s = 3 + (slot + 0.5) * unit
        n = len(s)
        t = front + inward * (5 + b)
        yard.put(Thing.ROW, s, t, unit / 2, b, 0.0, 7.0, yard.tones(n, painted_share(trait)))
        yard.put(Thing.PAVED, s, front + inward * 2.2, unit / 2, 2.2, 0.0, 0.0, 0.5)
        garden = deep - 2 * b - 8
        gaps = s + unit / 2
        yard.put(Thing.HEDGE, gaps, front + inward * (6 + 2 * b + garden / 2), 0.5, max(garden / 2, 2))
        shed = rng.random(n) < 0.3
        yard.put(Thing.SHED, s[shed], front + inward * (deep - 4), 3.0, 2.5, 0.0, 2.5)
        panels = rng.random(n) < solar_share(trait) * 0.8
        up = np.where(rng.random(n) < 0.5, 1.0, -1.0)[panels] * b * 0.5
        yard.put(Thing.SOLAR, s[panels], t + up, unit * 0.40, b * 0.34, 0.0, 0.0)
        pool = rng.random(n) < pool_share(trait) * 0.05
        yard.put(Thing.POOL, s[pool], front + inward * (deep - 11), 4.6, 5.2, 0.0)
        count = rng.poisson(_tree_rate(trait) * 0.35 * n)
        back = front + inward * (deep - rng.uniform(2, garden * 0.7, count))
        yard.plant(rng.uniform(4, yard.length - 4, count), back, 3.0, 5.5)


def _courtyards(yard: _Yard, trait: dict[str, float]) -> None:
    """A closed block of town houses around a court."""
    rng = yard.rng
    b = rng.uniform(8.5, 11.0)
    height = rng.uniform(15, 21)
    length, depth = yard.length, yard.depth
    yard.put(Thing.LOT if rng.random() < 0.6 else Thing.PAVED, length / 2, depth / 2, length / 2, depth / 2)
    inset = 2.0
    for t in (inset + b, depth - inset - b):
        cuts = np.linspace(inset, length - inset, max(2, int(length / rng.uniform(34, 48))) + 1)
        n = len(cuts) - 1
        yard.put(Thing.COURT, (cuts[1:] + cuts[:-1]) / 2, t, np.diff(cuts) / 2, b, 0.0,
                 height * rng.uniform(0.88, 1.1, n))  # fmt: skip
    if depth > 4 * b + 14:
        half = (depth - 2 * inset - 4 * b) / 2
        for s in (inset + b, length - inset - b):
            if rng.random() < 0.85:
                yard.put(Thing.COURT, s, depth / 2, half, b, np.pi / 2, height * rng.uniform(0.9, 1.1))
    if rng.random() < 0.5:
        yard.put(Thing.WING, length / 2 + rng.uniform(-20, 20), depth / 2, 11, 8, rng.choice([0.0, np.pi / 2]), 6.0)
    panels = int(rng.poisson(2.2 * solar_share(trait)))
    yard.put(Thing.SOLAR, rng.uniform(20, length - 20, panels), inset + b * rng.choice([0.5, 1.5], panels), 10.0,
             b * 0.33)  # fmt: skip
    yard.scatter(2 + 3.5 * _tree_rate(trait), 2 * b + 4, 4, 8)


def _parking(yard: _Yard, s0: float, s1: float, t0: float, t1: float, taken: float) -> None:
    """A car park: rows of spaces, some taken."""
    rng = yard.rng
    yard.put(Thing.PAVED, (s0 + s1) / 2, (t0 + t1) / 2, (s1 - s0) / 2, (t1 - t0) / 2, 0.0, 0.0, 0.15)
    lanes = max(1, int((t1 - t0) / 26))
    spaces = np.arange(s0 + 4, s1 - 3, 6.2)
    for lane in range(lanes):
        for offset in (6.0, 20.0) if t1 - t0 > 24 else (6.0,):
            t = t0 + lane * 26 + offset
            if t > t1 - 4:
                continue
            there = spaces[rng.random(len(spaces)) < taken]
            yard.put(Thing.CAR, there, t, 4.2, 2.1, np.pi / 2)


def _slabs(yard: _Yard, trait: dict[str, float]) -> None:
    """Parallel blocks of flats on shared lawns, with car parks."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    yard.put(Thing.LOT, length / 2, depth / 2, length / 2, depth / 2)
    b = rng.uniform(8.5, 10.5)
    height = rng.uniform(13, 27)
    pitch = rng.uniform(56, 70)
    upright = bool(rng.random() < 0.5)
    across, along = (length, depth) if upright else (depth, length)
    angle = np.pi / 2 if upright else 0.0
    number = max(1, int(across / pitch))
    step = across / number
    parts = 1 if along < 150 else 2
    part = along / parts

    def at(place: Floats | float, middle: Floats | float) -> tuple[Floats | float, Floats | float]:
        return (place, middle) if upright else (middle, place)

    for i in range(number):
        for k in range(parts):
            s, t = at((i + 0.4) * step, (k + 0.5) * part)
            half = part / 2 - rng.uniform(9, 22)
            if rng.random() < 0.1:
                yard.put(Thing.PLAYGROUND, s, t, 11, 9)
                continue
            yard.put(Thing.SLAB, s, t, half, b, angle, height * rng.uniform(0.9, 1.1))
            if rng.random() < solar_share(trait) * 0.8:
                yard.put(Thing.SOLAR, s, t, half * 0.5, b * 0.45, angle)
        lane = (i + 0.9) * step
        cars = np.arange(10, along - 10, 6.2)
        cars = cars[rng.random(len(cars)) < car_share(trait)]
        if rng.random() < 0.75:
            s, t = at(lane, along / 2)
            yard.put(Thing.PAVED, s, t, along / 2 - 6, 6.5, angle, 0.0, 0.15)
            s, t = at(np.full(len(cars), lane), cars)
            yard.put(Thing.CAR, s, t, 4.2, 2.1, np.pi / 2 - angle)
    yard.scatter(length * depth / 5200 * (0.6 + 1.5 * _tree_rate(trait)), 5, 4, 9)


def _towers(yard: _Yard, trait: dict[str, float]) -> None:
    """High towers with a car park at their feet."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    yard.put(Thing.LOT, length / 2, depth / 2, length / 2, depth / 2)
    if rng.random() < 0.35:
        yard.put(Thing.PAVED, length * 0.7, depth / 2, length * 0.28, depth / 2, tone=0.6)
    yard.put(Thing.PATH, length / 2, depth * 0.5, length / 2, 2.0)
    yard.put(Thing.PATH, length * 0.5, depth / 2, depth / 2, 2.0, np.pi / 2)
    _parking(yard, length * 0.05, length * 0.42, depth * 0.72, depth * 0.96, car_share(trait))
    for k in range(max(1, int(length / 95))):
        for half in (0.26, 0.68) if depth > 150 else (0.4,):
            if rng.random() < 0.2 or (half > 0.5 and k == 0):
                continue
            a = rng.uniform(15, 21)
            s, t = (k + 0.5) * length / max(1, int(length / 95)), depth * half
            if rng.random() < 0.6:
                yard.put(Thing.PAVED, s, t, a + 16, a + 14, 0.0, 0.0, 0.7)
            yard.put(
                Thing.TOWER, s, t, a, a * rng.uniform(0.62, 1.0), rng.choice([0.0, np.pi / 2]), rng.uniform(42, 88)
            )
            if rng.random() < 0.6 * _sigmoid(1.5 * trait["wealth"] - 1.2):
                yard.put(Thing.POOL, s + rng.uniform(-10, 10), t + a + 11, 11.0, 5.0)
    yard.scatter(6 + length * depth / 2600 * _tree_rate(trait), 5, 4, 9)


def _industry(yard: _Yard, trait: dict[str, float]) -> None:
    """Large halls on concrete yards, trucks and containers between them."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    yard.put(Thing.PAVED, length / 2, depth / 2, length / 2, depth / 2)
    columns = max(1, int(length / rng.uniform(110, 175)))
    lines = max(1, int(depth / rng.uniform(95, 150)))
    for i in range(columns):
        for k in range(lines):
            s, t = (i + 0.5) * length / columns, (k + 0.5) * depth / lines
            draw = rng.random()
            half_s, half_t = length / columns / 2, depth / lines / 2
            if draw < 0.78:
                a, b = half_s - rng.uniform(8, 22), half_t - rng.uniform(10, 24)
                angle = 0.0
                if b > a:
                    a, b, angle = b, a, np.pi / 2
                yard.put(Thing.HALL, s, t, a, b, angle, rng.uniform(8, 12), yard.tones(1, 0.7 * painted_share(trait)))
                if rng.random() < 0.12:
                    yard.put(Thing.SOLAR, s, t + b * 0.4 * (angle == 0), a * 0.6, b * 0.3, angle)
            elif draw < 0.9:
                n = int(rng.integers(6, 16))
                yard.put(Thing.CONTAINER, s + rng.uniform(-0.8, 0.8, n) * half_s,
                         t + np.round(rng.uniform(-0.7, 0.7, n) * half_t / 6) * 6, 10.0, 2.3, 0.0, 2.6)  # fmt: skip
            else:
                yard.put(Thing.DIRT, s, t, half_s * 0.9, half_t * 0.9)
    n = int(rng.poisson(length * depth / 9000))
    edge = rng.choice([5.0, depth - 5.0], n)
    yard.put(Thing.TRUCK, rng.uniform(12, length - 12, n), edge, 8.5, 2.4, rng.choice([0.0, 0.06], n), 3.0)
    cars = rng.uniform(8, length - 8, rng.poisson(length / 22))
    yard.put(Thing.CAR, cars, rng.choice([4.5, depth - 4.5], len(cars)), 4.2, 2.1, np.pi / 2)
    yard.scatter(2.0 * _tree_rate(trait), 3, 3, 6)


def _commerce(yard: _Yard, trait: dict[str, float]) -> None:
    """Large shops with flat roofs behind their car parks."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    yard.put(Thing.PAVED, length / 2, depth / 2, length / 2, depth / 2, 0.0, 0.0, 0.2)
    shops = max(1, int(length / rng.uniform(90, 150)))
    back = depth * rng.uniform(0.36, 0.46)
    for i in range(shops):
        width = length / shops
        a, b = width / 2 - rng.uniform(2, 8), back / 2 - rng.uniform(2, 6)
        yard.put(Thing.SHOP, (i + 0.5) * width, 5 + back / 2, a, b, 0.0, rng.uniform(6, 11))
    _parking(yard, 6, length - 6, back + 14, depth - 4, 0.25 + 0.5 * rng.random())
    trees = np.arange(10, length - 8, 26.0)
    if rng.random() < 0.7:
        yard.plant(trees, np.full(len(trees), depth - 3.0), 3, 5)


def _park(yard: _Yard, trait: dict[str, float]) -> None:
    """Lawns, paths, groups of trees, now and then a pond or playground."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    if rng.random() < 0.5 and depth > 90:
        for _ in range(int(rng.integers(1, 3))):
            a = min(rng.uniform(20, 50), depth * 0.3)
            yard.put(Thing.POND, rng.uniform(0.25, 0.75) * length, rng.uniform(0.35, 0.65) * depth, a,
                     a * rng.uniform(0.5, 0.8), rng.uniform(0, np.pi))  # fmt: skip
    yard.put(Thing.PATH, length / 2, depth * rng.uniform(0.3, 0.7), length / 2, 1.8, rng.uniform(-0.12, 0.12))
    yard.put(Thing.PATH, length * rng.uniform(0.3, 0.7), depth / 2, depth / 2, 1.6, np.pi / 2 + rng.uniform(-0.3, 0.3))
    if rng.random() < 0.4:
        yard.put(Thing.PLAYGROUND, length * 0.15, depth * 0.2, 12, 9)
    count = int(length * depth / 900 * rng.uniform(0.5, 1.1))
    groups = rng.uniform(0, 1, (max(3, count // 14), 2)) * (length, depth)
    which = rng.integers(0, len(groups), count)
    s, t = (groups[which] + rng.normal(0, 20, (count, 2))).T
    keep = (s > 3) & (s < length - 3) & (t > 3) & (t < depth - 3)
    yard.plant(s[keep], t[keep], 4.5, 9.5)


def _sports(yard: _Yard, trait: dict[str, float]) -> None:
    """Football pitches, a running track, tennis courts."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    draw = rng.random()
    s = 8.0
    if length > 330 and depth > 170 and draw < 0.4:
        yard.put(Thing.TRACK, 165, depth / 2, 148, min(80, depth / 2 - 6))
        yard.put(Thing.PITCH, 165, depth / 2, 88, min(50, depth / 2 - 30))
        s = 330.0
    elif length > 200 and depth > 120:
        yard.put(Thing.PITCH, 100, depth / 2, 86, min(56, depth / 2 - 8))
        s = 205.0
    tone, courts = rng.random(), int(rng.integers(0, 4))
    for k in range(courts):
        if s + 44 * (k + 1) > length - 40:
            break
        for t in (30.0, 55.0):
            yard.put(Thing.TENNIS, s + 20 + 44 * k, t, 19, 10.5, 0.0, 0.0, tone)
    s += 44 * courts + 10
    if length - s > 120 and depth > 110:
        yard.put(Thing.PITCH, (s + length) / 2, depth / 2 + 8, min((length - s) / 2 - 8, 70), min(44, depth / 2 - 16))
    elif length - s > 50:
        count = int((length - s) * depth / 900)
        yard.plant(rng.uniform(s, length - 6, count), rng.uniform(8, depth - 8, count))
    yard.put(Thing.SHOP, length - 18, 14, 15, 9, 0.0, 5.0)
    edge = np.arange(6, length - 4, 13.0)
    edge = edge[rng.random(len(edge)) < 0.4 + 0.2 * _tree_rate(trait)]
    for t in (4.0, depth - 4.0):
        yard.plant(edge, np.full(len(edge), t) + rng.normal(0, 1, len(edge)), 3.5, 7)


def _fields(yard: _Yard, trait: dict[str, float]) -> None:
    """Farmland: parcels of crops with furrows, hedgerows, a few farms."""
    rng = yard.rng
    length, depth = yard.length, yard.depth
    cuts = np.linspace(0, length, int(rng.integers(2, 5)) + 1)
    for west, east in pairwise(cuts):
        yard.put(Thing.FURROWS, (west + east) / 2, depth / 2, (east - west) / 2 - 1.5, depth / 2 - 1.5)
        if rng.random() < 0.5:
            t = np.arange(5, depth - 4, 8.0)
            t = t[rng.random(len(t)) < 0.6]
            yard.plant(np.full(len(t), east) + rng.normal(0, 1.5, len(t)), t, 3, 6.5)
    if rng.random() < 0.3:
        yard.put(Thing.DIRT, 30, 28, 26, 22)
        yard.put(Thing.HOUSE, 22, 22, 10, 7, 0.0, 7.0)
        yard.put(Thing.SHED, 42, 34, 13, 7, np.pi / 2, 5.0)


def _forest(yard: _Yard, trait: dict[str, float]) -> None:
    """Woodland with a path."""
    rng = yard.rng
    yard.put(Thing.PATH, yard.length / 2, yard.depth / 2, yard.length / 2, 1.5, rng.uniform(-0.25, 0.25))
    yard.scatter(yard.length * yard.depth / 120, 2, 5, 10)


def _water(yard: _Yard, trait: dict[str, float]) -> None:
    """Open water: nothing stands there."""


_FURNISH = {
    Use.VILLA: _villas, Use.DETACHED: _detached, Use.TERRACE: _terraces, Use.COURTYARD: _courtyards, Use.SLAB: _slabs,
    Use.TOWER: _towers, Use.INDUSTRY: _industry, Use.COMMERCE: _commerce, Use.PARK: _park, Use.SPORTS: _sports,
    Use.FIELD: _fields, Use.FOREST: _forest, Use.WATER: _water,
}  # fmt: skip
#: Depth in pixels at which rows of houses stand; deeper blocks are cut by lanes.
_DEEPEST = {Use.VILLA: 150.0, Use.DETACHED: 112.0, Use.TERRACE: 96.0, Use.COURTYARD: 140.0}
#: Uses along whose streets people park.
_PARKED = (Use.VILLA, Use.DETACHED, Use.TERRACE, Use.COURTYARD, Use.SLAB, Use.TOWER, Use.COMMERCE)


def roadside(land: Land, street: Street) -> tuple[Floats, Floats]:
    """Cars parked along a street, cars driving on wide ones, and street trees."""
    middle = (street.start + 1.0, street.at + 1.0) if street.along_u else (street.at + 1.0, street.start + 1.0)
    column, row = (int(value // CELL) for value in middle)
    rng = np.random.default_rng(
        [land.seed, 4, int(street.along_u), int(street.at * 8) + 2**32, int(street.start) + 2**32]
    )
    trait = {name: land.latent(name, column, row) for name in ("cars", "green", "density")}
    use = land.cell_use(column, row)
    length = street.end - street.start
    half = STREET_HALF_WIDTH[street.rank]
    spaces = np.arange(street.start + 24, street.end - 24, 12.0)
    yard = _Yard(length, 2 * half, rng)
    if street.rank < 2 and use in _PARKED:
        crowd = 0.55 if use in (Use.VILLA, Use.DETACHED) else 1.0
        for side in (-1, 1):
            there = spaces[rng.random(len(spaces)) < crowd * car_share(trait)]
            yard.put(Thing.CAR, there, street.at + side * (half - 2.4), 4.2, 2.0)
    else:
        for lane in (-9.5, -3.6, 3.6, 9.5) if street.rank == 2 else (-3.6, 3.6):
            n = int(rng.poisson(length / 200 * (0.5 + trait["density"])))
            yard.put(Thing.CAR, rng.uniform(street.start, street.end, n), street.at + lane, 4.2, 2.0)
    if street.rank and use not in (Use.INDUSTRY, Use.FIELD) and rng.random() < 0.35 + 0.3 * _sigmoid(trait["green"]):
        at = np.arange(street.start + 18, street.end - 16, 17.0)
        for side in (-1, 1):
            there = at[rng.random(len(at)) < 0.8]
            offset = street.at + side * (STREET_HALF_LAND[street.rank] - 1.0)
            yard.trees.append(
                np.column_stack(
                    [there, np.full(len(there), offset), rng.uniform(3.5, 6, len(there)), rng.random(len(there))]
                )
            )
    rows = np.concatenate(yard.rows) if yard.rows else np.empty((0, 9))
    trees = np.concatenate(yard.trees) if yard.trees else np.empty((0, 4))
    if not street.along_u:
        rows[:, [U, V]] = rows[:, [V, U]]
        rows[:, ANGLE] = np.pi / 2 - rows[:, ANGLE]
        trees[:, [0, 1]] = trees[:, [1, 0]]
    return rows, trees
