from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chorograph.ground.errors import InputError
from chorograph.models.coca.tokenizer import WordTokenizer, split_words

_CAPTIONS = ["Two red roofs, a road.", "A road and two trees.", "A road beside a lake."]


def test_words_are_ordered_by_frequency_then_spelling() -> None:
    tokenizer = WordTokenizer.learn(_CAPTIONS)
    assert tokenizer.words == ("a", ".", "road", "two")
    assert tokenizer == WordTokenizer.learn(reversed(_CAPTIONS))
    assert tokenizer.vocab_size == 8


def test_a_text_is_start_words_end_and_padding() -> None:
    tokenizer = WordTokenizer.learn(_CAPTIONS, context_length=8)
    ids = tokenizer(["A road, Two", "a"])
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    assert ids.dtype == torch.long
    assert ids.tolist() == [[start, 2, 4, 1, 5, end, 0, 0], [start, 2, end, 0, 0, 0, 0, 0]]
    assert ids.argmax(1).tolist() == [5, 2], "towers find the end of a text by its highest id"


def test_a_long_text_keeps_its_end() -> None:
    tokenizer = WordTokenizer.learn(_CAPTIONS, context_length=5)
    assert tokenizer("a road two road a road")[0].tolist() == [6, 2, 4, 5, 7]


def test_decoding_returns_the_words() -> None:
    tokenizer = WordTokenizer.learn(_CAPTIONS, at_least=1)
    assert tokenizer.decode(tokenizer("Two red roofs, a road.")[0].tolist()) == "two red roofs, a road."
    assert tokenizer.decode(tokenizer("a zebra")[0].tolist()) == "a [unknown]"


def test_words_keep_hyphens_digits_and_other_scripts() -> None:
    assert split_words("Low-rise, 3 ponds; l'église 屋顶") == ["low-rise", ",", "3", "ponds", ";", "l'église", "屋顶"]


def test_round_trip(tmp_path: Path) -> None:
    tokenizer = WordTokenizer.learn(_CAPTIONS)
    tokenizer.write(tmp_path / "tokenizer.json")
    assert WordTokenizer.read(tmp_path / "tokenizer.json") == tokenizer
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match=r"other\.json"):
        WordTokenizer.read(tmp_path / "other.json")
