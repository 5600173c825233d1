from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss, CoCaLoss, SigLipLoss
from torch import Tensor, nn

from chorograph.models.coca.contrast import with_bias
from chorograph.models.coca.towers import build, trim
from chorograph.pretraining.loop.parallel import blocks
from chorograph.pretraining.loop.step import Portion, Step
from chorograph.pretraining.objectives.pairs import PAIRINGS, Pairing, PairObjective

_VOCABULARY = 60


def tiny(*, decoder: bool = True) -> dict[str, Any]:
    """A CoCa or a CLIP small enough to differentiate in a moment."""
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 2}
    text = {"context_length": 12, "vocab_size": _VOCABULARY, "width": 32, "heads": 2, "layers": 2}
    config: dict[str, Any] = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text, "custom_text": True}
    if decoder:
        vision |= {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2, "output_tokens": True}
        text |= {"embed_cls": True, "output_tokens": True}
        config["multimodal_cfg"] = {
            key: text[key] for key in ("context_length", "vocab_size", "width", "heads", "layers")
        }
    return config


def batch(number: int = 6) -> tuple[Tensor, Tensor]:
    """Images, and token ids at full length, of several lengths."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(number, 3, 32, 32, generator=generator)
    tokens = torch.zeros(number, 12, dtype=torch.long)
    for row in range(number):
        length = 3 + (5 * row) % 7
        tokens[row, 0] = _VOCABULARY - 2
        tokens[row, 1 : length - 1] = torch.randint(2, _VOCABULARY - 2, (length - 2,), generator=generator)
        tokens[row, length - 1] = _VOCABULARY - 1
    return images, tokens


def portions(model: nn.Module, images: Tensor, tokens: Tensor, number: int) -> list[Portion]:
    rows = np.array_split(np.arange(len(images)), number)
    return [(images[part], trim(model, tokens[part])) for part in rows]


def objective_of(model: nn.Module, pairing: Pairing, **settings: Any) -> PairObjective:
    loaded: Any = SimpleNamespace(model=model, architecture="tiny")
    return PairObjective(pairing, loaded, **settings)


def step_of(model: nn.Module, pairing: Pairing, **settings: Any) -> Step[Any]:
    objective = objective_of(model, pairing)
    return Step(objective, objective.module, **settings)


#: All that the objectives here ask of a batch beside its portions.
BATCH: Any = SimpleNamespace(place=(0, 1))


def assert_same_gradients(ours: nn.Module, theirs: nn.Module, tolerance: float = 1e-5) -> None:
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    found = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        atol = max(tolerance * float(gradient.abs().max()), 1e-8)
        torch.testing.assert_close(found[name], gradient, rtol=tolerance, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def _theirs(config: dict[str, Any], ours: nn.Module) -> Any:
    """open_clip's own classes and forward pass, with the same weights."""
    model = build(config, 0, lean=False)
    model.load_state_dict(ours.state_dict())
    return model


@pytest.mark.parametrize("number", [1, 2, 6])
def test_coca_in_portions_is_open_clips_whole_batch(number: int) -> None:
    images, tokens = batch()
    ours = build(tiny(), 0)
    theirs = _theirs(tiny(), ours)
    expected = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)(**theirs(images, tokens), output_dict=True)
    torch.autograd.backward(expected["contrastive_loss"] + expected["caption_loss"])
    objective = replace(PAIRINGS["coca"], captioning=2.0)
    found = step_of(ours, objective).backward(BATCH, portions(ours, images, tokens, number))
    assert found["contrastive"] == pytest.approx(expected["contrastive_loss"].item(), rel=1e-5)
    assert found["captioning"] == pytest.approx(expected["caption_loss"].item() / 2, rel=1e-5)
    assert found["loss"] == pytest.approx(found["contrastive"] + 2 * found["captioning"], rel=1e-6)
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_contrast_in_portions_is_open_clips_whole_batch(kind: str, number: int) -> None:
    images, tokens = batch()
    ours: Any = build(tiny(decoder=False), 0)
    settings = with_bias(ours) if kind == "siglip" else {}
    theirs = _theirs({**tiny(decoder=False), **settings}, ours)
    features = theirs.encode_image(images, normalize=True), theirs.encode_text(tokens, normalize=True)
    if kind == "siglip":
        expected = SigLipLoss()(*features, theirs.logit_scale.exp(), theirs.logit_bias)
    else:
        expected = ClipLoss()(*features, theirs.logit_scale.exp())
    expected.backward()
    objective = PAIRINGS[kind]
    found = step_of(ours, objective).backward(BATCH, portions(ours, images, tokens, number))
    assert found["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert_same_gradients(ours, theirs)


def test_checkpointing_changes_no_gradient() -> None:
    images, tokens = batch()
    ours: Any = build(tiny(), 0)
    plain = copy.deepcopy(ours)
    ours.set_grad_checkpointing(True)
    for model in (ours, plain):
        step_of(model, PAIRINGS["coca"]).backward(BATCH, portions(model, images, tokens, 1))
    assert_same_gradients(ours, plain, tolerance=1e-6)


def test_dropout_is_drawn_the_same_when_a_portion_is_computed_anew() -> None:
    images, tokens = batch()
    config = tiny()
    config["vision_cfg"] = {**config["vision_cfg"], "patch_dropout": 0.5}
    model = build(config, 0).train()
    drawn: list[Tensor] = []
    model.visual.ln_pre.register_forward_hook(lambda module, given, made: drawn.append(made.detach()))  # type: ignore[union-attr]
    torch.manual_seed(0)
    step_of(model, PAIRINGS["coca"]).backward(BATCH, portions(model, images, tokens, 2))
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


def test_batch_norms_learn_from_each_image_once() -> None:
    images, tokens = batch()
    config = {**tiny(), "conv_stem": True}
    models = [build(config, 0).train() for _ in range(2)]
    step_of(models[0], PAIRINGS["coca"]).backward(BATCH, portions(models[0], images, tokens, 2))
    with torch.no_grad():
        for part, _ in portions(models[1], images, tokens, 2):
            models[1].visual(part)  # type: ignore[operator]
    means = [model.state_dict()["visual.conv1.1.running_mean"] for model in models]
    torch.testing.assert_close(means[0], means[1])


def test_bfloat16_gives_about_the_same_loss() -> None:
    images, tokens = batch()
    model = build(tiny(), 0)
    expected = step_of(model, PAIRINGS["coca"]).backward(BATCH, portions(model, images, tokens, 1))["loss"]
    found = step_of(model, PAIRINGS["coca"], precision=torch.bfloat16).backward(
        BATCH, portions(model, images, tokens, 1)
    )
    assert found["loss"] == pytest.approx(expected, rel=2e-2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_give_the_same_losses_and_gradients() -> None:
    images, tokens = batch()
    models = [build(tiny(), 0), build(tiny(), 0)]
    for block in blocks(models[1]):
        block.compile(dynamic=True)
    losses = [step_of(model, PAIRINGS["coca"]).backward(BATCH, [(images, trim(model, tokens))]) for model in models]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert_same_gradients(models[1], models[0], 1e-4)
