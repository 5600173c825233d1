"""Generated pictures are judged as such, and no model is judged on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

from PIL import Image

from chorograph.generation.corpus import write_corpus
from chorograph.generation.pictures import Made, write_pictures
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Outcome, silent
from chorograph.models.checkpoint import save_checkpoint
from chorograph.models.encoders.open_clip import new_model
from chorograph.models.encoders.registry import load_encoder
from chorograph.verbs.table import get_verb

_PROMPTS = ("a red roof", "two blue ponds", "a red roof", "two blue ponds")


def _evaluate(kind: str, **settings: Any) -> Outcome:
    verb = get_verb(f"evaluate {kind}")
    return verb(configure(verb.settings, settings), silent)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, pictures that say that they are generated, and such pictures in every layout that a suite reads."""
    folder = tmp_path_factory.mktemp("generated")
    rng = np.random.default_rng(0)
    pictures = [
        (rng.integers(0, 256, (48, 48, 3), dtype=np.uint8), Made("sd", prompt, seed, 3, 7.5))
        for seed, prompt in enumerate(_PROMPTS)
    ]
    write_pictures(folder / "pictures", pictures)
    write_corpus(folder / "area", pictures)
    files = sorted((folder / "pictures").glob("0*.png"))
    for name in ("real", "classes/roof", "classes/pond", "captioned/images", "AIR-SLT/imgs", "AIR-SLT/annotations"):
        (folder / name).mkdir(parents=True)
    for number, file in enumerate(files):
        kind = "roof" if number % 2 == 0 else "pond"
        for to in (f"classes/{kind}", "captioned/images", "AIR-SLT/imgs"):
            shutil.copy(file, folder / to / file.name)
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / "real" / file.name)
    rows = [{"image": file.name, "captions": [prompt]} for file, prompt in zip(files, _PROMPTS, strict=True)]
    (folder / "captioned" / "captions.json").write_text(json.dumps(rows))
    square = [[[4, 4], [40, 4], [40, 40]]]
    samples = [{"caption": "a roof", "jpg_name": files[0].name, "points": square}]
    (folder / "AIR-SLT" / "annotations" / "anno.json").write_text(json.dumps(samples))
    loaded = new_model("coca-small", seed=0, captions=list(_PROMPTS))
    save_checkpoint(folder / "model", loaded, facts={"held_out": "nothing"}, card="", history=[])
    return folder


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("zero-shot", {"data": "area"}),
        ("zero-shot", {"data": "classes"}),
        ("zero-shot", {"data": "pictures"}),
        ("probe", {"data": "classes", "test_share": 0.5}),
        ("retrieval", {"data": "area"}),
        ("retrieval", {"data": "captioned"}),
        ("captions", {"data": "area"}),
        ("captions", {"data": "captioned"}),
        ("localize", {"data": "AIR-SLT"}),
        ("suite", {"data": ".", "suite": "georsclip"}),
    ],
)
def test_no_suite_takes_them(places: Path, tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    data = places / settings["data"]
    with pytest.raises(InputError, match="generated"):
        _evaluate(kind, **{**settings, "data": data, "model": str(places / "model"), "out": tmp_path / "out"})
    assert not (tmp_path / "out" / "scores.json").exists()


def test_captions_of_a_file_are_not_judged_on_them_either(places: Path, tmp_path: Path) -> None:
    candidates = places / "captioned" / "captions.json"
    for data, scorer in (("area", None), ("captioned", str(places / "model"))):
        with pytest.raises(InputError, match="generated"):
            _evaluate("captions", candidates=candidates, data=places / data, scorer=scorer, out=tmp_path / data)


def test_they_are_set_beside_real_ones(places: Path, tmp_path: Path) -> None:
    """The distance and the score are torchmetrics' own, of the features of the network that is named."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    model = str(places / "model")
    asked = {"pictures": places / "pictures", "model": model}
    _evaluate("generated", **asked, real=places / "real", out=tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["features"] == model
    encoder: Any = load_encoder(model)

    def features(folder: str) -> torch.Tensor:
        files = sorted((places / folder).glob("0*.png"))
        return torch.from_numpy(encoder.encode([np.asarray(Image.open(file).convert("RGB")) for file in files]))

    network: Any = torch.nn.Identity()
    network.num_features = encoder.dim
    metric = FrechetInceptionDistance(feature=network)
    metric.update(features("real"), real=True)
    metric.update(features("pictures"), real=False)
    assert scores["frechet_distance"] == pytest.approx(float(metric.compute()), rel=1e-4, abs=1e-6)
    texts = torch.from_numpy(encoder.encode_texts(list(_PROMPTS)))
    cosines = torch.nn.functional.cosine_similarity(features("pictures"), texts)
    assert scores["clip_score"] == pytest.approx(float(100 * cosines.clamp(min=0).mean()), abs=1e-3)
    with pytest.raises(InputError, match="generated"):
        _evaluate("generated", **asked, real=places / "pictures", out=tmp_path / "other")
