"""The evaluations as a user types them, on small made-up copies of each published layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

from chorograph.cli.app import app


def call(*words: object, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder laid out as RS5M's inference.py expects rs5m_test_data."""
    root = tmp_path_factory.mktemp("rs5m_test_data")
    tiny.write_classes(root / "eurosat-rgb" / "2750", ["AnnualCrop", "River", "SeaLake"], 4)
    tiny.write_classes(root / "RESISC45", ["baseball_diamond", "sea_ice"], 4)
    tiny.write_classes(root / "AID", ["Airport", "BareLand"], 4)
    tiny.write_captions_csv(root / "rsitmd" / "rsitmd_test.csv", 6, "images", "utf-8")
    tiny.write_captions_csv(root / "rsicd" / "rsicd_test.csv", 6, "RSICD_images", "gb18030", word="水库")
    tiny.write_picture(root / "AIR-SLT" / "imgs" / "0.jpg", 5, size=800)
    (root / "AIR-SLT" / "annotations").mkdir()
    square = [[200, 200], [400, 200], [400, 400], [200, 400]]
    annotations = [{"caption": "a white building\n", "jpg_name": "0.jpg", "points": [square]}]
    (root / "AIR-SLT" / "annotations" / "anno.json").write_text(json.dumps(annotations))
    return root


@pytest.mark.parametrize("published", ["georsclip", "remoteclip", "skyclip", "urbanclip"])
def test_the_whole_suite(data: Path, models: dict[str, str], tmp_path: Path, published: str) -> None:
    done = call("evaluate", "suite", "georsclip", "--model", models[published], "--data", data, "--out", tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert done["facts"]["absent"] == "none"
    assert list(scores["results"]) == ["EuroSAT", "RESISC45", "AID", "RSITMD", "RSICD", "AIR-SLT"]
    rows = {(row[0], row[1]): row for row in scores["table"]["rows"]}
    assert len(rows) == 3 + 2 * 7 + 4
    assert rows["RSICD", "mean_recall"][4] == "26.06"
    assert rows["AIR-SLT", "rmi"][4] == "0.7447"
    assert all(0 <= float(row[2]) <= 100 for row in rows.values())
    measured, beside, difference = (float(rows["EuroSAT", "accuracy"][column]) for column in (2, 4, 5))
    assert difference == pytest.approx(measured - beside, abs=0.011)
    for name, result in scores["results"].items():
        assert result["model_fingerprint"] == scores["results"]["EuroSAT"]["model_fingerprint"]
        assert len(result["data_sha256"]) == 64
        for row in result["rows"]:
            for value, lower, upper in row["scores"].values():
                assert lower is None or lower <= value <= upper, name
    assert "EuroSAT has 12 here, the published test set 27,000: do not compare" in done["warnings"]
    assert scores["results"]["EuroSAT"]["checks"]["preprocessing"][0]["mean"][0] == pytest.approx(0.48145466)
    assert scores["results"]["RSICD"]["library"]["version"]


def test_what_is_absent_is_said_and_not_failed(data: Path, models: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(data / "AID", tmp_path / "some" / "AID")
    (tmp_path / "some" / "eurosat-rgb").mkdir()
    words = ["--model", models["georsclip"], "--data", tmp_path / "some", "--against", "CLIP ViT-B/32"]
    done = call("evaluate", "suite", "georsclip", *words, "--out", tmp_path / "out")
    assert done["facts"]["absent"] == "EuroSAT, RESISC45, RSITMD, RSICD, AIR-SLT"
    assert [row[:2] for row in done["facts"]["table"]["rows"]] == [["AID", "accuracy"]]
    assert done["facts"]["table"]["rows"][0][4] == "66.22"
    assert call("evaluate", "suite", "georsclip", *words, "--out", tmp_path / "out")["skipped"] is True
    (tmp_path / "none").mkdir()
    words[3] = tmp_path / "none"
    assert (
        "none of the data sets" in call("evaluate", "suite", "georsclip", *words, "--out", tmp_path, code=1)["message"]
    )


def test_zero_shot_is_the_published_arithmetic(data: Path, models: dict[str, str], tmp_path: Path) -> None:
    """Written out with open_clip alone, as RS5M's inference_tool.py does it."""
    import open_clip
    import torch
    from PIL import Image

    from chorograph.evaluation.prompts import PROMPTS

    folder = data / "eurosat-rgb" / "2750"
    words = ["--model", models["georsclip"], "--data", data / "eurosat-rgb", "--out", tmp_path]
    call("evaluate", "zero-shot", *words)
    scores = json.loads((tmp_path / "scores.json").read_text())
    model, _, transform = open_clip.create_model_and_transforms("tiny-clip")
    model.load_state_dict(torch.load(models["georsclip"].removeprefix("open_clip:tiny-clip/"), weights_only=True))
    model.eval()
    tokens, right, number = open_clip.get_tokenizer("tiny-clip"), 0, 0
    with torch.inference_mode():
        weights = []
        for kind in sorted(path.name for path in folder.iterdir()):
            mean = model.encode_text(tokens([t.replace("{}", kind.lower()) for t in PROMPTS["georsclip"]])).mean(0)
            weights.append(mean / mean.norm())
        for row, kind in enumerate(sorted(folder.iterdir())):
            for file in sorted(kind.iterdir()):
                vector = model.encode_image(transform(Image.open(file).convert("RGB"))[None], normalize=True)
                right += int((100 * vector @ torch.stack(weights).T).argmax()) == row
                number += 1
    published = next(row for row in scores["rows"] if row["name"] == "published arithmetic")
    assert published["scores"]["accuracy"][0] == pytest.approx(right / number, abs=1e-6)
    assert scores["prompts"] == "georsclip"
    assert len(scores["templates"]) == 105
    assert scores["classes"] == ["AnnualCrop", "River", "SeaLake"]


def test_duplicates_are_shared_or_stand_alone(data: Path, models: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "rsitmd"
    shutil.copytree(data / "rsitmd", copy)
    shutil.copy(copy / "images" / "0.tif", copy / "images" / "1.tif")
    words = ["--model", models["georsclip"], "--data", copy]
    shared = call("evaluate", "retrieval", *words, "--out", tmp_path / "shared")
    # Images 0 and 1 are one file; 2 and 3 share their five captions, and so do 4 and 5.
    expected = {"captions": 30, "captions repeated for the same image": 5, "captions of several images": 10}
    assert expected.items() <= shared["counts"].items()
    assert shared["counts"]["identical images"] == 1
    separate = call("evaluate", "retrieval", *words, "--duplicates", "separate", "--out", tmp_path / "separate")
    assert separate["counts"]["captions repeated for the same image"] == 0
    strict, published = json.loads((tmp_path / "separate" / "scores.json").read_text())["rows"]
    # Every caption is also another image's, and ties with it: none can be first, but by luck.
    assert (strict["name"], published["name"]) == ("retrieval", "published arithmetic")
    assert strict["scores"]["image_to_text_recall@1"][0] == 0
    for score, (value, _, _) in strict["scores"].items():
        assert published["scores"][score][0] >= value
    assert shared["config"]["duplicates"] == "shared"


def test_a_coca_may_ask_its_decoder_too(data: Path, models: dict[str, str], tmp_path: Path) -> None:
    words = ["--data", data / "rsitmd", "--decoder"]
    call("evaluate", "retrieval", "--model", models["urbanclip"], *words, "--out", tmp_path / "coca")
    alone, together = json.loads((tmp_path / "coca" / "scores.json").read_text())["rows"]
    assert (alone["name"], together["name"]) == ("retrieval", "contrast and decoder")
    assert together["scores"].keys() == alone["scores"].keys()


def test_a_probe_learns_what_is_in_the_images(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path / "set", ["red", "green", "blue"], 20)
    shutil.copy(tmp_path / "set" / "red" / "red_0.jpg", tmp_path / "set" / "red" / "again.jpg")
    done = call("evaluate", "probe", "--model", "colour+rcf:16", "--data", tmp_path / "set", "--out", tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [row["name"] for row in scores["rows"]] == ["linear probe", "5 nearest neighbours"]
    assert all(row["scores"]["accuracy"][0] > 0.6 for row in scores["rows"])
    assert done["counts"]["images tested"] == 13
    assert done["counts"]["images trained on"] + sum(done["dropped"].values()) == 48
    assert scores["inverse_penalty"] in [10.0**power for power in range(-5, 2)]


def test_the_probe_never_trains_on_what_it_tests(tmp_path: Path) -> None:
    for role in ("train", "test"):
        tiny.write_classes(tmp_path / "set" / role, ["red", "green"], 8)
    # Both folders hold the same eight images of each class; two more of each are only in train.
    for number, kind in enumerate(("red", "green")):
        for image in range(50, 56):
            tiny.write_picture(tmp_path / "set" / "train" / kind / f"{image}.jpg", 100 * number + image, hue=number)
    done = call("evaluate", "probe", "--model", "colour", "--data", tmp_path / "set", "--out", tmp_path / "out")
    assert done["dropped"] == {"training image that is or looks like a tested one": 16}
    assert done["counts"]["images trained on"] == 12


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chorograph.area.folder import Area

    records = [
        {"image": f"{n}.jpg", "class": "red" if n % 2 else "blue", "captions": [f"{'red' if n % 2 else 'blue'} roof"]}
        for n in range(20)
    ]
    for n in range(20):
        tiny.write_picture(tmp_path / "src" / "images" / f"{n}.jpg", n, hue=n)
    (tmp_path / "src" / "captions.json").write_text(json.dumps(records))
    monkeypatch.chdir(tmp_path)
    call("area", "import", "rsicd", "src", "area")
    area = Area.open("area")
    role = np.where(np.arange(20) < 12, "train", "test")
    area.write_split("held", area.images[["image_id"]].assign(role=role))
    words = ["--model", "coca-small", "--epochs", 1, "--batch-size", 6]
    call("pretrain", "area", *words, "--holdout", "held", "--out", "model")
    for verb in ("zero-shot", "retrieval", "probe"):
        done = call("evaluate", verb, "--model", "model", "--data", "area", "--split", "held", "--out", verb)
        (seen,) = json.loads(Path(verb, "scores.json").read_text())["seen_in_training"]
        assert (seen["images"], seen["identical"]) == (12, 0)
        assert done["counts"]["images"] == 8
    whole = call("evaluate", "zero-shot", "--model", "model", "--data", "area", "--out", "whole")
    assert any("12 of 20 evaluation images are in the training images of model" in w for w in whole["warnings"])
    # Where the area is gone, the checkpoint's list of hashes still knows its images by their bytes.
    shutil.rmtree("area")
    call("evaluate", "retrieval", "--model", "model", "--data", "src", "--out", "elsewhere")
    (seen,) = json.loads(Path("elsewhere", "scores.json").read_text())["seen_in_training"]
    assert (seen["identical"], seen["similar"]) == (12, None)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("zero-shot --model colour --data DATA/AID --out OUT", 1, "has no text tower"),
        ("retrieval --model colour --data DATA/rsicd --out OUT", 1, "has no text tower"),
        ("suite georsclip --model colour --data DATA --out OUT", 1, "has no text tower"),
        ("suite georsclp --model MODEL --data DATA --out OUT", 2, "one of georsclip"),
        ("suite georsclip --model MODEL --data DATA --out OUT --against nobody", 2, "there is no published row"),
        ("zero-shot --model MODEL --data DATA/AID --out OUT --prompts nobody", 2, "there is no prompt set"),
        ("zero-shot --model MODEL --data DATA/nowhere --out OUT", 1, "is not a folder"),
        ("zero-shot --model MODEL --data DATA/AID/Airport --out OUT", 1, "no class folders"),
        ("retrieval --model MODEL --data DATA/AID --out OUT", 1, "holds no caption file"),
        ("retrieval --model MODEL --data DATA/rsitmd --decoder --out OUT", 1, "has no decoder"),
        ("zero-shot --model open_clip:tiny-clip/nowhere.pt --data DATA/AID --out OUT", 2, "there is no tag"),
        ("probe --model colour --data DATA/AID --out OUT --test-share 2", 2, "test_share must be above 0 and below 1"),
        ("probe --model colour --data DATA/AID --out OUT --test-share 0.99", 1, "cannot be parted"),
        ("zero-shot --model MODEL --data DATA/AID --out OUT --seen OUT", 1, "neither an area nor a folder with images"),
    ],
)
def test_mistakes_are_answered(
    data: Path, models: dict[str, str], tmp_path: Path, words: str, code: int, message: str
) -> None:
    place = {"DATA": str(data), "MODEL": models["georsclip"], "OUT": str(tmp_path / "out")}
    for name, value in place.items():
        words = words.replace(name, value)
    assert message in call("evaluate", *words.split(), code=code)["message"]
    assert not (tmp_path / "out" / "scores.json").exists()


def test_scores_are_printed_as_a_table(data: Path, models: dict[str, str], tmp_path: Path) -> None:
    words = ["--model", models["georsclip"], "--data", str(data / "AID"), "--out", str(tmp_path)]
    printed = CliRunner().invoke(app, ["evaluate", "zero-shot", *words], env={"COLUMNS": "120"}).stdout
    assert "published arithmetic" in printed
    assert "balanced_accuracy" in printed
    assert "95 % interval" in printed
    assert "accuracy of Airport" not in printed


@pytest.mark.parametrize("kind", ["prompts", "published"])
def test_list(kind: str) -> None:
    assert len(call("list", kind)["entries"]) >= 3
