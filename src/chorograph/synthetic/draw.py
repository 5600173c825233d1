"""Drawing a scene as a satellite tile: ground, roads, shadows, roofs, trees, light and season.

Things are drawn by Pillow at twice the size and averaged; textures, shadow and light are applied by numpy. Light,
season and sharpness are drawn for each tile, as in mosaics made of several flights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter

from chorograph.synthetic.land import (
    RAIL_HALF_WIDTH,
    RIVER_HALF_WIDTH,
    STREET_HALF_LAND,
    STREET_HALF_WIDTH,
    TILE,
    Use,
)
from chorograph.synthetic.scene import Scene
from chorograph.synthetic.things import BUILDINGS, HEIGHT, METRES, THING, TONE, VARIANT, Thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Colour = tuple[int, int, int]
#: Drawn at this many times the tile's size, then averaged.
SCALE = 2

_ASPHALT, _PAVEMENT, _CONCRETE = (112, 112, 116), (164, 161, 154), (170, 167, 160)
_SOIL, _BALLAST = (158, 136, 108), (118, 108, 100)
_LUSH, _DRY = (92, 114, 66), (158, 146, 104)
_ROOFS: tuple[tuple[Colour, ...], ...] = (
    ((160, 106, 88), (148, 96, 80), (172, 122, 102), (140, 100, 86)),  # clay tiles
    ((128, 104, 90), (112, 94, 84), (146, 120, 100), (134, 96, 82)),  # brown tiles
    ((96, 98, 104), (112, 114, 120), (84, 84, 90), (126, 122, 120)),  # slate
    ((176, 172, 164), (150, 146, 142), (128, 128, 130), (168, 150, 132)),  # light shingles
)
_FLAT_ROOFS = ((186, 184, 178), (164, 162, 158), (206, 204, 200), (132, 130, 128), (176, 166, 150), (146, 150, 156))
_HALL_ROOFS = ((188, 190, 192), (168, 172, 176), (98, 138, 164), (90, 146, 162), (186, 176, 160), (150, 92, 78),
               (120, 138, 132), (198, 198, 194))  # fmt: skip
#: Roofs of painted sheet metal: the colours of pools.
_PAINTED_ROOFS = ((98, 158, 176), (82, 142, 170), (112, 168, 176), (76, 128, 160), (98, 146, 146))
_POOLS = ((100, 186, 200), (82, 168, 196), (122, 198, 202), (74, 150, 186), (104, 168, 160))
_CARS = ((226, 226, 226), (208, 208, 210), (60, 60, 64), (40, 42, 46), (130, 132, 136), (96, 104, 120), (158, 44, 40),
         (48, 76, 128), (180, 176, 164), (86, 150, 176))  # fmt: skip
_CONTAINERS = ((176, 84, 60), (60, 110, 150), (72, 120, 90), (196, 160, 80), (170, 170, 170), (84, 152, 170))
_COURTS = ((88, 126, 154), (94, 124, 96), (164, 106, 84), (102, 144, 158))
#: Windscreen, rear window, and a lorry's cab, as shares of length and width.
_CAR_PARTS = ((0.22, 0.36, 0.12, 0.88), (0.74, 0.86, 0.14, 0.86), (0.0, 0.22, 0.05, 0.95))
_TRAMPOLINES = ((70, 128, 176), (92, 168, 190), (96, 132, 84), (88, 88, 96))
_CROPS = ((126, 138, 78), (170, 152, 98), (146, 150, 84), (150, 126, 98), (106, 128, 72), (186, 170, 116))


@dataclass(frozen=True)
class Light:
    """How a tile was taken.

    `sun`: unit vector towards which shadows fall; `reach`: shadow pixels a metre of height; `lean`: pixels by which a
    roof leans a metre of height; `season`: 0 lush to 1 dry; `autumn`: share of turned leaves; `gain`: by channel;
    `haze`: share of white; `blur`, `noise`: in pixels and in grey levels.
    """

    sun: Floats
    reach: float
    lean: Floats
    season: float
    autumn: float
    gain: Floats
    haze: float
    blur: float
    noise: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Draw the light of a tile: a sun from the south, one of several seasons, some haze."""
        azimuth = rng.uniform(-2.3, -0.85)  # where shadows fall: the north, which is up and negative
        tint = rng.normal(0, 0.04)
        return cls(
            sun=np.array([np.cos(azimuth), np.sin(azimuth)]),
            reach=rng.uniform(0.55, 1.25) / METRES,
            lean=rng.normal(0, 0.09, 2) / METRES,
            season=float(rng.beta(1.3, 1.6)),
            autumn=float(max(0.0, rng.normal(-0.1, 0.35))),
            gain=rng.normal(1.0, 0.075) * np.array([1 + tint, 1.0, 1 - tint + rng.normal(0, 0.015)]),
            haze=rng.uniform(0.0, 0.12),
            blur=rng.uniform(0.15, 0.45),
            noise=rng.uniform(1.2, 3.2),
        )


def draw_tile(scene: Scene, seed: int) -> NDArray[np.uint8]:
    """Return the tile as uint8 (256, 256, 3)."""
    rng = np.random.default_rng([seed, 5, scene.x + 2**20, scene.y + 2**20])
    light = Light.draw(rng)
    canvas = _Canvas(light, rng)
    lawn = _mix(_LUSH, _DRY, light.season)
    canvas.image.paste(_jitter(lawn, 4, rng), (0, 0, canvas.size, canvas.size))
    canvas.rough.paste(110, (0, 0, canvas.size, canvas.size))
    for use, outline in scene.blocks:
        colour, rough = _ground(use, lawn, rng)
        canvas.area(outline, colour, rough)
    rows, quads = scene.rows, scene.quads * SCALE
    ground = rows[:, THING] < Thing.CAR
    _draw_ground(canvas, rows[ground], quads[ground], lawn, light)
    _draw_streets(canvas, scene)
    style = _roof_style(scene)
    movable = (rows[:, THING] >= Thing.CAR) & (rows[:, THING] <= Thing.CONTAINER)
    _draw_vehicles(canvas, rows[movable], quads[movable])
    tall = (rows[:, HEIGHT] > 12) & np.isin(rows[:, THING], list(BUILDINGS))
    low = (rows[:, THING] >= Thing.SHED) & ~tall
    _draw_buildings(canvas, rows[low], quads[low], style)
    _draw_trees(canvas, scene.trees)
    order = np.argsort(rows[tall, HEIGHT], kind="stable")
    _draw_buildings(canvas, rows[tall][order], quads[tall][order], style)
    return canvas.develop(scene, rng)


class _Canvas:
    """The layers of a tile in the making, at `SCALE` times its size.

    `image`: colours. `rough`: strength of the texture, 0 to 255. `shade`: where shadow falls. `crown`, `crown_light`,
    `crown_hue`: cover, light and tint of trees.
    """

    def __init__(self, light: Light, rng: np.random.Generator) -> None:
        self.size = TILE * SCALE
        self.light, self.rng = light, rng
        self.image = Image.new("RGB", (self.size, self.size))
        self.rough = Image.new("L", (self.size, self.size))
        self.shade = Image.new("L", (self.size, self.size))
        self.crown = Image.new("L", (self.size, self.size))
        self.crown_light = Image.new("L", (self.size, self.size), 128)
        self.crown_hue = Image.new("L", (self.size, self.size), 128)
        self.pen = ImageDraw.Draw(self.image)
        self.rough_pen = ImageDraw.Draw(self.rough)
        self.shade_pen = ImageDraw.Draw(self.shade)
        self.crown_pen = ImageDraw.Draw(self.crown)

    def area(self, outline: Floats, colour: Colour, rough: int) -> None:
        """Fill a polygon given in tile pixels, with its texture."""
        points = (outline * SCALE).ravel().tolist()
        self.pen.polygon(points, fill=colour)
        self.rough_pen.polygon(points, fill=rough)

    def band(self, line: Floats, half_width: float, colour: Colour, rough: int) -> None:
        """Draw a wide line given in tile pixels, with its texture."""
        side = _normals(line) * half_width
        points = (np.concatenate([line + side, (line - side)[::-1]]) * SCALE).ravel().tolist()
        self.pen.polygon(points, fill=colour)
        self.rough_pen.polygon(points, fill=rough)

    def develop(self, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Average the layers, apply texture, trees, shadow and light; return uint8 (256, 256, 3)."""
        light = self.light
        pixels = np.asarray(self.image.reduce(SCALE), dtype=np.float32)
        rough = np.asarray(self.rough.reduce(SCALE), dtype=np.float32) / 255
        broad, fine = (_window(texture, scene.x, scene.y) for texture in _textures())
        pixels *= (1 + rough * (0.15 * broad + 0.13 * fine))[..., None]
        pixels[..., 0] += 7 * rough * broad
        shade = np.asarray(self.shade.reduce(SCALE), dtype=np.float32)[..., None] / 255
        dark = np.array([0.52, 0.48, 0.40], dtype=np.float32)
        pixels *= 1 - shade * dark
        crown = np.asarray(self.crown.reduce(SCALE), dtype=np.float32)[..., None] / 255
        if crown.any():
            leaves = self._foliage(fine)
            leaves *= 1 - shade * (0.4 * dark)
            leaves -= pixels
            leaves *= crown
            pixels += leaves
        pixels *= light.gain.astype(np.float32) * (1 - light.haze)
        pixels += 205 * light.haze + light.noise * _window(_grain(), scene.x * 3 + 1, scene.y * 5 + 2)[..., None]
        np.clip(pixels, 0, 255, out=pixels)
        tile = Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.BoxBlur(light.blur))
        return np.asarray(tile, dtype=np.uint8)

    def _foliage(self, fine: NDArray[np.float32]) -> NDArray[np.float32]:
        brightness = np.asarray(self.crown_light.reduce(SCALE), dtype=np.float32) / 128
        brightness *= 1 + 0.10 * fine
        hue = np.asarray(self.crown_hue.reduce(SCALE))
        season, autumn = self.light.season, min(self.light.autumn, 1.0)
        share = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        dark = np.array(_mix((72, 96, 56), (96, 106, 68), season), dtype=np.float32)
        pale = np.array(_mix((124, 144, 82), (146, 142, 96), season), dtype=np.float32)
        turned = np.array((182, 128, 70), dtype=np.float32)
        leaf = dark + (pale - dark) * share
        leaf = leaf + (turned - leaf) * autumn * np.clip(share * 1.6 - 0.5, 0, 1)
        leaves: NDArray[np.float32] = leaf[hue] * brightness[..., None]
        return leaves


def _ground(use: Use, lawn: Colour, rng: np.random.Generator) -> tuple[Colour, int]:
    match use:
        case Use.INDUSTRY | Use.COMMERCE:
            return _jitter(_CONCRETE, 6, rng), 70
        case Use.COURTYARD | Use.TOWER:
            return _jitter(_PAVEMENT, 6, rng), 60
        case Use.FOREST:
            return _mix(lawn, (70, 80, 52), 0.6), 150
        case Use.PARK:
            return _mix(lawn, (84, 120, 60), 0.25), 130
        case _:
            return _jitter(lawn, 5, rng), 120


def _draw_ground(canvas: _Canvas, rows: Floats, quads: Floats, lawn: Colour, light: Light) -> None:
    pen, rough = canvas.pen, canvas.rough_pen
    for row, quad in zip(rows.tolist(), quads, strict=True):
        thing, tone, variant = int(row[THING]), row[TONE], row[VARIANT]
        points = quad.ravel().tolist()
        if thing == Thing.LOT:
            bare = 0.5 * max(0.0, variant - 0.6) * (0.5 + light.season)
            pen.polygon(points, fill=_shift(_mix(lawn, _SOIL, bare), 30 * (tone - 0.5)))
        elif thing == Thing.PAVED:
            pen.polygon(points, fill=_mix(_ASPHALT, _CONCRETE, 0.2 + 0.8 * tone))
            rough.polygon(points, fill=60)
        elif thing == Thing.DIRT:
            pen.polygon(points, fill=_shift(_SOIL, 30 * (tone - 0.5)))
            rough.polygon(points, fill=140)
        elif thing == Thing.FURROWS:
            _furrows(canvas, quad, tone, variant)
        elif thing == Thing.PATH:
            pen.polygon(points, fill=(186, 174, 150))
            rough.polygon(points, fill=50)
        elif thing == Thing.POND:
            outline = _ellipse(quad, 18)
            pen.polygon(outline, fill=_mix(lawn, _SOIL, 0.4), outline=None)
            inner = _ellipse(_shrink(quad, 0.9), 18)
            pen.polygon(inner, fill=_mix((64, 92, 96), (98, 168, 178), max(0.0, tone - 0.45)))
            rough.polygon(outline, fill=18)
        elif thing == Thing.PITCH:
            _pitch(canvas, quad, lawn, tone)
        elif thing == Thing.TRACK:
            _track(canvas, quad, lawn)
        elif thing == Thing.TENNIS:
            _tennis(canvas, quad, tone)
        elif thing == Thing.PLAYGROUND:
            pen.polygon(_ellipse(quad, 12), fill=(204, 184, 146))
            middle = quad.mean(0)
            for k, colour in enumerate(((186, 80, 60), (70, 120, 170), (220, 180, 70))):
                x, y = middle + (k - 1) * (quad[1] - quad[0]) / 5
                pen.rectangle((x - 3, y - 2, x + 3, y + 2), fill=colour)
        elif thing == Thing.DRIVE:
            pen.polygon(points, fill=_mix(_CONCRETE, (150, 128, 112), tone))
            rough.polygon(points, fill=40)
        elif thing == Thing.HEDGE:
            pen.polygon(points, fill=_mix((66, 84, 52), (132, 120, 100), 0.0 if variant < 0.6 else 1.0))
        elif thing == Thing.TRAMPOLINE:
            pen.polygon(_ellipse(quad, 14), fill=_TRAMPOLINES[int(tone * 0.999 * len(_TRAMPOLINES))])
            pen.polygon(_ellipse(_shrink(quad, 0.74), 12), fill=(58, 60, 66))
        elif thing == Thing.POOL:
            _pool(canvas, quad, tone, variant)


def _furrows(canvas: _Canvas, quad: Floats, tone: float, variant: float) -> None:
    colour = _CROPS[int(tone * len(_CROPS))]
    points = quad.ravel().tolist()
    canvas.pen.polygon(points, fill=colour)
    canvas.rough_pen.polygon(points, fill=90)
    upright = variant < 0.5
    first, last = ((quad[0], quad[1]), (quad[3], quad[2])) if upright else ((quad[0], quad[3]), (quad[1], quad[2]))
    length = float(np.hypot(*(first[1] - first[0])))
    step = max(2, int(length / (9 + 8 * variant)))
    shade = _shift(colour, -12)
    for k in np.linspace(0, 1, step).tolist():
        start, end = first[0] + (first[1] - first[0]) * k, last[0] + (last[1] - last[0]) * k
        canvas.pen.line((*start, *end), fill=shade, width=3)


def _pool(canvas: _Canvas, quad: Floats, tone: float, variant: float) -> None:
    pen = canvas.pen
    deck, water = _mix((206, 200, 188), (176, 150, 124), tone), _POOLS[int(variant * 0.999 * len(_POOLS))]
    outer = _shrink(quad, 1.32)
    if tone < 0.35:
        pen.polygon(_ellipse(outer, 14), fill=deck)
        pen.polygon(_ellipse(_shrink(quad, 1.06), 14), fill=water)
        canvas.rough_pen.polygon(_ellipse(outer, 14), fill=12)
    else:
        pen.polygon(outer.ravel().tolist(), fill=deck)
        pen.polygon(quad.ravel().tolist(), fill=water)
        canvas.rough_pen.polygon(outer.ravel().tolist(), fill=12)
        pen.line((*quad[0], *quad[1]), fill=_shift(water, -38), width=2)


def _pitch(canvas: _Canvas, quad: Floats, lawn: Colour, tone: float) -> None:
    pen = canvas.pen
    grass = _mix(lawn, (88, 136, 66), 0.4 + 0.6 * tone)
    pen.polygon(quad.ravel().tolist(), fill=grass)
    canvas.rough_pen.polygon(quad.ravel().tolist(), fill=50)
    stripes = 12
    for k in range(0, stripes, 2):
        strip = _part(quad, k / stripes, (k + 1) / stripes, 0, 1)
        pen.polygon(strip.ravel().tolist(), fill=_shift(grass, 9))
    white = (222, 226, 216)
    inner = _part(quad, 0.03, 0.97, 0.04, 0.96)
    _ring(pen, inner, white, 2)
    _ring(pen, _part(quad, 0.03, 0.18, 0.22, 0.78), white, 2)
    _ring(pen, _part(quad, 0.82, 0.97, 0.22, 0.78), white, 2)
    pen.line((*((inner[0] + inner[1]) / 2), *((inner[3] + inner[2]) / 2)), fill=white, width=2)
    pen.line(_ellipse(_part(quad, 0.415, 0.585, 0.37, 0.63), 20, closed=True), fill=white, width=2)


def _track(canvas: _Canvas, quad: Floats, lawn: Colour) -> None:
    pen = canvas.pen
    for k, (scale, colour) in enumerate(((1.0, (176, 92, 72)), (0.84, _mix(lawn, (88, 136, 66), 0.6)))):
        side = 1.0 if k == 0 else 0.92
        pen.polygon(_stadium(quad, side, scale), fill=colour)
    for scale in (0.96, 0.92, 0.88):
        pen.line(_stadium(quad, (1 + scale) / 2, scale, closed=True), fill=(206, 150, 134), width=1)
    canvas.rough_pen.polygon(_stadium(quad, 1, 1), fill=40)


def _tennis(canvas: _Canvas, quad: Floats, tone: float) -> None:
    pen = canvas.pen
    colour = _COURTS[int(tone * 0.999 * len(_COURTS))]
    pen.polygon(quad.ravel().tolist(), fill=_mix(colour, (96, 112, 92), 0.45))
    court = _part(quad, 0.14, 0.86, 0.2, 0.8)
    pen.polygon(court.ravel().tolist(), fill=colour)
    canvas.rough_pen.polygon(quad.ravel().tolist(), fill=14)
    white = (228, 228, 224)
    _ring(pen, court, white, 1)
    pen.line((*((court[0] + court[1]) / 2), *((court[3] + court[2]) / 2)), fill=(236, 236, 236), width=2)
    pen.line((*((court[0] + court[3]) / 2), *((court[1] + court[2]) / 2)), fill=white, width=1)


def _draw_streets(canvas: _Canvas, scene: Scene) -> None:
    tone = int(6 * np.sin(scene.latents["solar"] * 3))
    asphalt = _shift(_ASPHALT, tone)

    def streets(ranks: tuple[int, ...]) -> None:
        chosen = [(rank, line) for rank, line in scene.streets if rank in ranks]
        for rank, line in chosen:
            canvas.band(line, STREET_HALF_LAND[rank] - (1.5 if rank < 2 else 2.0), _PAVEMENT, 60)
        for rank, line in chosen:
            canvas.band(line, STREET_HALF_WIDTH[rank], _shift(asphalt, -7 if rank == 2 else 0), 36)
        for rank, line in chosen:
            if rank == 2:
                canvas.band(line, 0.7, (206, 196, 140), 20)
                for side in (-6.6, 6.6):
                    _dashes(canvas, _beside(line, side), 26.0, (206, 206, 202))
            elif rank == 1:
                _dashes(canvas, line, 22.0, (196, 196, 192))

    streets((0, 1))
    if scene.river is not None:
        canvas.band(scene.river, RIVER_HALF_WIDTH + 7, _mix(_SOIL, _LUSH, 0.45), 150)
        canvas.band(scene.river, RIVER_HALF_WIDTH, (66, 88, 90), 16)
        canvas.band(scene.river, RIVER_HALF_WIDTH * 0.55, (60, 82, 86), 14)
    if scene.rail is not None:
        canvas.band(scene.rail, RAIL_HALF_WIDTH, _mix(_BALLAST, _LUSH, 0.35), 150)
        canvas.band(scene.rail, RAIL_HALF_WIDTH * 0.68, _BALLAST, 120)
        for side in (-6.5, 4.0):
            track = _beside(scene.rail, side)
            _dashes(canvas, track, 3.0, (92, 84, 78), width=9, share=0.5)
            for gauge in (-1.2, 1.2):
                canvas.band(_beside(track, gauge), 0.35, (176, 170, 166), 20)
    streets((2,))


def _draw_vehicles(canvas: _Canvas, rows: Floats, quads: Floats) -> None:
    if not len(rows):
        return
    pen = canvas.pen
    shadows = quads + canvas.light.sun * canvas.light.reach * 1.4 * SCALE
    front, rear, cab = (_parts(quads, *part).reshape(-1, 8).tolist() for part in _CAR_PARTS)
    outlines = quads.reshape(-1, 8).tolist()
    for points in shadows.reshape(-1, 8).tolist():
        canvas.shade_pen.polygon(points, fill=255)
    for i, points in enumerate(outlines):
        thing, tone, variant = int(rows[i, THING]), rows[i, TONE], rows[i, VARIANT]
        canvas.shade_pen.polygon(points, fill=0)
        if thing == Thing.CAR:
            pen.polygon(points, fill=_CARS[int(tone * 0.999 * len(_CARS))])
            pen.polygon(front[i], fill=(52, 58, 66))
            pen.polygon(rear[i], fill=(60, 66, 74))
        elif thing == Thing.TRUCK:
            pen.polygon(points, fill=_shift((214, 214, 212), -40 * tone))
            pen.polygon(cab[i], fill=_CARS[int(variant * 0.999 * len(_CARS))])
        else:
            paint = _CONTAINERS[int(tone * 0.999 * len(_CONTAINERS))]
            pen.polygon(points, fill=paint, outline=_shift(paint, -30))


def _draw_buildings(canvas: _Canvas, rows: Floats, quads: Floats, style: tuple[Colour, ...]) -> None:
    light = canvas.light
    for row, quad in zip(rows.tolist(), quads, strict=True):
        thing, height = int(row[THING]), row[HEIGHT]
        if thing == Thing.SOLAR:
            _panels(canvas, quad)
            continue
        canvas.shade_pen.polygon(_swept(quad, light.sun * light.reach * height * SCALE), fill=255)
        top = quad + light.lean * height * SCALE if height > 12 else quad
        points = top.ravel().tolist()
        if height > 12:
            _walls(canvas, quad, top, height)
            canvas.crown_pen.polygon(points, fill=0)
        canvas.shade_pen.polygon(points, fill=0)
        canvas.rough_pen.polygon(points, fill=34)
        if thing in (Thing.SHED, Thing.WING, Thing.HOUSE, Thing.VILLA, Thing.ROW, Thing.COURT):
            colour = _pick_roof(style, row[TONE], row[VARIANT], thing)
            _pitched_roof(canvas, top, colour, hipped=thing in (Thing.HOUSE, Thing.VILLA) and row[VARIANT] > 0.6)
        elif thing == Thing.HALL:
            _hall_roof(canvas, top, row[TONE], row[VARIANT])
        else:
            _flat_roof(canvas, top, row[TONE], row[VARIANT], thing)


#: Numbers of storeys, as a column.
_STOREYS = np.arange(32, dtype=np.float64)[:, None]


def _walls(canvas: _Canvas, foot: Floats, top: Floats, height: float) -> None:
    """Draw the walls that a leaning building shows, with bands of windows."""
    for i in range(4):
        j = (i + 1) % 4
        normal = np.array([foot[j][1] - foot[i][1], foot[i][0] - foot[j][0]])
        if normal @ canvas.light.lean > 0:
            continue
        facing = float(normal @ canvas.light.sun / (np.hypot(*normal) + 1e-9))
        wall = _shift((168, 162, 152), -46 * facing)
        face = [*foot[i].tolist(), *foot[j].tolist(), *top[j].tolist(), *top[i].tolist()]
        canvas.pen.polygon(face, fill=wall)
        canvas.crown_pen.polygon(face, fill=0)
        canvas.shade_pen.polygon(face, fill=0)
        bands = _STOREYS[: 1 if height < 22 else int(height / 4)] * (1 if height < 22 else 4 / height) + 0.05
        ends = np.concatenate([foot[i] + (top[i] - foot[i]) * bands, foot[j] + (top[j] - foot[j]) * bands], 1)
        dark = _shift(wall, -34)
        for line in ends.tolist():
            canvas.pen.line(line, fill=dark, width=1)


def _pitched_roof(canvas: _Canvas, quad: Floats, colour: Colour, *, hipped: bool) -> None:
    """Draw a gabled or hipped roof; its ridge runs along the first side, faces towards the sun are lighter."""
    start, end = (quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2
    across = quad[3] - quad[0]
    facing = float(across @ canvas.light.sun / (np.hypot(*across) + 1e-9))
    pen = canvas.pen
    if hipped:
        inset = (end - start) * 0.28
        start, end = start + inset, end - inset
        along = quad[1] - quad[0]
        ends = float(along @ canvas.light.sun / (np.hypot(*along) + 1e-9))
        pen.polygon((*quad[0], *quad[3], *start), fill=_shift(colour, 26 * ends))
        pen.polygon((*quad[1], *quad[2], *end), fill=_shift(colour, -26 * ends))
    pen.polygon((*quad[0], *quad[1], *end, *start), fill=_shift(colour, 30 * facing))
    pen.polygon((*quad[3], *quad[2], *end, *start), fill=_shift(colour, -30 * facing))
    pen.line((*start, *end), fill=_shift(colour, 24), width=1)


def _flat_roof(canvas: _Canvas, quad: Floats, tone: float, variant: float, thing: int) -> None:
    pen = canvas.pen
    colour = _FLAT_ROOFS[int(tone * 0.999 * len(_FLAT_ROOFS))]
    pen.polygon(quad.ravel().tolist(), fill=_shift(colour, 20))
    inner = _shrink(quad, 0.94 if thing in (Thing.SHOP, Thing.SLAB) else 0.9)
    pen.polygon(inner.ravel().tolist(), fill=colour)
    boxes = {Thing.SHOP: 6, Thing.TOWER: 3}.get(Thing(thing), 3)
    for k in range(boxes):
        s = (0.14 + 0.72 * ((variant * 7.3 + k * 0.37) % 1)) if thing != Thing.SLAB else (k + 0.5) / boxes
        t = 0.3 + 0.4 * ((variant * 3.1 + k * 0.61) % 1)
        big = 0.11 if thing == Thing.TOWER else 0.028
        box = _part(quad, s - big, s + big, t - 0.12, t + 0.12)
        pen.polygon((box + canvas.light.sun * 3).ravel().tolist(), fill=_shift(colour, -60))
        pen.polygon(box.ravel().tolist(), fill=_shift(colour, -14 if k % 2 else 26))


def _hall_roof(canvas: _Canvas, quad: Floats, tone: float, variant: float) -> None:
    pen = canvas.pen
    colour = _pick_roof(_HALL_ROOFS, tone, variant, Thing.HALL)
    bays = max(1, round(float(np.hypot(*(quad[3] - quad[0]))) / 44))
    for k in range(bays):
        _pitched_roof(canvas, _part(quad, 0, 1, k / bays, (k + 1) / bays), _shift(colour, 3 * (-1) ** k), hipped=False)
    if variant < 0.55:
        count = max(2, round(float(np.hypot(*(quad[1] - quad[0]))) / 32))
        for k in range(count):
            s = (k + 0.5) / count
            for j in range(bays):
                light = _part(quad, s - 0.10 / count, s + 0.10 / count, (j + 0.12) / bays, (j + 0.4) / bays)
                pen.polygon(light.ravel().tolist(), fill=_shift(colour, 34 if variant < 0.35 else -40))
    _ring(pen, quad, _shift(colour, -30), 1)


def _panels(canvas: _Canvas, quad: Floats) -> None:
    pen = canvas.pen
    pen.polygon(quad.ravel().tolist(), fill=(42, 50, 78))
    canvas.rough_pen.polygon(quad.ravel().tolist(), fill=0)
    count = max(2, round(float(np.hypot(*(quad[1] - quad[0]))) / 8))
    for k in range(1, count):
        start, end = quad[0] + (quad[1] - quad[0]) * k / count, quad[3] + (quad[2] - quad[3]) * k / count
        pen.line((*start, *end), fill=(92, 104, 136), width=1)
    pen.line((*((quad[0] + quad[3]) / 2), *((quad[1] + quad[2]) / 2)), fill=(92, 104, 136), width=1)


def _draw_trees(canvas: _Canvas, trees: Floats) -> None:
    if not len(trees):
        return
    sprites = _tree_sprites()
    reach = canvas.light.sun * canvas.light.reach * SCALE
    for x, y, radius, tone in trees.tolist():
        size = max(4, round(2 * radius * SCALE))
        cover, glow = sprites[(size, int(tone * 97) % 5)]
        left, top = round(x * SCALE - size / 2), round(y * SCALE - size / 2)
        height = radius * METRES * 1.5
        canvas.shade.paste(255, (left + round(reach[0] * height), top + round(reach[1] * height)), cover)
        canvas.crown.paste(255, (left, top), cover)
        canvas.crown_light.paste(glow, (left, top), cover)
        canvas.crown_hue.paste(int(255 * tone), (left, top), cover)


@lru_cache(maxsize=1)
def _tree_sprites() -> dict[tuple[int, int], tuple[Image.Image, Image.Image]]:
    """Return (cover, light) of tree crowns by size in canvas pixels and form: lumpy discs lit from the lower side."""
    rng = np.random.default_rng(7)
    sprites = {}
    for form in range(5):
        lobes = rng.normal(0, 1, 6)
        bumps = gaussian_filter(rng.standard_normal((64, 64)), 4.5)
        bumps /= bumps.std()
        for size in range(4, 44):
            y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
            angle = np.arctan2(y, x)
            rim = 0.88 + 0.05 * sum(lobes[k] * np.sin((k + 2) * angle + k) for k in range(6))
            distance = np.hypot(x, y) / rim
            cover = np.clip((1 - distance) * size / 3 + 0.5, 0, 1)
            index = (np.arange(size) * 63 // max(size - 1, 1)).astype(int)
            glow = 1.0 + 0.22 * y - 0.12 * np.clip(distance, 0, 1) ** 2 + 0.15 * bumps[np.ix_(index, index)]
            sprites[(size, form)] = (
                Image.fromarray(np.asarray(255 * cover, dtype=np.uint8)),
                Image.fromarray(np.asarray(np.clip(128 * glow, 0, 255), dtype=np.uint8)),
            )
    return sprites


_TEXTURE_SIDE = 1024


@lru_cache(maxsize=1)
def _textures() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two textures that repeat without seams: broad patches, and fine grain."""
    rng = np.random.default_rng(11)

    def smooth(sigma: float) -> NDArray[np.float32]:
        noise = gaussian_filter(rng.standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE)), sigma, mode="wrap")
        return np.asarray(noise / noise.std(), dtype=np.float32)

    broad = 0.6 * smooth(18) + 0.5 * smooth(6) + 0.4 * smooth(2.4)
    return broad, np.asarray(0.8 * smooth(0.8) + 0.5 * smooth(1.6), dtype=np.float32)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    return np.random.default_rng(13).standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE)).astype(np.float32)


def _window(texture: NDArray[np.float32], x: int, y: int) -> NDArray[np.float32]:
    left, top = (x * TILE) % _TEXTURE_SIDE, (y * TILE) % _TEXTURE_SIDE
    return texture[top : top + TILE, left : left + TILE]


def _roof_style(scene: Scene) -> tuple[Colour, ...]:
    """Return the roof colours usual in a neighbourhood: a mix that has nothing to do with who lives there."""
    pick = np.random.default_rng([abs(int(1e6 * scene.latents["green"])), 6]).integers(0, len(_ROOFS), 3)
    return (*_ROOFS[pick[0]], *_ROOFS[pick[0]], *_ROOFS[pick[1]], *_ROOFS[pick[2]][:2])


def _pick_roof(style: tuple[Colour, ...], tone: float, variant: float, thing: int) -> Colour:
    if tone >= 1:
        return _shift(_PAINTED_ROOFS[int((tone - 1) * 0.999 * len(_PAINTED_ROOFS))], 20 * (variant - 0.5))
    if thing == Thing.SHED:
        return _shift((138, 132, 124), 50 * (tone - 0.5))
    return _shift(style[int(tone * 0.999 * len(style))], 22 * (variant - 0.5))


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return (
        int(first[0] + (second[0] - first[0]) * share),
        int(first[1] + (second[1] - first[1]) * share),
        int(first[2] + (second[2] - first[2]) * share),
    )


def _shift(colour: Colour, by: float) -> Colour:
    return (
        min(255, max(0, int(colour[0] + by))),
        min(255, max(0, int(colour[1] + by))),
        min(255, max(0, int(colour[2] + by))),
    )


def _jitter(colour: Colour, by: float, rng: np.random.Generator) -> Colour:
    return _shift(colour, rng.uniform(-by, by))


def _part(quad: Floats, s0: float, s1: float, t0: float, t1: float) -> Floats:
    """Return a part of a quadrilateral: shares of its first side and of its second."""
    return np.asarray(_parts(quad[None], s0, s1, t0, t1)[0])


def _parts(quads: Floats, s0: float, s1: float, t0: float, t1: float) -> Floats:
    """Return the same part of many quadrilaterals (n, 4, 2)."""
    s = np.array([s0, s1, s1, s0])[:, None]
    t = np.array([t0, t0, t1, t1])[:, None]
    q = quads[:, :, None]
    parts: Floats = (q[:, 0] * (1 - s) + q[:, 1] * s) * (1 - t) + (q[:, 3] * (1 - s) + q[:, 2] * s) * t
    return parts


def _shrink(quad: Floats, by: float) -> Floats:
    middle = quad.mean(0)
    shrunk: Floats = middle + (quad - middle) * by
    return shrunk


def _ring(pen: ImageDraw.ImageDraw, quad: Floats, colour: Colour, width: int) -> None:
    pen.line([*quad.ravel().tolist(), *quad[0].tolist()], fill=colour, width=width)


def _ellipse(quad: Floats, points: int, *, closed: bool = False) -> list[float]:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=closed)
    middle = quad.mean(0)
    along, across = (quad[1] - quad[0]) / 2, (quad[3] - quad[0]) / 2
    outline: list[float] = (
        middle + np.cos(angle)[:, None] * along + np.sin(angle)[:, None] * across
    ).ravel().tolist()  # fmt: skip
    return outline


def _stadium(quad: Floats, along: float, across: float, *, closed: bool = False) -> list[float]:
    """Return the outline of a running track: two straights and two half circles."""
    a, b = (quad[1] - quad[0]) / 2, (quad[3] - quad[0]) / 2
    radius = float(np.hypot(*b) / np.hypot(*a)) * across
    turn = np.linspace(-np.pi / 2, np.pi / 2, 12)
    right = np.column_stack([along - radius + radius * np.cos(turn), across * np.sin(turn)])
    both = np.concatenate([right, -right])
    points = quad.mean(0) + both[:, :1] * a + both[:, 1:] * b
    outline: list[float] = points.ravel().tolist()
    return [*outline, *outline[:2]] if closed else outline


#: The next corner of a quadrilateral.
_NEXT = [1, 2, 3, 0]


def _swept(quad: Floats, by: Floats) -> list[float]:
    """Return the outline of a quadrilateral swept along a vector: its shadow on flat ground."""
    edges = quad[_NEXT] - quad
    outward = np.sign(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0])
    ahead = (outward * (edges[:, 1] * by[0] - edges[:, 0] * by[1]) > 0).tolist()
    here, moved = quad.tolist(), (quad + by).tolist()
    outline: list[float] = []
    for i in range(4):
        before, after = ahead[i - 1], ahead[i]
        if before != after:  # the outline passes from the quadrilateral to its moved copy here, or back
            outline += [*here[i], *moved[i]] if after else [*moved[i], *here[i]]
        else:
            outline += moved[i] if after else here[i]
    return outline


def _beside(line: Floats, by: float) -> Floats:
    """Return a line moved sideways."""
    moved: Floats = line + by * _normals(line)
    return moved


def _normals(line: Floats) -> Floats:
    heading = np.empty_like(line)
    heading[1:-1] = line[2:] - line[:-2]
    heading[0], heading[-1] = line[1] - line[0], line[-1] - line[-2]
    normals: Floats = heading[:, ::-1] * (-1, 1) / (np.hypot(heading[:, 0], heading[:, 1])[:, None] + 1e-9)
    return normals


def _dashes(canvas: _Canvas, line: Floats, every: float, colour: Colour, width: int = 1, share: float = 0.45) -> None:
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    start = np.arange(0, length[-1], every)
    ends = np.column_stack([start, start + every * share])
    x, y = np.interp(ends, length, line[:, 0]), np.interp(ends, length, line[:, 1])
    seen = (x.min(1) > -8) & (x.max(1) < TILE + 8) & (y.min(1) > -8) & (y.max(1) < TILE + 8)
    for x0, y0, x1, y1 in (np.column_stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]])[seen] * SCALE).tolist():
        if width > 1:  # across the line
            dx, dy = (x1 - x0), (y1 - y0)
            norm = max(float(np.hypot(dx, dy)), 1e-9)
            nx, ny = -dy / norm * width / 2, dx / norm * width / 2
            canvas.pen.line((x0 - nx, y0 - ny, x0 + nx, y0 + ny), fill=colour, width=2)
        else:
            canvas.pen.line((x0, y0, x1, y1), fill=colour, width=2)
