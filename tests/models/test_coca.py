from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss, CoCaLoss
from torch import Tensor, nn
from torch.nn import functional

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.coca.towers import SMALL, architecture, build, decode, encode_text, is_coca, trim
from chorograph.pretraining.objectives.pairs import PAIRINGS, Towers, real_tokens

_VOCABULARY = 60


def _tiny(kind: str) -> dict[str, Any]:
    """A configuration of one of open_clip's three classes, small enough to differentiate in a moment."""
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
    text = {"context_length": 12, "vocab_size": _VOCABULARY, "width": 32, "heads": 2, "layers": 2}
    config: dict[str, Any] = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    if kind == "CoCa":
        vision |= {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2, "output_tokens": True}
        text |= {"embed_cls": True, "output_tokens": True}
        config["multimodal_cfg"] = {
            key: text[key] for key in ("context_length", "vocab_size", "width", "heads", "layers")
        }
        config["custom_text"] = True
    elif kind == "CustomTextCLIP":
        config["custom_text"] = True
    return config


def _batch() -> tuple[Tensor, Tensor]:
    """Images, and token ids at full length whose longest text leaves three places of padding."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    tokens = torch.zeros(4, 12, dtype=torch.long)
    for row, length in enumerate((9, 5, 7, 3)):
        tokens[row, 0] = _VOCABULARY - 2
        tokens[row, 1 : length - 1] = torch.randint(2, _VOCABULARY - 2, (length - 2,), generator=generator)
        tokens[row, length - 1] = _VOCABULARY - 1
    return images, tokens


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _assert_same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    expected, found = _gradients(theirs), _gradients(ours)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-5, atol=max(1e-5 * scale, 1e-9), msg=lambda m, n=name: f"{n}: {m}"
        )


def test_coca_loss_and_gradients_are_open_clips() -> None:
    images, tokens = _batch()
    ours, theirs = build(_tiny("CoCa"), 0), build(_tiny("CoCa"), 0, lean=False)
    out = theirs(images, tokens)
    expected = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=1.0)(**out, output_dict=True)
    (expected["contrastive_loss"] + expected["caption_loss"]).backward()

    tokens = trim(ours, tokens)
    features, sums = Towers(ours, captions=True)(images, tokens)
    contrastive = PAIRINGS["coca"].contrast(*features, slice(0, len(images)), ours)
    captioning = sums["captioning"] / real_tokens(tokens)
    (contrastive + captioning).backward()

    torch.testing.assert_close(contrastive, expected["contrastive_loss"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(captioning, expected["caption_loss"], rtol=1e-5, atol=1e-7)
    _assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("kind", ["CLIP", "CustomTextCLIP"])
def test_clip_loss_and_gradients_are_open_clips(kind: str) -> None:
    images, tokens = _batch()
    ours: Any = build(_tiny(kind), 0)
    theirs: Any = build(_tiny(kind), 0, lean=False)
    features = theirs.encode_text(tokens, normalize=True)
    loss = ClipLoss()(theirs.encode_image(images, normalize=True), features, theirs.logit_scale.exp())
    loss.backward()

    features, _ = Towers(ours, captions=False)(images, trim(ours, tokens))
    found = PAIRINGS["clip"].contrast(*features, slice(0, len(images)), ours)
    found.backward()

    torch.testing.assert_close(found, loss, rtol=1e-5, atol=1e-7)
    _assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("kind", ["CoCa", "CLIP", "CustomTextCLIP"])
def test_trimming_cuts_padding_and_changes_nothing(kind: str) -> None:
    _, tokens = _batch()
    model: Any = build(_tiny(kind), 0).eval()
    short = trim(model, tokens)
    assert short.shape[1] == (10 if kind == "CoCa" else 9)
    expected = build(_tiny(kind), 0, lean=False).eval().encode_text(tokens, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(encode_text(model, short).pooled, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(encode_text(model, tokens).pooled, expected, rtol=1e-5, atol=1e-6)


def test_hidden_states_times_the_projection_are_open_clips_logits() -> None:
    images, tokens = _batch()
    model: Any = build(_tiny("CoCa"), 0).eval()
    theirs: Any = build(_tiny("CoCa"), 0, lean=False).eval()
    expected = theirs(images, tokens)
    image_features, image_tokens = model._encode_image(images)
    text = encode_text(model, trim(model, tokens))
    assert text.tokens is not None
    hidden = decode(model.text_decoder, image_tokens, text.tokens[:, :-1])
    logits = hidden @ model.text_decoder.text_projection
    torch.testing.assert_close(logits, expected["logits"][:, : logits.shape[1]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image_features, expected["image_features"], rtol=1e-5, atol=1e-6)
    # What has other blocks than ours is decoded as open_clip decodes it.
    plain = decode(theirs.text_decoder, image_tokens, text.tokens[:, :-1])
    torch.testing.assert_close(plain, hidden, rtol=1e-5, atol=1e-5)


def test_a_lean_attention_that_was_replaced_is_called_as_it_is() -> None:
    model: Any = build(_tiny("CoCa"), 0)
    images, _ = _batch()
    before = model.encode_image(images)
    called = []

    class Watched(nn.MultiheadAttention):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            called.append(type(self))
            return super().forward(*args, **kwargs)

    for module in model.visual.modules():
        if type(module) is nn.MultiheadAttention:
            module.__class__ = Watched
    torch.testing.assert_close(model.encode_image(images), before, rtol=1e-5, atol=1e-6)
    assert len(called) == 2  # the block's and the pooler's


def test_open_clip_leaves_the_decoder_projection_uninitialised_and_we_do_not() -> None:
    built = [build(SMALL["coca-small"], 7) for _ in range(2)]
    states = [model.state_dict() for model in built]
    assert all(torch.isfinite(tensor).all() for tensor in states[0].values())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    projection = states[0]["text_decoder.text_projection"]
    assert projection.std().item() == pytest.approx(projection.shape[0] ** -0.5, rel=0.02)
    other = build(SMALL["coca-small"], 8).state_dict()
    assert not torch.equal(other["text_decoder.text_projection"], projection)


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build(SMALL["clip-small"], 0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", SMALL)
def test_small_models_give_features_of_the_stated_width(name: str) -> None:
    model: Any = build(SMALL[name], 0).eval()
    size = SMALL[name]["vision_cfg"]["image_size"]
    features = functional.normalize(model.encode_image(torch.rand(2, 3, size, size)), dim=-1)
    assert features.shape == (2, SMALL[name]["embed_dim"])
    assert is_coca(model) == name.startswith("coca")
    assert sum(parameter.numel() for parameter in model.parameters()) < 5_000_000


def test_architectures_are_named_as_in_open_clip() -> None:
    assert architecture("coca_ViT-B-32") == open_clip.get_model_config("coca_ViT-B-32")
    fresh = architecture("coca-small")
    fresh["text_cfg"]["vocab_size"] = 1
    assert SMALL["coca-small"]["text_cfg"]["vocab_size"] != 1
    with pytest.raises(UnknownNameError, match="coca-small"):
        architecture("coca-smal")
    with pytest.raises(InputError, match="hub"):
        architecture("roberta-ViT-B-32")
