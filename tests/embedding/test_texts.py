from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from chorograph.area.draft import AreaDraft
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.embedding.texts import embed_captions
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger
from chorograph.models.encoders.lsa import LatentSemanticAnalysis
from chorograph.verbs import embed

SAID = {"a": ["a red house", "a house by a lake"], "b": ["a red house"], "c": ["dense trees", "a red house"]}


def _corpus(path: Path, said: dict[str, list[str]] = SAID) -> Area:
    rows = [(image, rank, text) for image, texts in said.items() for rank, text in enumerate(texts)]
    captions = pd.DataFrame(rows, columns=["image_id", "rank", "caption"])
    captions["caption_id"] = captions["image_id"] + "-" + captions["rank"].astype(str)
    with AreaDraft(path, "corpus") as draft:
        images = pd.DataFrame({"image_id": list("abcd")})
        draft.write("images", images.assign(view="satellite", source="t", licence="CC0-1.0"))
        if len(captions):
            draft.write("captions", captions.assign(origin="human"))
    return Area.open(path)


def test_vectors_of_captions_are_those_of_scikit_learn() -> None:
    texts = ["a red house", "a house by a lake", "dense trees", "a dense house"]
    ours = LatentSemanticAnalysis(3, seed=4).encode_texts(texts, unit=False)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    np.testing.assert_allclose(
        ours, make_pipeline(words, TruncatedSVD(3, random_state=4)).fit_transform(texts), atol=1e-5
    )
    unit = LatentSemanticAnalysis(3, seed=4).encode_texts([*texts, "?"])
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), [1, 1, 1, 1, 0], atol=1e-6)


def test_an_image_is_the_mean_of_its_captions(tmp_path: Path) -> None:
    area, ledger = _corpus(tmp_path / "area"), Ledger()
    made = embed_captions(area, "lsa:2", ledger)
    assert made.image_ids.tolist() == ["a", "b", "c"]
    assert (ledger.counts["captions"], ledger.counts["distinct captions"]) == (5, 3)
    distinct = sorted({text for texts in SAID.values() for text in texts})
    each = dict(zip(distinct, LatentSemanticAnalysis(2).encode_texts(distinct), strict=True))
    for row, image in enumerate("abc"):
        np.testing.assert_allclose(made.vectors[row], np.mean([each[t] for t in SAID[image]], axis=0), rtol=1e-6)
    assert Embeddings.read(area.embeddings_path("text:lsa:2")).model == "text:lsa:2"


def test_the_stage_does_it_once(tmp_path: Path) -> None:
    area = _corpus(tmp_path / "area")
    config = embed.Settings(area=area.path, model="lsa:2", of="captions")
    assert not embed.run(config, lambda *_: None).skipped
    assert embed.run(config, lambda *_: None).skipped


@pytest.mark.parametrize("model", ["colour", "lsa:none"])
def test_what_cannot_encode_texts_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(InputError, match=r"no text tower|number of components"):
        embed_captions(_corpus(tmp_path / "area"), model, Ledger())


def test_an_area_without_captions_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no captions of satellite images"):
        embed_captions(_corpus(tmp_path / "area", {}), "lsa:2", Ledger())
