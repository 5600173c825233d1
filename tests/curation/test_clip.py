"""Relevance, detectors and the published recipe with a real CLIP: trained small here, kept, and loaded by its path."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch.nn import functional
from typer.testing import CliRunner

from bad_server import bad_server
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.cli.app import app
from chorograph.curation.steps.detector import read_detector
from chorograph.curation.steps.encoding import TEMPLATES
from chorograph.models.checkpoint import load_checkpoint, save_checkpoint
from chorograph.models.encoders.open_clip import new_model
from chorograph.models.encoders.registry import load_encoder
from chorograph.shards.samples import read_samples
from synthetic_web import SyntheticWeb, draw_aerial, draw_portrait, make_web, precision_and_recall

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "zhang2024_rs5m.yaml"
OTHERS = ("a portrait of a person.", "a face before a wall.")
Pixels = NDArray[np.uint8]


def drawn(draw: Callable[[np.random.Generator], Image.Image], number: int, seed: int) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [draw(generator) for _ in range(number)]


def recompressed(image: Image.Image, quality: int) -> Pixels:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def auc(aerial: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(roc_auc_score(np.repeat([1, 0], [len(aerial), len(other)]), np.concatenate([aerial, other])))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP that learnt two things: pictures from above from faces, and a picture from all but its copies."""
    loaded = new_model("clip-small", seed=0, captions=[*TEMPLATES, *OTHERS] * 2)
    aerial, faces = drawn(draw_aerial, 120, 5), drawn(draw_portrait, 40, 6)
    generator = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=1e-3)
    loaded.model.train()
    kinds, own = torch.tensor([0] * 12 + [1] * 4), torch.arange(16)
    for _ in range(30):
        images = [aerial[i] for i in generator.choice(120, 12, replace=False)]
        images += [faces[i] for i in generator.choice(40, 4, replace=False)]
        copies = [recompressed(image, int(generator.integers(40, 90))) for image in images]
        one = loaded.encode_pixels(loaded.preprocessing.batch([np.asarray(image) for image in images]))
        other = loaded.encode_pixels(loaded.preprocessing.batch(copies))
        said = loaded.encode_texts([TEMPLATES[generator.integers(33)], OTHERS[generator.integers(2)]])
        loss = sum(functional.cross_entropy(10 * side @ said.T, kinds) for side in (one, other))
        loss = loss + functional.cross_entropy(10 * one @ other.T, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("model") / "clip"
    save_checkpoint(folder, loaded, facts={"seed": 0}, card="", history=[])
    return folder


@pytest.fixture(scope="module")
def head(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector on it, made by the command."""
    place = tmp_path_factory.mktemp("detector")
    for name, draw, seed in (("aerial", draw_aerial, 11), ("other", draw_portrait, 12)):
        (place / name).mkdir()
        for number, image in enumerate(drawn(draw, 60, seed)):
            image.save(place / name / f"{number}.jpg", quality=85)
    arguments = [str(place / "aerial"), str(place / "other"), "--model", str(clip), "--out", str(place / "head")]
    done = CliRunner().invoke(app, ["curate", "fit-detector", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["facts"]["test_accuracy"] >= 0.95
    return place / "head"


def run(recipe: Path, given: list[str], out: Path, *more: str) -> dict[str, Any]:
    inputs = [word for text in given for word in ("--in", text)]
    command = ["curate", str(recipe), *inputs, "--out", str(out), "--partition-rows", "60", *more, "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def filed(web: SyntheticWeb, folder: Path, base: str, *, images: bool = False) -> list[str]:
    given = []
    for source in web.sources:
        pq.write_table(web.table(source, base, images=images), folder / f"{source}.parquet", row_group_size=30)
        given.append(f"{source}={folder / source}.parquet")
    return given


def test_relevance_is_what_open_clip_computes_and_tells_topics_apart(clip: Path, tmp_path: Path) -> None:
    web = make_web(originals=24, each=8)
    (tmp_path / "recipe.yaml").write_text(
        f"columns: {{image: image}}\nsteps: [keywords, {{relevance: {{model: '{clip}'}}}}]"
    )
    run(tmp_path / "recipe.yaml", filed(web, tmp_path, "http://web.example", images=True), tmp_path / "out")
    corpus = Area.open(tmp_path / "out" / "corpus")
    rows = corpus.images.merge(corpus.captions, on="image_id")
    # The published s by open_clip's own calls, on the weights as they lie on the disk.
    loaded = load_checkpoint(clip)
    model = loaded.model.eval()
    assert isinstance(model, open_clip.CustomTextCLIP)
    with torch.inference_mode():
        mean = model.encode_text(loaded.tokenizer(list(TEMPLATES)), normalize=True).mean(dim=0)
        for image_id, score in rows[["image_id", "score"]].head(12).itertuples(index=False):
            uri = corpus.images.set_index("image_id").loc[image_id, "uri"]
            pixels = loaded.preprocessing.batch([corpus.read_image(uri)])
            feature = model.encode_image(loaded.preprocessing.normalise(pixels, torch.device("cpu")))[0]
            assert float(functional.cosine_similarity(feature, mean, dim=0)) == pytest.approx(score, abs=2e-3)
    named = web.rows[["source", "url", "caption", "kind"]].assign(url="http://web.example" + web.rows["url"])
    rows = rows.merge(named, on=["source", "url", "caption"])
    scores = {kind: group["score"].to_numpy() for kind, group in rows.groupby("kind")}
    assert auc(scores["good"], scores["off topic"]) >= 0.95


def test_a_detector_belongs_to_the_weights_under_it(clip: Path, head: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(clip))
    vectors = [encoder.encode([np.asarray(p) for p in drawn(draw, 30, 21)]) for draw in (draw_aerial, draw_portrait)]
    fitted = read_detector(head)
    assert fitted.fingerprint == encoder.fingerprint
    assert auc(*(fitted.probability(kind) for kind in vectors)) >= 0.95
    # The same folder with other weights is another encoder.
    other = new_model("clip-small", seed=1, captions=[*TEMPLATES, *OTHERS] * 2)
    save_checkpoint(tmp_path / "clip", other, facts={"seed": 1}, card="", history=[])
    assert load_encoder(str(tmp_path / "clip")).fingerprint != fitted.fingerprint


def test_the_published_recipe_runs_whole(clip: Path, head: Path, tmp_path: Path) -> None:
    web = make_web(originals=80, each=8)
    # The one line that is changed: the server of the test lies on a private address.
    published = RECIPE.read_text()
    assert published.count("\n  - fetch\n") == 1
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(published.replace("\n  - fetch\n", "\n  - fetch: {allow: [127.0.0.2/32], host_pause_s: 0}\n"))
    with bad_server(pictures=web.pictures()) as server:
        given = filed(web, tmp_path, server.base)
        arguments = ("--set", f"model={clip}", "--set", f"head={head}")
        run(recipe, given[:2], tmp_path / "steps", *arguments)
        run(recipe, given, tmp_path / "steps", *arguments)
        said = run(recipe, given, tmp_path / "out", *arguments)
        assert server.asked["/robots.txt"] == 1
    statistics = json.loads((tmp_path / "out" / "statistics.json").read_text())
    total = statistics["funnel"][-1]
    assert statistics["steps"] == [
        "repeated_rows", "keywords", "fetch", "valid_images", "url_duplicates", "encode", "embedding_duplicates",
        "relevance", "detector", "quantiles",
    ]  # fmt: skip
    for row in statistics["funnel"]:
        assert row["read"] - sum(row[step] for step in statistics["steps"]) == row["remain"]
    assert said["counts"]["rows read"] == len(web.rows) == total["read"]
    kinds = web.rows["kind"].value_counts()
    assert total["keywords"] == kinds["no keyword"] + kinds["no caption"]
    assert total["fetch"] == kinds["gone"] + kinds["text file"]
    assert total["valid_images"] == kinds["truncated"]
    assert (total["repeated_rows"], total["url_duplicates"]) == (kinds["same row"], kinds["same URL"])
    before = total["quantiles"] + total["remain"]
    assert 0.2 * before - 1 <= total["quantiles"] <= 0.3 * before + 1

    corpus = Area.open(tmp_path / "out" / "corpus")
    assert check_area(corpus) == []
    kept = corpus.images.merge(corpus.captions, on="image_id")
    dropped = pd.read_parquet(tmp_path / "out" / "dropped.parquet")
    for frame in (kept, dropped):
        frame["url"] = frame["url"].str.removeprefix(server.base)
    scores = precision_and_recall(web, dropped, kept).set_index("step")
    assert scores.loc["embedding_duplicates", "recall"] >= 0.8
    assert scores.loc["quantiles", "recall"] == 1  # no face is left
    # RS5M's names and keys.
    shards = sorted(path.name for path in (corpus.path / "shards").iterdir())
    assert shards == ["pub11-train-0000.tar", "pub11-val-0000.tar"]
    samples = [sample for name in shards for sample in read_samples(corpus.path / "shards" / name, lambda reason: None)]
    assert len(samples) == total["remain"]
    assert all(set(sample.members) == {"img_name", "img_content", "caption"} for sample in samples)
    # A source that is added gives what a rebuild gives, vectors and scores included.
    for name in ("dropped.parquet", "corpus/images.parquet", "corpus/captions.parquet"):
        one, other = (pd.read_parquet(tmp_path / out / name) for out in ("steps", "out"))
        in_order = [frame.sort_values(list(frame), ignore_index=True) for frame in (one, other)]
        pd.testing.assert_frame_equal(*in_order)
