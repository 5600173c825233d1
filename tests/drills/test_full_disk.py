"""A disk that fills: every writer says so by name, and leaves neither a half file nor litter.

A small file system in memory where this process may mount one (root), else a limit on the size of files.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from chorograph.area.draft import AreaDraft
from chorograph.area.vector_tables import VectorTable
from chorograph.ground.errors import OutputError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import Ledger, make_folder, run_stage
from chorograph.pretraining.loop.resume import Interval, Resume
from chorograph.shards.write import ShardWriter

_NUMBER = 400_000
_NOISE = np.random.default_rng(0).normal(size=_NUMBER).astype(np.float32)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() == 0 and shutil.which("mount") and subprocess.run(mounting, capture_output=True).returncode == 0:
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        return
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    yield disk
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def _safetensors(place: Path) -> None:
    with atomic_path(place / "a.safetensors") as path:
        save_file({"a": torch.from_numpy(_NOISE)}, path)


def _arrays(place: Path) -> None:
    with atomic_path(place / "a.safetensors") as path:
        save_arrays({"a": _NOISE}, path)


def _npz(place: Path) -> None:
    with atomic_path(place / "a.npz") as path:
        np.savez(path, a=_NOISE)


def _state(place: Path) -> None:
    Resume(place / "states", Interval(steps=1), {}).save(1, {"a": torch.from_numpy(_NOISE)})


def _vectors(place: Path) -> None:
    ids = np.array([str(n) for n in range(1000)], dtype=object)
    VectorTable("m", {"image_id": ids}, _NOISE.reshape(1000, -1), {}).write(place / "a.parquet")


def _image(place: Path) -> None:
    with AreaDraft(place / "area", "a") as draft:
        draft.add_image("a", _NOISE.tobytes())


def _shard(place: Path) -> None:
    with ShardWriter(place / "shards") as writer:
        writer.write("a", {"bin": _NOISE.tobytes()})


def _json(place: Path) -> None:
    write_json(place / "a.json", _NOISE.tolist())


def _stage(place: Path) -> None:
    """A writer of somebody's own, that knows nothing of drafts."""

    def work(ledger: Ledger) -> None:
        (place / "out").mkdir()
        try:
            np.save(place / "out" / "a.npy", _NOISE)
        finally:
            shutil.rmtree(place / "out")

    run_stage("try", manifest=place / "manifest.json", config={}, inputs=[], work=work)


def _folder(place: Path) -> None:
    def work(ledger: Ledger, draft: Path) -> None:
        with tarfile.open(draft / "a.tar", "w") as tar:
            info = tarfile.TarInfo("a")
            info.size = _NOISE.nbytes
            import io

            tar.addfile(info, io.BytesIO(_NOISE.tobytes()))

    make_folder("try", out=place / "out", config={}, inputs=[], work=work)


@pytest.mark.parametrize(
    "write",
    [_safetensors, _arrays, _npz, _state, _vectors, _image, _shard, _json, _stage, _folder],
    ids=lambda w: w.__name__,
)
def test_every_writer_names_a_full_disk(small: Path, write: Callable[[Path], Any]) -> None:
    with pytest.raises(OutputError, match=r"is full: .* are free|is full"):
        write(small)
    assert [path for path in small.rglob("*") if not path.is_dir()] == []
    assert [path.name for path in small.iterdir() if path.name.startswith(".")] == []
