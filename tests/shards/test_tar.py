from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.ground.errors import InputError
from chorograph.shards.samples import Sample, read_samples
from chorograph.shards.tar import Member, open_stream, walk


class _Trap:
    """Unpickling it leaves a mark."""

    ran = False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _spring, ("sprung",)


def _spring(text: str) -> str:
    _Trap.ran = True
    return text


def write_tar(path: Path, members: list[tuple[str, bytes | tarfile.TarInfo]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def _read(source: Path | list[Path]) -> tuple[list[Sample], Counter[str]]:
    dropped: Counter[str] = Counter()

    def drop(reason: str) -> None:
        dropped[reason] += 1

    return list(read_samples(source, drop)), dropped


def _walk(path: Path) -> tuple[list[Member], Counter[str]]:
    dropped: Counter[str] = Counter()

    def drop(reason: str) -> None:
        dropped[reason] += 1

    with open_stream(path) as stream:
        return list(walk(stream, drop)), dropped


def _pairs(number: int) -> list[tuple[str, bytes]]:
    return [
        (f"{row:04d}.{extension}", content)
        for row in range(number)
        for extension, content in (("jpg", bytes([row]) * (row * 97 % 1500)), ("txt", f"caption {row} ±°".encode()))
    ]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_the_standard_library(tmp_path: Path, kind: int) -> None:
    names = ["a.jpg", "folder/b.txt", "long/" * 18 + "c.img_content"]
    if kind != tarfile.USTAR_FORMAT:
        names += ["x" * 300 + ".jpg", "größe/städte.txt"]
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w", format=kind) as tar:
        tar.addfile(special(tarfile.DIRTYPE), None)
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number * 511
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    members, dropped = _walk(path)
    with tarfile.open(path) as tar:
        files = [info for info in tar if info.isfile()]
        assert [(m.name, m.offset, m.size) for m in members] == [(i.name, i.offset_data, i.size) for i in files]
        assert [m.data for m in members] == [tar.extractfile(info).read() for info in files]  # type: ignore[union-attr]
    assert not dropped


def test_samples_are_those_of_webdataset(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar", _pairs(40))
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
    ours, dropped = _read(path)
    assert [(sample.key, dict(sample.members)) for sample in ours] == [
        (sample["__key__"], {"jpg": sample["jpg"], "txt": sample["txt"]}) for sample in theirs
    ]
    assert not dropped


def test_rs5ms_own_keys_are_read(tmp_path: Path) -> None:
    members = [("7.img_name", b"pub11/a.b.jpg"), ("7.img_content", b"JPEG"), ("7.caption", "52.96° north".encode())]
    (sample,), dropped = _read(write_tar(tmp_path / "pub11-train-0000.tar", list(members)))
    assert (sample.key, sample.name, sample.image(), sample.caption()) == (
        "7",
        "pub11/a.b.jpg",
        b"JPEG",
        "52.96° north",
    )
    assert not dropped


def test_a_split_archive_is_one_stream(tmp_path: Path) -> None:
    whole = gzip.compress(write_tar(tmp_path / "whole.tar", _pairs(50)).read_bytes())
    third = len(whole) // 3
    parts = [tmp_path / f"pub11.tar.gz_a{letter}" for letter in "abc"]
    for part, content in zip(parts, (whole[:third], whole[third : 2 * third], whole[2 * third :]), strict=True):
        part.write_bytes(content)
    samples, dropped = _read(parts)
    assert samples == _read(tmp_path / "whole.tar")[0]
    assert len(samples) == 50
    assert not dropped
    samples, dropped = _read(parts[:2])
    assert 0 < len(samples) < 50
    assert dropped["shard truncated"] == 1
    with pytest.raises(InputError, match="aa does not exist"):
        _read([tmp_path / "rs3.tar.gz_aa"])


def test_the_readable_half_of_a_truncated_shard_is_kept(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", _pairs(30)).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: len(whole) // 2])
    samples, dropped = _read(cut)
    assert samples == _read(tmp_path / "whole.tar")[0][: len(samples)]
    assert 10 < len(samples) < 20
    assert dropped["shard truncated"] == 1


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 20_000), place=st.integers(0, 20_000), value=st.integers(0, 255))
def test_no_damage_raises(tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, value: int) -> None:
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(write_tar(folder / "shard.tar", _pairs(12)).read_bytes())
    content[place % len(content)] = value
    (folder / "shard.tar").write_bytes(content[: max(len(content) - cut, 0)])
    samples, _ = _read(folder / "shard.tar")
    assert len(samples) <= 12


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("../x.jpg", b"JPEG", "member leads out of the shard"),
        ("/etc/x.jpg", b"JPEG", "member leads out of the shard"),
        ("a/../../x.jpg", b"JPEG", "member leads out of the shard"),
        ("c:\\x.jpg", b"JPEG", "member leads out of the shard"),
        ("x.jpg", special(tarfile.SYMTYPE, "/etc/passwd"), "member is a link"),
        ("x.jpg", special(tarfile.LNKTYPE, "0000.jpg"), "member is a link"),
        ("x.jpg", special(tarfile.CHRTYPE), "member is no plain file"),
        ("x.jpg", special(tarfile.FIFOTYPE), "member is no plain file"),
        ("x.pkl", pickle.dumps(_Trap()), "member holds a pickle"),
        ("x.pyd", pickle.dumps(_Trap()), "member holds a pickle"),
        ("x.PTH", pickle.dumps(_Trap()), "member holds a pickle"),
        ("x.meta.npy", pickle.dumps(_Trap()), "member holds a pickle"),
        ("README", b"text", "member without key or extension"),
        ("x.jpg", b"JPEG", "image without a caption"),
        ("x.txt", b"a road", "caption without an image"),
        ("x.cls", b"3", "neither image nor caption"),
        ("0003.jpg", b"JPEG", "duplicate key"),
    ],
)
def test_a_bad_member_costs_only_itself(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    good = _pairs(6)
    path = write_tar(tmp_path / "shard.tar", [*good[:8], (name, content), *good[8:]])
    samples, dropped = _read(path)
    assert [sample.key for sample in samples] == [f"{row:04d}" for row in range(6)]
    assert dropped == {reason: 1}
    assert not _Trap.ran


@pytest.mark.parametrize(
    ("extension", "content", "reason"),
    [
        ("txt", b"caf\xe9", "caption is not UTF-8"),
        ("caption", b" \n\0", "caption is empty"),
        ("json", b'{"text": "a road"}', "json without a caption"),
        ("json", b"{", "caption is no JSON text"),
        ("json", b"[" * 100_000, "caption is no JSON text"),
        ("json", b'{"caption": 3}', "caption is no JSON text"),
    ],
)
def test_bad_captions(tmp_path: Path, extension: str, content: bytes, reason: str) -> None:
    members = [("a.jpg", b"JPEG"), (f"a.{extension}", content), ("b.jpg", b"JPEG"), ("b.json", b'{"caption": "roof"}')]
    samples, dropped = _read(write_tar(tmp_path / "shard.tar", list(members)))
    assert [(sample.key, sample.caption()) for sample in samples] == [("b", "roof")]
    assert dropped == {reason: 1}


def test_a_size_that_nobody_has_is_not_believed(tmp_path: Path) -> None:
    info = tarfile.TarInfo("huge.jpg")
    info.size = 2**60
    path = tmp_path / "shard.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    assert _read(path) == ([], {"shard truncated": 1})
    with gzip.open(tmp_path / "shard.tar.gz", "wb") as file:
        file.write(path.read_bytes())
    assert _read(tmp_path / "shard.tar.gz") == ([], {"shard truncated": 1})


@pytest.mark.parametrize("content", [b"not a tar" * 400, b"\x1f\x8b\x08 no gzip", b"", b"\x1f\x8b"])
def test_what_is_no_tar_is_counted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(content)
    samples, dropped = _read(path)
    assert samples == []
    assert set(dropped) <= {"shard damaged", "shard truncated"}
    assert dropped.total() == 1
