"""`graph embed`, `graph align` and `pretrain-views` do what `pretrain --objective` does, and say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch_geometric")

from chorograph.area.folder import Area
from chorograph.ground.settings import configure
from chorograph.ground.stage import Outcome, silent
from chorograph.models.coca import towers as coca
from chorograph.verbs.table import get_verb


def _run(verb_name: str, /, **settings: Any) -> Outcome:
    verb = get_verb(verb_name)
    return verb(configure(verb.settings, settings), silent)


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in coca.SMALL.items():
        monkeypatch.setitem(coca.SMALL, name, {**config, "vision_cfg": {**config["vision_cfg"], "image_size": 32}})


@pytest.mark.parametrize(
    ("old", "objective", "settings"),
    [
        ("graph embed", "tucker", {"dim": 8, "batch_size": 32}),
        ("graph embed", "compgcn", {"dim": 8, "batch_size": 32, "fan_out": 2}),
        ("graph align", "knowcl", {"graph": "TuckER-16", "tower": "resnet10t", "size": 16}),
        ("pretrain-views", "views", {"street_views": 0, "batch_size": 32}),
    ],
)
def test_an_old_name_is_the_same_training(
    city: Path, tmp_path: Path, old: str, objective: str, settings: dict[str, Any]
) -> None:
    asked = {"area": city, "epochs": 1}
    own = {"model": "CompGCN"} if objective == "compgcn" else {}
    outcome = _run(old, **asked, **settings, **own, name="by-old-name", out=tmp_path / "old")
    (told,) = [text for text in outcome.manifest["warnings"] if "old name" in text]
    assert f"--objective {objective}" in told
    given = [f"{name}={value}" for name, value in settings.items() if name != "batch_size"]
    shared = {name: value for name, value in settings.items() if name == "batch_size"}
    outcome = _run(
        "pretrain", **asked, **shared, objective=objective, set=[*given, "name=by-new-name"], out=tmp_path / "new"
    )
    assert not [text for text in outcome.manifest["warnings"] if "old name" in text]
    paths = [Area.open(city).embeddings_path(name) for name in ("by-old-name", "by-new-name")]
    from chorograph.area.vector_tables import read_vector_table

    key = "image_id" if objective == "views" else "region_id"
    one, two = (read_vector_table(path, (key,), "training", "vectors") for path in paths)
    assert one.vectors.tobytes() == two.vectors.tobytes()
