from __future__ import annotations

import numpy as np
import pytest
import torch

from chorograph.ground.errors import InputError
from chorograph.models.coca.decoding import _draw, caption_evidence, generate
from chorograph.models.encoders.open_clip import ImageTextModel, new_model
from chorograph.pretraining.objectives.pairs import PAIRINGS, Towers, real_tokens

_CAPTIONS = ["a red roof", "two blue ponds"]


def _images() -> list[np.ndarray]:
    red, blue = np.zeros((2, 40, 40, 3), dtype=np.uint8)
    red[..., 0], blue[..., 2] = 250, 250
    return [red, blue]


def _trained() -> ImageTextModel:
    """A CoCa that has learnt two pictures by heart."""
    loaded = new_model("coca-small", seed=0, captions=_CAPTIONS * 2)
    optimiser = torch.optim.AdamW(loaded.model.parameters(), lr=1e-3)
    images = loaded.preprocessing.normalise(loaded.preprocessing.batch(_images()))
    tokens = loaded.tokenizer(_CAPTIONS)
    loaded.model.train()
    for _ in range(25):
        optimiser.zero_grad()
        features, sums = Towers(loaded.model, captions=True)(images, tokens)
        contrastive = PAIRINGS["coca"].contrast(*features, slice(0, len(images)), loaded.model)
        (contrastive + sums["captioning"] / real_tokens(tokens)).backward()
        optimiser.step()
    return loaded


def test_a_model_says_what_it_has_learnt() -> None:
    loaded = _trained()
    # Its batch normalisation has seen 25 batches; what it learnt is judged in the mode it learnt in.
    assert generate(loaded, _images()) == _CAPTIONS
    assert generate(loaded, _images(), top_p=0.5, seed=1) == generate(loaded, _images(), top_p=0.5, seed=1)
    assert generate(loaded, _images(), max_length=2) == ["a", "two"]
    assert generate(loaded, []) == []


def test_evidence_is_the_likelihood_that_open_clip_gives() -> None:
    loaded = _trained()
    texts = [*_CAPTIONS, "a red ponds"]
    found = caption_evidence(loaded, _images(), texts)
    model, logarithm = loaded.model.eval(), np.empty((2, 3))
    for row, image in enumerate(_images()):
        pixels = loaded.preprocessing.normalise(loaded.preprocessing.batch([image]))
        for column, text in enumerate(texts):
            with torch.inference_mode():
                out = model(pixels, loaded.tokenizer([text]))
            logits = out["logits"][0].log_softmax(-1)
            real = out["labels"][0] != 0
            logarithm[row, column] = logits.gather(-1, out["labels"][0][:, None])[real].sum()
    expected = logarithm - np.log(np.exp(logarithm).mean(0))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found[:, :2].argmax(0) == [0, 1]).all()


def test_nucleus_sampling_draws_from_the_nucleus_only() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(2000, -1)
    drawn = _draw(logits, 0.7, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert shares[2:].sum() == 0
    assert shares[0].item() == pytest.approx(0.5 / 0.8, abs=0.04)


def test_a_clip_cannot_write() -> None:
    with pytest.raises(InputError, match="decoder"):
        generate(new_model("clip-small", seed=0, captions=_CAPTIONS), _images())
    with pytest.raises(InputError, match="decoder"):
        caption_evidence(new_model("clip-small", seed=0, captions=_CAPTIONS), _images(), _CAPTIONS)
