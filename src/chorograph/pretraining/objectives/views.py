"""Contrast of tiles and the street views around them with what is said of them: UrbanVLP's stage, for any area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.arrays import Indices, Mask
from chorograph.ground.errors import InputError
from chorograph.ground.files import sha256_bytes, write_json_lines
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.coca.contrast import MAX_LOG_SCALE, clamp_scale, contrastive_loss
from chorograph.models.coca.towers import PAD
from chorograph.models.devices import device_of
from chorograph.models.encoders.open_clip import ImageTextModel, load_open_clip, new_model
from chorograph.models.views.multi_granularity import MultiGranularity, fuse, load_towers, save_towers
from chorograph.models.views.multi_view import Fusion, token_loss
from chorograph.pretraining.config import ViewsConfig
from chorograph.pretraining.feeds.augment import augment
from chorograph.pretraining.feeds.pairs import Pairs, assign_roles, batches, load_images
from chorograph.pretraining.feeds.sets import draw_sets
from chorograph.pretraining.loop.loop import autocast_type
from chorograph.pretraining.loop.objective import Objective, Output, Place, Portion, own_share
from chorograph.pretraining.loop.optimiser import peak_rate
from chorograph.pretraining.loop.session import Session, contents, session, states_of
from chorograph.pretraining.loop.step import Step
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.pairs import tokens_of
from chorograph.pretraining.objectives.registry import Trainer

_ENCODED = 64


@dataclass(frozen=True)
class Drawn:
    """Street views drawn for n tiles: `rows` (k,), each once; `which` (n, most) of these stands there, where `held`."""

    rows: Indices
    which: Indices
    held: Mask

    def readable(self, read: Mask) -> Drawn:
        """Return the draw without the views that could not be read; the others close up."""
        if read.all():
            return self
        held = self.held & read[self.which]
        return Drawn(self.rows[read], np.where(held, (np.cumsum(read) - 1)[self.which], 0), held)

    def of(self, tiles: Indices) -> tuple[Indices, Drawn]:
        """Return the draw of some of the tiles, and before it which of the views are theirs."""
        which, held = self.which[tiles], self.held[tiles]
        wanted, numbers = np.unique(which[held], return_inverse=True)
        at = np.zeros_like(which)
        at[held] = numbers
        return wanted, Drawn(self.rows[wanted], at, held)


@dataclass(frozen=True)
class Scene:
    """An area's tiles, its street views with their `places` (latitude, longitude), and whose views are whose.

    `of_tile[i]`: rows of the views in the region of tile i. `train` and `held`: tiles with captions, by their role;
    `captioned_views` and `held_captioned_views`: views with captions, by the role of their region; those of no region
    are trained on.
    """

    tiles: Pairs
    views: Pairs
    places: Tensor
    of_tile: tuple[Indices, ...]
    train: Indices
    held: Indices
    captioned_views: Indices
    held_captioned_views: Indices
    how: str

    @classmethod
    def read(cls, area: Area, loaded: ImageTextModel, config: ViewsConfig, ledger: Ledger, progress: Progress) -> Scene:
        """Read an area; without street views asked for, none is read. `InputError` where no tile has a caption."""
        images = area.images
        above = images[images["view"] == "satellite"]
        street = images[(images["view"] == "street") & bool(config.street_views)]
        unplaced = street["lon"].isna() | street["lat"].isna()
        if config.location_hidden:
            ledger.drop("street view without a place", int(unplaced.sum()))
            street = street[~unplaced]
        tiles = load_images(area, above, loaded.preprocessing, ledger, progress)
        views = load_images(area, street, loaded.preprocessing, ledger, progress)
        by_id = images.drop_duplicates("image_id").set_index("image_id")
        seen, around = (by_id.reindex(list(pairs.image_ids)) for pairs in (tiles, views))
        captioned = np.flatnonzero([bool(captions) for captions in tiles.captions])
        if len(captioned) < 2:
            raise InputError(
                f"{area.path} holds {len(captioned)} readable tiles with a caption, and two are needed; "
                "`chorograph caption` writes some"
            )
        roles = assign_roles(area, seen.iloc[captioned].reset_index(), config.holdout, config.seed)
        train, held = captioned[roles.train], captioned[roles.held]
        if len(train) < 2:
            raise InputError(f"{area.path}: the hold-out leaves {len(train)} tiles with a caption to train on; give 2")
        groups = around.reset_index(drop=True).groupby("region_id").indices
        captioned_views = np.flatnonzero([bool(captions) for captions in views.captions])
        region_of, checked = around["region_id"].iloc[captioned_views], seen["region_id"].iloc[held].dropna()
        shown = region_of.isin(seen["region_id"].iloc[train].dropna()) & ~region_of.isin(checked) | region_of.isna()
        return cls(
            tiles, views,
            torch.from_numpy(around[["lat", "lon"]].to_numpy(np.float32, na_value=np.nan).copy()),
            tuple(np.asarray(groups.get(region, ()), dtype=np.int64) for region in seen["region_id"]),
            train, held, captioned_views[shown.to_numpy(bool)], captioned_views[region_of.isin(checked).to_numpy(bool)],
            roles.how,
        )  # fmt: skip

    def draw(self, tiles: Indices, most: int, rng: np.random.Generator) -> Drawn:
        """Return up to `most` street views of each tile, as they are drawn."""
        every = Drawn(np.arange(len(self.views)), *draw_sets(self.of_tile, tiles, most, rng))
        return every.of(np.arange(len(tiles)))[1]


@dataclass(frozen=True)
class Read:
    """Images that could be read, where they stand among all that were wanted by all processes, and how many these are.

    `pixels` uint8 (n, 3, height, width), `places` (n,).
    """

    pixels: Tensor
    places: Indices
    whole: int

    def of(self, rows: Indices) -> Read:
        """Return some of them."""
        return Read(self.pixels[torch.from_numpy(rows)], self.places[rows], self.whole)


@dataclass(frozen=True)
class ViewBatch:
    """The share of a batch that one process has.

    Tiles with their `texts`, the street views `drawn` for them, and `captioned_views` with their `view_captions`, which
    all processes share. `key` decides what is drawn.
    """

    place: Place | None
    key: Place
    tiles: Read
    texts: list[str]
    streets: Read
    drawn: Drawn
    view_captions: list[str]
    captioned_views: Read
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.tiles.places)


@dataclass(frozen=True)
class SceneBatches:
    """Every batch of a run by its place; `token` says whether street captions take part.

    `unread`: images that could not be read when they were wanted, and why.
    """

    scene: Scene
    config: ViewsConfig
    token: bool
    world: World = field(default_factory=World)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def an_epoch(self) -> int:
        """Batches an epoch."""
        return -(-len(self.scene.train) // self.config.batch_size)

    @property
    def in_memory(self) -> bool:
        """Batches are made by this process, which counts what cannot be read."""
        return True

    def __getitem__(self, place: Place) -> ViewBatch:
        epoch, number = place
        scene, config = self.scene, self.config
        rows = batches(len(scene.train), config.batch_size, epoch, config.seed)[number]
        captioned_views = np.random.default_rng((config.seed, epoch, number, 7)).permutation(scene.captioned_views)[
            : len(rows)
        ]
        return self._read(scene.train[rows], captioned_views, place, place)

    def held(self) -> Iterator[ViewBatch]:
        """Yield the held-out tiles and views, with the same draw every time; fewer than two are no contrast."""
        held, captioned_views = self.scene.held, self.scene.held_captioned_views
        if len(held) < 2:
            return
        parts = np.array_split(held, -(-len(held) // self.config.batch_size))
        for number, rows in enumerate(parts):
            yield self._read(rows, np.array_split(captioned_views, len(parts))[number][: len(rows)], None, (0, number))

    def state(self) -> dict[str, Any]:
        """Nothing: all is in the place."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""

    def read(self, pairs: Pairs, rows: Indices, places: Indices) -> tuple[Read, Mask]:
        """Return the images at `places` of the rows that are wanted, and which of them could be read."""
        pixels, reasons = pairs.images.read(rows[places])
        self.unread.update(
            {pairs.image_ids[row]: why for row, why in zip(rows[places].tolist(), reasons, strict=True) if why}
        )
        read = np.array([reason is None for reason in reasons], dtype=bool)
        return Read(pixels, places[read], len(rows)), read

    def _read(self, tiles: Indices, captioned_views: Indices, place: Place | None, key: Place) -> ViewBatch:
        scene, seed = self.scene, self.config.seed
        drawn = scene.draw(tiles, self.config.street_views, np.random.default_rng((seed, *key, 5)))
        own = own_share(len(tiles), self.world)
        above, _ = self.read(scene.tiles, tiles, np.arange(len(tiles))[own])
        wanted, mine = drawn.of(above.places)
        streets, readable = self.read(scene.views, drawn.rows, wanted)
        texts = scene.tiles.captions_at(tiles[above.places], key[0], seed)
        view_captions = scene.views.captions_at(captioned_views, key[0], seed) if self.token else []
        # Two views that are said the same of belong to each other's captions: one of them is enough.
        first = np.array(
            [*{text: at for at, text in reversed(list(enumerate(view_captions)))}.values()], dtype=np.int64
        )
        share = np.arange(len(first))[own_share(len(first), self.world)]
        views, _ = self.read(scene.views, captioned_views[first], share)
        return ViewBatch(
            place, key, above, texts, streets, mine.readable(readable), [view_captions[at] for at in first], views
        )


class _Towers(nn.Module):
    """The towers as the loop calls them."""

    def __init__(self, model: MultiGranularity) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, above: Tensor, tokens: Tensor, streets: Tensor, places: Tensor, which: Tensor, held: Tensor,
        *captioned_views: Tensor, ahead: bool = False,
    ) -> Output:  # fmt: skip
        """Return the vectors of tiles and of their captions; of captioned views, tokens, words and their numbers."""
        model = self.model
        features = model.street(streets)[0].float() if len(streets) else above.new_zeros(0, 0)
        fused = fuse(model, model.above(above).float(), features, places, which, held)
        view_captions = model.text(tokens).pooled.float()
        if not captioned_views:
            return (fused, view_captions), {}
        images, words, numbers = captioned_views
        if len(images):
            seen = model.street(images)[1]
        else:  # a share without views still has features of their shape
            training = model.streets.training
            model.streets.eval()
            seen = model.street(above[:1])[1][:0]
            model.streets.train(training)
        of_words = model.text(words).tokens
        if of_words is None:
            raise InputError("this model's text tower gives no tokens; choose another model, or --beta 0")
        return (fused, view_captions, seen, of_words, numbers), {}


class ViewsObjective(Objective[ViewBatch]):
    """Tiles with their street views against the tiles' captions, and street views against theirs, token by token."""

    name, what, rows, partial = "views", "pretraining on tiles and street views", "tiles", True

    def __init__(self, loaded: ImageTextModel, model: MultiGranularity, scene: Scene, config: ViewsConfig) -> None:
        super().__init__()
        self._loaded, self._model, self._scene, self._seed = loaded, model, scene, config.seed
        self.module = _Towers(model)
        self.weights = {"contrastive": config.alpha, "token": config.beta}

    def portions(self, batch: ViewBatch, number: int) -> list[Portion]:
        """Return a batch turned, normalised, in tokens; that of validation only the latter two."""
        words = tokens_of(self._loaded, batch.view_captions) if batch.view_captions else None
        shares = (np.array_split(np.arange(size), number) for size in (len(batch), len(batch.captioned_views.places)))
        portions: list[Portion] = []
        for tiles, views in zip(*shares, strict=True):
            wanted, drawn = batch.drawn.of(tiles)
            captioned_views: Portion = ()
            if words is not None:
                some = batch.captioned_views.of(views)
                numbers = torch.from_numpy(some.places).to(self.device)
                captioned_views = (self._prepared(some, "street", batch), words[numbers], numbers)
            portions.append(
                (
                    self._prepared(batch.tiles.of(tiles), "satellite", batch),
                    tokens_of(self._loaded, [batch.texts[tile] for tile in tiles]),
                    self._prepared(batch.streets.of(wanted), "street", batch),
                    *self.drawn(drawn),
                    *captioned_views,
                )
            )
        return portions

    def drawn(self, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor]:
        """Return the places of street views (k, 2), which of them stands where (n, most), and whether one does."""
        found = (self._scene.places[torch.from_numpy(drawn.rows)], drawn.which, drawn.held)
        places, which, held = (torch.as_tensor(array, device=self.device) for array in found)
        return places, which, held

    def contrast(self, batch: ViewBatch, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return the contrast of tiles and captions, and that of street views' tokens and words."""
        model: Any = self._model
        found = {"contrastive": contrastive_loss(features[0], features[1], model.model.logit_scale.exp(), own[0])}
        if batch.view_captions:
            seen, view_captions, numbers = features[2:]
            held = tokens_of(self._loaded, batch.view_captions)[numbers, : view_captions.shape[1]] != PAD
            scale = model.token_scale.exp()
            one, other = model.in_one_space(seen, view_captions)
            found["token"] = (
                token_loss(one, other, held, scale=scale, own=own[2]) if len(seen) else model.token_scale * 0
            )
        return found

    def scales(self) -> list[nn.Parameter]:
        """Return the scales of the two contrasts, a bias that a model may have, and what makes tokens comparable."""
        model: Any = self._model
        found = (model.token_scale, model.model.logit_scale, getattr(model.model, "logit_bias", None))
        projections = [part for part in (model.seen_token, model.said_token) if part is not None]
        return [scale for scale in found if scale is not None] + [
            parameter for part in projections for parameter in part.parameters()
        ]

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep both scales within [0, ln 100]."""
        clamp_scale(self._model.model)
        self._model.token_scale.clamp_(0, MAX_LOG_SCALE)

    def _prepared(self, images: Read, view: str, batch: ViewBatch) -> Tensor:
        pixels = images.pixels.to(self.device)
        if batch.place is not None:
            pixels = augment(pixels, "auto", view, (self._seed, *batch.place), images.places, images.whole)
        return self.normalise(pixels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels as the towers take them."""
        return self._loaded.preprocessing.normalise(pixels, self.device)


@dataclass(frozen=True)
class Trained:
    """The towers after training, the record of each epoch, and the fused vectors (n, dim) of the tiles, unit length."""

    loaded: ImageTextModel
    model: MultiGranularity
    history: list[dict[str, Any]]
    image_ids: NDArray[np.object_]
    vectors: NDArray[np.float32]


def pretrain_views(area: Area, config: ViewsConfig, ledger: Ledger, around: Session | None = None) -> Trained:
    """Train, and encode every tile with its street views; tiles of held-out regions are never trained on.

    Raises `InputError` for an area without captions of tiles, and for settings that cannot be meant.
    """
    around = around or Session()
    if not config.epochs and config.init is None:
        raise InputError("options: --epochs 0 trains nothing; name the towers to encode with: --init FOLDER")
    loaded, model, trained_before = _start(area, config)
    config = replace(config, **model.settings)  # those of `init`, where there is one
    scene = Scene.read(area, loaded, config, ledger, around.progress)
    source = SceneBatches(scene, config, _count_scene(scene, config, ledger), around.world)
    objective = ViewsObjective(loaded, model, scene, config)
    lr = peak_rate(config.lr, trained_before)
    state = around.train(objective, source, config, lr, contents(views_inputs(config)))
    ids, vectors = _encode(objective, source, model, around.progress)
    ledger.count("tiles encoded", len(ids))
    for reason in source.unread.values():
        ledger.drop(f"image {reason}")
    ledger.facts["held out"] = scene.how
    ledger.facts["last epoch"] = state.history[-1] if state.history else None
    return Trained(loaded, model, state.history, ids, vectors)


def views_inputs(config: ViewsConfig) -> list[Path]:
    """Return the files that towers are learnt from."""
    area = Area.open(config.area)
    split = area.path / "splits" / f"{config.holdout}.parquet"
    inputs = [area.table_path(name) for name in ("images", "captions", "regions")]
    return inputs + ([] if config.init is None else [config.init]) + ([split] if split.is_file() else [])


def train_views(config: ViewsConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Train: the towers into `config.out`, the tiles' vectors into the area as `config.name`; returns the files."""
    area = Area.open(config.area)
    with session(config, states_of(config.out), progress) as around:
        found = pretrain_views(area, config, ledger, around)
        hashes = area.images.drop_duplicates("image_id").set_index("image_id")["sha256"]
        sha256 = hashes.reindex(list(found.image_ids)).to_numpy(object)
        embeddings = Embeddings(
            config.name, sha256_bytes(found.vectors.tobytes()), found.image_ids, sha256, found.vectors
        )
        written = []
        if around.world.first:
            written = [*write_views(found, config), embeddings.write(area.embeddings_path(config.name))]
        return written


def write_views(found: Trained, config: ViewsConfig) -> list[Path]:
    """Write weights, what rebuilds the towers, and the history into `config.out`; returns the files."""
    written = save_towers(config.out, found.loaded, found.model, plain(config))
    history = config.out / "history.jsonl"
    write_json_lines(history, found.history)
    return [*written, history]


@torch.no_grad()
def _encode(
    objective: ViewsObjective, source: SceneBatches, model: MultiGranularity, progress: Progress
) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    """Return the ids and vectors of all tiles that can be read, captioned or not; each with views drawn once."""
    model.eval()
    scene, config, number = source.scene, source.config, len(source.scene.tiles)
    step = Step(objective, model, precision=autocast_type(objective.device, config.precision))
    normalise, device = objective.normalise, objective.device
    rng = np.random.default_rng((config.seed, 6))
    ids, vectors = [], []
    for start in range(0, number, _ENCODED):
        rows = np.arange(start, min(start + _ENCODED, number))
        tiles, read = source.read(scene.tiles, rows, np.arange(len(rows)))
        rows = rows[read]
        drawn = scene.draw(rows, config.street_views, rng)
        streets, seen = source.read(scene.views, drawn.rows, np.arange(len(drawn.rows)))
        if len(rows):
            with step.autocast():
                above = model.above(normalise(tiles.pixels)).float()
                views = torch.zeros(0, 0, device=device)
                if len(streets.pixels):
                    views = model.street(normalise(streets.pixels))[0].float()
            vectors.append(fuse(model, above, views, *objective.drawn(drawn.readable(seen))).cpu().numpy())
            ids += [scene.tiles.image_ids[row] for row in rows.tolist()]
        progress("encoding tiles with their street views", start + len(read), number)
    return np.asarray(ids, dtype=object), np.concatenate(vectors)


def _start(area: Area, config: ViewsConfig) -> tuple[ImageTextModel, MultiGranularity, bool]:
    """Return a model and the towers around it, and whether they have been trained before.

    An untrained small model's tokenizer fits all captions of the area.
    """
    if config.init is not None:
        loaded, model = load_towers(config.init)
    else:
        captions = area.captions["caption"].tolist()
        loaded = (
            load_open_clip(config.model, seed=config.seed)
            if "/" in config.model
            else new_model(config.model, seed=config.seed, captions=captions)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = MultiGranularity(loaded, cast(Fusion, config.fusion), config.location_hidden)
    model.to(device_of(config.device))
    model.to(memory_format=torch.channels_last)
    return loaded, model, config.init is not None or "/" in config.model


def _count_scene(scene: Scene, config: ViewsConfig, ledger: Ledger) -> bool:
    """Count what there is to learn from, and return whether captions of street views take part."""
    without = sum(not len(rows) for rows in scene.of_tile)
    ledger.count("tiles without a caption", sum(not captions for captions in scene.tiles.captions))
    ledger.count("tiles trained on", len(scene.train))
    ledger.count("tiles held out", len(scene.held))
    ledger.count("street views", len(scene.views))
    ledger.count("street views with captions trained on", len(scene.captioned_views))
    if len(scene.held) < 2:
        ledger.warnings.append("fewer than two tiles are held out: nothing to contrast, so no validation")
    if not config.street_views:
        return False
    ledger.count("tiles without street views", without)
    if without == len(scene.of_tile):
        ledger.warnings.append("no tile has a street view in its region: every vector is the tile's own")
    if not config.beta:
        return False
    distinct = {text for row in scene.captioned_views for text in scene.views.captions[row]}
    if len(distinct) < 2:
        ledger.warnings.append(
            f"street views have {len(distinct)} different captions: the contrast of tokens (--beta) is left out; "
            "`chorograph caption` and `area build` tell how to give them some"
        )
    return len(distinct) >= 2


VIEWS = Trainer(ViewsConfig, views_inputs, train_views)
