from __future__ import annotations

import numpy as np
import pytest
import torch

from chorograph.ground.errors import InputError
from chorograph.models.coca.decoding import Decoding, _draw, _next, caption_evidence, generate
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
    uniform = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    drawn = _draw(logits, Decoding(0.7), uniform)
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert shares[2:].sum() == 0
    assert shares[0].item() == pytest.approx(0.5 / 0.8, abs=0.04)


def test_top_p_of_open_clip_is_the_same_set_as_everybody_elses() -> None:
    from transformers import TopPLogitsWarper  # what open_clip's generate takes

    rng = np.random.default_rng(0)
    for top_p in (0.1, 0.5, 0.9):
        logits = torch.from_numpy(rng.normal(0, 2, (64, 50)).astype(np.float32))
        theirs = torch.isfinite(TopPLogitsWarper(top_p)(torch.zeros(64, 1, dtype=torch.long), logits))
        ours = torch.zeros_like(theirs)
        for uniform in np.linspace(0, 1, 400, endpoint=False):
            drawn = _draw(logits, Decoding(top_p), torch.full((64,), float(uniform)))
            ours[torch.arange(64), drawn] = True
        # Every token that we draw is theirs; one of theirs that is rarer than a four-hundredth may be missed.
        assert not (ours & ~theirs).any()
        probability = torch.where(theirs, logits, -torch.inf).softmax(-1)
        assert ours[probability > 1 / 390].all()


def test_open_clips_captions_end_with_the_end_within_thirty_tokens() -> None:
    loaded = new_model("coca-small", seed=0, captions=_CAPTIONS * 2)
    wanted = Decoding.of("open_clip", max_length=6)
    said = generate(loaded, _images(), decoding=wanted, seeds=[1, 2])
    assert [len(text.split()) for text in said] == [4, 4]  # five tokens at least, and the sixth is the end
    assert Decoding.of("open_clip").max_length == 30
    with pytest.raises(InputError, match="greedy"):
        Decoding.of("magic")


def test_what_is_drawn_for_an_image_does_not_depend_on_its_batch() -> None:
    loaded = new_model("coca-small", seed=0, captions=_CAPTIONS * 2)
    both = generate(loaded, _images(), decoding=Decoding(0.9), seeds=[5, 6])
    assert both == [generate(loaded, [_images()[row]], decoding=Decoding(0.9), seeds=[5 + row])[0] for row in (0, 1)]


def test_a_beam_that_keeps_all_ways_finds_the_best_there_is() -> None:
    loaded = new_model("coca-small", seed=0, captions=["red blue"] * 2)
    image = _images()[:1]
    start, end = loaded.tokenizer.sot_token_id, loaded.tokenizer.eot_token_id
    model = loaded.model.eval()
    _, seen = model._encode_image(loaded.preprocessing.normalise(loaded.preprocessing.batch(image)))
    best = {}
    ways = [([start], 0.0)]
    for _ in range(3):  # start and three more tokens
        further = []
        for ids, score in ways:
            logs = _next(model, loaded.tokenizer, seen, torch.tensor([ids]), Decoding()).log_softmax(-1)[0].tolist()
            for token, log in enumerate(logs):
                if log > -np.inf:
                    way = ([*ids, token], score + log)
                    (best.__setitem__(tuple(way[0]), way[1]) if token == end else further.append(way))
        ways = further
    best |= {tuple(ids): score for ids, score in ways}
    expected = max(best, key=lambda ids: best[ids] / len(ids))
    found = generate(loaded, image, decoding=Decoding(beams=500, max_length=4))
    assert found == [loaded.tokenizer.decode(list(expected))]


def test_a_clip_cannot_write() -> None:
    with pytest.raises(InputError, match="decoder"):
        generate(new_model("clip-small", seed=0, captions=_CAPTIONS), _images())
    with pytest.raises(InputError, match="decoder"):
        caption_evidence(new_model("clip-small", seed=0, captions=_CAPTIONS), _images(), _CAPTIONS)
