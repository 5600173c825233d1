from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.adapters.methods import (
    ADAPTERS,
    Adapter,
    adapter_state,
    add_adapter,
    load_adapter,
    merge_adapter,
    save_adapter,
)
from chorograph.models.coca.lean import make_lean
from chorograph.models.coca.towers import build

_VISION = {"image_size": 32, "patch_size": 16, "width": 48, "head_width": 16, "layers": 2}
_TEXT = {"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}
_CONFIGS = {
    "clip": {"embed_dim": 24, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "coca": {
        "embed_dim": 24,
        "vision_cfg": {
            **_VISION,
            "attentional_pool": True,
            "attn_pooler_queries": 5,
            "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {**_TEXT, "width": 24, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 12, "vocab_size": 64, "width": 24, "heads": 2, "layers": 2},
        "custom_text": True,
    },
}
_MERGED = ("lora", "rslora", "dora", "ia3", "bitfit", "lntuning")
_KEPT = ("pfeiffer", "prefix", "unipelt")
_IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
_TOKENS = torch.randint(1, 60, (6, 12), generator=torch.Generator().manual_seed(2))
_TOKENS[:, 9] = 63
_TOKENS[:, 10:] = 0


def _model(name: str) -> nn.Module:
    model = build(_CONFIGS[name], seed=3)
    return model.eval()


def _outputs(model: nn.Module) -> list[Tensor]:
    found = model(_IMAGES, _TOKENS)
    return [found[name] for name in ("image_features", "text_features", "logits") if name in found]


def _train(model: nn.Module, steps: int = 4) -> list[float]:
    """Contrast (and captions) learnt for some steps; returns the losses."""
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=3e-3)
    losses = []
    for _ in range(steps):
        image, text, *logits = _outputs(model)
        loss = nn.functional.cross_entropy(10 * image @ text.T, torch.arange(len(image)))
        if logits:
            loss = loss + nn.functional.cross_entropy(
                logits[0].flatten(0, 1), _TOKENS[:, -logits[0].shape[1] :].flatten()
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


@pytest.mark.parametrize("architecture", _CONFIGS)
@pytest.mark.parametrize("kind", ADAPTERS)
def test_only_the_adapter_learns_and_comes_back_from_its_file(architecture: str, kind: str, tmp_path: Path) -> None:
    model, adapter = _model(architecture), Adapter(kind, rank=4)
    before, features = {k: v.clone() for k, v in model.state_dict().items()}, _outputs(model)
    counts = add_adapter(model, adapter)
    assert list(counts) == ["image", "text", *(["decoder"] if architecture == "coca" else [])]
    assert all(number > 0 for number in counts.values())
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    if kind != "prefix" and kind != "unipelt":
        for now, then in zip(_outputs(model), features, strict=True):
            torch.testing.assert_close(now, then, rtol=1e-4, atol=1e-5)
    start = {name: tensor.clone() for name, tensor in adapter_state(model).items()}
    losses = _train(model)
    assert losses[-1] < losses[0]
    # Every single tensor of the adapter was reached by a gradient, in every tower.
    assert [name for name, tensor in adapter_state(model).items() if torch.equal(tensor, start[name])] == []
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    plain = {re_plain(name): tensor for name, tensor in frozen.items()}
    assert all(torch.equal(plain[name], before[name]) for name in plain)
    save_adapter(tmp_path, model, adapter, base=architecture)
    other = _model(architecture)
    assert load_adapter(other, tmp_path) == adapter
    for now, then in zip(_outputs(other), _outputs(model), strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def re_plain(name: str) -> str:
    for wrapped, plain in (("base_layer.", ""), (".parametrizations", ""), (".original", "")):
        name = name.replace(wrapped, plain)
    return name


@pytest.mark.parametrize("architecture", _CONFIGS)
@pytest.mark.parametrize("kind", _MERGED)
def test_merged_weights_are_a_plain_model_that_computes_the_same(architecture: str, kind: str) -> None:
    model = _model(architecture)
    names, classes = set(model.state_dict()), [type(module) for module in model.modules()]
    add_adapter(model, Adapter(kind, rank=4))
    _train(model)
    expected = [output.detach() for output in _outputs(model)]
    merge_adapter(model)
    assert set(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == classes
    assert all(parameter.requires_grad for parameter in model.parameters())
    plain = build(_CONFIGS[architecture], seed=9).eval()
    plain.load_state_dict(model.state_dict())
    for found, wanted in zip(_outputs(plain), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", _KEPT)
def test_what_no_weight_can_stand_for_says_why(kind: str) -> None:
    model = _model("clip")
    add_adapter(model, Adapter(kind))
    with pytest.raises(InputError, match=r"cannot be merged: .*save_adapter"):
        merge_adapter(model)


def _attention(model: nn.Module) -> nn.MultiheadAttention:
    found: nn.MultiheadAttention = model.visual.transformer.resblocks[0].attn  # type: ignore[union-attr, index, assignment]
    return found


def _dora(weight: Tensor, state: dict[str, Tensor], place: str) -> Tensor:
    turned = weight + state[f"{place}.0.up"] @ state[f"{place}.0.down"]
    return state[f"{place}.0.magnitude"][:, None] * turned / turned.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(("kind", "scaling"), [("lora", 1.0), ("rslora", 2.0)])
def test_lora_is_its_formula_everywhere(kind: str, scaling: float) -> None:
    """Its output projection too, which peft 0.21.2 counts twice in an attention."""
    model = _model("clip")
    start = deepcopy(model.state_dict())
    add_adapter(model, Adapter(kind, rank=4))
    _train(model)
    state, block = deepcopy(model.state_dict()), "visual.transformer.resblocks.0"
    merge_adapter(model)
    places = {
        "attn.in_proj_weight": (
            "attn.parametrizations.in_proj_weight.0.up",
            "attn.parametrizations.in_proj_weight.0.down",
        ),
        "attn.out_proj.weight": (
            "attn.out_proj.parametrizations.weight.0.up",
            "attn.out_proj.parametrizations.weight.0.down",
        ),
        "mlp.c_fc.weight": ("mlp.c_fc.lora_B.default.weight", "mlp.c_fc.lora_A.default.weight"),
    }
    for weight, (up, down) in places.items():
        change = scaling * state[f"{block}.{up}"] @ state[f"{block}.{down}"]
        assert change.abs().max() > 1e-4
        expected = start[f"{block}.{weight}"] + change
        torch.testing.assert_close(model.state_dict()[f"{block}.{weight}"], expected, rtol=1e-5, atol=1e-6)


def test_dora_and_ia3_are_their_formulas_in_the_packed_projection() -> None:
    block, weight = "visual.transformer.resblocks.0.attn", "visual.transformer.resblocks.0.attn.in_proj_weight"
    for kind in ("dora", "ia3"):
        model = _model("clip")
        start = deepcopy(model.state_dict())
        add_adapter(model, Adapter(kind, rank=4))
        _train(model)
        state = deepcopy(model.state_dict())
        merge_adapter(model)
        place = f"{block}.parametrizations.in_proj_weight"
        if kind == "dora":
            expected = _dora(start[weight], state, place)
        else:
            scale = torch.cat([torch.ones(48), state[f"{place}.0.scale"]])
            expected = start[weight] * scale[:, None]
            bias = model.state_dict()[f"{block}.in_proj_bias"]
            torch.testing.assert_close(bias, start[f"{block}.in_proj_bias"] * scale)
        torch.testing.assert_close(model.state_dict()[weight], expected, rtol=1e-5, atol=1e-6)


def test_a_prefix_is_keys_and_values_that_all_may_see() -> None:
    """Against torch's own attention over prefix and tokens, the prefix put in by its bias_k and bias_v."""
    torch.manual_seed(0)
    model = _model("clip")
    plain = deepcopy(_attention(model))
    add_adapter(model, Adapter("prefix"))
    adapted = _attention(model)
    with torch.no_grad():  # torch's own attention takes one such vector
        adapted.adapter.keys = nn.Parameter(torch.randn(1, 48))  # type: ignore[union-attr]
        adapted.adapter.values = nn.Parameter(torch.randn(1, 48))  # type: ignore[union-attr]
        plain.bias_k = nn.Parameter(adapted.adapter.keys.view(1, 1, 48).clone())  # type: ignore[union-attr, operator]
        plain.bias_v = nn.Parameter(adapted.adapter.values.view(1, 1, 48).clone())  # type: ignore[union-attr, operator]
    x = torch.randn(3, 7, 48)
    for mask in (None, torch.full((7, 7), float("-inf")).triu(1)):
        expected = plain(x, x, x, need_weights=False, attn_mask=mask)[0]
        torch.testing.assert_close(adapted(x, x, x, attn_mask=mask)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_text_vectors_do_not_depend_on_padding_or_on_their_batch(kind: str) -> None:
    model = _model("clip")
    assert isinstance(model, CLIP)
    add_adapter(model, Adapter(kind))
    _train(model)
    with torch.inference_mode():
        together = model.encode_text(_TOKENS)
        torch.testing.assert_close(model.encode_text(_TOKENS[2:3]), together[2:3], rtol=1e-4, atol=1e-5)
        later = _TOKENS.clone()
        later[:, 10:] = 7  # after the end token, which is the largest: causal towers do not look there
        torch.testing.assert_close(model.encode_text(later), together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_lean_blocks_compute_the_same_with_adapters(kind: str) -> None:
    plain, lean = _model("coca"), _model("coca")
    make_lean(lean)
    for model in (plain, lean):
        add_adapter(model, Adapter(kind, rank=4))
        _train(model, steps=2)
    for found, wanted in zip(_outputs(lean), _outputs(plain), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_towers_can_be_chosen() -> None:
    model = _model("coca")
    assert list(add_adapter(model, Adapter("lora", ("text",)))) == ["text"]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(name.startswith("text.") for name in trained)
    clip = _model("clip")
    add_adapter(clip, Adapter("lora", ("text",)))
    assert all(not p.requires_grad for name, p in clip.named_parameters() if name.startswith("visual."))


def test_what_cannot_be_asked() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        add_adapter(_model("clip"), Adapter("loar"))
    with pytest.raises(UnknownNameError, match="tower"):
        add_adapter(_model("clip"), Adapter("lora", ("decoder",)))
    model = _model("clip")
    add_adapter(model, Adapter("ia3"))
    with pytest.raises(InputError, match="already"):
        add_adapter(model, Adapter("lora"))
    merge_adapter(model)
    assert add_adapter(model, Adapter("lora"))["image"] > 0


@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "pfeiffer", "prefix", "unipelt"])
def test_an_adapter_that_would_train_nothing_is_an_error(kind: str) -> None:
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    resnet = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": _TEXT}
    with pytest.raises(InputError, match="would train nothing in the image tower"):
        add_adapter(build(resnet, seed=0), Adapter(kind))
    assert add_adapter(build(resnet, seed=0), Adapter(kind, ("text",)))["text"] > 0


def test_seeds_decide_the_adapter() -> None:
    states = []
    for seed in (5, 5, 6):
        model = _model("clip")
        add_adapter(model, Adapter("unipelt", seed=seed))
        states.append(np.concatenate([tensor.flatten().numpy() for tensor in adapter_state(model).values()]))
    np.testing.assert_array_equal(states[0], states[1])
    assert not np.array_equal(states[0], states[2])


def _damage(write: Callable[[Path], object], folder: Path) -> Path:
    model, adapter = _model("clip"), Adapter("lora")
    add_adapter(model, adapter)
    save_adapter(folder, model, adapter)
    write(folder)
    return folder


def test_another_models_adapter_is_refused(tmp_path: Path) -> None:
    folder = _damage(lambda folder: None, tmp_path / "a")
    with pytest.raises(InputError, match="adapter of another model"):
        load_adapter(_model("coca"), folder)
    folder = _damage(lambda folder: (folder / "adapter.json").write_text("{}"), tmp_path / "b")
    with pytest.raises(InputError, match=r"adapter\.json does not describe an adapter"):
        load_adapter(_model("clip"), folder)
    text = '{"format": "chorograph-adapter-1", "kind": "lora", "towers": [], "rang": 3}'
    folder = _damage(lambda folder: (folder / "adapter.json").write_text(text), tmp_path / "c")
    with pytest.raises(InputError, match="rank is missing"):
        load_adapter(_model("clip"), folder)
