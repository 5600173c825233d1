"""UrbanVLP's towers (Hao et al. 2025): tiles, street views and texts, and the folder that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, check_regular, naming_damage, write_json
from chorograph.models.coca.tokenizer import Tokenizer, WordTokenizer
from chorograph.models.coca.towers import TextFeatures, build, encode_text, trim
from chorograph.models.described import PREPROCESSING, check_architecture, read_described, shipped_tokenizer
from chorograph.models.encoders.open_clip import ImageTextModel
from chorograph.models.preprocessing import Preprocessing
from chorograph.models.views.multi_view import Fusion, MultiView
from chorograph.models.weights import apply_weights, read_weights

FORMAT = "chorograph-views-1"
_SHAPE = {
    "architecture": str, "model": {str: object}, "preprocessing": PREPROCESSING, "fusion": str, "location_hidden": int,
    "tokenizer?": {"words": [str], "context_length": int},
}  # fmt: skip
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


class MultiGranularity(nn.Module):
    """Three towers: one for what is seen above, one of the same architecture for the streets, one for text.

    `loaded` is an open_clip CLIP or CoCa, whose image tower sees from above; both image towers begin with its weights.
    All features are as wide as its own.
    """

    def __init__(self, loaded: ImageTextModel, fusion: Fusion = "gated", location_hidden: int = 1024) -> None:
        super().__init__()
        towers: Any = loaded.model
        self.settings: dict[str, Any] = {"fusion": fusion, "location_hidden": location_hidden}
        self.model = loaded.model
        self.streets = deepcopy(towers.visual)
        if hasattr(self.streets, "output_tokens"):
            self.streets.output_tokens = True
        self.fusion = MultiView(loaded.dim, loaded.dim, loaded.dim, fusion, location_hidden)
        # How wide tokens are, open_clip says nowhere for all architectures: one blank image and one word show it.
        blank = torch.zeros(1, 3, *loaded.preprocessing.size, device=loaded.device)
        with torch.no_grad():
            seen = self.eval().street(blank)[1]
            said = self.text(trim(self.model, loaded.tokenizer(["a"])).to(loaded.device)).tokens
        self.seen_token = nn.Linear(seen.shape[-1], loaded.dim)
        self.said_token = None if said is None else nn.Linear(said.shape[-1], loaded.dim)
        self.token_scale = nn.Parameter(towers.logit_scale.detach().clone())

    def above(self, images: Tensor) -> Tensor:
        """Return features (n, dim) of normalised satellite images (n, 3, height, width)."""
        towers: Any = self.model
        return _parts(towers.visual(images))[0]

    def street(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, dim) and tokens (n, tokens, width) of street views; a tower without tokens gives one."""
        return _parts(self.streets(images))

    def text(self, tokens: Tensor) -> TextFeatures:
        """Return what the text tower gives for trimmed token ids (n, length)."""
        return encode_text(self.model, tokens)

    def in_one_space(self, seen: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """Return street-view tokens (n, tokens, width) and words of captions (n, words, width) as unit vectors of dim.

        Raises `InputError` for a text tower that keeps its tokens to itself.
        """
        if self.said_token is None:
            raise InputError("this model's text tower gives no tokens; choose another model, or --beta 0")
        one, other = self.seen_token(seen.float()), self.said_token(said.float())
        return normalize(one, dim=-1), normalize(other, dim=-1)


def save_towers(
    folder: Path, loaded: ImageTextModel, model: MultiGranularity, trained: Mapping[str, Any]
) -> list[Path]:
    """Write weights and what rebuilds them, each file atomically; `trained` says how they came about."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / _WEIGHTS) as temporary:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}, temporary)
    words: dict[str, Any] | None = None
    if isinstance(loaded.tokenizer, WordTokenizer):
        words = {"words": list(loaded.tokenizer.words), "context_length": loaded.tokenizer.context_length}
    described = {
        "format": FORMAT,
        "architecture": loaded.architecture,
        "model": dict(loaded.config),
        "preprocessing": loaded.preprocessing.settings(),
        "tokenizer": words,
        **model.settings,
        "trained": dict(trained),
    }
    write_json(folder / _CONFIG, described)
    return [folder / _WEIGHTS, folder / _CONFIG]


def load_towers(folder: Path) -> tuple[ImageTextModel, MultiGranularity]:
    """Load what `save_towers` wrote; `InputError` naming the file where it is damaged or something else."""
    path, weights = folder / _CONFIG, folder / _WEIGHTS
    said = read_described(path, FORMAT, "what `chorograph pretrain-views` writes", _SHAPE)
    check_regular(weights)
    check_architecture(said["model"], path, weights.stat().st_size)
    name, words = said["architecture"], said.get("tokenizer")
    tokenizer: Tokenizer = (
        shipped_tokenizer(name, path)
        if words is None
        else WordTokenizer(tuple(words["words"]), words["context_length"])
    )
    with naming_damage(path, "the description of towers", "train them again, or get the file again"):
        preprocessing = Preprocessing.of(said["preprocessing"])
        loaded = ImageTextModel(name, said["model"], build(said["model"], 0), preprocessing, tokenizer)
        model = MultiGranularity(loaded, said["fusion"], said["location_hidden"])
    apply_weights(model, read_weights(weights), str(weights))
    return loaded, model


def _parts(features: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return (features, features[:, None]) if isinstance(features, Tensor) else features


def fuse(
    model: MultiGranularity, above: Tensor, streets: Tensor, places: Tensor, which: Tensor, held: Tensor
) -> Tensor:
    """Return the vectors (n, dim) of tiles, of unit length, from features (n, dim) and those of street views (k, dim).

    `places` (k, 2) are theirs; `which` (n, most) of them stands there, where `held`.
    """
    views, at = above.new_zeros(*held.shape, above.shape[1]), above.new_zeros(*held.shape, 2)
    if len(streets):
        views, at = streets[which], places[which]
    with torch.autocast(above.device.type, enabled=False):
        return normalize(model.fusion(above, views, at, held), dim=-1)
