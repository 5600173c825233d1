from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
import webdataset
from PIL import Image

from chorograph.area.check import check_area
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.evaluation.examples.seen import read_seen
from chorograph.ground.errors import AreaError, ImageError, InputError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Ledger
from chorograph.shards.index import index_shard
from chorograph.shards.pairs import expand_shards, open_pairs
from chorograph.shards.samples import read_samples
from chorograph.shards.write import ShardWriter, shard_key


def _jpeg(seed: int, size: tuple[int, int] = (20, 30), quality: int = 90) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    smooth = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    return simplejpeg.encode_jpeg(np.array(smooth), quality=quality, colorspace="RGB")


def _never(reason: str) -> None:
    raise AssertionError(reason)


def _write(folder: Path, rows: int = 25, **settings: int) -> ShardWriter:
    with ShardWriter(folder, "part-{:03d}.tar", **settings) as writer:
        for row in range(rows):
            uri = writer.write(f"{row:05d}", {"jpg": _jpeg(row), "txt": f"picture {row}°", "json": {"row": row}})
            assert uri.endswith(f".tar#{row:05d}")
    return writer


def test_shards_are_limited_named_and_read_by_webdataset(tmp_path: Path) -> None:
    writer = _write(tmp_path, max_samples=10, first=3)
    assert [path.name for path in writer.paths] == ["part-003.tar", "part-004.tar", "part-005.tar"]
    theirs = list(webdataset.WebDataset([str(path) for path in writer.paths], shardshuffle=False))
    assert [sample["__key__"] for sample in theirs] == [f"{row:05d}" for row in range(25)]
    assert theirs[7]["txt"].decode() == "picture 7°"
    assert theirs[7]["json"] == b'{"row": 7}'
    with tarfile.open(writer.paths[0]) as tar:
        assert {(info.uid, info.mtime, info.mode) for info in tar} == {(0, 0, 0o644)}
    assert len(_write(tmp_path / "bytes", max_bytes=2 * len(_jpeg(0))).paths) > 5


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    first, again = _write(tmp_path / "a"), _write(tmp_path / "b")
    assert first.paths[0].read_bytes() == again.paths[0].read_bytes()


def test_a_shard_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path, max_samples=2) as writer:
        for row in range(5):
            writer.write(str(row), {"jpg": _jpeg(row), "txt": "x"})
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.tar", "0001.tar"]
    before = (tmp_path / "0000.tar").read_bytes()
    with pytest.raises(InputError, match=r"0000\.tar exists"), ShardWriter(tmp_path) as writer:
        writer.write("a", {"jpg": b"", "txt": "x"})
    assert (tmp_path / "0000.tar").read_bytes() == before
    with ShardWriter(tmp_path, replace=True) as writer:
        writer.write("a", {"jpg": b"1", "txt": "x"})
    with pytest.raises(InputError, match="no series"), ShardWriter(tmp_path, "one.tar", 1, replace=True) as writer:
        for key in "ab":
            writer.write(key, {"jpg": b"1"})
    assert (tmp_path / "0000.tar").read_bytes() != before


@pytest.mark.parametrize("key", ["", "a.b", "../a", "/a", "a/../b", "a\nb", "a//b", "a#b"])
def test_keys_that_no_reader_would_give_back(tmp_path: Path, key: str) -> None:
    with ShardWriter(tmp_path) as writer, pytest.raises(InputError, match="cannot be a sample's key"):
        writer.write(key, {"txt": "x"})
    assert list(tmp_path.iterdir()) == []


def test_other_things_that_are_not_written(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        with pytest.raises(InputError, match="extension"):
            writer.write("a", {"jpg": b"", "pkl": b""})
        writer.write("a", {"jpg": b"1", "txt": "x"})
        with pytest.raises(InputError, match="unique"):
            writer.write("a", {"jpg": b"2", "txt": "y"})
    assert [sample.image() for sample in read_samples(writer.paths[0], _never)] == [b"1"]


def test_any_id_has_a_key_of_its_own() -> None:
    ids = ["18_1_2", "18_1_2.jpg", "18_1_2-jpg", "a/b", "a b", "é", "..", "", "x" * 200, "x" * 201, "-a"]
    keys = [shard_key(image_id) for image_id in ids]
    assert keys[0] == "18_1_2"
    assert len(set(keys)) == len(ids)
    assert all(key and "." not in key and "/" not in key for key in keys)


def test_rows_are_what_one_pass_reads(tmp_path: Path) -> None:
    writer = _write(tmp_path, max_samples=10)
    pairs = open_pairs([tmp_path], _never)
    passed = [sample for path in writer.paths for sample in read_samples(path, _never)]
    assert len(pairs) == len(passed) == 25
    rows = [(pairs.key(row), pairs.image(row), pairs.caption(row)) for row in range(25)]
    assert rows == [(sample.key, sample.image(), sample.caption()) for sample in passed]
    assert pairs.uri(13) == f"{writer.paths[1]}#00013"
    copy = pickle.loads(pickle.dumps(pairs))  # noqa: S301  # as a worker process receives it
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(copy.image, [*range(25)] * 4)) == [sample.image() for sample in passed] * 4


def test_what_is_no_pair_is_counted_and_rows_are_final(tmp_path: Path) -> None:
    _write(tmp_path, rows=5)
    broken = tmp_path / "broken.tar"
    with ShardWriter(tmp_path, "broken.tar") as writer:
        writer.write("a", {"img_name": "a.jpg", "img_content": _jpeg(0), "caption": "a road"})
        writer.write("b", {"jpg": _jpeg(1)})
        writer.write("c", {"jpg": _jpeg(1), "txt": b"\xff"})
        writer.write("d", {"jpg": _jpeg(2), "txt": "cut off"})
    with broken.open("rb+") as file:
        file.truncate(broken.stat().st_size - 10240)
    dropped: Counter[str] = Counter()
    pairs = open_pairs([broken, tmp_path / "part-{000..000}.tar"], lambda reason: dropped.update([reason]))
    assert [pairs.key(row) for row in range(len(pairs))] == ["a", *(f"{row:05d}" for row in range(5))]
    assert dropped["image without a caption"] >= 1
    assert dropped["caption is not UTF-8"] == 1
    assert dropped["shard truncated"] == 1


def test_names_of_many_shards(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"pub11-train-{number:04d}.tar").touch()
    found = expand_shards([tmp_path / "pub11-train-{0009..0011}.tar", f"{tmp_path}/pub11-train-*0.tar"])
    assert [path.name[-8:-4] for path in found] == ["0009", "0010", "0011", "0000"]
    with pytest.raises(InputError, match="0012"):
        expand_shards([tmp_path / "pub11-train-{0011..0012}.tar"])
    with pytest.raises(InputError, match="no image with a caption"):
        open_pairs([tmp_path], lambda reason: None)


def test_compressed_shards_have_no_rows(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    with pytest.raises(InputError, match=r"gzipped shard.* unpack it"):
        index_shard(tmp_path / "a.tar.gz", _never)


def test_a_corpus_whose_images_live_in_tars(tmp_path: Path) -> None:
    encoded = {f"tile_{row}": _jpeg(row) for row in range(4)}
    with AreaDraft(tmp_path / "corpus", "corpus") as draft:
        with ShardWriter(draft.folder / "shards", max_samples=3) as writer:
            uris = [f"shards/{writer.write(key, {'jpg': data})}" for key, data in encoded.items()]
        frame = pd.DataFrame(
            {
                "image_id": list(encoded),
                "view": "satellite",
                "uri": uris,
                "source": "test",
                "licence": "CC0-1.0",
                "sha256": [sha256_bytes(data) for data in encoded.values()],
            }
        )
        draft.write("images", frame)
    area = Area.open(tmp_path / "corpus")
    assert area.images["uri"].tolist()[-1] == "shards/0001.tar#tile_3"
    assert check_area(area) == []
    for uri, data in zip(uris, encoded.values(), strict=True):
        assert area.read_encoded(uri) == data
        np.testing.assert_array_equal(area.read_image(uri), read_rgb(data))
    for uri in ("shards/0000.tar#none", "shards/none.tar#tile_0"):
        with pytest.raises(ImageError, match="missing"):
            area.read_image(uri)
    with pytest.raises((AreaError, InputError), match="leads out"):
        area.read_image("../elsewhere.tar#tile_0")
    area.write("images", frame.assign(sha256="0" * 64))
    assert len(check_area(area)) == 4


def test_a_shard_that_is_a_link_out_of_the_area_is_refused(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "elsewhere") as writer:
        writer.write("a", {"jpg": _jpeg(0)})
    with AreaDraft(tmp_path / "corpus", "corpus") as draft:
        (draft.folder / "x.tar").symlink_to(writer.paths[0])
    with pytest.raises(InputError, match="leads out"):
        Area.open(tmp_path / "corpus").read_image("x.tar#a")


def test_evaluations_read_a_packed_corpus(tmp_path: Path) -> None:
    encoded = {f"tile_{row}": _jpeg(row) for row in range(3)}
    with AreaDraft(tmp_path / "corpus", "corpus") as draft:
        with ShardWriter(draft.folder / "shards") as writer:
            uris = [f"shards/{writer.write(key, {'jpg': data})}" for key, data in encoded.items()]
        images = pd.DataFrame(
            {"image_id": list(encoded), "uri": uris, "view": "satellite", "source": "", "licence": ""}
        )
        draft.write("images", images.assign(source="test", licence="CC0-1.0"))
    ledger = Ledger()
    (seen,) = read_seen([tmp_path / "corpus"], "colour", ledger)
    assert seen.sha256 == {sha256_bytes(data) for data in encoded.values()}
    assert not ledger.dropped


def _bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels without pixel data."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_an_image_that_does_not_decode_costs_only_itself(tmp_path: Path) -> None:
    bad = {"bomb": _bomb(), "cut": _jpeg(0)[:300], "html": b"<html>503</html>", "empty": b""}
    with ShardWriter(tmp_path) as writer:
        for row, (name, data) in enumerate(bad.items()):
            writer.write(f"good{row}", {"jpg": _jpeg(row), "txt": "fine"})
            writer.write(name, {"jpg": data, "txt": "not fine"})
    pairs = open_pairs([tmp_path], _never)
    read, reasons = 0, Counter[str]()
    for row in range(len(pairs)):
        try:
            read += read_rgb(pairs.image(row), at_least=(16, 16)).size > 0
        except ImageError as error:
            reasons[error.reason] += 1
    assert read == 4
    assert reasons == {"too large": 1, "truncated": 1, "not an image": 1, "empty": 1}
