"""`evaluate text` on a small city, and its arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import made_city
import numpy as np
import pytest
from sklearn.metrics import r2_score

from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.models.checkpoint import load_checkpoint
from chorograph.models.coca import towers as coca
from chorograph.study.text import (
    IMAGE,
    RIVALS,
    TEXT,
    UNTRAINED,
    VARIANTS,
    as_markdown,
    compare,
    text_vectors,
)
from chorograph.verbs.evaluate.text import Settings, run


def test_a_small_ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = coca.SMALL["coca-small"]
    monkeypatch.setitem(coca.SMALL, "coca-small", {**small, "vision_cfg": {**small["vision_cfg"], "image_size": 32}})
    area = made_city.build(tmp_path / "roofs")
    settings = {"area": area.path, "indicator": "value", "out": tmp_path / "out", "log": True, "epochs": 1,
                "block_m": 2500, "probe": "ridge", "components": 2, "device": "cpu"}  # fmt: skip
    config = configure(Settings, settings)
    outcome = run(config, silent)
    result = json.loads((tmp_path / "out" / "text.json").read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert set(rows) == {variant.name for variant in VARIANTS} | {UNTRAINED, TEXT, IMAGE}
    # Every region scored is scored in every row: two have no label.
    assert outcome.manifest["counts"]["regions scored"] == made_city.SIDE**2 - 2
    assert rows[TEXT]["r2"][0] > 0.4  # captions tell the number of roofs in three steps
    assert rows[IMAGE]["r2"][0] > 0.5
    assert rows[TEXT][f"minus {IMAGE}"][0] == pytest.approx(rows[TEXT]["r2"][0] - rows[IMAGE]["r2"][0], abs=1e-5)
    table = (tmp_path / "out" / "text.md").read_text().splitlines()
    assert len(table) == 2 + len(rows)
    assert all(line.count("|") == 3 + len(RIVALS) for line in table)
    # Four trainings serve the seven rows; the shuffled one says that it is a control.
    assert sorted(path.name for path in (tmp_path / "out" / "models").iterdir()) == [
        "both-seed0", "captioning-seed0", "contrastive-seed0", "shuffled-seed0",
    ]  # fmt: skip
    assert "A control" in (tmp_path / "out" / "models" / "shuffled-seed0" / "card.md").read_text()
    assert "A control" not in (tmp_path / "out" / "models" / "both-seed0" / "card.md").read_text()
    weights = [
        load_checkpoint(tmp_path / "out" / "models" / name).model.state_dict()["visual.conv1.0.weight"]
        for name in ("both-seed0", "captioning-seed0", "contrastive-seed0", "shuffled-seed0")
    ]
    assert all(not np.allclose(weights[0], other) for other in weights[1:])
    assert run(config, silent).skipped


def test_differences_are_paired_and_seeds_are_averaged() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=80)
    noisy = [target + rng.normal(0, 0.5, 80) for _ in range(2)]
    predicted = {"mine": noisy, **{rival: [target * 0.5] for rival in RIVALS[:-1]}, RIVALS[-1]: noisy}
    rows = {row["name"]: row for row in compare(predicted, target, np.arange(80) // 8)}
    expected = np.mean([r2_score(target, one) for one in noisy])
    assert rows["mine"]["r2"][0] == pytest.approx(expected, abs=1e-6)
    assert rows["mine"]["by_seed"] == [round(r2_score(target, one), 4) for one in noisy]
    assert rows["mine"][f"minus {RIVALS[0]}"][0] == pytest.approx(expected - r2_score(target, target * 0.5), abs=1e-6)
    # The same predictions differ by nothing in every resample.
    assert rows["mine"][f"minus {RIVALS[-1]}"] == [0.0, 0.0, 0.0]
    assert f"minus {RIVALS[0]}" not in rows[RIVALS[0]]
    assert "seeds" in as_markdown(list(rows.values()), 2)


def test_text_vectors_are_of_words_alone(tmp_path: Path) -> None:
    area = made_city.build(tmp_path / "roofs")
    images = area.images["image_id"].to_numpy(object)
    found = text_vectors(area, images, 64)
    captions = area.captions.set_index("image_id")["caption"].reindex(found.image_ids)
    for text in captions.unique():
        same = found.vectors[(captions == text).to_numpy()]
        assert np.allclose(same, same[0], atol=1e-5)
    assert len(np.unique(found.vectors.round(4), axis=0)) == captions.nunique()
    with pytest.raises(InputError, match="holds no captions"):
        text_vectors(area, images[:0], 64)


def test_image_must_be_among_the_modalities(tmp_path: Path) -> None:
    area = made_city.build(tmp_path / "roofs")
    config = Settings(area=area.path, indicator="value", out=tmp_path / "out", modalities="location")
    with pytest.raises(InputError, match="must have image"):
        run(config, silent)
