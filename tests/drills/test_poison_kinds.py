"""What whole verbs on spoilt files showed, a right value each: silently wrong is worse than an error."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import tiny_hf
from chorograph.area.folder import Area
from chorograph.captioning.prompts import read_prompt
from chorograph.curation.pictures import read_pictures
from chorograph.curation.steps.detector import Detector, read_detector, write_detector
from chorograph.ground.claims import claim
from chorograph.ground.csv_rows import read_cells
from chorograph.ground.errors import ChorographError, InputError, OutputError
from chorograph.ground.recipe_file import read_yaml
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.metrics.localization import region_mask
from chorograph.models.captioners.blip2 import adapt, load_adapted, load_blip2
from chorograph.serving.ratings.opening import url_of
from chorograph.serving.ratings.questions import NAMES
from chorograph.serving.ratings.store import Pair, RatingStore
from chorograph.synthetic import SyntheticCityConfig, build_synthetic
from chorograph.verbs.table import get_verb

_LARGE = 5 * 1024**3


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "city"
    build_synthetic(SyntheticCityConfig(regions=24, tiles_per_region=1, street_views_per_region=0), folder)
    return folder


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A tiny BLIP-2 in `model`, and an adapter of it in `adapter`."""
    pytest.importorskip("transformers")
    tiny_hf.blip2(tmp_path / "model", ["a road", "many houses"])
    blip2 = adapt(load_blip2(tmp_path / "model"), rank=2, alpha=2, dropout=0.0, targets=(), seed=0)
    blip2.model.save_pretrained(tmp_path / "adapter", safe_serialization=True)
    return tmp_path


def _asked(folder: Path) -> str:
    return f"{folder / 'model'}+{folder / 'adapter'}"


def _without(weights: dict[str, torch.Tensor]) -> None:
    del weights[sorted(weights)[0]]


def _not_finite(weights: dict[str, torch.Tensor]) -> None:
    weights[sorted(weights)[0]].view(-1)[0] = torch.nan


@pytest.mark.parametrize(("change", "says"), [(_without, "lack"), (_not_finite, "not finite")])
@pytest.mark.parametrize("file", ["model/model.safetensors", "adapter/adapter_model.safetensors"])
def test_weights_are_whole_or_refused(adapted: Path, file: str, change: Callable[[Any], None], says: str) -> None:
    """A library draws what is missing at random, and says nothing."""
    load_adapted(_asked(adapted))
    weights = load_file(adapted / file)
    change(weights)
    save_file(weights, adapted / file, {"format": "pt"})
    with pytest.raises(InputError, match=rf"{file.partition('/')[0]}.*{says}"):
        load_adapted(_asked(adapted))


def test_an_adapter_without_weights_is_not_looked_for_in_a_hub(adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (adapted / "adapter/adapter_model.safetensors").unlink()
    monkeypatch.setattr("httpx.Client.send", lambda *a, **k: pytest.fail("a hub is asked"))
    with pytest.raises(InputError, match=r"adapter_model\.safetensors does not exist"):
        load_adapted(_asked(adapted))


def test_an_adapter_names_no_modules_and_no_files(adapted: Path) -> None:
    path = adapted / "adapter/adapter_config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "megatron_config": {"a": 1}, "megatron_core": "antigravity"}))
    load_adapted(_asked(adapted))
    assert "antigravity" not in sys.modules
    path.write_text(json.dumps({**said, "peft_type": "PROMPT_TUNING", "tokenizer_name_or_path": "some/model"}))
    with pytest.raises(InputError, match=r"adapter_config\.json: peft_type must be one of LORA"):
        load_adapted(_asked(adapted))


def test_tables_of_text_are_read_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffid,place\n001,NA\n2,\n".encode())
    assert read_cells(path).to_dict("list") == {"id": ["001", "2"], "place": ["NA", ""]}
    path.write_text("id,place\n1,a,b\n2,c,d\n")  # pandas would take the first column for an index
    with pytest.raises(InputError, match=r"t\.csv cannot be read as a table"):
        read_cells(path)
    path.write_bytes(b"")
    os.truncate(path, _LARGE)
    with pytest.raises(InputError, match=r"t\.csv holds 5,368,709,120 bytes"):
        read_cells(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"t\.csv is a pipe"):
        read_cells(path)


def test_an_image_that_claims_gigabytes_is_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    os.truncate(tmp_path / "b.png", _LARGE)
    dropped: list[str] = []
    assert [picture.name for picture in read_pictures(tmp_path, dropped.append)] == ["a.png"]
    assert dropped == ["image too large"]


def test_a_detector_of_nan_is_refused(tmp_path: Path) -> None:
    numbers = np.ones(4)
    write_detector(tmp_path, Detector("colour", "f", numbers, numbers, numbers, float("nan")), {})
    with pytest.raises(InputError, match=r"detector\.npz.*not finite"):
        read_detector(tmp_path)


def test_a_region_far_outside_of_an_image_takes_no_memory() -> None:
    with pytest.raises(InputError, match="region 1 lies far outside of the image of 8 x 8 px"):
        region_mask((8, 8), [[[0, 0], [210_000_001, 0], [4, 4]]])


def test_unknown_words_of_a_prompt_and_keys_of_yaml_that_are_lists(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('text = "what is seen?"\ntop_k = 3\n')
    with pytest.raises(ChorographError, match=r"p\.toml named 'top_k'; did you mean 'top_p'"):
        read_prompt(str(tmp_path / "p.toml"))
    (tmp_path / "r.yaml").write_text("? [1]\n: 2\n")
    with pytest.raises(InputError, match=r"r\.yaml.*a key is a plain text"):
        read_yaml(tmp_path / "r.yaml")


def test_a_split_of_regions_packs_the_images_of_its_regions(city: Path, tmp_path: Path) -> None:
    area = Area.open(city)
    roles = area.regions[["region_id"]].assign(role=["train", "test"] * 12)
    area.write_split("halves", roles)
    verb = get_verb("area pack")
    verb(configure(verb.settings, {"areas": [city], "out": tmp_path / "out", "split": "halves"}), silent)
    train = set(roles.loc[roles["role"] == "train", "region_id"])
    images = area.images[area.images["uri"].notna()]
    wanted = set(images.loc[images["region_id"].isin(train), "image_id"])
    assert set(Area.open(tmp_path / "out").images["image_id"]) == wanted
    with pytest.raises(InputError, match="parts images, not regions"):
        Area.open(tmp_path / "out").split_of_regions("halves")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE rating DROP COLUMN at", r"lacks rating\.at"),
        ("DROP TABLE claim", "lacks claim"),
        ("UPDATE rating SET value = 99 WHERE rowid = 1", "'ann' gave '99', no mark of 1 to 5"),
        ("UPDATE rating SET area = 'other'", "no area with ratings named .*; known: other"),
    ],
)
def test_a_database_that_another_program_changed(city: Path, tmp_path: Path, change: str, says: str) -> None:
    url = f"sqlite:///{tmp_path / 'r.sqlite'}"
    store = RatingStore(url)
    store.save("city", "ann", Pair("i", "c"), dict.fromkeys(NAMES, 3))
    assert store.table("city")["value"].tolist() == [3.0] * len(NAMES)
    store.close()
    with sqlite3.connect(tmp_path / "r.sqlite") as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(change)
    connection.close()
    verb = get_verb("ratings export")
    asked = {"area": city, "out": tmp_path / "out.csv", "ratings": url, "name": "city"}
    with pytest.raises(ChorographError, match=says):
        verb(configure(verb.settings, asked), silent)
    assert not (tmp_path / "out.csv").exists()
    assert url_of(city) != url


def test_a_table_that_several_verbs_change_has_one_writer(city: Path) -> None:
    """Each would write what it read before the other wrote: captions would be lost."""
    area = Area.open(city)
    before = area.captions
    with claim(area.table_path("captions"), "somebody"):
        for name in ("caption", "captions meta", "captions refine"):
            verb = get_verb(name)
            with pytest.raises(OutputError, match=r"captions\.parquet is being written by somebody"):
                verb(configure(verb.settings, {"area": city}), silent)
    assert area.captions.equals(before)
    verb = get_verb("captions meta")
    verb(configure(verb.settings, {"area": city}), silent)
    assert len(area.captions) > len(before)


def test_predictions_that_were_filed_are_checked(city: Path) -> None:
    (city / "predictions").mkdir(exist_ok=True)
    (city / "predictions" / "p.parquet").write_bytes(b"")
    verb = get_verb("describe")
    with pytest.raises(InputError, match=r"p\.parquet cannot be read as predictions"):
        verb(configure(verb.settings, {"area": city, "predictions": "p"}), silent)
