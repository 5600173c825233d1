from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from chorograph.acquisition.own.image_folder import import_image_folder
from chorograph.area.images import perceptual_hash, read_rgb
from chorograph.evaluation.examples.encoding import Encoded, encode_examples
from chorograph.evaluation.examples.layouts import read_classified
from chorograph.evaluation.examples.seen import NEAR_BITS, nearest, read_seen
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger
from chorograph.models.encoders.colour import Colour


def _encoded(folder: Path) -> Encoded:
    return encode_examples(Colour(), read_classified(folder, Ledger()), Ledger())


def _bits(a: np.uint64, b: np.uint64) -> int:
    return int(np.bitwise_count(a ^ b))


def test_near_copies_share_their_hash_and_others_half_of_it() -> None:
    apart = []
    for seed in range(20):
        image = tiny.picture(seed, size=120)
        small = Image.fromarray(image).resize((75, 75), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=60)
        assert _bits(perceptual_hash(image), perceptual_hash(read_rgb(buffer.getvalue()))) <= NEAR_BITS
        brighter = np.clip(image.astype(int) + 15, 0, 255).astype(np.uint8)
        assert _bits(perceptual_hash(image), perceptual_hash(brighter)) <= NEAR_BITS
        apart.append(_bits(perceptual_hash(image), perceptual_hash(tiny.picture(seed + 100, size=120))))
    assert min(apart) > NEAR_BITS
    assert 26 < np.mean(apart) < 38


def test_images_without_contrast_are_like_no_other() -> None:
    flat = perceptual_hash(np.full((50, 40, 3), 90, dtype=np.uint8))
    assert flat == 0
    some = np.array([flat, perceptual_hash(tiny.picture(1))], dtype=np.uint64)
    assert nearest(some, some).tolist() == [65, 0]
    assert nearest(some, np.zeros(0, dtype=np.uint64)).tolist() == [65, 65]


def test_what_training_saw_is_found_by_bytes_and_by_looks(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path / "test", ["a", "b"], 3)
    tiny.write_classes(tmp_path / "train", ["a"], 1)
    copy = Image.open(tmp_path / "test" / "b" / "b_2.jpg").resize((64, 64), Image.Resampling.BICUBIC)
    copy.save(tmp_path / "train" / "a" / "copy.png")
    (tmp_path / "train" / "a" / "broken.jpg").write_bytes(b"no image")
    ledger = Ledger()
    (seen,) = read_seen([tmp_path / "train"], "colour", ledger)
    found = seen.look_for(_encoded(tmp_path / "test").hashed())
    assert (found["images"], found["identical"], found["similar"]) == (2, 1, 1)
    assert found["examples"] == ["a/a_0.jpg", "b/b_2.jpg"]
    assert sum(ledger.dropped.values()) == 1


def test_an_area_says_what_it_holds(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path / "set", ["a", "b"], 2)
    import_image_folder(tmp_path / "set", tmp_path / "area", Ledger())
    (seen,) = read_seen([tmp_path / "area"], "colour", Ledger())
    assert seen.look_for(_encoded(tmp_path / "set").hashed())["identical"] == 4
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="neither an area nor a folder with images"):
        read_seen([tmp_path / "none"], "colour", Ledger())


def test_the_hash_of_data_follows_images_and_labels_and_not_their_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny.write_classes(tmp_path / name, ["a", "b"], 2)
    first = _encoded(tmp_path / "one").data_hash()
    assert _encoded(tmp_path / "two").data_hash() == first
    (tmp_path / "two" / "a" / "a_0.jpg").rename(tmp_path / "two" / "b" / "moved.jpg")
    assert _encoded(tmp_path / "two").data_hash() != first


def test_an_unreadable_image_is_named_or_counted(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path, ["a", "b"], 2)
    (tmp_path / "a" / "a_1.jpg").write_bytes(b"\xff\xd8\xff")
    examples, ledger = read_classified(tmp_path, Ledger()), Ledger()
    with pytest.raises(InputError, match=r"a_1\.jpg: truncated; .*--skip-bad"):
        encode_examples(Colour(), examples, ledger)
    encoded = encode_examples(Colour(), examples, ledger, skip_bad=True)
    assert len(encoded.examples) == len(encoded.vectors) == 3
    assert ledger.dropped == {"image truncated": 1}
