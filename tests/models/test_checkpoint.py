from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from chorograph.ground.errors import InputError
from chorograph.models.checkpoint import load_checkpoint, load_checkpoint_encoder, save_checkpoint
from chorograph.models.encoders.open_clip import ImageTextModel, OpenClipEncoder, new_model
from chorograph.models.weights import apply_weights, read_weights

_CAPTIONS = ["a road and a roof", "two roofs beside a road", "a lake and a road"]


def _model(seed: int = 0, name: str = "coca-small") -> ImageTextModel:
    return new_model(name, seed=seed, captions=_CAPTIONS)


def _save(folder: Path, loaded: ImageTextModel) -> None:
    save_checkpoint(folder, loaded, facts={"seed": 0}, card="# card\n", history=[{"epoch": 1, "train_loss": 2.5}])


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    loaded = _model()
    folder = tmp_path / "run" / "model"
    _save(folder, loaded)
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.md", "config.json", "history.jsonl", "model.safetensors", "seen.txt", "tokenizer.json",
    ]  # fmt: skip
    again = load_checkpoint(folder)
    state, restored = loaded.model.state_dict(), again.model.state_dict()
    assert state.keys() == restored.keys()
    assert all(torch.equal(state[name], restored[name]) for name in state)
    assert again.tokenizer == loaded.tokenizer
    assert again.preprocessing == loaded.preprocessing
    assert [json.loads(line)["epoch"] for line in (folder / "history.jsonl").read_text().splitlines()] == [1]
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    before, after = OpenClipEncoder("x", loaded), load_checkpoint_encoder(folder)
    assert after.name == str(folder)
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.encode([image]), before.encode([image]))


def test_an_earlier_checkpoint_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    _save(folder, _model(0))
    first = (folder / "model.safetensors").read_bytes()
    _save(folder, _model(1))
    assert (folder / "model.safetensors").read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (folder / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.docx"):
        _save(folder, _model(2))
    assert (folder / "thesis.docx").exists()


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    _save(folder, _model(0))
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(folder, _model(1), facts={"seed": float("nan")}, card="", history=[])
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_weights_are_read_whatever_their_wrapping(tmp_path: Path, suffix: str) -> None:
    source, target = _model(0), _model(1)
    state = {f"module.{name}": tensor for name, tensor in source.model.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    apply_weights(target.model, read_weights(path), str(path))
    expected = source.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in target.model.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="weights"):
        read_weights(path)


def test_a_wrong_architecture_lists_the_shapes() -> None:
    wide = new_model("coca-small", seed=0, captions=[*_CAPTIONS, "zebra zebra"])
    with pytest.raises(InputError, match=r"text_decoder\.text_projection is \d+x\d+, the model has \d+x\d+"):
        apply_weights(wide.model, _model().model.state_dict(), "other.bin")
    with pytest.raises(InputError, match="is missing"):
        apply_weights(wide.model, {"logit_scale": torch.ones(())}, "other.bin")


def test_damaged_configurations_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    _save(folder, _model())
    config = json.loads((folder / "config.json").read_text())
    del config["preprocessing"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="preprocessing"):
        load_checkpoint(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json"):
        load_checkpoint(folder)
