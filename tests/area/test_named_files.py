from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorograph.area.draft import AreaDraft
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.named_files import named_file
from chorograph.ground.errors import InputError
from chorograph.ground.files import lossy_slug, slug


@given(st.text(max_size=200), st.text(max_size=200))
def test_names_that_differ_have_files_that_differ(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)
    assert len(slug(one).encode()) < 220


@pytest.mark.parametrize(
    "name", ["收入", "人口", "a:b", "a/b", "a b", "a-b", "A?", "A!", "", ".", "-", "café", "cafe\u0301"]
)
def test_a_name_of_its_own(name: str) -> None:
    others = {"收入", "人口", "a:b", "a/b", "a b", "a-b", "A?", "A!", "", ".", "-", "café", "cafe\u0301"} - {name}
    assert slug(name) not in {slug(other) for other in others}
    assert "/" not in slug(name)
    assert slug(name) not in (".", "..", "")


def _vectors(model: str) -> Embeddings:
    ids = np.array(["a"], dtype=object)
    return Embeddings(model, "f", ids, ids, np.ones((1, 2), dtype=np.float32))


def test_old_areas_are_found_by_their_old_names(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    old = folder / f"{lossy_slug('open_clip:ViT/openai')}.parquet"
    _vectors("open_clip:ViT/openai").write(old)
    assert named_file(folder, "open_clip:ViT/openai") == old
    # Another name that fell on the same file is not taken for it.
    assert named_file(folder, "open_clip/ViT:openai").name == f"{slug('open_clip/ViT:openai')}.parquet"
    # What an encoder learnt lay beside its vectors, or alone.
    (folder / "rcf-256.safetensors").write_bytes(b"")
    assert named_file(folder, "rcf:256").name == "rcf-256.parquet"
    # A new file of the name's own wins.
    _vectors("rcf:256").write(folder / f"{slug('rcf:256')}.parquet")
    assert named_file(folder, "rcf:256").name == f"{slug('rcf:256')}.parquet"


def test_splits_that_differ_stay_different(tmp_path: Path) -> None:
    with AreaDraft(tmp_path / "area", "x") as draft:
        for name, role in (("a b", "train"), ("a-b", "test")):
            draft.write_split(name, pd.DataFrame({"region_id": ["1"], "role": [role]}))
    area = Area.open(tmp_path / "area")
    assert area.split("a b")["role"].tolist() == ["train"]
    assert area.split("a-b")["role"].tolist() == ["test"]
    with pytest.raises(InputError, match="no split 'a/b'"):
        area.split("a/b")  # a-b says inside that it is another's
