"""What is learnt from image-text pairs: contrast, captions, or both, beside a knowledge graph or a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn import functional

from chorograph.ground.errors import InputError
from chorograph.metrics.retrieval import belonging, best_ranks, recalls
from chorograph.models.coca.contrast import clamp_scale, contrastive_loss, distillation_loss, sigmoid_loss
from chorograph.models.coca.towers import PAD, decode, encode_text, is_coca, trim
from chorograph.models.coca.vocabulary import sum_of_losses
from chorograph.models.encoders.open_clip import ImageTextModel
from chorograph.pretraining.feeds.feed import Batch
from chorograph.pretraining.feeds.pairs import Pairs
from chorograph.pretraining.loop.freeze import set_training
from chorograph.pretraining.loop.objective import Objective, Output, Portion
from chorograph.pretraining.loop.step import Step
from chorograph.pretraining.loop.watch import caption_diversity


@dataclass(frozen=True)
class Pairing:
    """How an image and its text are learnt to belong together; the weights say how much contrast and captions count.

    Contrast is of every image with every text of the batch, both ways (Radford et al. 2021), or with `sigmoid` of each
    pair on its own (Zhai et al. 2023). Captions are written word by word (Yu et al. 2022); 0 leaves the decoder alone.
    """

    name: str
    contrastive: float = 1.0
    captioning: float = 0.0
    sigmoid: bool = False

    def check(self, model: nn.Module) -> None:
        """Raise `InputError` where the model lacks what is trained."""
        if self.sigmoid and getattr(model, "logit_bias", None) is None:
            raise InputError(f"objective {self.name} needs a model with a logit bias")
        if self.captioning and not is_coca(model):
            raise InputError(
                f"objective {self.name} needs a CoCa architecture (coca-small, coca_ViT-B-32, ...); or use clip"
            )

    def contrast(self, images: Tensor, texts: Tensor, own: slice, model: nn.Module) -> Tensor:
        """Return the part that the rows `own` have in the contrastive loss of all features (n, dim)."""
        towers: Any = model
        scale = towers.logit_scale.exp()
        if self.sigmoid:
            return sigmoid_loss(images, texts, scale, towers.logit_bias, own)
        return contrastive_loss(images, texts, scale, own)


PAIRINGS = {
    pairing.name: pairing
    for pairing in (
        Pairing("coca", captioning=1.0),
        Pairing("clip"),
        Pairing("siglip", sigmoid=True),
        Pairing("caption", contrastive=0.0, captioning=1.0),
    )
}


class Towers(nn.Module):
    """A model as the loop calls it: one call a portion, so that what wraps it (DDP, FSDP) sees every use.

    `logit_scale` and `logit_bias` are not used here: they belong to the contrast, which takes the features of all
    processes.
    """

    def __init__(self, model: nn.Module, *, captions: bool) -> None:
        super().__init__()
        self.model = model
        self.captions = captions

    def forward(self, images: Tensor | None, tokens: Tensor, *given: Tensor, ahead: bool = False) -> Output:
        """Return image and text features (n, dim) of unit length with what is `given`, and the captions' loss.

        That is the sum over all real tokens; it is left out `ahead` of the second pass. Without images, text features
        in the place of both.
        """
        model: Any = self.model
        text = encode_text(model, tokens)
        if images is None:
            return (text.pooled.float(),), {}
        if ahead or not self.captions:
            features = functional.normalize(model.encode_image(images), dim=-1)
            return (features.float(), text.pooled.float(), *given), {}
        if text.tokens is None:  # a text tower that keeps its tokens to itself
            raise InputError("captions need a text tower that returns its tokens")
        pooled, image_tokens = model._encode_image(images)
        hidden = decode(model.text_decoder, image_tokens, text.tokens[:, :-1])
        labels = tokens[:, 1:]
        real = labels != PAD
        total = sum_of_losses(hidden[real], model.text_decoder.text_projection, labels[real])
        return (pooled.float(), text.pooled.float(), *given), {"captioning": total}


@dataclass
class PairObjective(Objective[Batch]):
    """A pairing of a model's towers. `entities` (n,) are those of the images' regions, where there is a graph."""

    pairing: Pairing
    loaded: ImageTextModel
    augmentation: str = "auto"
    view: str = "satellite"
    seed: int = 0
    frozen: str = "none"
    batch_size: int = 64
    graph: Any = None
    pairs: Pairs | None = None
    held: Pairs | None = None
    teacher: ImageTextModel | None = None
    distillation: float = 1.0

    def __post_init__(self) -> None:
        """Make ready; `InputError` where the model lacks what is trained."""
        super().__init__()
        self.name, self.rows = self.pairing.name, "images"
        self.what = f"pretraining {self.loaded.architecture}"
        self.pairing.check(self.loaded.model)
        self.module = Towers(self.loaded.model, captions=self.pairing.captioning > 0)
        self.weights: Mapping[str, float] = {
            "contrastive": self.pairing.contrastive,
            "captioning": self.pairing.captioning,
            "graph": 0.0 if self.graph is None else self.graph.weight,
            "distillation": self.distillation,
        }
        if self.graph is not None:
            self.head = self.graph

    def portions(self, batch: Batch, number: int) -> list[Portion]:
        """Return a batch turned, normalised, in tokens; that of validation only the latter two."""
        pixels, portions = batch.turned(self.augmentation, self.view, self.seed, self.device), []
        for rows in np.array_split(np.arange(len(batch)), number):
            some, texts = pixels[rows[0] : rows[-1] + 1], [batch.texts[row] for row in rows]
            images = self.loaded.preprocessing.normalise(some, self.device)
            given = [] if self.graph is None else [self._entities(batch)[torch.from_numpy(rows)]]
            portions.append((images, tokens_of(self.loaded, texts), *given, *self._taught(some, texts)))
        return portions

    def amounts(self, portion: Portion) -> dict[str, int]:
        """Return how many tokens are to be written."""
        return {"captioning": real_tokens(portion[1])} if self.pairing.captioning else {}

    def contrast(self, batch: Batch, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return the contrast with texts, with the graph, and with what a teacher sees."""
        images, texts, *given = features
        found = {"contrastive": self.pairing.contrast(images, texts, own[0], self.loaded.model)}
        if self.graph is not None:
            key = None if batch.place is None else (self.seed, *batch.place)
            found["graph"] = self.graph(images, given.pop(0), own[0], key)
        if self.teacher is not None:
            models: list[Any] = [self.loaded.model, self.teacher.model]
            ours, theirs = (model.logit_scale.exp() for model in models)
            found["distillation"] = distillation_loss(ours * images, texts, theirs * given[0], given[1], own[0])
        return found

    def scales(self) -> list[nn.Parameter]:
        """Return the logit scale and, where there is one, the logit bias."""
        found = (getattr(self.loaded.model, name, None) for name in ("logit_scale", "logit_bias"))
        return [parameter for parameter in found if parameter is not None]

    def train(self, mode: bool) -> None:
        """Put the towers in training mode, but for a frozen one, or all out of it."""
        super().train(mode)
        if mode:
            set_training(self.loaded.model, self.frozen)

    def clamp(self) -> None:
        """Keep the logit scale within [0, ln 100]."""
        clamp_scale(self.loaded.model)

    def save_memory(self) -> None:
        """Compute activations twice."""
        model: Any = self.loaded.model
        model.set_grad_checkpointing(True)

    def facts(self) -> dict[str, float]:
        """Return the logit scale."""
        return {"logit_scale": float(self.scales()[0].detach().exp())}

    def measure(
        self, step: Step[Batch], batches: Sequence[Batch], features: Sequence[tuple[Tensor, ...]]
    ) -> dict[str, Any]:
        """Return recalls over every caption, and whether captions that are written have collapsed.

        Of images that are decoded as they come, those that cannot be are left out.
        """
        held = self.held
        if held is None:
            return {}
        rows = [row for batch in batches for part in step.world.all(batch.rows.tolist()) for row in part]
        texts, pairs = belonging([held.captions[row] for row in rows])
        size = self.batch_size
        parts = []
        for start in range(0, len(texts), size):
            with step.autocast():
                parts.append(step.module(None, tokens_of(self.loaded, texts[start : start + size]))[0][0].cpu())
        images = torch.cat([sides[0] for sides in features]).numpy()
        found: dict[str, Any] = dict(recalls(best_ranks(images, torch.cat(parts).numpy(), pairs)))
        if self.pairing.captioning and not isinstance(step.module, FSDPModule):
            found |= caption_diversity(self.loaded, held)
        return found

    def _entities(self, batch: Batch) -> Tensor:
        pairs = self.held if batch.place is None else self.pairs
        assert pairs is not None  # noqa: S101  # a graph goes with the pairs that it tells of
        found: Tensor = self.graph.entities([pairs.image_ids[row] for row in batch.rows.tolist()])
        return found.to(self.device)

    def _taught(self, pixels: Tensor, texts: list[str]) -> list[Tensor]:
        """Return the teacher's image and text features."""
        if self.teacher is None:
            return []
        with torch.no_grad():
            return [self.teacher.encode_pixels(pixels).float(), self.teacher.encode_texts(texts).float()]


def real_tokens(tokens: Tensor) -> int:
    """Return the number of next tokens to be written in token ids (n, length): all but padding and the start."""
    return int((tokens[:, 1:] != PAD).sum())


def tokens_of(loaded: ImageTextModel, texts: list[str]) -> Tensor:
    """Return the token ids (n, length) of texts, without the padding that changes nothing."""
    return trim(loaded.model, loaded.tokenizer(texts)).to(loaded.device)
