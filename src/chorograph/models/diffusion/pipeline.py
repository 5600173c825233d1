"""Stable Diffusion of Hugging Face's layout by folder (1.5, 2.1, XL), plain or with what was trained on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.files import naming_damage, read_json
from chorograph.models.preprocessing import Preprocessing
from chorograph.models.pretrained import AGAIN, check_files, load_pretrained
from chorograph.models.weights import check_whole

#: The attention layers that are adapted, as diffusers' own training scripts have it.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
LORA = "pytorch_lora_weights.safetensors"
#: The towers of transformers' in a pipeline: diffusers would not say what is missing in one.
_TOWERS = (
    ("text_encoder", "CLIPTextModel"),
    ("text_encoder_2", "CLIPTextModelWithProjection"),
)


@dataclass(frozen=True)
class Diffusion:
    """A pipeline of diffusers, and the folder it came from."""

    folder: Path
    pipeline: Any

    @property
    def unet(self) -> Any:
        """What is trained: it takes noise out of latents."""
        return self.pipeline.unet

    @property
    def large(self) -> bool:
        """Whether it is an XL: two text towers, and the size of the picture among what is asked for."""
        return hasattr(self.pipeline, "text_encoder_2")

    @property
    def device(self) -> torch.device:
        """Where it is."""
        device: torch.device = next(self.unet.parameters()).device
        return device

    @property
    def factor(self) -> int:
        """Pixels a latent, along a side."""
        return int(2 ** (len(self.pipeline.vae.config.block_out_channels) - 1))

    def preprocessing(self, side: int | None) -> Preprocessing:
        """Return what brings images to -1..1 at `side` pixels, by default what the model was made for."""
        side = side or int(self.unet.config.sample_size) * self.factor
        if side % self.factor:
            raise InputError(f"the side of a picture is a multiple of {self.factor} px for this model, not {side}")
        return Preprocessing.of({"size": side, "mean": (0.5,) * 3, "std": (0.5,) * 3})

    @torch.no_grad()
    def latents(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return scaled latents (n, channels, height, width) of images (n, 3, ...) in -1..1, drawn by `noise`."""
        found = self.pipeline.vae.encode(images).latent_dist
        latents: Tensor = (found.mean + found.std * noise) * self.pipeline.vae.config.scaling_factor
        return latents

    @torch.no_grad()
    def told(self, prompts: Sequence[str], side: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the hidden states (n, words, width) of prompts, and what an XL is told beside."""
        if not self.large:
            hidden, _ = self.pipeline.encode_prompt(list(prompts), self.device, 1, False)
            return hidden, {}
        hidden, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        sizes = torch.tensor([[side, side, 0, 0, side, side]], device=self.device, dtype=hidden.dtype)
        return hidden, {"text_embeds": pooled, "time_ids": sizes.expand(len(hidden), -1)}


def load_diffusion(argument: str, device: str = "cpu") -> Diffusion:
    """Load `FOLDER`, or `FOLDER+TRAINED` with what `pretrain --objective diffusion` wrote; `InputError` otherwise."""
    try:
        import transformers
        from diffusers import DiffusionPipeline, UNet2DConditionModel
        from diffusers.utils import logging
    except ImportError as error:
        raise MissingExtraError.of("generate", error) from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder, _, trained = argument.partition("+")
    if not (Path(folder) / "model_index.json").is_file():
        raise InputError(f"{folder} holds no pipeline of diffusers (model_index.json)")
    check_files(Path(folder))
    index = read_json(Path(folder) / "model_index.json", {str: object})
    towers = {
        name: load_pretrained(getattr(transformers, kind), Path(folder) / name, "a text tower", dtype=torch.float32)
        for name, kind in _TOWERS
        if index.get(name) == ["transformers", kind]
    }
    with naming_damage(Path(folder), "a Stable Diffusion", AGAIN):
        pipeline: Any = DiffusionPipeline.from_pretrained(folder, local_files_only=True, **towers)
    if trained:
        _add_trained(pipeline, Path(trained), UNet2DConditionModel)
    found = Diffusion(Path(folder), pipeline)
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            check_whole(part, f"{argument}, {name}")
            part.eval()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    with naming_damage(Path(folder) / "tokenizer", "the tokenizer of this model", AGAIN):
        found.told(["a"], found.preprocessing(None).size[0])  # what does not belong together shows with the first words
    return found


def _add_trained(pipeline: Any, place: Path, network: Any) -> None:
    """Put an adapter on the network of a pipeline, or another network into its place."""
    check_files(place)
    with naming_damage(place, "what `chorograph pretrain --objective diffusion` wrote", AGAIN):
        if (place / LORA).is_file():
            pipeline.load_lora_weights(str(place), weight_name=LORA, local_files_only=True)
        elif (place / "unet" / "config.json").is_file():
            pipeline.unet = network.from_pretrained(place / "unet", local_files_only=True)
        else:
            raise InputError(f"{place} was not written by `chorograph pretrain --objective diffusion`")


def adapt(diffusion: Diffusion, *, rank: int, alpha: int, dropout: float, targets: Sequence[str], seed: int) -> None:
    """Freeze the network and add LoRA where names end with one of `targets`, in place."""
    from peft import LoraConfig

    chosen = list(targets or TARGETS)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, init_lora_weights="gaussian", target_modules=chosen
    )
    diffusion.unet.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            diffusion.unet.add_adapter(config)
        except ValueError as error:
            raise InputError(f"{diffusion.folder} has no layer whose name ends with one of {chosen}") from error


def save_trained(diffusion: Diffusion, folder: Path) -> None:
    """Write the adapter, in the form that diffusers loads, or the whole network where there is none."""
    if not getattr(diffusion.unet, "peft_config", None):
        diffusion.unet.save_pretrained(folder / "unet")
        return
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(diffusion.unet))
    type(diffusion.pipeline).save_lora_weights(str(folder), unet_lora_layers=layers)
