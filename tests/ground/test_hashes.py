from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chorograph.ground import hashes
from chorograph.ground.files import sha256_bytes
from chorograph.ground.hashes import content_hash
from chorograph.ground.stage import fingerprint


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "_LARGE", 10)
    monkeypatch.setattr(hashes, "_SETTLED_S", -1.0)
    path = tmp_path / "shard.tar"
    path.write_bytes(b"a" * 100)
    return path


def test_a_large_file_is_read_once(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert content_hash(large) == sha256_bytes(b"a" * 100)
    monkeypatch.setattr(hashes, "sha256_file", lambda path: pytest.fail("it is read again"))
    assert content_hash(large) == sha256_bytes(b"a" * 100)


def test_a_change_that_keeps_size_and_time_is_seen(large: Path) -> None:
    before, status = content_hash(large), large.stat()
    large.write_bytes(b"b" * 100)
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_hash(large) == sha256_bytes(b"b" * 100) != before


def test_a_reading_is_no_change(large: Path, tmp_path: Path) -> None:
    os.utime(large, (1, 1))  # so that our reading moves the time of the last one, where the file system keeps it
    content_hash(large)
    assert len(list((tmp_path / "cache/chorograph/hashes").iterdir())) == 1


@pytest.mark.parametrize("held", ["", "[]", "{}", '{"state": 1}', "\0"])
def test_a_damaged_memory_costs_time_only(large: Path, tmp_path: Path, held: str) -> None:
    content_hash(large)
    (entry,) = (tmp_path / "cache/chorograph/hashes").iterdir()
    entry.write_text(held)
    assert content_hash(large) == sha256_bytes(b"a" * 100)


def test_without_a_place_for_it_nothing_is_remembered(large: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    assert content_hash(large) == sha256_bytes(b"a" * 100)


def test_what_has_just_been_written_is_not_remembered(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_SETTLED_S", 60.0)
    content_hash(large)
    assert not (tmp_path / "cache/chorograph/hashes").exists()


def test_a_small_folder_is_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    shutil.copytree(folder, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "weights", (1, 1))
    assert fingerprint(folder) == fingerprint(tmp_path / "copy")
    status = (folder / "weights").stat()
    (folder / "weights").write_bytes(b"2")
    os.utime(folder / "weights", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(folder) != fingerprint(tmp_path / "copy")
