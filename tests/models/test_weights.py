"""Weights files as training scripts write them."""

from __future__ import annotations

import argparse
import copyreg
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from chorograph.ground.errors import InputError
from chorograph.models.weights import apply_weights, fitting_architectures, read_weights

_RAN: list[str] = []


class _Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _RAN.append, ("ran",)


def _state() -> dict[str, Tensor]:
    return {"visual.proj": torch.arange(6.0).view(2, 3), "logit_scale": torch.tensor(2.5)}


def _with(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in _state().items()}


@pytest.mark.parametrize(
    "content",
    [
        _state(),
        OrderedDict(_with("module.")),
        {"state_dict": _with("module."), "epoch": 3, "optimizer": {"state": {0: {"step": 4}}}},
        {"model": _with("_orig_mod.module."), "args": argparse.Namespace(lr=1e-5, name="RS5M")},
        {"model": {"state_dict": _with("model.")}, "best": np.float64(0.5), "steps": np.int64(3)},
        {"model_state_dict": _with("module.model."), "scores": [np.float32(0.25)], "scaler": None},
    ],
    ids=["plain", "distributed", "open_clip", "compiled", "nested", "scores"],
)
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth"])
def test_one_table_in_every_wrapping(tmp_path: Path, content: dict[str, Any], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(content, path)
    found = read_weights(path)
    assert found.keys() == _state().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in _state().items())


def test_half_precision_and_prefixes_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.half() for name, tensor in _with("module.").items()}, path)
    assert read_weights(path)["visual.proj"].dtype == torch.float16


@pytest.mark.parametrize("where", ["value", "beside", "inside"])
def test_nothing_is_run(tmp_path: Path, where: str) -> None:
    content: Any = {
        "value": {**_state(), "x": _Trap()},
        "beside": {"state_dict": _state(), "args": _Trap()},
        "inside": {"state_dict": _state(), "args": argparse.Namespace(hook=_Trap())},
    }[where]
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"weights\.pt .*refused \(weights_only\): \S+$"):
        read_weights(path)
    assert _RAN == []
    assert copyreg.dispatch_table  # the test's own pickling did work


def test_what_is_no_table(tmp_path: Path) -> None:
    for number, content in enumerate(({}, {"epoch": 3}, [torch.ones(2)], torch.ones(2), {"state_dict": {}})):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        with pytest.raises(InputError, match=f"{number}.pt is not a table"):
            read_weights(path)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14", "ViT-H-14", "coca_ViT-B-32", "coca_ViT-L-14"])
def test_shapes_tell_the_architecture(name: str) -> None:
    with torch.device("meta"):
        config = open_clip.get_model_config(name)
        custom = config.pop("custom_text", False)
        if "multimodal_cfg" in config:
            model = open_clip.CoCa(**config)
        else:
            model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    found = fitting_architectures(model.state_dict())
    assert set(found) <= {name, f"{name}-quickgelu"}
    assert name in found


def test_a_wrong_architecture_is_told_the_right_one() -> None:
    with torch.device("meta"):
        large = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16")).state_dict()
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))
    with pytest.raises(InputError) as caught:
        apply_weights(model, large, "RS5M.pt")
    message = str(caught.value)
    assert "visual.conv1.weight is 768x3x16x16, the model has 768x3x32x32" in message
    assert "visual.positional_embedding is 197x768, the model has 50x768" in message
    assert "by its shapes it is one of" in message
    assert "ViT-B-16" in message


def test_what_is_no_table_of_weights_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 3)), path)
    with pytest.raises(InputError, match="TorchScript: export its state_dict"):
        read_weights(path)
    torch.save({"ema": {"a": torch.ones(2)}, "epoch": 1}, path)
    with pytest.raises(InputError, match="it has: ema, epoch; save 'ema' by itself"):
        read_weights(path)
    for data in (
        b"version https://git-lfs.github.com/spec/v1\n",
        b"<!doctype html>",
        b"no weights at all",
        b"",
        b"\x80",
    ):
        for name in ("weights.pt", "weights.safetensors"):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(InputError) as caught:
                read_weights(tmp_path / name)
            assert "weights_only" not in str(caught.value) and "False" not in str(caught.value)


def test_a_prefix_of_every_name_is_hinted_at() -> None:
    model = torch.nn.Linear(3, 3)
    weights = {f"clip.{name}": tensor for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=r"every name in it begins with 'clip\.': without that, 2 of 2"):
        apply_weights(model, weights, "a.pt")


def test_numbers_that_are_no_weights_are_refused() -> None:
    model = torch.nn.Linear(3, 3)
    state = model.state_dict()
    apply_weights(model, {name: tensor.half() for name, tensor in state.items()}, "half.pt")
    with pytest.raises(InputError, match=r"int8.pt holds whole numbers .*weight \(torch.int8\).*scales"):
        apply_weights(model, {name: (10 * tensor).to(torch.int8) for name, tensor in state.items()}, "int8.pt")
    with pytest.raises(InputError, match=r"nan.pt .*not finite in 1 of 2 tensors \(weight\).*diverged"):
        apply_weights(model, {**state, "weight": state["weight"] * float("nan")}, "nan.pt")
