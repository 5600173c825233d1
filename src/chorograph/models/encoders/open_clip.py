"""open_clip models by name, with transform and tokenizer together, as encoders of images and texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.coca.tokenizer import Tokenizer, WordTokenizer
from chorograph.models.coca.towers import SMALL, architecture, build, encode_text, trim
from chorograph.models.preprocessing import Preprocessing
from chorograph.models.weights import apply_weights, read_weights, weights_digest

_BATCH = 64
#: Embeddings of a text tower that says nothing else.
_BPE = 49408

#: The file that names the model being loaded, where it is a file and no user.
_named_by: ContextVar[Path | None] = ContextVar("named_by", default=None)


@dataclass(frozen=True)
class ImageTextModel:
    """A CLIP or CoCa with what belongs to it: never a model with another one's tokenizer or transform.

    `config` rebuilds the model (`chorograph.models.coca.towers.build`); `architecture` is the name it is known by.
    """

    architecture: str
    config: Mapping[str, Any]
    model: nn.Module
    preprocessing: Preprocessing
    tokenizer: Tokenizer = field(repr=False)

    @property
    def dim(self) -> int:
        """The width of image and text features."""
        return int(self.config["embed_dim"])

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Return image features (n, dim) of unit length for a uint8 batch (n, 3, height, width)."""
        features: Tensor = self.model.encode_image(self.preprocessing.normalise(pixels, self.device))  # type: ignore[operator]
        return functional.normalize(features, dim=-1)

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> Tensor:
        """Return text features (n, dim), of unit length or as the tower gives them."""
        tokens = trim(self.model, self.tokenizer(list(texts))).to(self.device)
        return encode_text(self.model, tokens, unit=unit).pooled


def new_model(name: str, *, seed: int, captions: Sequence[str] = (), compact: bool | None = None) -> ImageTextModel:
    """Build an untrained model by the name of its architecture.

    `compact` learns a word tokenizer from `captions` and sizes the text tower for it; None means so for the small
    configurations of this library only, the others keeping open_clip's tokenizer.
    """
    config = architecture(name)
    if compact is None:
        compact = name in SMALL
    if not compact:
        # open_clip does not know ours; its own tokenizer is the same for all that name no other.
        theirs = open_clip.SimpleTokenizer() if name in SMALL else open_clip.get_tokenizer(name)
        if name in SMALL:  # ours alone have no size of their own: the towers are made for the tokenizer
            _resize(config, theirs.vocab_size, context_length=theirs.context_length)
        return _assemble(name, config, theirs, seed, {})
    tokenizer = WordTokenizer.learn(captions)
    _resize(config, tokenizer.vocab_size, context_length=tokenizer.context_length)
    return _assemble(name, config, tokenizer, seed, {})


def _resize(config: dict[str, Any], vocab_size: int, **more: int) -> None:
    for part in ("text_cfg", "multimodal_cfg"):
        if part in config:
            config[part] |= {"vocab_size": vocab_size, **more}


def check_vocabulary(config: Mapping[str, Any], tokenizer: Tokenizer, where: str) -> None:
    """Raise `InputError` where a tokenizer has more tokens than a text tower has embeddings."""
    tokens = getattr(tokenizer, "vocab_size", None)
    for part in ("text_cfg", "multimodal_cfg"):
        held = config.get(part, {}).get("vocab_size", _BPE)
        if isinstance(tokens, int) and isinstance(held, int) and tokens > held:
            raise InputError(
                f"{where}: its tokenizer has {tokens:,} tokens and its text tower ({part}) {held:,} embeddings; they "
                "do not belong together"
            )


@contextmanager
def named_by(file: Path) -> Iterator[None]:
    """Let a model that `file` names, and no user, be loaded only where nothing has to be fetched for it."""
    token = _named_by.set(file)
    try:
        yield
    finally:
        _named_by.reset(token)


def _published_weights(published: Mapping[str, Any], argument: str) -> Path:
    if _named_by.get() is None:
        return Path(open_clip.download_pretrained(dict(published)))
    held = _held_weights(published)
    if held is None:
        raise _not_fetched(argument)
    return held


def _held_weights(published: Mapping[str, Any]) -> Path | None:
    """Return the file of published weights that an earlier download left on this machine; None where there is none."""
    from open_clip import pretrained

    repository, _, name = str(published.get("hf_hub", "")).rpartition("/")
    names = [name] if name else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    for one in dict.fromkeys([f"{Path(names[0]).stem}.safetensors", *names]) if repository else ():
        with suppress(Exception):  # whatever the hub's client says of what it has not
            return Path(pretrained.hf_hub_download(repository, one, local_files_only=True))
    path = Path.home() / ".cache" / "clip" / Path(str(published.get("url", ""))).name
    return path if path.is_file() else None


def _not_fetched(argument: str) -> InputError:
    return InputError(
        f"{_named_by.get()} names open_clip:{argument}, which is not on this machine, and is not fetched at a file's "
        f"word; if you trust it, fetch it by its name once: chorograph embed AREA --model open_clip:{argument}"
    )


def load_open_clip(argument: str, device: str = "cpu", *, seed: int = 0) -> ImageTextModel:
    """Load `NAME`, `NAME/TAG` or `NAME/path/to/weights`; only a TAG that is named is ever downloaded.

    A bare NAME has random weights, drawn from `seed`. Raises `UnknownNameError` for an unknown name or tag, and
    `InputError` for a file that does not fit.
    """
    name, _, tag = argument.partition("/")
    config = architecture(name)
    overrides: Mapping[str, Any] = {}
    weights: Path | None = None
    if tag:
        published = open_clip.get_pretrained_cfg(name, tag)
        if published:
            overrides, weights = published, _published_weights(published, argument)
            # The activation that the weights were trained with; another one costs points and says nothing.
            config["quick_gelu"] = bool(published.get("quick_gelu", False))
        elif Path(tag).is_file():
            weights = Path(tag)
        else:
            known = open_clip.list_pretrained_tags_by_model(name)
            raise UnknownNameError.of(f"tag or weights file of {name}", tag, known)
    loaded = _assemble(name, config, open_clip.get_tokenizer(name), seed, overrides)
    if weights is not None:
        apply_weights(loaded.model, read_weights(weights), str(weights))
    loaded.model.to(device).eval()
    return loaded


def _assemble(
    name: str, config: Mapping[str, Any], tokenizer: Tokenizer, seed: int, overrides: Mapping[str, Any]
) -> ImageTextModel:
    check_vocabulary(config, tokenizer, name)
    model = build(config, seed)
    defaults = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    size = getattr(model.visual, "image_size", config["vision_cfg"].get("image_size", 224))
    settings = {**defaults, **{k: v for k, v in overrides.items() if v is not None}, "size": size}
    return ImageTextModel(name, config, model, Preprocessing.of(settings), tokenizer)


@dataclass(frozen=True)
class OpenClipEncoder:
    """A model as an encoder of images: its pooled contrastive feature, of unit length.

    `precision`: fp32, or bf16 for products in bfloat16, several times faster where the hardware has it.
    """

    name: str
    loaded: ImageTextModel
    batch_size: int = _BATCH
    precision: str = "fp32"

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self.loaded.dim

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, the architecture, the preprocessing, and the precision where it is not fp32."""
        precision = [] if self.precision == "fp32" else [self.precision]
        described = json.dumps(
            [dict(self.loaded.config), self.loaded.preprocessing.settings(), *precision], sort_keys=True
        )
        return hashlib.sha256(f"{weights_digest(self.loaded.model)}{described}".encode()).hexdigest()

    def prepare(self, image: Pixels) -> Pixels:
        """Return an image at the model's size, which `encode` takes as it is: for threads that read ahead."""
        return self.loaded.preprocessing.pixels(image)

    def encode(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return (n, dim) float32 for n uint8 (height, width, 3) images of any size."""
        return self._encode(
            len(images),
            lambda part: self.loaded.encode_pixels(self.loaded.preprocessing.batch(images[part])),
            unit=True,
        )

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
        """Return (n, dim) float32 for n texts; those of unit length compare with image vectors by dot product."""
        return self._encode(len(texts), lambda part: self.loaded.encode_texts(texts[part], unit=unit), unit=unit)

    def _encode(self, number: int, encode: Callable[[slice], Tensor], *, unit: bool) -> NDArray[np.float32]:
        self.loaded.model.eval()
        features, half = np.empty((number, self.dim), dtype=np.float32), self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.loaded.device.type, torch.bfloat16, enabled=half):
            for start in range(0, number, self.batch_size):
                part = slice(start, min(start + self.batch_size, number))
                encoded = encode(part).float()
                # Unit length in bfloat16 is so to two decimals only.
                features[part] = (functional.normalize(encoded, dim=-1) if half and unit else encoded).cpu().numpy()
        return features


def load_open_clip_encoder(argument: str, device: str = "cpu") -> OpenClipEncoder:
    """Load the encoder `open_clip:ARGUMENT`: an architecture, with a published tag or a weights file."""
    if argument.partition("/")[0] in SMALL:
        raise InputError(f"{argument} has no published weights; train it (`chorograph pretrain`) and name its folder")
    return OpenClipEncoder(f"open_clip:{argument}", load_open_clip(argument, device))
