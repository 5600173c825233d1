"""Pictures from words by diffusion (RS-SD of Zhang et al. 2024): the whole network, or LoRA in its attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chorograph.ground.errors import InputError
from chorograph.ground.settings import Range, above, at_least, setting
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.diffusion.pipeline import Diffusion, adapt, load_diffusion, save_trained
from chorograph.pretraining.adapted import Begun, train_on_top
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.feed import Batch
from chorograph.pretraining.feeds.read import pair_inputs
from chorograph.pretraining.loop.objective import Objective, Output, Portion
from chorograph.pretraining.objectives.registry import Trainer

#: Peak learning rates of diffusers' own training scripts: of the whole network, and of LoRA.
_RATE, _LORA_RATE = 1e-5, 1e-4


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig(PretrainConfig):
    """Settings of `chorograph pretrain --objective diffusion`, beside those of pairs."""

    resolution: int | None = setting(None, help="side of pictures in pixels; unset: the model's", within=at_least(8))
    min_snr: float | None = setting(
        5.0, help="how much steps with little noise count at most (Hang et al. 2023)", within=above(0)
    )
    prompt_dropout: float = setting(
        0.1, help="share of captions left out, so that pictures without words are learnt too", within=Range(0, 1)
    )


class Denoiser(nn.Module):
    """The network as the loop calls it."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, noisy: Tensor, times: Tensor, hidden: Tensor, beside: dict[str, Tensor], wanted: Tensor, weight: Tensor
    ) -> Output:
        """Return the sum of the weighted errors of what is `wanted` in noisy latents (n, channels, ...)."""
        found: Any = self.unet(noisy, times, encoder_hidden_states=hidden, added_cond_kwargs=beside or None)
        error = (found.sample.float() - wanted.float()).square().flatten(1).mean(1)
        return (), {"denoising": (weight * error).sum()}


class DiffusionObjective(Objective[Batch]):
    """The noise that was put into a picture's latents, or its velocity, from the words about it."""

    name, what, rows, contrasts = "diffusion", "learning to draw", "images", False

    def __init__(self, diffusion: Diffusion, config: DiffusionConfig) -> None:
        super().__init__()
        self._diffusion, self._config = diffusion, config
        self._preprocessing = diffusion.preprocessing(config.resolution)
        self.module, self.weights = Denoiser(diffusion.unet), {"denoising": 1.0}
        schedule = diffusion.pipeline.scheduler
        self._kept: Tensor = schedule.alphas_cumprod
        self._kind = str(schedule.config.prediction_type)
        if self._kind not in ("epsilon", "v_prediction"):
            raise InputError(f"{diffusion.folder} predicts {self._kind}, and epsilon or v_prediction is trained")

    def portions(self, batch: Batch, number: int) -> list[Portion]:
        """Return noisy latents, what is to be found in them, and the words; drawn by the row's place in the run."""
        diffusion, config = self._diffusion, self._config
        pixels = batch.turned(config.augment, config.view, config.seed, self.device)
        draws = self._draws(batch)
        texts = [text if prompted else "" for text, prompted in zip(batch.texts, draws.prompted, strict=True)]
        portions: list[Portion] = []
        for rows in np.array_split(np.arange(len(batch)), number):
            at = torch.from_numpy(rows)
            images = self._preprocessing.normalise(pixels[at], self.device)
            noise, times = draws.noise[at].to(self.device), draws.times[at]
            latents = diffusion.latents(images, draws.latent[at].to(self.device))
            kept = self._kept[times].view(-1, 1, 1, 1).to(self.device)
            noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
            wanted = noise if self._kind == "epsilon" else kept.sqrt() * noise - (1 - kept).sqrt() * latents
            hidden, beside = diffusion.told([texts[row] for row in rows], self._preprocessing.size[0])
            weight = self._weight(times).to(self.device)
            portions.append((noisy, times.to(self.device), hidden, beside, wanted, weight))
        return portions

    def amounts(self, portion: Portion) -> dict[str, int]:
        """Return the number of images."""
        return {"denoising": len(portion[0])}

    def save_memory(self) -> None:
        """Compute activations twice."""
        self._diffusion.unet.enable_gradient_checkpointing()

    def train(self, mode: bool) -> None:
        """Put the network in training mode or out of it; the rest is never trained."""
        self.module.train(mode)

    def _weight(self, times: Tensor) -> Tensor:
        """Return what each step counts (n,): by min-SNR, as the paper's equation for what is predicted."""
        if self._config.min_snr is None:
            return torch.ones(len(times))
        kept = self._kept[times].double()
        ratio = kept / (1 - kept)
        below = ratio if self._kind == "epsilon" else ratio + 1
        return (ratio.clamp(max=self._config.min_snr) / below).float()

    def _draws(self, batch: Batch) -> _Draws:
        side, factor = self._preprocessing.size[0], self._diffusion.factor
        shape = (int(self._diffusion.unet.config.in_channels), side // factor, side // factor)
        found = []
        for row, place in zip(batch.rows.tolist(), batch.places.tolist(), strict=True):
            key = (13, row) if batch.place is None else (12, *batch.place, place)
            rng = np.random.default_rng((self._config.seed, *key))
            latent, noise = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
            prompted = batch.place is None or rng.random() >= self._config.prompt_dropout
            found.append((latent, noise, int(rng.integers(len(self._kept))), prompted))
        latents, noises, times, said_ = zip(*found, strict=True)
        return _Draws(
            torch.from_numpy(np.stack(latents)), torch.from_numpy(np.stack(noises)), torch.tensor(times), list(said_)
        )


@dataclass(frozen=True)
class _Draws:
    latent: Tensor
    noise: Tensor
    times: Tensor
    prompted: list[bool]


def train_diffusion(config: DiffusionConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Train the Stable Diffusion of `init`; writes the adapter, or without one the network, into `config.out`."""
    whole = config.adapter == "none"

    def begin(init: Path, device: str) -> Begun:
        diffusion = load_diffusion(str(init), device)
        for part in diffusion.pipeline.components.values():
            if isinstance(part, nn.Module):
                part.requires_grad_(part is diffusion.unet)
        if not whole:
            adapt(
                diffusion, rank=config.adapter_rank, alpha=config.adapter_alpha or config.adapter_rank,
                dropout=config.adapter_dropout, targets=config.adapter_targets, seed=config.seed,
            )  # fmt: skip
        kind = f"{'network' if whole else 'adapter'} of a Stable Diffusion"
        use = f'`chorograph generate "a harbour with docks" --model {init}+THIS_FOLDER`'
        preprocessing = diffusion.preprocessing(config.resolution)
        objective, rate = DiffusionObjective(diffusion, config), _RATE if whole else _LORA_RATE
        return Begun(objective, preprocessing, partial(save_trained, diffusion), kind, use, rate)

    return train_on_top(config, ledger, progress, "a Stable Diffusion of diffusers", begin)


DIFFUSION = Trainer(DiffusionConfig, pair_inputs, train_diffusion)
