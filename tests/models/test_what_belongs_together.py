"""What does not belong together is refused or told: tokenizers and towers, unknown words, an adapter and its base."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorograph.evaluation.suites.zero_shot import coinciding
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.stage import Ledger
from chorograph.models.adapters.methods import Adapter, add_adapter, load_adapter, save_adapter
from chorograph.models.checkpoint import load_checkpoint, save_checkpoint
from chorograph.models.coca.tokenizer import WordTokenizer, unknown_words
from chorograph.models.devices import device_of
from chorograph.models.encoders.open_clip import check_vocabulary, new_model
from chorograph.models.encoders.registry import load_encoder
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.corpus import Corpus
from chorograph.pretraining.run import pretrain
from chorograph.shards.rs5m import check_parts

CAPTIONS = ["a road beside a river", "a river beside trees", "trees beside a road"]


@pytest.mark.parametrize("name", ["coca-small", "clip-small"])
def test_small_towers_are_made_for_the_tokenizer(name: str) -> None:
    loaded = new_model(name, seed=0, captions=CAPTIONS, compact=False)
    vectors = loaded.encode_texts(["a quay", "a harbour"])
    assert vectors.shape == (2, 128) and torch.isfinite(vectors).all()


def test_a_tokenizer_larger_than_the_tower_is_refused() -> None:
    tokenizer = WordTokenizer(tuple(f"w{n}" for n in range(200)), 16)
    with pytest.raises(InputError, match=r"tokenizer has 204 tokens and its text tower .* 100 embeddings"):
        check_vocabulary({"text_cfg": {"vocab_size": 100}}, tokenizer, "m")
    check_vocabulary({"text_cfg": {"vocab_size": 204}}, tokenizer, "m")


def test_unknown_words_are_counted() -> None:
    tokenizer = WordTokenizer.learn(CAPTIONS)
    assert tokenizer.unknown(["a quay beside a pier"]) == (2, 5)
    assert unknown_words(tokenizer, CAPTIONS) is None
    assert "2 of 5 words (40%)" in str(unknown_words(tokenizer, ["a quay beside a pier"]))
    assert "2 of 2 words (100%)" in str(unknown_words(tokenizer, ["河流旁边的道路", "河流"]))


def test_classes_whose_prompts_coincide_are_named() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 2, 1]]
    assert coinciding(vectors, list("abcde")) == [["a", "c"], ["b", "e"]]
    assert coinciding(np.eye(3, dtype=np.float32), list("abc")) == []


@pytest.mark.parametrize("kind", ["lora", "bitfit", "pfeiffer"])
def test_an_adapter_knows_its_base(kind: str, tmp_path: Path) -> None:
    adapter = Adapter(kind, (), 2, 0)
    trained = new_model("clip-small", seed=0, captions=CAPTIONS).model
    add_adapter(trained, adapter)
    save_adapter(tmp_path / "a", trained, adapter, base="base")
    load_adapter(new_model("clip-small", seed=0, captions=CAPTIONS).model, tmp_path / "a")
    with pytest.raises(InputError, match="trained on other weights than base holds now"):
        load_adapter(new_model("clip-small", seed=1, captions=CAPTIONS).model, tmp_path / "a")


def test_split_archives_are_whole_or_refused(tmp_path: Path) -> None:
    parts = [tmp_path / f"pub11.tar.gz_a{letter}" for letter in "abc"]
    for part, size in zip(parts, (10, 10, 4), strict=True):
        part.write_bytes(bytes(size))
    check_parts(parts)
    with pytest.raises(InputError, match=r"pub11\.tar\.gz_ab is missing"):
        check_parts([parts[0], parts[2]])
    with pytest.raises(InputError, match=r"pub11\.tar\.gz_aa is missing"):
        check_parts(parts[1:])
    parts[1].write_bytes(bytes(7))
    with pytest.raises(InputError, match="_ab is of another size"):
        check_parts(parts)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "mps"])
def test_a_device_that_is_not_there_is_said_by_every_loader(device: str) -> None:
    with pytest.raises(InputError, match=f"device {device} was asked for, but torch .*use --device cpu"):
        load_encoder("colour", device)
    assert device_of("cpu") == "cpu"
    assert device_of("auto") in ("cpu", "cuda")


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter_rank": 4},
        {"adapter_towers": ["image"]},
        {"objective": "clip", "captioning_weight": 2.0},
        {"graph_weight": 2.0},
        {"distill_weight": 2.0},
        {"cooldown": 0.5},
        {"keep": "best", "holdout": "0"},
        {"tokenizer": "open_clip", "init": Path()},
    ],
    ids=str,
)
def test_a_setting_without_effect_is_refused_before_work(settings: dict[str, Any], tmp_path: Path) -> None:
    asked = PretrainConfig(area=tmp_path / "none", out=tmp_path / "out", device="cpu", **settings)
    with pytest.raises(SettingError, match="has no effect without"):
        pretrain(asked.area, asked)


def test_shards_do_not_say_whose_captions_they_hold(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w"):
        pass
    with pytest.raises(InputError, match="whose its captions are; leave --captions away"):
        Corpus.open(tmp_path / "a.tar", Ledger(), origins=["human"])


@pytest.mark.parametrize("name", ["coca-small", "clip-small"])
def test_a_small_model_with_clips_tokens_is_kept_and_reads_long_texts(name: str, tmp_path: Path) -> None:
    loaded = new_model(name, seed=0, captions=CAPTIONS, compact=False)
    texts = ["a road " * 200, "a river"]
    save_checkpoint(tmp_path / "kept", loaded, facts={}, card="", history=[])
    again = load_checkpoint(tmp_path / "kept")
    torch.testing.assert_close(again.encode_texts(texts), loaded.encode_texts(texts))
