from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.evaluation.suites.captions import (
    Judged,
    match,
    read_captions,
    read_references,
    score_corpus,
    score_images,
    shuffled,
)
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, Outcome, silent
from chorograph.models.checkpoint import save_checkpoint
from chorograph.models.encoders.open_clip import new_model
from chorograph.verbs.table import get_verb

REFERENCES = {"red": ["a red roof", "one red roof"], "blue": ["two blue ponds"]}


def evaluate(**settings: Any) -> Outcome:
    verb = get_verb("evaluate captions")
    return verb(configure(verb.settings, settings), silent)


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def corpus(path: Path) -> Area:
    """Return a corpus of four images; one of them is known but not held, one lacks captions."""
    images, captions = [], []
    with AreaDraft(path, "corpus") as draft:
        for image_id, level in (("red", 200), ("blue", 90), ("bare", 20)):
            uri, sha256 = draft.write_image(image_id, np.full((32, 32, 3), level, dtype=np.uint8))
            images.append({"image_id": image_id, "uri": uri, "sha256": sha256})
        images.append({"image_id": "gone", "uri": None, "sha256": None})
        for image_id, texts in {**REFERENCES, "gone": ["a field"]}.items():
            captions += [
                {"caption_id": f"{image_id}#{rank}", "image_id": image_id, "rank": rank, "caption": text}
                for rank, text in enumerate(texts)
            ]
        draft.write("images", pd.DataFrame(images).assign(view="satellite", source="drawn", licence="CC0"))
        draft.write("captions", pd.DataFrame(captions).assign(origin="human"))
        roles = pd.DataFrame({"image_id": ["red", "blue", "bare", "gone"], "role": ["test", "train", "test", "train"]})
        draft.write_split("half", roles)
    return Area.open(path)


def checkpoint(path: Path, architecture: str = "coca-small") -> Path:
    loaded = new_model(architecture, seed=0, captions=["a red roof", "two blue ponds"] * 2)
    facts = {"seed": 0, "area": {"name": "corpus"}, "held_out": "1 of 3 images"}
    save_checkpoint(path, loaded, facts=facts, card="", history=[])
    return path


@pytest.mark.parametrize(
    "content",
    [
        [{"image": "red", "captions": REFERENCES["red"]}, {"filename": "blue", "caption": "two blue ponds"}],
        {"images": [], "annotations": [{"image_id": i, "caption": c} for i, cs in REFERENCES.items() for c in cs]},
        {"red": REFERENCES["red"], "blue": "two blue ponds"},
        "image,caption\nred,a red roof\nred,one red roof\nblue,two blue ponds\n",
    ],
    ids=["records", "coco", "mapping", "csv"],
)
def test_every_layout_is_read_alike(content: Any, tmp_path: Path) -> None:
    suffix = ".csv" if isinstance(content, str) else ".json"
    assert read_captions(written(tmp_path / f"captions{suffix}", content)) == REFERENCES


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([{"image": "red", "caption": "a"}, {"caption": "b"}], "record 2 names no image"),
        ([{"image": "red", "caption": None}], r"record 1 \(red\) has no caption"),
        ([{"image": "red", "captions": ["a", 3]}], r"record 1 \(red\)"),
        (["red"], "record 1 is not"),
        ([], "holds no captions"),
        (3, "not a list"),
        ("[", "not readable JSON"),
    ],
)
def test_a_damaged_file_is_named_with_the_record(content: Any, says: str, tmp_path: Path) -> None:
    path = written(tmp_path / "captions.json", content)
    with pytest.raises(InputError, match=says) as caught:
        read_captions(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ({"red": ["a"]}, "image 'blue' has no caption"),
        ({"red": ["a"], "blue": ["b"], "green": ["c"]}, "image 'green' has no reference"),
        ({"red": ["a", "b"], "blue": ["b"]}, "image 'red' has 2 captions"),
        ({"red": ["a"], "red.jpg": ["b"], "blue": ["b"]}, "image 'red' has 2 captions"),
    ],
)
def test_images_must_match(candidates: dict[str, list[str]], says: str) -> None:
    with pytest.raises(InputError, match=f"theirs: {says}"):
        match(candidates, REFERENCES, Ledger(), where="theirs")


def test_empty_captions_are_counted_and_empty_references_refused() -> None:
    ledger = Ledger()
    judged = match({"red.jpg": [" "], "blue": ["b"]}, {"red": ["a", ""], "blue": ["b"]}, ledger, where="theirs")
    assert judged == Judged(("blue", "red"), ("b", ""), (("b",), ("a",)))
    assert ledger.counts == {"images": 2, "references": 2, "empty candidates": 1}
    assert ledger.dropped == {"empty reference": 1}
    assert "score 0" in ledger.warnings[0]
    with pytest.raises(InputError, match="'red' has empty references only"):
        match({"red": ["a"]}, {"red": ["", " "]}, Ledger(), where="theirs")


def test_intervals_hold_the_scores_and_the_corpus_is_not_the_mean() -> None:
    rng = np.random.default_rng(0)
    vocabulary = ["a", "red", "roof", "pond", "tree", "road"]
    texts = [" ".join(rng.choice(vocabulary, rng.integers(4, 9))) for _ in range(80)]
    judged = Judged(tuple(map(str, range(40))), tuple(texts[:40]), tuple((text,) for text in texts[40:]))
    scores, each = score_corpus(judged), score_images(judged)
    for name in ("bleu_1", "bleu_4", "rouge_l", "cider_d"):
        assert scores[name].lower < scores[name].value < scores[name].upper
    assert scores["rouge_l"].value == pytest.approx(each["rouge_l"].mean())
    assert scores["bleu_2"].value != pytest.approx(each["bleu_2"].mean(), abs=1e-6)
    assert np.isnan(scores["distinct_1"].lower)
    assert score_corpus(judged)["cider_d"] == scores["cider_d"]


@pytest.mark.parametrize("size", [2, 3, 10])
def test_shuffled_captions_never_stay_with_their_image(size: int) -> None:
    names = tuple(f"caption {row}" for row in range(size))
    judged = Judged(names, names, tuple((name,) for name in names))
    dealt = shuffled(judged, seed=1)
    assert sorted(dealt.candidates) == sorted(names)
    assert all(a != b for a, b in zip(dealt.candidates, names, strict=True))
    assert dealt.references == judged.references


def test_two_files_in_one_command(tmp_path: Path) -> None:
    data = written(tmp_path / "references.json", {"1": ["a red roof here"], "2": ["two blue ponds there"]})
    candidates = written(tmp_path / "candidates.csv", "image,caption\n1,A red roof here.\n2,a red roof here\n")
    done = evaluate(data=data, candidates=candidates, out=tmp_path / "out")
    result = json.loads((tmp_path / "out" / "scores.json").read_text())
    model, baseline = result["rows"]
    assert model["scores"]["rouge_l"][0] == pytest.approx(0.5)
    assert baseline["scores"]["rouge_l"][0] == pytest.approx(0.5)
    table = pd.read_csv(tmp_path / "out" / "captions.csv")
    assert table["image_id"].tolist() == [1, 2]
    assert table["rouge_l"].tolist() == [1.0, 0.0]
    assert len(result["references_sha256"]) == 64
    assert done.manifest["counts"]["images"] == 2
    assert evaluate(data=data, candidates=candidates, out=tmp_path / "out").skipped


def test_meteor_as_rs5m_measures_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reference at a time, by nltk, whose WordNet is asked for and told of where it is missing."""
    pytest.importorskip("nltk", reason="nltk is not installed")
    from nltk.translate.meteor_score import single_meteor_score

    class NoSynonyms:
        def ensure_loaded(self) -> None:
            pass

        def synsets(self, word: str) -> list[str]:
            return []

    monkeypatch.setattr("nltk.corpus.wordnet", NoSynonyms())
    references = written(tmp_path / "references.json", REFERENCES)
    said = {"red": "A red roofs", "blue": "one pond"}
    candidates = written(tmp_path / "candidates.json", said)
    evaluate(data=references, candidates=candidates, meteor_nltk=True, out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "scores.json").read_text())["rows"]
    each = [
        np.mean([single_meteor_score(r.split(), said[name].split(), wordnet=NoSynonyms()) for r in REFERENCES[name]])
        for name in REFERENCES
    ]
    assert rows[0]["scores"]["meteor_nltk"][0] == pytest.approx(np.mean(each))
    assert 0.2 < np.mean(each) < 1
    assert "meteor_nltk" in pd.read_csv(tmp_path / "out" / "captions.csv")


def test_a_coca_captions_the_images_of_an_area(tmp_path: Path) -> None:
    area, model = corpus(tmp_path / "corpus"), checkpoint(tmp_path / "coca")
    settings = {"data": area.path, "model": str(model), "scorer": str(model)}
    done = evaluate(**settings, out=tmp_path / "out").manifest
    result = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert done["counts"] == {"images": 2, "references": 3}
    assert done["dropped"] == {"image known but not held": 1, "image without a caption": 1}
    assert len(result["model_fingerprint"]) == len(result["data_sha256"]) == 64
    assert result["decoding"]["top_p"] == 0
    assert 0 <= result["rows"][0]["scores"]["clip_score"][0] <= 2.5
    assert any("judges itself" in warning for warning in done["warnings"])
    again = evaluate(**settings, split="half", seen=[str(area.path)], out=tmp_path / "half").manifest
    assert again["counts"]["images"] == 1
    assert any("one image alone" in warning for warning in again["warnings"])
    assert any("flatter the model" in warning for warning in again["warnings"])
    assert pd.read_csv(tmp_path / "half" / "captions.csv")["image_id"].tolist() == ["red"]


def test_given_captions_of_an_area_need_no_images(tmp_path: Path) -> None:
    area = corpus(tmp_path / "corpus")
    said = written(tmp_path / "said.json", {"red.jpg": "a red roof", "blue": "two ponds", "gone": "a field"})
    done = evaluate(data=area.path, candidates=said, out=tmp_path / "out").manifest
    assert done["counts"] == {"images": 3, "references": 4}
    assert done["dropped"] == {"image without a caption": 1}
    with pytest.raises(InputError, match="'gone' is not held"):
        evaluate(data=area.path, candidates=said, scorer=str(checkpoint(tmp_path / "coca")), out=tmp_path / "scored")
    chosen = read_references(area.path, Ledger(), split="half", role="train")
    assert chosen.keys() == {"blue", "gone"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (lambda area, path: {"data": area}, "--model, or --candidates"),
        (lambda area, path: {"data": area, "model": "a", "candidates": path}, "--model, or --candidates"),
        (lambda area, path: {"data": path, "candidates": path, "split": "half"}, "is no area"),
        (lambda area, path: {"data": area, "model": "colour"}, "no decoder"),
        (lambda area, path: {"data": area, "model": str(checkpoint(area / "clip", "clip-small"))}, "no decoder"),
        (lambda area, path: {"data": area, "candidates": path}, "'gone' has no caption"),
        (lambda area, path: {"data": area, "candidates": path, "split": "none"}, "holds no split"),
        (lambda area, path: {"data": area, "candidates": path, "split": "half", "role": "val"}, "of role val"),
    ],
)
def test_wrong_settings_are_named(settings: Callable[[Path, Path], dict[str, Any]], says: str, tmp_path: Path) -> None:
    path = written(tmp_path / "candidates.json", {"blue": "two blue ponds"})
    area = corpus(tmp_path / "corpus").path
    with pytest.raises(InputError, match=says):
        evaluate(**settings(area, path), out=tmp_path / "out")
    assert not (tmp_path / "out" / "scores.json").exists()


def test_tables_are_read_as_everywhere(tmp_path: Path) -> None:
    rows = [(image, text) for image, texts in REFERENCES.items() for text in texts]
    (tmp_path / "a.tsv").write_text("Filename\tTitle\n" + "".join(f"{image}\t{text}\n" for image, text in rows))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"file_name": i, "text": t}) + "\n" for i, t in rows))
    images = [{"filename": i, "split": "test", "sentences": [{"raw": t} for t in ts]} for i, ts in REFERENCES.items()]
    (tmp_path / "c.json").write_text(json.dumps({"images": images}))
    for name in ("a.tsv", "b.jsonl", "c.json"):
        assert read_captions(tmp_path / name) == REFERENCES
    (tmp_path / "d.csv").write_text('image,caption\nred.jpg,"a roof\nblue.jpg,a pond"\n')
    with pytest.raises(InputError, match="row 2: a quote is left open"):
        read_captions(tmp_path / "d.csv")
