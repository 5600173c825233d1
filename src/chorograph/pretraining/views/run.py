"""Contrastive pretraining on tiles and the street views around them: UrbanVLP's stage, for any area."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from chorograph.area.embeddings import Embeddings
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.files import sha256_bytes, write_json_lines
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage, silent
from chorograph.models.encoders.open_clip import ImageTextModel, load_open_clip, new_model
from chorograph.models.views.multi_granularity import MultiGranularity, load_towers, save_towers
from chorograph.models.views.multi_view import Fusion
from chorograph.pretraining.feeds.pairs import Pairs, Rows, assign_roles, batches, load_images
from chorograph.pretraining.feeds.sets import draw_sets
from chorograph.pretraining.loop.freeze import make_optimiser
from chorograph.pretraining.loop.loop import augment, autocast_type, peak_rate, rate_factor, tokens_of, warm_up_steps
from chorograph.pretraining.objectives.objectives import MAX_LOG_SCALE, clamp_scale, contrastive_loss
from chorograph.pretraining.run import device_of

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.pretraining.views.config import ViewsConfig

_WARM_UP = 0.1
_ENCODED = 64

Held = NDArray[np.bool_]
Losses = dict[str, float]


@dataclass(frozen=True)
class Drawn:
    """Street views drawn for n tiles: `rows` (k,), each once; `which` (n, most) of these stands there, where `held`."""

    rows: Rows
    which: Rows
    held: Held

    def readable(self, read: Held) -> Drawn:
        """Return the draw without the views that could not be read; the others close up."""
        if read.all():
            return self
        held = self.held & read[self.which]
        return Drawn(self.rows[read], np.where(held, (np.cumsum(read) - 1)[self.which], 0), held)


@dataclass(frozen=True)
class Scene:
    """An area's tiles, its street views with their `places` (latitude, longitude), and whose views are whose.

    `of_tile[i]`: rows of the views in the region of tile i. `train` and `held`: tiles with captions, by their role;
    `told` and `held_told`: views with captions, by the role of their region; those of no region are trained on.
    """

    tiles: Pairs
    views: Pairs
    places: Tensor
    of_tile: tuple[Rows, ...]
    train: Rows
    held: Rows
    told: Rows
    held_told: Rows
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
        told = np.flatnonzero([bool(captions) for captions in views.captions])
        region_of, checked = around["region_id"].iloc[told], seen["region_id"].iloc[held].dropna()
        shown = region_of.isin(seen["region_id"].iloc[train].dropna()) & ~region_of.isin(checked) | region_of.isna()
        return cls(
            tiles, views,
            torch.from_numpy(around[["lat", "lon"]].to_numpy(np.float32, na_value=np.nan).copy()),
            tuple(np.asarray(groups.get(region, ()), dtype=np.int64) for region in seen["region_id"]),
            train, held, told[shown.to_numpy(bool)], told[region_of.isin(checked).to_numpy(bool)],
            roles.how,
        )  # fmt: skip

    def draw(self, tiles: Rows, most: int, rng: np.random.Generator) -> Drawn:
        """Return up to `most` street views of each tile, as they are drawn."""
        rows, held = draw_sets(self.of_tile, tiles, most, rng)
        wanted, numbers = np.unique(rows[held], return_inverse=True)
        at = np.zeros_like(rows)
        at[held] = numbers
        return Drawn(wanted, at, held)


@dataclass(frozen=True)
class Trained:
    """The towers after training, the record of each epoch, and the fused vectors (n, dim) of the tiles, unit length."""

    loaded: ImageTextModel
    model: MultiGranularity
    history: list[dict[str, float]]
    image_ids: NDArray[np.object_]
    vectors: NDArray[np.float32]


@dataclass
class Views:
    """A run: towers, data and how they are asked for; `token` says whether street captions take part.

    `unread`: images that could not be read when they were wanted, and why.
    """

    loaded: ImageTextModel
    model: MultiGranularity
    scene: Scene
    config: ViewsConfig
    token: bool
    unread: dict[str, str] = field(default_factory=dict)

    def losses(self, tiles: Rows, told: Rows, key: tuple[int, ...], *, training: bool) -> dict[str, Tensor]:
        """Return the losses of a step on tiles and captioned street views; `key` decides what is drawn."""
        config, scene = self.config, self.scene
        rng = np.random.default_rng((config.seed, *key, 5))
        pixels, read = self._read(scene.tiles, tiles)
        tiles = tiles[read]
        if not len(tiles):
            raise ChorographError("none of a batch's tiles can be read; `chorograph area check` names them")
        turn = (config.seed, *key) if training else None
        texts = scene.tiles.captions_at(tiles, key[0] if training else 0, config.seed)
        drawn = scene.draw(tiles, config.street_views, rng)
        features, drawn = self.streets(drawn, turn)
        fused = self.fused(self._above(self._prepared(pixels, "satellite", turn)), features, drawn)
        with self._autocast():
            said = self.model.text(tokens_of(self.loaded, texts)).pooled
        towers: Any = self.model.model
        found = {"contrastive": contrastive_loss(fused, said.float(), towers.logit_scale.exp())}
        if self.token and len(told):
            found["token"] = self._token(told, key, turn)
        return {**found, "loss": sum((self._weight(name) * loss for name, loss in found.items()), fused.new_zeros(()))}

    def streets(self, drawn: Drawn, turn: tuple[int, ...] | None = None) -> tuple[Tensor, Drawn]:
        """Return the features (k, dim) of the views that are drawn and can be read, and the draw of these alone."""
        pixels, read = self._read(self.scene.views, drawn.rows)
        drawn = drawn.readable(read)
        if not len(pixels):
            return torch.zeros(0, self.loaded.dim, device=self.loaded.device), drawn
        with self._autocast():
            return self.model.street(self._prepared(pixels, "street", turn))[0].float(), drawn

    def fused(self, above: Tensor, streets: Tensor, drawn: Drawn) -> Tensor:
        """Return the vectors (n, dim) of tiles, of unit length, from features (n, dim) and those of street views."""
        device = above.device
        at, held = torch.from_numpy(drawn.which).to(device), torch.from_numpy(drawn.held).to(device)
        views, places = above.new_zeros(*held.shape, above.shape[1]), above.new_zeros(*held.shape, 2)
        if len(streets):
            views = streets[at]
            places = self.scene.places[torch.from_numpy(drawn.rows)].to(device)[at]
        return normalize(self.model.fusion(above, views, places, held), dim=-1)

    @torch.no_grad()
    def encode(self, progress: Progress) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
        """Return the ids and vectors of all tiles that can be read, captioned or not; each with views drawn once."""
        self.model.eval()
        scene, number = self.scene, len(self.scene.tiles)
        rng = np.random.default_rng((self.config.seed, 6))
        ids, vectors = [], []
        for start in range(0, number, _ENCODED):
            rows = np.arange(start, min(start + _ENCODED, number))
            pixels, read = self._read(scene.tiles, rows)
            rows = rows[read]
            features, drawn = self.streets(scene.draw(rows, self.config.street_views, rng))
            if len(rows):
                above = self._above(self._prepared(pixels, "satellite", None))
                vectors.append(self.fused(above, features, drawn).cpu().numpy())
                ids += [scene.tiles.image_ids[row] for row in rows.tolist()]
            progress("encoding tiles with their street views", start + len(read), number)
        return np.asarray(ids, dtype=object), np.concatenate(vectors)

    @torch.no_grad()
    def validate(self) -> Losses:
        """Return the losses of held-out tiles and views, each with its first caption and the same draw every time."""
        self.model.eval()
        held, told = self.scene.held, self.scene.held_told
        if len(held) < 2:
            return {}
        sums: dict[str, float] = {}
        parts = np.array_split(held, -(-len(held) // self.config.batch_size))
        for number, rows in enumerate(parts):
            some = np.array_split(told, len(parts))[number]
            for name, loss in self.losses(rows, some[: len(rows)], (0, number), training=False).items():
                sums[name] = sums.get(name, 0.0) + float(loss) * len(rows)
        return {f"val_{name}": total / len(held) for name, total in sums.items()}

    def _token(self, told: Rows, key: tuple[int, ...], turn: tuple[int, ...] | None) -> Tensor:
        pixels, read = self._read(self.scene.views, told)
        told = told[read]
        texts = self.scene.views.captions_at(told, key[0] if turn else 0, self.config.seed)
        # Two views that are said the same of belong to each other's captions: one of them is enough.
        first = list({text: place for place, text in reversed(list(enumerate(texts)))}.values())
        if not first:
            return self.model.token_scale * 0
        tokens = tokens_of(self.loaded, [texts[place] for place in first])
        with self._autocast():
            seen = self.model.street(self._prepared(pixels[first], "street", turn))[1]
            said = self.model.text(tokens)
        return self.model.token_loss(seen, tokens, said)

    def _read(self, pairs: Pairs, rows: Rows) -> tuple[Tensor, Held]:
        """Return the pixels of those rows that can be read, and which they are."""
        pixels, reasons = pairs.images.read(rows)
        self.unread.update({pairs.image_ids[row]: why for row, why in zip(rows.tolist(), reasons, strict=True) if why})
        return pixels, np.array([reason is None for reason in reasons], dtype=bool)

    def _prepared(self, pixels: Tensor, view: str, turn: tuple[int, ...] | None) -> Tensor:
        pixels = pixels.to(self.loaded.device)
        if turn is not None:
            pixels = augment(pixels, "auto", view, turn)
        return self.loaded.preprocessing.normalise(pixels, self.loaded.device)

    def _above(self, images: Tensor) -> Tensor:
        with self._autocast():
            return self.model.above(images).float()

    def _weight(self, name: str) -> float:
        return self.config.alpha if name == "contrastive" else self.config.beta

    def _autocast(self) -> torch.autocast:
        kind = autocast_type(self.loaded.device, self.config.precision)
        return torch.autocast(self.loaded.device.type, kind or torch.bfloat16, enabled=kind is not None)


def pretrain_views(area: Area, config: ViewsConfig, ledger: Ledger, progress: Progress = silent) -> Trained:
    """Train, and encode every tile with its street views; tiles of held-out regions are never trained on.

    Raises `InputError` for an area without captions of tiles, and for settings that cannot be meant.
    """
    _check(config)
    loaded, model, trained_before = _start(area, config)
    config = replace(config, **model.settings)  # those of `init`, where there is one
    scene = Scene.read(area, loaded, config, ledger, progress)
    token = _told(scene, config, ledger)
    lr = peak_rate(config.lr, trained_before)
    views = Views(loaded, model, scene, config, token)
    history = _train(views, lr, progress)
    ids, vectors = views.encode(progress)
    ledger.count("tiles encoded", len(ids))
    for reason in views.unread.values():
        ledger.drop(f"image {reason}")
    ledger.facts["held out"] = scene.how
    ledger.facts["last epoch"] = history[-1] if history else None
    return Trained(loaded, model, history, ids, vectors)


def pretrain_views_stage(config: ViewsConfig, progress: Progress) -> Outcome:
    """Run `pretrain-views`: the towers into `config.out`, the tiles' vectors into the area as `config.name`."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)

    def work(ledger: Ledger) -> None:
        found = pretrain_views(area, config, ledger, progress)
        ledger.outputs += _write(found, config)
        hashes = area.images.drop_duplicates("image_id").set_index("image_id")["sha256"]
        sha256 = hashes.reindex(list(found.image_ids)).to_numpy(object)
        fingerprint = sha256_bytes(found.vectors.tobytes())
        embeddings = Embeddings(config.name, fingerprint, found.image_ids, sha256, found.vectors)
        ledger.outputs.append(embeddings.write(area.embeddings_path(config.name)))

    inputs = [area.table_path(name) for name in ("images", "captions", "regions")]
    if config.init is not None:
        inputs.append(config.init)
    if (split := area.path / "splits" / f"{config.holdout}.parquet").is_file():
        inputs.append(split)
    manifest = config.out / "manifest.json"
    return run_stage("pretrain-views", manifest=manifest, config=plain(config), inputs=inputs, work=work)


def _train(views: Views, lr: float, progress: Progress) -> list[dict[str, float]]:
    config, scene, model = views.config, views.scene, views.model
    device = views.loaded.device
    optimiser = make_optimiser(model.parameters(), lr, config.weight_decay, device)
    an_epoch = -(-len(scene.train) // config.batch_size)
    steps, step = an_epoch * config.epochs, 0
    history: list[dict[str, float]] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        for epoch in range(config.epochs):
            started, sums = time.perf_counter(), dict[str, float]()
            model.train()
            for number, places in enumerate(batches(len(scene.train), config.batch_size, epoch, config.seed)):
                for group in optimiser.param_groups:
                    group["lr"] = lr * rate_factor(step, steps, warm_up_steps(_WARM_UP, steps), "cosine")
                rng = np.random.default_rng((config.seed, epoch, number, 7))
                told = rng.permutation(scene.told)[: len(places)]
                losses = views.losses(scene.train[places], told, (epoch, number), training=True)
                if not math.isfinite(value := float(losses["loss"].detach())):
                    raise ChorographError(f"the loss is {value} at step {step + 1} of {steps}; lower --lr (now {lr:g})")
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(losses["loss"])
                optimiser.step()
                _clamp(model)
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(loss.detach()) * len(places)
                step += 1
                rate = (step - epoch * an_epoch) * config.batch_size / (time.perf_counter() - started)
                progress(f"pretraining on tiles and street views | {rate:,.1f} tiles/s", step, steps)
            record = {f"train_{name}": total / len(scene.train) for name, total in sums.items()} | views.validate()
            seconds = time.perf_counter() - started
            history.append({"epoch": epoch + 1, **_rounded(record), "seconds": round(seconds, 3)})
    model.eval()
    return history


def _clamp(model: MultiGranularity) -> None:
    clamp_scale(model.model)
    with torch.no_grad():
        model.token_scale.clamp_(0, MAX_LOG_SCALE)


def _rounded(record: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in record.items()}


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


def _check(config: ViewsConfig) -> None:
    """Raise `InputError` for what cannot be meant."""
    least = {"street_views": 0, "location_hidden": 0, "alpha": 0, "beta": 0, "epochs": 0, "batch_size": 2}
    for name, number in least.items():
        if getattr(config, name) < number:
            raise InputError(f"options: --{name.replace('_', '-')} is {number} or more, not {getattr(config, name)}")
    if not config.epochs and config.init is None:
        raise InputError("options: --epochs 0 trains nothing; name the towers to encode with: --init FOLDER")


def _told(scene: Scene, config: ViewsConfig, ledger: Ledger) -> bool:
    """Count what there is to learn from, and return whether captions of street views take part."""
    without = sum(not len(rows) for rows in scene.of_tile)
    ledger.count("tiles without a caption", sum(not captions for captions in scene.tiles.captions))
    ledger.count("tiles trained on", len(scene.train))
    ledger.count("tiles held out", len(scene.held))
    ledger.count("street views", len(scene.views))
    ledger.count("street views with captions trained on", len(scene.told))
    if len(scene.held) < 2:
        ledger.warnings.append("fewer than two tiles are held out: nothing to contrast, so no validation")
    if not config.street_views:
        return False
    ledger.count("tiles without street views", without)
    if without == len(scene.of_tile):
        ledger.warnings.append("no tile has a street view in its region: every vector is the tile's own")
    if not config.beta:
        return False
    distinct = {text for row in scene.told for text in scene.views.captions[row]}
    if len(distinct) < 2:
        ledger.warnings.append(
            f"street views have {len(distinct)} different captions: the contrast of tokens (--beta) is left out; "
            "`chorograph caption` and `area build` tell how to give them some"
        )
    return len(distinct) >= 2


def _write(found: Trained, config: ViewsConfig) -> list[Path]:
    written = save_towers(config.out, found.loaded, found.model, plain(config))
    history = config.out / "history.jsonl"
    write_json_lines(history, found.history)
    return [*written, history]
