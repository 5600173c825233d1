"""Localisation judged on a made-up folder in the layout of AIR-SLT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from chorograph.cli.app import app
from chorograph.evaluation.suites.localization import (
    METRICS,
    check_samples,
    data_digest,
    read_samples,
    score_samples,
    summarise,
)
from chorograph.ground.errors import InputError

SQUARES = {"a.png": (300, 200), "b.png": (500, 700), "c.png": (100, 600)}


class ColourWords:
    """Images are their mean colour, sentences the colours they name; counts what it is asked."""

    name, dim, fingerprint = "colour-words", 3, "colour-words-1"

    def __init__(self) -> None:
        self.images = 0

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.images += len(images)
        return self._unit(np.array([image.mean(axis=(0, 1)) + 1.0 for image in images]))

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
        return self._unit(np.array([[word in text for word in ("red", "green", "blue")] for text in texts], float))

    def _unit(self, vectors: NDArray[np.float64]) -> NDArray[np.float32]:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def box(row: int, column: int, side: int = 300) -> list[list[float]]:
    return [[column, row], [column + side, row], [column + side, row + side], [column, row + side]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make three green images with a red square; two sentences on the first."""
    folder = tmp_path / "AIR-SLT"
    (folder / "imgs").mkdir(parents=True)
    samples = []
    for name, (row, column) in SQUARES.items():
        pixels = np.full((900, 1100, 3), (30, 160, 40), np.uint8)
        pixels[row : row + 300, column : column + 300] = (220, 20, 20)
        Image.fromarray(pixels).save(folder / "imgs" / name)
        samples.append({"caption": "a red square.\n", "jpg_name": name, "points": [box(row, column)]})
    samples.append({"caption": "green land", "jpg_name": "a.png", "points": [box(600, 0), box(0, 800)]})
    write(folder, samples)
    return folder


def write(folder: Path, samples: Any) -> None:
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "anno.json").write_text(json.dumps(samples))


def change(folder: Path, **fields: Any) -> None:
    samples = json.loads((folder / "annotations" / "anno.json").read_text())
    samples[1].update(fields)
    write(folder, samples)


def test_what_is_there_is_found(folder: Path) -> None:
    encoder = ColourWords()
    table = score_samples(encoder, read_samples(folder), steps=(128, 256))
    assert list(table["sample"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert list(table["arithmetic"][:2]) == ["corrected", "published"]
    red = table[table["sentence"] == "a red square."]
    assert (red["rsu"] > 0.9).all()
    assert (red["rda"] == 1).all()
    assert (red["ras"] < 0.1).all()
    assert np.isfinite(table[list(METRICS)].to_numpy()).all()
    encoded = encoder.images
    score_samples(encoder, read_samples(folder)[:3], steps=(128, 256))
    assert encoder.images == 2 * encoded  # the second sentence on an image costs no windows


def test_the_mean_is_over_samples(folder: Path) -> None:
    samples = read_samples(folder)
    table = score_samples(ColourWords(), samples)
    for compat, name in ((True, "published"), (False, "corrected")):
        alone = (
            score_samples(ColourWords(), samples, compat=compat, arithmetics=(compat,))[list(METRICS)].mean().to_dict()
        )
        both = table[table["arithmetic"] == name]
        if compat:
            assert alone == pytest.approx(both[list(METRICS)].mean().to_dict())
        assert set(alone) == set(METRICS)
        assert all(0 <= value <= 1 for value in alone.values())
    scores = summarise(table)
    assert list(scores) == ["corrected", "published", "corrected - published"]
    for name in METRICS:
        difference = scores["corrected"][name].value - scores["published"][name].value
        assert scores["corrected - published"][name].value == pytest.approx(difference)
        assert scores["published"][name].lower <= scores["published"][name].value <= scores["published"][name].upper


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"points": [box(5000, 5000)]}, r"sample 1 \(b.png\): region 1 has no pixel inside the image"),
        ({"points": [box(0, 0), [[1, 1], [2, 2]]]}, r"sample 1 \(b.png\): region 2 is not a polygon"),
        ({"points": []}, "sample 1 .*no region"),
        ({"points": [["x"]]}, "sample 1 needs"),
        ({"points": None}, "sample 1 needs"),
        ({"caption": " "}, "sample 1 has an empty caption"),
        ({"jpg_name": "none.jpg"}, "sample 1 names the image none.jpg"),
        ({"jpg_name": "../../secret.jpg"}, "leads out"),
    ],
)
def test_annotations_that_are_wrong(folder: Path, fields: dict[str, Any], said: str) -> None:
    change(folder, **fields)
    with pytest.raises(InputError, match=said):
        score_samples(ColourWords(), read_samples(folder))


def test_a_folder_that_is_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"anno\.json does not exist"):
        read_samples(tmp_path)
    write(folder, {})
    with pytest.raises(InputError, match="list of samples"):
        read_samples(folder)
    shutil.rmtree(folder / "annotations")
    write(folder, [{"caption": "red", "jpg_name": "a.png", "points": [box(0, 0)]}])
    (folder / "imgs" / "a.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a\.png cannot be read: not an image"):
        score_samples(ColourWords(), read_samples(folder))


def test_the_digest_is_of_annotations_and_images(folder: Path) -> None:
    before = data_digest(folder, read_samples(folder))
    assert before == data_digest(folder, read_samples(folder))
    Image.new("RGB", (900, 900)).save(folder / "imgs" / "b.png")
    assert data_digest(folder, read_samples(folder)) != before


def test_the_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "chorograph.models.encoders.registry.load_image_text_encoder", lambda name, device: ColourWords()
    )
    out = tmp_path / "out"
    words = ["evaluate", "localize", "--model", "any", "--data", folder, "--out", out, "--compat", "--json"]
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout.strip().splitlines()[-1])
    assert said["counts"] == {"samples": 4, "images": 3, "regions": 5}
    scores = json.loads((out / "scores.json").read_text())
    rows = {row["name"]: row["scores"] for row in scores["rows"]}
    assert set(rows) == {"published", "corrected", "corrected - published"}
    table = pd.read_csv(out / "samples.csv")
    published = table[table["arithmetic"] == "published"]
    assert rows["published"]["rmi"][0] == pytest.approx(published["rmi"].mean(), abs=1e-6)
    assert (scores["model_fingerprint"], len(scores["data_sha256"])) == ("colour-words-1", 64)
    assert scores["checks"]["distance from black"] > 0.02


def test_images_nearly_black_stop_the_evaluation(folder: Path) -> None:
    for name in SQUARES:
        Image.fromarray(np.asarray(Image.open(folder / "imgs" / name)) // 255).save(folder / "imgs" / name)
    with pytest.raises(InputError, match="black"):
        check_samples(ColourWords(), read_samples(folder))


@pytest.mark.real
def test_the_published_annotations_are_read(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    write(tmp_path, json.loads((real_data("selo") / "anno.json").read_text()))
    (tmp_path / "imgs").mkdir()
    for number in range(30):
        (tmp_path / "imgs" / f"{number}.jpg").touch()
    samples = read_samples(tmp_path)
    assert len(samples) == 59
    assert len({sample.image for sample in samples}) == 22
    assert sum(len(sample.regions) for sample in samples) == 103
    words = [len(sample.sentence.split()) for sample in samples]
    assert np.mean(words) == pytest.approx(11.1, abs=0.1)
