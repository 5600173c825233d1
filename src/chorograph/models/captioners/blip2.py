"""BLIP-2 captioners of Hugging Face by folder, plain or with a LoRA adapter beside; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.files import naming_damage, read_json
from chorograph.ground.schema import OneOf
from chorograph.models.captioners.drawing import Drawing, processors_of
from chorograph.models.preprocessing import Preprocessing
from chorograph.models.pretrained import AGAIN, load_pretrained, load_tokenizer
from chorograph.models.weights import check_whole, read_weights

#: What Zhang et al. 2024 adapt: packed attention and its output projection, in the image tower alone.
TARGETS = ("self_attn.qkv", "self_attn.projection")
#: How Zhang et al. 2024 write captions.
LENGTH, TOP_K, TOP_P = 50, 50, 0.95
_BATCH = 16
_ADAPTER = "adapter_config.json"
_LORA = {"peft_type": OneOf(("LORA",)), "r": int, "lora_alpha": float, "target_modules": [str]}


@dataclass(frozen=True)
class Blip2:
    """A BLIP-2 with what belongs to it; `model` may have an adapter."""

    folder: Path
    model: Any
    tokenizer: Any
    preprocessing: Preprocessing

    @property
    def plain(self) -> Any:
        """The model, with the layers of an adapter in it, and without its wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def prompt(self, number: int) -> Tensor:
        """Return the token ids (number, queries) that stand for the image."""
        config = self.plain.config
        return torch.full((number, config.num_query_tokens), config.image_token_index)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids (n, length) of image and caption, and which are to be written: words, and the end."""
        end = self.tokenizer.eos_token or ""
        said = self.tokenizer([text + end for text in texts], padding=True, return_tensors="pt")
        words, held = said["input_ids"], said["attention_mask"].bool()
        starts = words[:, :1] == (self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else -1)
        held = held & ~torch.cat([starts, torch.zeros_like(held[:, 1:])], 1)
        image = self.prompt(len(texts))
        ids = torch.cat([image, words], 1)
        return ids.to(self.device), torch.cat([torch.zeros_like(image, dtype=torch.bool), held], 1).to(self.device)

    def caption_loss(self, images: Tensor, ids: Tensor, written: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of the tokens that are `written` (n, length), in float32."""
        mask = (ids != (self.tokenizer.pad_token_id or 0)) | written
        mask[:, : self.plain.config.num_query_tokens] = True
        logits = self.model(pixel_values=images, input_ids=ids, attention_mask=mask.long()).logits
        labels = ids[:, 1:][written[:, 1:]]
        return functional.cross_entropy(logits[:, :-1][written[:, 1:]].float(), labels, reduction="sum")

    @torch.no_grad()
    def write(self, images: Sequence[Pixels], *, seeds: Sequence[int] | None = None) -> list[str]:
        """Write a caption of each image: drawn as published from a seed each, without seeds the likeliest words."""
        self.model.eval()
        written: list[str] = []
        drawing = Drawing(seeds is not None, TOP_P, max_tokens=LENGTH, top_k=TOP_K)
        for start in range(0, len(images), _BATCH):
            some = self.preprocessing.batch(images[start : start + _BATCH])
            ids = self.prompt(len(some)).to(self.device)
            if (begin := self.tokenizer.bos_token_id) is not None:
                ids = torch.cat([ids, torch.full_like(ids[:, :1], begin)], 1)
            found = self.model.generate(
                pixel_values=self.preprocessing.normalise(some, self.device),
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=LENGTH,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                do_sample=False,
                logits_processor=processors_of(drawing, (seeds or [])[start : start + _BATCH]),
            )
            if found.shape[1] > ids.shape[1] and torch.equal(found[:, : ids.shape[1]], ids):
                found = found[:, ids.shape[1] :]
            written += [text.strip() for text in self.tokenizer.batch_decode(found, skip_special_tokens=True)]
        return written


def load_blip2(folder: Path, device: str = "cpu") -> Blip2:
    """Load a BLIP-2 from a folder of Hugging Face, ready to write; `InputError` where it holds none."""
    try:
        from transformers import AutoTokenizer, Blip2ForConditionalGeneration, logging
    except ImportError as error:
        raise MissingExtraError.of("generate", error) from error
    logging.set_verbosity_error()
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no model of Hugging Face (config.json); give the folder of a BLIP-2")
    model = load_pretrained(Blip2ForConditionalGeneration, folder, "a BLIP-2")
    tokenizer = load_tokenizer(AutoTokenizer, folder)
    size = int(model.config.vision_config.image_size)
    said = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
    model.to(device).eval()
    return Blip2(folder, model, tokenizer, Preprocessing.of({**said, "size": size, "resize_mode": "squash"}))


def adapt(blip2: Blip2, *, rank: int, alpha: int, dropout: float, targets: Sequence[str], seed: int) -> Blip2:
    """Freeze a BLIP-2 and add LoRA where names end with one of `targets`; `InputError` where none does."""
    from peft import LoraConfig, get_peft_model

    chosen = list(targets or TARGETS)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, bias="none", target_modules=chosen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model: nn.Module = get_peft_model(blip2.model, config)
        except ValueError as error:
            raise InputError(f"{blip2.folder} has no layer whose name ends with one of {chosen}") from error
    return Blip2(blip2.folder, model, blip2.tokenizer, blip2.preprocessing)


def load_adapted(argument: str, device: str = "cpu") -> Blip2:
    """Load `FOLDER`, or `FOLDER+ADAPTER` with an adapter that `pretrain --objective blip2` wrote."""
    folder, _, adapter = argument.partition("+")
    blip2 = load_blip2(Path(folder), device)
    if not adapter:
        return blip2
    return Blip2(blip2.folder, _with_adapter(blip2.model, Path(adapter)), blip2.tokenizer, blip2.preprocessing)


def _with_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """Return a model with the LoRA of a folder; `InputError` naming the file that is damaged or lacks a weight."""
    from peft import LoraConfig, PeftModel, get_peft_model_state_dict

    settings, weights = folder / _ADAPTER, folder / "adapter_model.safetensors"
    if not settings.is_file():
        raise InputError(f"{folder} holds no adapter ({_ADAPTER})")
    asked = read_json(settings, _LORA)
    held = read_weights(weights)  # without its weights peft would ask a hub for them
    with naming_damage(settings, "an adapter", AGAIN):
        # Nothing else of what the file says is done: it may name modules, and files to be read.
        config = LoraConfig(**{name: asked[name] for name in ("r", "lora_alpha", "target_modules")})
        adapted: nn.Module = PeftModel.from_pretrained(model, str(folder), config=config, local_files_only=True)
    if lacking := sorted(get_peft_model_state_dict(adapted).keys() - held.keys()):
        raise InputError(f"{weights} lacks {lacking[0]}, {len(lacking)} in all; {AGAIN}")
    check_whole(adapted, str(weights))
    return adapted.eval()
