"""What stands beside the funnel: detectors, models in a recipe, contact sheets, keeping test sets out."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.cli.app import app
from chorograph.curation.look import contact_sheet
from chorograph.curation.pictures import Picture, read_pictures
from chorograph.curation.run.plan import read_plan
from chorograph.curation.steps.detector import fit_detector, read_detector, write_detector
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.stage import silent
from chorograph.verbs.curate import decontaminate, look
from chorograph.verbs.curate import fit_detector as fit
from chorograph.verbs.curate.run import Settings, curate_with
from chorograph.verbs.table import VERBS
from synthetic_web import SyntheticWeb, draw_aerial, draw_portrait

Filed = Callable[..., list[str]]
Recipe = Callable[[str], Path]


class SeesColour:
    """An encoder of image and text: how green, how grey, how bright; its words are colours."""

    name, fingerprint = "sees-colour", "1"

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        means = np.array([image.reshape(-1, 3).mean(axis=0) for image in images])
        r, g, b = means.T / 255
        spread = np.array([image.std() for image in images]) / 255
        vectors = np.stack([g - b, r - g, spread, np.ones(len(images))], axis=1).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(np.array([[0.15, 0.0, 0.2, 0.95]], dtype=np.float32), (len(texts), 1))


def load(name: str) -> SeesColour:
    assert name == "sees-colour"
    return SeesColour()


def drawn(folder: Path, draw: Callable[[np.random.Generator], Image.Image], number: int, seed: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for place in range(number):
        draw(generator).save(folder / f"{place}.jpg")
    return folder


def test_a_detector_is_fitted_kept_and_used(web: SyntheticWeb, filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    positive, negative = drawn(tmp_path / "p", draw_aerial, 60, 1), drawn(tmp_path / "n", draw_portrait, 60, 2)
    config = fit.Settings(positive=positive, negative=negative, out=tmp_path / "head", model="sees-colour")
    facts = fit.fit_with(config, silent, load).manifest["facts"]
    assert facts["shares"] == {"train": 84, "validation": 12, "test": 24}
    assert facts["test_accuracy"] >= 0.8
    wrong = sum(facts["test_wrong"].values())
    assert wrong == round((1 - facts["test_accuracy"]) * 24)
    text = f"""
columns: {{image: image}}
steps:
- keywords
- valid_images
- encode: {{model: sees-colour}}
- embedding_duplicates: {{similarity: 0.999999, footprint: false}}
- relevance: {{model: sees-colour}}
- detector: {{head: '{tmp_path / "head"}'}}
- quantiles: {{relevance: 1, detector: 0.9}}
"""
    config = Settings(recipe=str(recipe(text)), in_=filed(images=True), out=tmp_path / "out", partition_rows=60)
    outcome = curate_with(config, silent, load, lambda line: None)
    statistics = json.loads((tmp_path / "out" / "statistics.json").read_text())
    total = statistics["funnel"][-1]
    assert total["embedding_duplicates"] >= 5  # the planted ones with the same bytes, at least
    before = total["remain"] + total["quantiles"]
    assert total["quantiles"] == pytest.approx(0.1 * before, abs=1)
    assert outcome.manifest["counts"]["rows kept"] == total["remain"]
    captions = Area.open(tmp_path / "out" / "corpus").captions
    assert captions["score"].between(-1, 1).all()
    dropped = pd.read_parquet(tmp_path / "out" / "dropped.parquet")
    named = web.rows[["source", "url", "caption", "kind"]].assign(url="http://web.example" + web.rows["url"])
    taken = dropped[dropped["step"] == "quantiles"].merge(named, on=["source", "url", "caption"])
    assert (taken["kind"] == "off topic").mean() > (web.rows["kind"] == "off topic").mean()


def test_the_head_is_the_logistic_regression_that_it_says(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    positive = (generator.standard_normal((100, 5)) + 1).astype(np.float32)
    negative = generator.standard_normal((100, 5)).astype(np.float32)
    head, report = fit_detector(positive, negative, "m", "f")
    write_detector(tmp_path / "head", head, report)
    again = read_detector(tmp_path / "head")
    both = np.concatenate([positive, negative])
    assert np.array_equal(again.probability(both), head.probability(both))
    plain = LogisticRegression().fit(both, np.repeat([1, 0], 100))
    agree = (plain.predict(both) == (head.probability(both) >= 0.5)).mean()
    assert agree >= 0.95
    with pytest.raises(InputError, match="ten or more negative"):
        fit_detector(positive, negative[:3], "m", "f")
    (tmp_path / "head" / "detector.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="as a detector: it is damaged"):
        read_detector(tmp_path / "head")


def test_a_head_of_another_state_of_its_model_is_refused(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = [generator.standard_normal((20, 4)).astype(np.float32) + shift for shift in (0, 1)]
    write_detector(tmp_path / "head", *fit_detector(vectors[0], vectors[1], "sees-colour", "another"))
    text = f"columns: {{image: image}}\nsteps: [keywords, {{detector: {{head: '{tmp_path / 'head'}'}}}}]"
    config = Settings(recipe=str(recipe(text)), in_=filed(images=True), out=tmp_path / "out")
    with pytest.raises(ChorographError, match="fitted on another state of sees-colour"):
        curate_with(config, silent, load, lambda line: None)


@pytest.fixture
def corpus(filed: Filed, recipe: Recipe, tmp_path: Path) -> Path:
    made = recipe("columns: {image: image}\nsteps: [keywords, valid_images]\noutput: {samples_per_shard: 30}")
    curate_with(
        Settings(recipe=str(made), in_=filed(images=True), out=tmp_path / "made"), silent, load, lambda line: None
    )
    return tmp_path / "made" / "corpus"


def test_a_contact_sheet_shows_what_a_shard_holds(corpus: Path, tmp_path: Path) -> None:
    shard = sorted((corpus / "shards").glob("*.tar"))[0]
    outcome = look.run(look.Settings(shard=shard, out=tmp_path / "sheet.png", number=10), silent)
    assert outcome.manifest["counts"] == {"images on the sheet": 10}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 168 + 8, 2 * 198 + 8)
        assert len(sheet.convert("RGB").getcolors(2**20) or []) > 1000
    assert look.run(look.Settings(shard=corpus, out=tmp_path / "all.jpg", number=3), silent).manifest["counts"]
    broken = contact_sheet([Picture("a", b"no image", "a caption")])
    assert broken.getpixel((8, 8)) == (179, 0, 27)
    with pytest.raises(InputError, match="neither a shard"):
        list(read_pictures(tmp_path / "nothing", lambda reason: None))


def test_test_sets_are_kept_out_in_any_orientation(web: SyntheticWeb, corpus: Path, tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    good = web.rows[web.rows["kind"] == "good"]["image"].tolist()
    (tests / "same.jpg").write_bytes(good[20])
    picture = Image.open(io.BytesIO(good[21]))
    picture.transpose(Image.Transpose.ROTATE_90).save(tests / "turned.jpg", quality=70)
    picture = Image.open(io.BytesIO(good[22]))
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((120, 120)).save(tests / "mirrored.png")
    draw_portrait(np.random.default_rng(99)).save(tests / "unknown.jpg")
    (tests / "broken.jpg").write_bytes(b"no")
    before = Area.open(corpus)
    outcome = decontaminate.run(decontaminate.Settings(corpus=corpus, against=[tests], out=tmp_path / "clean"), silent)
    clean = Area.open(tmp_path / "clean")
    assert check_area(clean) == []
    removed = pd.read_parquet(tmp_path / "clean" / "removed.parquet")
    assert {"tests:same.jpg", "tests:turned.jpg", "tests:mirrored.png"} <= set(removed["test_image"])
    assert "tests:unknown.jpg" not in set(removed["test_image"])
    hows = dict(zip(removed["test_image"], removed["how"], strict=True))
    assert hows["tests:same.jpg"] == "same bytes"
    assert "turned" in hows["tests:turned.jpg"] and "mirrored" in hows["tests:mirrored.png"]
    assert len(clean.images) == len(before.images) - len(removed)
    assert not set(removed["image_id"]) & set(clean.captions["image_id"])
    assert not set(removed["image_id"]) & set(clean.split("train_val")["image_id"])
    assert outcome.manifest["dropped"]["test image not an image"] == 1
    uri = clean.images["uri"].iloc[0]
    assert clean.read_encoded(uri) == before.read_encoded(uri)


def test_the_published_recipe_is_a_plan() -> None:
    path = Path(__file__).resolve().parents[2] / "recipes" / "zhang2024_rs5m.yaml"
    plan = read_plan(path, {"model": "open_clip:x/y", "head": "somewhere"})
    assert plan.step_names == (
        "repeated_rows", "keywords", "fetch", "valid_images", "url_duplicates", "encode", "embedding_duplicates",
        "relevance", "detector", "quantiles",
    )  # fmt: skip
    assert [len(phase.table_steps) for phase in plan.phases] == [2, 1, 1]
    assert plan.output.name == "pub11" and plan.output.rs5m_keys
    with pytest.raises(InputError, match="needs --set model="):
        read_plan(path)


def test_rs5m_names_go_out_and_come_in(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    text = "columns: {image: image}\nsteps: [keywords, valid_images]\noutput: {name: pub11, rs5m_keys: true}"
    curate_with(
        Settings(recipe=str(recipe(text)), in_=filed(images=True), out=tmp_path / "out"),
        silent,
        load,
        lambda line: None,
    )
    corpus = Area.open(tmp_path / "out" / "corpus")
    assert {path.name for path in (corpus.path / "shards").iterdir()} == {"pub11-train-0000.tar", "pub11-val-0000.tar"}
    roles = corpus.split("train_val").set_index("image_id")["role"]
    seen = 0
    for side in ("train", "val"):
        with tarfile.open(corpus.path / "shards" / f"pub11-{side}-0000.tar") as shard:
            names = shard.getnames()
        assert {name.partition(".")[2] for name in names} == {"img_name", "img_content", "caption"}
        for picture in read_pictures(corpus.path / "shards" / f"pub11-{side}-0000.tar", lambda reason: None):
            assert roles[Path(picture.name).stem] == side
            seen += 1
    assert seen == len(roles)


def test_the_command_line_says_the_same(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    made = recipe("columns: {image: image}\nsteps: [keywords, valid_images, byte_duplicates]")
    given = [word for text in filed(images=True) for word in ("--in", text)]
    done = CliRunner().invoke(app, ["curate", str(made), *given, "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["counts"]["rows kept"] > 0
    assert "each row    valid_images: image decodes" in done.stderr
    shard = next((tmp_path / "out" / "corpus" / "shards").glob("*.tar"))
    done = CliRunner().invoke(app, ["curate", "look", str(shard), "--out", str(tmp_path / "look.jpg")])
    assert done.exit_code == 0 and (tmp_path / "look.jpg").stat().st_size > 5000
    done = CliRunner().invoke(app, ["curate", str(made), "--in", "nowhere.parquet"])
    assert done.exit_code == 1 and "neither a Parquet file nor a folder" in done.stderr
    assert "fit-detector" in {name.removeprefix("curate ") for name in VERBS}
