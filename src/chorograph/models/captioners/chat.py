"""Any image-text-to-text model of Hugging Face, its chat template respected, drawn the same in any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import MissingExtraError
from chorograph.models.captioners.drawing import Drawing, processors_of
from chorograph.models.pretrained import load_pretrained, load_tokenizer

#: A prompt: what the system says, and what the user asks.
Prompt = tuple[str, str]
#: What a caption is and the mean log-probability of its tokens, where it is known.
Written = tuple[str, float | None]
WriteTexts = Callable[[Sequence[Pixels], Sequence[Prompt], Sequence[int]], list[Written]]


def load_writer(argument: str, device: str, drawing: Drawing) -> WriteTexts:
    """Load a model by folder or name, ready to write; `InputError` where there is none, or it takes no images.

    A name that is no folder is fetched from the hub: whoever names it has asked for it. `FOLDER+ADAPTER` and BLIP-2
    folders are those that `pretrain --objective blip2` reads and writes.
    """
    folder = Path(argument.partition("+")[0])
    if "+" in argument or (folder.is_dir() and _kind(folder) == "blip-2"):
        return _blip2_writer(argument, device, drawing)
    model, processor = _load(argument, device)

    def write(images: Sequence[Pixels], prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Written]:
        return write_chat(model, processor, images, prompts, seeds, drawing)

    return write


@torch.inference_mode()
def write_chat(
    model: Any,
    processor: Any,
    images: Sequence[Pixels],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    drawing: Drawing,
) -> list[Written]:
    """Write about each image what its prompt asks, in one batch."""
    inputs = _inputs(processor, [Image.fromarray(image) for image in images], prompts).to(model.device)
    for name, value in inputs.items():
        if torch.is_floating_point(value):
            inputs[name] = value.to(model.dtype)
    found = model.generate(
        **inputs,
        max_new_tokens=drawing.max_tokens,
        do_sample=False,
        num_beams=drawing.beams,
        logits_processor=processors_of(drawing, seeds),
        output_logits=drawing.beams == 1,
        return_dict_in_generate=True,
        pad_token_id=_pad(processor),
    )
    start = inputs["input_ids"].shape[1]
    ids = found.sequences[:, start:] if found.sequences.shape[1] > start else found.sequences
    texts = processor.batch_decode(ids, skip_special_tokens=True)
    scores = _mean_logarithms(found, ids, processor) if drawing.beams == 1 else [None] * len(texts)
    return [(" ".join(text.split()), score) for text, score in zip(texts, scores, strict=True)]


def _inputs(processor: Any, images: list[Image.Image], prompts: Sequence[Prompt]) -> Any:
    """Return what the model reads: through the chat template where there is one, padded on the left."""
    if not getattr(processor, "chat_template", None):
        texts = [f"{system} {text}".strip() for system, text in prompts]
        mark = getattr(processor, "image_token", None)
        if mark:
            texts = [text if mark in text else f"{mark} {text}".strip() for text in texts]
        said = {"text": texts} if any(texts) else {}
        return processor(images=images, return_tensors="pt", **said, **({"padding": True} if said else {}))
    talks = []
    for image, (system, text) in zip(images, prompts, strict=True):
        asked: list[dict[str, Any]] = [{"type": "image", "image": image}]
        asked += [{"type": "text", "text": text}] if text else []
        before = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
        talks.append([*before, {"role": "user", "content": asked}])
    return processor.apply_chat_template(
        talks,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def _mean_logarithms(found: Any, ids: Tensor, processor: Any) -> list[float | None]:
    """Return the mean log-probability of each caption's tokens under the model, before anything was drawn."""
    pad = _pad(processor)
    logs = torch.stack([logits.float().log_softmax(-1) for logits in found.logits], 1)
    chosen = ids[:, : logs.shape[1]]
    each = logs.gather(-1, chosen[..., None])[..., 0]
    real: Tensor = torch.ones_like(chosen, dtype=torch.bool) if pad is None else chosen != pad
    pairs = zip(each.unbind(), real.unbind(), strict=True)
    return [round(float(row[mask].mean()), 4) if bool(mask.any()) else None for row, mask in pairs]


def _pad(processor: Any) -> int | None:
    tokenizer = getattr(processor, "tokenizer", processor)
    number: int | None = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return number


def _kind(folder: Path) -> str:
    from chorograph.ground.files import read_json

    path = folder / "config.json"
    return str(read_json(path, {"model_type?": str}).get("model_type")) if path.is_file() else ""


def _load(argument: str, device: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor, logging
    except ImportError as error:
        raise MissingExtraError.of("generate", error) from error
    logging.set_verbosity_error()
    local = Path(argument).is_dir()
    processor = load_tokenizer(AutoProcessor, argument, local_files_only=local)
    model = load_pretrained(
        AutoModelForImageTextToText, argument, "an image-text-to-text model of Hugging Face", local_files_only=local,
        use_safetensors=True, dtype="auto",
    )  # fmt: skip
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.padding_side = "left"  # a decoder goes on from the last token
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
    return model.to(device).eval(), processor


def _blip2_writer(argument: str, device: str, drawing: Drawing) -> WriteTexts:
    from chorograph.models.captioners.blip2 import load_adapted

    blip2 = load_adapted(argument, device)

    def write(images: Sequence[Pixels], prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Written]:
        return [(text, None) for text in blip2.write(images, seeds=seeds)]

    return write
