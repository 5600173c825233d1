"""Checkpoints as others load them: a folder of open_clip, or of Hugging Face's CLIP, compared before it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from chorograph.ground.errors import InputError
from chorograph.ground.files import write_json
from chorograph.models.coca.tokenizer import WordTokenizer
from chorograph.models.coca.towers import is_coca
from chorograph.models.encoders.open_clip import ImageTextModel

#: How far features of unit length may be from ours.
TOLERANCE = 1e-4


def export_open_clip(loaded: ImageTextModel, folder: Path, card: str) -> float:
    """Write a folder that `open_clip.create_model_and_transforms('local-dir:FOLDER')` loads.

    Returns the largest difference of its features. Raises `InputError` for a model that open_clip has no class for.
    """
    import open_clip

    _check(loaded, "open_clip")
    preprocessing = loaded.preprocessing.settings()
    write_json(folder / "open_clip_config.json", {"model_cfg": dict(loaded.config), "preprocess_cfg": preprocessing})
    _save(_weights(loaded.model), folder / "open_clip_model.safetensors")
    (folder / "README.md").write_text(_card("open_clip", card), encoding="utf-8")
    model: Any = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return _compared(
        loaded,
        lambda images: functional.normalize(model.eval().encode_image(images), dim=-1),
        lambda texts: functional.normalize(model.encode_text(tokenizer(texts)), dim=-1),
    )


def export_huggingface(loaded: ImageTextModel, folder: Path, card: str) -> float:
    """Write a folder that `transformers.CLIPModel.from_pretrained(FOLDER)` loads, with tokenizer and preprocessing.

    Returns the largest difference of its features. Raises `InputError` for what `CLIPModel` cannot be: a CoCa, another
    image tower than CLIP's vision transformer.
    """
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    _check(loaded, "transformers")
    if is_coca(loaded.model):
        raise InputError("transformers has no CoCa; export it to open_clip, or train a clip")
    config, state = loaded.config, _weights(loaded.model)
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "visual.class_embedding" not in state or vision.get("pool_type", "tok") != "tok":
        raise InputError(
            f"transformers' CLIPModel is a vision transformer with a class token; {loaded.architecture} is not"
        )
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    layers = {"hidden_act": activation, "projection_dim": loaded.dim, "layer_norm_eps": 1e-5}
    width, wide = int(vision["width"]), int(text["width"])
    model: Any = CLIPModel(
        CLIPConfig(
            vision_config={
                **layers, "hidden_size": width, "num_hidden_layers": int(vision["layers"]),
                "num_attention_heads": width // int(vision.get("head_width", 64)),
                "intermediate_size": int(width * float(vision.get("mlp_ratio", 4.0))),
                "image_size": loaded.preprocessing.size[0], "patch_size": int(vision["patch_size"]),
            },
            text_config={
                **layers, "hidden_size": wide, "num_hidden_layers": int(text["layers"]),
                "num_attention_heads": int(text["heads"]),
                "intermediate_size": int(wide * float(text.get("mlp_ratio", 4.0))),
                "vocab_size": int(text["vocab_size"]), "max_position_embeddings": int(text["context_length"]),
                "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0,
            },
            projection_dim=loaded.dim,
        )
    )  # fmt: skip
    missing, unexpected = model.load_state_dict(_as_transformers(state), strict=False)
    if unexpected or [name for name in missing if not name.endswith("position_ids")]:
        raise InputError(f"{loaded.architecture} does not fit transformers' CLIPModel: {[*missing, *unexpected][:3]}")
    model.eval().save_pretrained(folder, safe_serialization=True)
    _tokenizer_files(folder)
    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=int(text["context_length"]),
        pad_token="!",  # noqa: S106
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    _write_preprocessor(loaded, folder)
    (folder / "README.md").write_text(_card("transformers", card), encoding="utf-8")
    again: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
    again.eval()

    def of_texts(texts: list[str]) -> Tensor:
        said = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        return _unit(again.get_text_features(said["input_ids"]))

    return _compared(loaded, lambda images: _unit(again.get_image_features(images)), of_texts)


EXPORTS: Mapping[str, Callable[[ImageTextModel, Path, str], float]] = {
    "open_clip": export_open_clip,
    "huggingface": export_huggingface,
}


def _check(loaded: ImageTextModel, there: str) -> None:
    if loaded.config.get("conv_stem"):
        raise InputError(
            f"{loaded.architecture} begins with a convolutional stem of this library, for which {there} has no class; "
            "train an architecture of open_clip to export it"
        )
    if isinstance(loaded.tokenizer, WordTokenizer):
        raise InputError(
            f"its tokenizer was learnt from the captions, and {there} has no such tokenizer; train with "
            "--tokenizer open_clip to export it"
        )


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})


def _unit(found: Any) -> Tensor:
    tensor: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return functional.normalize(tensor, dim=-1)


def _compared(
    loaded: ImageTextModel, images: Callable[[Tensor], Tensor], texts: Callable[[list[str]], Tensor]
) -> float:
    """Return the largest difference to our features of pictures and texts; `InputError` above the tolerance."""
    loaded.model.eval()
    size = loaded.preprocessing.size
    pixels = torch.randint(0, 256, (2, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    said = ["a harbour with docks", "dense houses beside a railway"]
    with torch.no_grad():
        found = [
            (images(loaded.preprocessing.normalise(pixels)) - loaded.encode_pixels(pixels)).abs().max(),
            (texts(said) - loaded.encode_texts(said)).abs().max(),
        ]
    worst = float(torch.stack(found).max())
    if not worst <= TOLERANCE:
        raise InputError(f"what was written gives other features, by {worst:.2g}; nothing is kept")
    return worst


def _as_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of open_clip's CLIP under the names of transformers' CLIPModel."""
    state = {name.removeprefix("text.") if not name.startswith("text_") else name: v for name, v in state.items()}
    renamed = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.ln_pre.": "vision_model.pre_layrnorm.",
        "visual.ln_post.": "vision_model.post_layernorm.",
        "visual.transformer.resblocks.": "vision_model.encoder.layers.",
        "transformer.resblocks.": "text_model.encoder.layers.",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "ln_final.": "text_model.final_layer_norm.",
        "logit_scale": "logit_scale",
    }
    within = {
        ".ln_1.": ".layer_norm1.",
        ".ln_2.": ".layer_norm2.",
        ".mlp.c_fc.": ".mlp.fc1.",
        ".mlp.c_proj.": ".mlp.fc2.",
    }
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in ("visual.proj", "text_projection", "text_projection.weight"):
            target = "visual_projection.weight" if name == "visual.proj" else "text_projection.weight"
            found[target] = tensor if name.endswith(".weight") else tensor.T.contiguous()
            continue
        start = next((start for start in renamed if name.startswith(start)), None)
        if start is None:
            continue
        target = renamed[start] + name.removeprefix(start)
        for old, new in within.items():
            target = target.replace(old, new)
        if ".attn.in_proj_" in target:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                found[target.replace(".attn.in_proj_", f".self_attn.{part}_proj.")] = piece.contiguous()
        else:
            found[target.replace(".attn.out_proj.", ".self_attn.out_proj.")] = tensor
    return found


def _tokenizer_files(folder: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    known: Any = SimpleTokenizer()
    text = json.dumps(known.encoder, ensure_ascii=False)
    text = text.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>")
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    ranked = sorted(known.bpe_ranks, key=known.bpe_ranks.get)
    merges = "\n".join(" ".join(pair) for pair in ranked)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")


def _write_preprocessor(loaded: ImageTextModel, folder: Path) -> None:
    said, size = loaded.preprocessing, loaded.preprocessing.size[0]
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": size},
            "resample": 3, "do_center_crop": True, "crop_size": {"height": size, "width": size}, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": said.mean, "image_std": said.std,
            "do_convert_rgb": True,
        },
    )  # fmt: skip


def _card(library: str, card: str) -> str:
    return f"---\nlibrary_name: {library}\npipeline_tag: zero-shot-image-classification\n---\n\n{card}"
