"""What is seen in one tile of the synthetic city, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from chorograph.synthetic.furnish import furnish, roadside
from chorograph.synthetic.land import CELL, RAIL_HALF_WIDTH, RIVER_HALF_WIDTH, TILE, Block, Land, Street, Use
from chorograph.synthetic.things import ANGLE, HEIGHT, METRES, THING, A, B, Thing

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """The contents of a tile, all in tile pixels.

    `rows`: (n, 9) rectangles in drawing order, with the columns of `things`; `quads`: (n, 4, 2) their corners, the
    first two along the roof's ridge; `trees`: (m, 4) x, y, radius, tone; `blocks`: use and outline (16, 2); `streets`:
    rank and centre line; `river`, `rail`: centre lines that cross the tile, if any; `latents`: those of the tile's
    cell, which decide nothing but colours here.
    """

    x: int
    y: int
    rows: Floats
    quads: Floats
    trees: Floats
    blocks: list[tuple[Use, Floats]]
    streets: list[tuple[int, Floats]]
    river: Floats | None
    rail: Floats | None
    latents: dict[str, float]

    @cached_property
    def counts(self) -> dict[Thing, int]:
        """How many of each thing have their centre in the tile."""
        numbers = np.bincount(self._seen[:, THING].astype(int), minlength=len(Thing)).tolist()
        return {thing: numbers[thing] for thing in Thing}

    def area(self, thing: Thing) -> float:
        """Return the ground that those of `thing` with their centre in the tile cover, in square metres."""
        chosen = self._seen[self._seen[:, THING] == thing]
        return float((4 * chosen[:, A] * chosen[:, B]).sum() * METRES**2)

    def floor_area(self, *things: Thing) -> float:
        """Return the floor space of those of `things` with their centre in the tile, in square metres."""
        chosen = self._seen[np.isin(self._seen[:, THING], things)]
        storeys = np.maximum(1, np.round(chosen[:, HEIGHT] / 3.0))
        return float((4 * chosen[:, A] * chosen[:, B] * storeys).sum() * METRES**2)

    @property
    def tree_count(self) -> int:
        """How many trees stand in the tile."""
        return int(_within(self.trees[:, :2]).sum())

    @cached_property
    def _seen(self) -> Floats:
        return self.rows[_within((self.quads[:, 0] + self.quads[:, 2]) / 2)]


def look(land: Land, x: int, y: int) -> Scene:
    """Return the scene of tile (x, y), counted from the origin tile."""
    origin = np.array([x, y], dtype=np.float64) * TILE
    edge = np.linspace(-48.0, TILE + 48.0, 5)
    around = land.warp.to_grid(origin + np.stack(np.meshgrid(edge, edge), -1).reshape(-1, 2))
    low, high = around.min(0), around.max(0)
    blocks: list[Block] = []
    streets: list[Street] = []
    # A cell's southern and eastern border streets are its neighbours': look as far as such a street is wide.
    first, last = np.floor(low / CELL).astype(int), np.floor((high + 24) / CELL).astype(int)
    for row in range(first[1], last[1] + 1):
        for column in range(first[0], last[0] + 1):
            own_blocks, own_streets = land.cell(column, row)
            streets += own_streets
            blocks += own_blocks
    blocks = [b for b in blocks if b.west < high[0] and b.east > low[0] and b.north < high[1] and b.south > low[1]]
    streets = [s for s in streets if _crosses(s, low, high)]
    rows, trees = [], []
    for block in blocks:
        block_rows, block_trees = furnish(land, block)
        rows.append(block_rows)
        trees.append(block_trees)
    for street in streets:
        street_rows, street_trees = roadside(land, street)
        rows.append(street_rows)
        trees.append(street_trees)
    things = np.concatenate(rows) if rows else np.empty((0, 9))
    wood = np.concatenate(trees) if trees else np.empty((0, 4))
    things = things[_near(things[:, 1:3], low, high, 40) & _on_land(land, things[:, 1:3], things[:, A])]
    wood = wood[_near(wood[:, :2], low, high, 12) & _on_land(land, wood[:, :2], 2.0)]
    things = things[np.argsort(things[:, THING], kind="stable")]

    def to_tile(points: Floats) -> Floats:
        return land.warp.to_world(points) - origin

    cos, sin = np.cos(things[:, ANGLE]), np.sin(things[:, ANGLE])
    along = np.stack([cos, sin], -1) * things[:, A, None]
    across = np.stack([-sin, cos], -1) * things[:, B, None]
    centre = things[:, 1:3]
    corners = np.stack(
        [centre - along - across, centre + along - across, centre + along + across, centre - along + across], 1
    )
    quads = to_tile(corners)
    standing = np.concatenate([to_tile(wood[:, :2]), wood[:, 2:]], 1)
    seen = (quads.max(1) > -60).all(1) & (quads.min(1) < TILE + 60).all(1)
    middle = np.floor(around[len(around) // 2] / CELL).astype(int)
    return Scene(
        x,
        y,
        things[seen],
        quads[seen],
        standing[(standing[:, :2] > -12).all(1) & (standing[:, :2] < TILE + 12).all(1)],
        [(b.use, to_tile(_outline(b))) for b in blocks],
        [(s.rank, to_tile(_line(s, low, high))) for s in sorted(streets, key=lambda s: s.rank)],
        _course(land, to_tile, low, high, river=True),
        _course(land, to_tile, low, high, river=False),
        {name: land.latent(name, int(middle[0]), int(middle[1])) for name in land.fields},
    )


def _within(points: Floats) -> NDArray[np.bool_]:
    return np.asarray(((points >= 0) & (points < TILE)).all(axis=1), dtype=np.bool_)


def _near(points: Floats, low: Floats, high: Floats, margin: float) -> NDArray[np.bool_]:
    return np.asarray(((points > low - margin) & (points < high + margin)).all(axis=1), dtype=np.bool_)


def _on_land(land: Land, points: Floats, reach: Floats | float) -> NDArray[np.bool_]:
    """Return which points keep clear of the river and the railway by `reach`, 12 px at most."""
    clear = np.minimum(reach, 12.0) * 0.9 + 4
    wet = np.abs(points[:, 1] - land.river.at(points[:, 0])) < RIVER_HALF_WIDTH + 6 + clear
    rails = np.abs(points[:, 0] - land.rail.at(points[:, 1])) < RAIL_HALF_WIDTH + clear
    return ~(wet | rails)


def _crosses(street: Street, low: Floats, high: Floats) -> bool:
    along, across = (0, 1) if street.along_u else (1, 0)
    return bool(
        street.start < high[along] and street.end > low[along] and low[across] - 24 < street.at < high[across] + 24
    )


def _line(street: Street, low: Floats, high: Floats) -> Floats:
    points = np.linspace(street.start, street.end, 17)
    other = np.full(17, street.at)
    return np.column_stack([points, other] if street.along_u else [other, points])


def _outline(block: Block) -> Floats:
    """Return the block's rectangle with points along its sides, so that it bends with the streets."""
    step = np.linspace(0, 1, 5)[:-1]
    u0, v0, u1, v1 = block.west, block.north, block.east, block.south
    return np.concatenate(
        [
            np.column_stack([u0 + (u1 - u0) * step, np.full(4, v0)]),
            np.column_stack([np.full(4, u1), v0 + (v1 - v0) * step]),
            np.column_stack([u1 - (u1 - u0) * step, np.full(4, v1)]),
            np.column_stack([np.full(4, u0), v1 - (v1 - v0) * step]),
        ]
    )


def _course(
    land: Land, to_tile: Callable[[Floats], Floats], low: Floats, high: Floats, *, river: bool
) -> Floats | None:
    """Return the centre line of the river or railway through the tile, in tile pixels, or None."""
    along, across = (0, 1) if river else (1, 0)
    curve, half = (land.river, RIVER_HALF_WIDTH) if river else (land.rail, RAIL_HALF_WIDTH)
    points = np.linspace(low[along] - 60, high[along] + 60, 24)
    other = curve.at(points)
    if (other + half + 8 < low[across]).all() or (other - half - 8 > high[across]).all():
        return None
    line = np.column_stack([points, other] if river else [other, points])
    return to_tile(line)
