from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from chorograph.area.draft import AreaDraft
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.embedding.run import embed_images
from chorograph.ground.errors import AreaError, InputError
from chorograph.ground.stage import Ledger


def _corpus(path: Path, pictures: dict[str, np.ndarray]) -> Area:
    with AreaDraft(path, "corpus") as draft:
        rows = []
        for name, pixels in pictures.items():
            uri, sha256 = draft.write_image(name, pixels)
            rows.append({"image_id": name, "uri": uri, "sha256": sha256})
        rows.append({"image_id": "known", "uri": None, "sha256": None})
        draft.write("images", pd.DataFrame(rows).assign(view="satellite", source="test", licence="CC0-1.0"))
    return Area.open(path)


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {f"i{k}": rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for k in range(6)}
    return {**made, "twin": made["i0"]}


def test_stored_vectors_are_those_of_the_encoder(tmp_path: Path, pictures: dict[str, np.ndarray]) -> None:
    from chorograph.models.encoders.colour import Colour

    area = _corpus(tmp_path / "area", pictures)
    ledger = Ledger()
    made = embed_images(area, "colour", ledger)
    assert ledger.counts["encoded now"] == 6  # the twin is not encoded twice
    assert ledger.counts["vectors"] == 7
    assert ledger.dropped == {"known but not held": 1}
    stored = Embeddings.read(area.embeddings_path("colour"))
    assert stored.model == "colour"
    assert stored.image_ids.tolist() == list(pictures)
    assert np.array_equal(stored.vectors, made.vectors)
    expected = Colour().encode([area.read_image(uri) for uri in area.images["uri"].dropna()])
    assert np.allclose(stored.vectors, expected)
    assert np.array_equal(stored.vectors[0], stored.vectors[-1])
    assert str(pq.read_schema(area.embeddings_path("colour")).field("embedding").type).startswith("fixed_size_list")


def test_only_new_content_is_encoded(tmp_path: Path, pictures: dict[str, np.ndarray]) -> None:
    area = _corpus(tmp_path / "area", pictures)
    before = embed_images(area, "rcf:8", Ledger())
    image = tmp_path / "area" / "images" / "new.jpg"
    image.write_bytes((tmp_path / "area" / "images" / "i1.jpg").read_bytes() + b"\0")
    row = {
        "image_id": "new",
        "uri": "images/new.jpg",
        "sha256": "new",
        "view": "satellite",
        "source": "t",
        "licence": "t",
    }
    area.write("images", pd.concat([area.images, pd.DataFrame([row])], ignore_index=True))
    ledger = Ledger()
    after = embed_images(area, "rcf:8", ledger)
    assert ledger.counts["encoded now"] == 1
    assert np.array_equal(after.vectors[:7], before.vectors)
    assert after.fingerprint == before.fingerprint


def test_unreadable_images_are_counted(tmp_path: Path, pictures: dict[str, np.ndarray]) -> None:
    area = _corpus(tmp_path / "area", pictures)
    (tmp_path / "area" / "images" / "i2.jpg").write_bytes(b"")
    (tmp_path / "area" / "images" / "i3.jpg").unlink()
    ledger = Ledger()
    made = embed_images(area, "colour", ledger)
    assert ledger.dropped == {"known but not held": 1, "image empty": 1, "image missing": 1}
    assert "i2" not in made.image_ids


def test_an_area_without_images_says_so(tmp_path: Path) -> None:
    area = _corpus(tmp_path / "area", {})
    with pytest.raises(InputError, match="holds no satellite images"):
        embed_images(area, "colour", Ledger())


def test_a_vector_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    ids = np.array(["a", "b"], dtype=object)
    broken = Embeddings("m", "f", ids, ids, np.array([[1.0], [np.nan]], dtype=np.float32))
    with pytest.raises(AreaError, match="not finite for image 'b'"):
        broken.write(tmp_path / "v.parquet")
    assert list(tmp_path.iterdir()) == []


def test_damaged_vectors_are_named(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_bytes(b"nothing")
    with pytest.raises(AreaError, match=r"v\.parquet cannot be read"):
        Embeddings.read(tmp_path / "v.parquet")
    with pytest.raises(InputError, match="this area has: v"):
        Embeddings.read(tmp_path / "w.parquet")
