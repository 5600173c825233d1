"""The land of the synthetic city: its bent street grid, land use, latent fields, river, railway and regions.

Two planes. *World*: pixels of Web Mercator tiles at `ZOOM`, from the tile corner at lon 0, lat 0; y grows southwards.
*Grid*: the city before it is bent, where every street is straight and square cells of `CELL` pixels meet at full
numbers. `Warp` leads from grid to world, so that streets, blocks and regions meet across tile borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

ZOOM = 18
#: Side of a tile in pixels.
TILE = 256
#: Side of a grid cell in pixels, about 306 m. Streets run between cells; every third one is an arterial road.
CELL = 512
ARTERIAL_EVERY = 3
#: Cells a region, on average: about 1.9 km².
CELLS_PER_REGION = 20
#: The tile whose corner is the origin of the world plane: lon 0, lat 0, open ocean in the Gulf of Guinea.
ORIGIN_TILE = 2 ** (ZOOM - 1)
#: Half widths of the river and the railway's land, in pixels.
RIVER_HALF_WIDTH = 62.0
RAIL_HALF_WIDTH = 17.0


class Use(IntEnum):
    """What a block is used for."""

    VILLA = 0
    DETACHED = 1
    TERRACE = 2
    COURTYARD = 3
    SLAB = 4
    TOWER = 5
    INDUSTRY = 6
    COMMERCE = 7
    PARK = 8
    SPORTS = 9
    FIELD = 10
    FOREST = 11
    WATER = 12


GREEN_USES = (Use.PARK, Use.FIELD, Use.FOREST)

# How a cell's use follows from its latents. Score = bonus - ((density - at) / spread)^2 / 2 + weights of wealth,
# green and industry; a use is drawn with probability in proportion to exp(score).
_USES: dict[Use, tuple[float, float, float, float, float, float]] = {
    #              bonus  at    spread wealth green industry
    Use.VILLA:     (0.6,  0.22, 0.12,  0.55,  0.1,  -0.5),
    Use.DETACHED:  (1.4,  0.32, 0.13,  0.05,  0.0,  -0.3),
    Use.TERRACE:   (1.4,  0.50, 0.12, -0.15, -0.1,   0.0),
    Use.COURTYARD: (1.5,  0.85, 0.16,  0.10, -0.2,  -0.2),
    Use.SLAB:      (1.0,  0.60, 0.15, -0.55,  0.1,   0.0),
    Use.TOWER:     (0.3,  0.90, 0.16,  0.30,  0.0,  -0.3),
    Use.INDUSTRY:  (-1.1, 0.45, 0.22, -0.40, -0.3,   1.3),
    Use.COMMERCE:  (-0.7, 0.55, 0.25,  0.00, -0.2,   0.5),
    Use.PARK:      (-0.9, 0.55, 0.30,  0.10,  0.7,  -0.2),
    Use.SPORTS:    (-1.0, 0.45, 0.22,  0.20,  0.3,  -0.2),
    Use.FIELD:     (0.8,  0.00, 0.07,  0.00, -0.2,   0.1),
    Use.FOREST:    (0.3,  0.02, 0.09,  0.00,  0.9,  -0.3),
}  # fmt: skip


@dataclass(frozen=True)
class Warp:
    """A smooth bending of the plane: world = grid + a sum of sine waves.

    `waves`: (k, 5) amplitude in x and y, wave vector in radians a pixel, phase. Slopes sum to less than one, so the
    inverse is found by iteration.
    """

    waves: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Warp:
        """Draw long waves that turn whole districts and short ones that bend single streets."""
        waves = []
        for length, slope in ((17000.0, 0.22), (9000.0, 0.14), (2600.0, 0.05), (1300.0, 0.035)):
            for axis in (0, 1):
                heading = rng.uniform(0, 2 * np.pi)
                vector = 2 * np.pi / length * np.array([np.cos(heading), np.sin(heading)])
                amplitude = np.zeros(2)
                amplitude[axis] = slope * length / (2 * np.pi) * rng.uniform(0.7, 1.0)
                waves.append([*amplitude, *vector, rng.uniform(0, 2 * np.pi)])
        return cls(np.array(waves))

    def to_world(self, grid: Floats) -> Floats:
        """Bend points (..., 2)."""
        return grid + self._shift(grid)

    def to_grid(self, world: Floats) -> Floats:
        """Straighten points (..., 2), to well below a pixel."""
        grid = world
        for _ in range(16):
            grid = world - self._shift(grid)
        return grid

    def _shift(self, points: Floats) -> Floats:
        shift: Floats = np.sin(points @ self.waves[:, 2:4].T + self.waves[:, 4]) @ self.waves[:, :2]
        return shift


@dataclass(frozen=True)
class Curve:
    """A line across the grid: the other coordinate as a sum of two sine waves, for the river and the railway."""

    level: float
    waves: tuple[tuple[float, float, float], ...]

    def at(self, along: Floats) -> Floats:
        """Return the other coordinate for each one along the line."""
        return self.level + sum((a * np.sin(k * along + p) for a, k, p in self.waves), start=np.zeros_like(along))


@dataclass(frozen=True)
class Block:
    """A block between streets: its inner rectangle in the grid plane and its use. `key` seeds what stands on it."""

    west: float
    north: float
    east: float
    south: float
    use: Use
    key: tuple[int, int, int]


@dataclass(frozen=True)
class Street:
    """A straight street in the grid plane. `along_u`: runs in the first coordinate at `at` in the second."""

    along_u: bool
    at: float
    start: float
    end: float
    rank: int  # 2 arterial, 1 collector, 0 local


#: Half widths by rank, in pixels: of the carriageway, and with pavements.
STREET_HALF_WIDTH = (5.5, 8.0, 14.0)
STREET_HALF_LAND = (8.0, 11.5, 20.0)


@dataclass(frozen=True)
class Land:
    """All that is fixed before anything is drawn.

    Arrays over cells are indexed [row, column] = [v, u]; the cell of grid coordinates (0, 0) is at [half, half].
    """

    seed: int
    half: int
    warp: Warp
    fields: dict[str, Floats]
    use: Integers
    region: Integers
    river: Curve
    rail: Curve

    @classmethod
    def plan(cls, seed: int, regions: int) -> Land:
        """Plan the land of a city of that many regions."""
        rng = np.random.default_rng([seed, 1])
        radius = np.sqrt(regions * CELLS_PER_REGION / np.pi)
        half = int(np.ceil(radius * 1.45)) + 4
        warp = Warp.draw(rng)
        fields = _latents(rng, half, radius)
        river = Curve(
            rng.uniform(-0.35, 0.35) * radius * CELL,
            (
                (0.10 * radius * CELL, 2 * np.pi / (1.3 * radius * CELL), rng.uniform(0, 6)),
                (300.0, 2 * np.pi / 5200, rng.uniform(0, 6)),
            ),
        )
        rail = Curve(
            rng.uniform(-0.35, 0.35) * radius * CELL,
            ((0.12 * radius * CELL, 2 * np.pi / (2.2 * radius * CELL), rng.uniform(0, 6)),),
        )
        use = _draw_uses(rng, fields, half, rail)
        region = _draw_regions(rng, fields["density"], half, regions)
        return cls(seed, half, warp, fields, use, region, river, rail)

    def latent(self, name: str, column: int, row: int) -> float:
        """Return a latent field in a cell (grid numbers from the centre); beyond the plan, the nearest cell's."""
        last = 2 * self.half - 1
        value: float = self.fields[name][min(max(row + self.half, 0), last), min(max(column + self.half, 0), last)]
        return value

    def cell_use(self, column: int, row: int) -> Use:
        """Return the main use of a cell; beyond the plan, the nearest cell's."""
        last = 2 * self.half - 1
        return Use(int(self.use[min(max(row + self.half, 0), last), min(max(column + self.half, 0), last)]))

    def cell(self, column: int, row: int) -> tuple[list[Block], list[Street]]:
        """Return the blocks of a cell and its own streets: inside it, and on its northern and western border."""
        rng = np.random.default_rng([self.seed, 2, column + 100_000, row + 100_000])
        use = self.cell_use(column, row)
        west, north = column * CELL, row * CELL
        flip = bool(rng.random() < 0.5)
        lines_s, lines_t = _subdivision(use, rng)
        streets = [
            *_border(self, column, row, along_u=True),
            *_border(self, column, row, along_u=False),
        ]
        if use not in GREEN_USES:
            streets += [_inner_street(west, north, position, along_u=flip) for position in lines_s[1:-1]]
            streets += [_inner_street(west, north, position, along_u=not flip) for position in lines_t[1:-1]]
        margin_s = [_margin(i, lines_s, column if not flip else row) for i in range(len(lines_s))]
        margin_t = [_margin(i, lines_t, row if not flip else column) for i in range(len(lines_t))]
        blocks: list[Block] = []
        for i in range(len(lines_s) - 1):
            for j in range(len(lines_t) - 1):
                s0, s1 = lines_s[i] + margin_s[i], lines_s[i + 1] - margin_s[i + 1]
                t0, t1 = lines_t[j] + margin_t[j], lines_t[j + 1] - margin_t[j + 1]
                if flip:
                    s0, s1, t0, t1 = t0, t1, s0, s1
                blocks.append(
                    Block(west + s0, north + t0, west + s1, north + t1, _infill(use, rng), (column, row, len(blocks)))
                )
        return blocks, streets

    def region_rectangles(self, region: int) -> list[tuple[float, float, float, float]]:
        """Return the cells of a region as (west, north, east, south) in the grid plane."""
        rows, columns = np.nonzero(self.region == region)
        return [
            (c * CELL, r * CELL, (c + 1) * CELL, (r + 1) * CELL)
            for c, r in zip((columns - self.half).tolist(), (rows - self.half).tolist(), strict=True)
        ]


def _latents(rng: np.random.Generator, half: int, radius: float) -> dict[str, Floats]:
    """Draw density (0 to 1) and the about standard normal fields of habits, over cells."""
    side = 2 * half
    row, column = np.mgrid[-half:half, -half:half] + 0.5

    def smooth(sigma: float) -> Floats:
        noise = gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
        return np.asarray((noise - noise.mean()) / noise.std())

    distance = np.hypot(row, column) / radius
    centres = 0.80 * np.exp(-((distance / 0.50) ** 2))
    for _ in range(2):
        heading, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.75) * radius
        offset = np.hypot(row - away * np.sin(heading), column - away * np.cos(heading)) / radius
        centres = np.maximum(centres, 0.55 * np.exp(-((offset / 0.18) ** 2)))
    density = centres + 0.24 - 0.20 * np.clip(distance - 0.55, 0, 1) + 0.085 * smooth(2.2) + 0.045 * smooth(6.0)
    wealth = 0.66 * smooth(10.0) + 0.68 * smooth(2.4) + 0.32 * smooth(1.0)
    industry = 0.4 * smooth(7.0) + 0.9 * smooth(2.0)
    return {
        "density": np.clip(density, 0, 1.05),
        "wealth": wealth,
        "green": 0.4 * smooth(8.0) + 0.9 * smooth(2.5),
        "industry": industry,
        "solar": 0.45 * wealth + 0.85 * smooth(2.6),
        "cars": 0.40 * wealth + 0.85 * smooth(2.4),
        "painted": 0.40 * smooth(8.0) + 0.90 * smooth(2.0),
    }


def _draw_uses(rng: np.random.Generator, fields: dict[str, Floats], half: int, rail: Curve) -> Integers:
    row, column = (np.mgrid[-half:half, -half:half] + 0.5) * CELL
    beside_rail = np.exp(-((np.abs(column - rail.at(row)) / 700) ** 2))
    industry = fields["industry"] + 1.1 * beside_rail
    scores = [
        bonus
        - ((fields["density"] - at) / spread) ** 2 / 2
        + by_wealth * fields["wealth"]
        + by_green * fields["green"]
        + by_industry * industry
        for bonus, at, spread, by_wealth, by_green, by_industry in _USES.values()
    ]
    noisy = 1.6 * np.stack(scores) + rng.gumbel(size=(len(scores), 2 * half, 2 * half))
    return np.asarray(np.array(list(_USES), dtype=np.int64)[noisy.argmax(0)])


def _draw_regions(rng: np.random.Generator, density: Floats, half: int, regions: int) -> Integers:
    """Grow regions from random seeds over an uneven disc of cells, -1 outside; each is connected.

    Seeds stand apart but do not follow density, and land costs differ, so that areas say little about what is there.
    """
    side = 2 * half
    row, column = np.mgrid[-half:half, -half:half] + 0.5
    rim = gaussian_filter(rng.standard_normal((side, side)), 5.0, mode="wrap")
    reach = np.hypot(row, column * 0.92) * (1 + 0.12 * rim / rim.std()) - 0.8 * density
    inside = reach <= np.sort(reach, axis=None)[regions * CELLS_PER_REGION - 1]
    cells = np.flatnonzero(inside)
    places = np.column_stack([row.ravel()[cells], column.ravel()[cells]])
    seeds = [int(rng.integers(len(cells)))]
    nearest = np.hypot(*(places - places[seeds[0]]).T)
    for _ in range(regions - 1):  # the farthest of a few random candidates: even, yet irregular
        candidates = rng.integers(len(cells), size=6)
        seeds.append(int(candidates[nearest[candidates].argmax()]))
        nearest = np.minimum(nearest, np.hypot(*(places - places[seeds[-1]]).T))
    number = np.full((side, side), -1, dtype=np.int64)
    number.flat[cells] = np.arange(len(cells))
    pairs = [
        np.column_stack([first[both], second[both]])
        for first, second in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:]))
        for both in [(first >= 0) & (second >= 0)]
    ]
    start, end = np.concatenate(pairs).T
    cost = rng.uniform(0.6, 1.6, len(start))
    graph = coo_array((cost, (start, end)), shape=(len(cells), len(cells))).tocsr()
    _, _, source = dijkstra(graph, directed=False, indices=seeds, min_only=True, return_predecessors=True)
    owner = np.full(side * side, -1, dtype=np.int64)
    rank = {seed: position for position, seed in enumerate(seeds)}
    owner[cells] = [rank.get(int(seed), -1) for seed in source]
    return owner.reshape(side, side)


def _subdivision(use: Use, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Return where a cell is cut along its two axes, both ends included."""

    def cuts(number: int, jitter: float) -> list[float]:
        inner = [CELL * k / number + rng.uniform(-jitter, jitter) for k in range(1, number)]
        return [0.0, *inner, float(CELL)]

    match use:
        case Use.VILLA:
            return cuts(int(rng.integers(1, 3)), 30), cuts(3, 8)
        case Use.DETACHED:
            return cuts(2, 30), cuts(4, 5)
        case Use.TERRACE:
            return cuts(2, 30), cuts(int(rng.integers(4, 6)), 4)
        case Use.COURTYARD:
            return cuts(int(rng.integers(3, 5)), 10), cuts(int(rng.integers(3, 5)), 8)
        case Use.SLAB | Use.TOWER:
            return cuts(2, 25), cuts(2, 15)
        case Use.INDUSTRY:
            return cuts(int(rng.integers(1, 3)), 40), cuts(2, 40)
        case Use.COMMERCE:
            return cuts(int(rng.integers(1, 3)), 30), cuts(2, 30)
        case Use.SPORTS:
            return cuts(1, 0), cuts(2, 20)
        case _:
            return cuts(1, 0), cuts(int(rng.integers(1, 3)), 60)


#: What now and then stands in a block of another use.
_INFILL: dict[Use, tuple[Use, ...]] = {
    Use.VILLA: (Use.DETACHED, Use.DETACHED, Use.PARK, Use.TERRACE),
    Use.DETACHED: (Use.VILLA, Use.TERRACE, Use.TERRACE, Use.PARK, Use.SLAB),
    Use.TERRACE: (Use.DETACHED, Use.SLAB, Use.PARK, Use.COMMERCE),
    Use.COURTYARD: (Use.PARK, Use.TOWER, Use.COMMERCE, Use.TERRACE),
    Use.SLAB: (Use.TERRACE, Use.PARK, Use.TOWER, Use.COMMERCE, Use.SPORTS),
    Use.TOWER: (Use.COURTYARD, Use.PARK, Use.COMMERCE, Use.SLAB),
    Use.INDUSTRY: (Use.COMMERCE, Use.TERRACE),
    Use.COMMERCE: (Use.SLAB, Use.TERRACE, Use.INDUSTRY),
}


def _infill(use: Use, rng: np.random.Generator) -> Use:
    others = _INFILL.get(use, ())
    draw, which = rng.random(), rng.random()
    return others[int(which * len(others))] if others and draw < 0.16 else use


def _border(land: Land, column: int, row: int, *, along_u: bool) -> list[Street]:
    line = row if along_u else column
    rank = 2 if line % ARTERIAL_EVERY == 0 else 1
    beside = land.cell_use(column, row - 1) if along_u else land.cell_use(column - 1, row)
    if rank == 1 and beside in GREEN_USES and land.cell_use(column, row) in GREEN_USES:
        return []
    start = (column if along_u else row) * CELL
    return [Street(along_u, line * CELL, start, start + CELL, rank)]


def _inner_street(west: float, north: float, position: float, *, along_u: bool) -> Street:
    if along_u:
        return Street(True, north + position, west, west + CELL, 0)
    return Street(False, west + position, north, north + CELL, 0)


def _margin(index: int, lines: list[float], cell: int) -> float:
    """Return how far a block keeps from cut `index`: half the land of the street there."""
    if 0 < index < len(lines) - 1:
        return STREET_HALF_LAND[0]
    line = cell if index == 0 else cell + 1
    return STREET_HALF_LAND[2 if line % ARTERIAL_EVERY == 0 else 1]
