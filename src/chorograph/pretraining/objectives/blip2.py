"""Captions by BLIP-2, whole or by LoRA (Zhang et al. 2024, RS5M)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.captioners.blip2 import Blip2, adapt, load_blip2
from chorograph.pretraining.adapted import Begun, train_on_top
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.feed import Batch
from chorograph.pretraining.feeds.read import pair_inputs
from chorograph.pretraining.loop.objective import Objective, Output, Portion
from chorograph.pretraining.objectives.registry import Trainer

#: As the name of the published checkpoint has it.
_RATE, _ALPHA = 5e-5, 16


class _Writer(nn.Module):
    def __init__(self, blip2: Blip2) -> None:
        super().__init__()
        self.model = blip2.model
        self._blip2 = blip2

    def forward(self, images: Tensor, ids: Tensor, written: Tensor) -> Output:
        return (), {"captioning": self._blip2.caption_loss(images, ids, written)}


class Blip2Objective(Objective[Batch]):
    """The next word of each caption, its image seen."""

    name, what, rows, contrasts = "blip2", "captioning with BLIP-2", "images", False

    def __init__(self, blip2: Blip2, seed: int, augmentation: str = "auto", view: str = "satellite") -> None:
        super().__init__()
        self._blip2, self._seed, self._augmentation, self._view = blip2, seed, augmentation, view
        self.module, self.weights = _Writer(blip2), {"captioning": 1.0}

    def portions(self, batch: Batch, number: int) -> list[Portion]:
        """Return a batch turned, normalised, in tokens; that of validation only the latter two."""
        pixels, portions = batch.turned(self._augmentation, self._view, self._seed, self.device), list[Portion]()
        for rows in np.array_split(np.arange(len(batch)), number):
            images = self._blip2.preprocessing.normalise(pixels[rows[0] : rows[-1] + 1], self.device)
            portions.append((images, *self._blip2.tokens([batch.texts[row] for row in rows])))
        return portions

    def amounts(self, portion: Portion) -> dict[str, int]:
        """Return how many tokens are to be written."""
        return {"captioning": int(portion[2][:, 1:].sum())}

    def save_memory(self) -> None:
        """Compute activations twice."""
        self._blip2.plain.gradient_checkpointing_enable({"use_reentrant": False})


def train_blip2(config: PretrainConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Train the BLIP-2 of `init` on captions; writes the adapter, or without one the model, into `config.out`."""
    whole = config.adapter == "none"

    def begin(init: Path, device: str) -> Begun:
        blip2 = load_blip2(init)
        if not whole:
            blip2 = adapt(
                blip2, rank=config.adapter_rank, alpha=config.adapter_alpha or _ALPHA, dropout=config.adapter_dropout,
                targets=config.adapter_targets, seed=config.seed,
            )  # fmt: skip
        blip2.model.to(device)

        def save(folder: Path) -> None:
            blip2.model.save_pretrained(folder, safe_serialization=True)
            if whole:
                blip2.tokenizer.save_pretrained(folder)

        objective = Blip2Objective(blip2, config.seed, config.augment, config.view)
        use = f"`chorograph caption AREA --captioner hf:{init}+THIS_FOLDER`"
        return Begun(objective, blip2.preprocessing, save, "BLIP-2" if whole else "adapter of a BLIP-2", use, _RATE)

    return train_on_top(config, ledger, progress, "a BLIP-2 of Hugging Face", begin)


BLIP2 = Trainer(PretrainConfig, pair_inputs, train_blip2)
