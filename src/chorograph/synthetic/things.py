"""The kinds of things that stand in the synthetic city, and how a thing is written as a row of numbers."""

from __future__ import annotations

from enum import IntEnum

#: Metres a pixel at zoom 18 on the equator.
METRES = 0.597


class Thing(IntEnum):
    """What a rectangle of a scene is; in drawing order."""

    LOT = 0
    PAVED = 1
    DIRT = 2
    FURROWS = 3
    PATH = 4
    POND = 5
    PITCH = 6
    TRACK = 7
    TENNIS = 8
    PLAYGROUND = 9
    DRIVE = 10
    HEDGE = 11
    TRAMPOLINE = 12
    POOL = 13
    CAR = 14
    TRUCK = 15
    CONTAINER = 16
    SHED = 17
    WING = 18
    HOUSE = 19
    VILLA = 20
    ROW = 21
    SHOP = 22
    HALL = 23
    COURT = 24
    SLAB = 25
    TOWER = 26
    SOLAR = 27


BUILDINGS = frozenset(range(Thing.SHED, Thing.TOWER + 1))
#: Columns of a rectangle.
THING, U, V, A, B, ANGLE, HEIGHT, TONE, VARIANT = range(9)
