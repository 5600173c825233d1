from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.captioning.prompts import prompt_names, prompts_of, read_prompt
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Outcome, silent
from chorograph.models.encoders.open_clip import new_model
from chorograph.pretraining.config import PretrainConfig
from chorograph.verbs import caption
from chorograph.verbs.pretrain import run as pretrain

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_hf

_WORDS = "a red field beside two blue ponds Describe this image"


@pytest.fixture
def area(tmp_path: Path) -> Area:
    rng = np.random.default_rng(0)
    with AreaDraft(tmp_path / "town", "town") as draft:
        ids = [f"i{row}" for row in range(5)]
        held = [draft.write_image(name, rng.integers(0, 255, (48, 40, 3), dtype=np.uint8)) for name in ids]
        uris, digests = zip(*held, strict=True)
        frame = pd.DataFrame({"image_id": ids, "uri": uris, "sha256": digests, "view": "satellite"})
        frame.loc[4, "view"] = "street"
        draft.write("images", frame.assign(source="made", licence="CC0", captured="2020-07-01"))
        said = pd.DataFrame({"image_id": ids, "caption": "a red field beside two blue ponds", "rank": 0})
        draft.write("captions", said.assign(caption_id=ids, origin="human"))
    return Area.open(tmp_path / "town")


def write(area: Area, name: str, **more: Any) -> Outcome:
    return caption.run(caption.Settings(area=area.path, captioner=name, device="cpu", **more), silent)


def test_a_model_of_hugging_face_goes_the_whole_way(area: Area, tmp_path: Path) -> None:
    folder = tiny_hf.llava(tmp_path / "llava", [_WORDS])
    drawn = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 6}
    done = write(area, f"hf:{folder}", **drawn)
    assert 6 <= done.manifest["counts"]["captions"] <= 10  # some drew no word
    written = area.captions[area.captions["origin"] == f"model:hf:{folder}"]
    assert set(written["caption"].str.split().explode()) <= {*_WORDS.split(), "USER", "ASSISTANT", "SYSTEM"}
    assert (written["score"] < 0).all()
    # Half of the book lost: the other half is written again, the same in another batch.
    book = next((area.path / "captioning").glob("*.jsonl"))
    book.write_bytes(b"".join(book.read_bytes().splitlines(keepends=True)[::2]))
    (area.path / "captions.manifest.json").unlink()
    again = write(area, f"hf:{folder}", **drawn)
    assert again.manifest["counts"]["requests answered before"] == again.manifest["counts"]["answers now"] == 5
    after = area.captions[area.captions["origin"] == f"model:hf:{folder}"]
    assert after["caption"].tolist() == written["caption"].tolist()
    assert after["score"].to_numpy() == pytest.approx(written["score"].to_numpy(), abs=2e-4)


def test_blip2_draws_the_same_in_any_batch(tmp_path: Path) -> None:
    from chorograph.models.captioners.blip2 import load_blip2

    blip2 = load_blip2(tiny_hf.blip2(tmp_path / "blip2", [_WORDS]))
    images = list(np.random.default_rng(1).integers(0, 255, (3, 30, 30, 3), dtype=np.uint8))
    together = blip2.write(images, seeds=[1, 2, 3])
    assert together == [blip2.write([image], seeds=[1 + row])[0] for row, image in enumerate(images)]
    assert len(set(together)) > 1


def test_a_folder_without_a_model_says_so(area: Area, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty cannot be read as"):
        write(area, f"hf:{tmp_path / 'empty'}")


def test_a_coca_describes_locations_sorted_with_their_city(area: Area, tmp_path: Path) -> None:
    pretrain(PretrainConfig(area=area.path, out=tmp_path / "coca", objective="coca", model="coca-small", epochs=1,
                            batch_size=4, device="cpu"), silent)  # fmt: skip
    said = {}
    for decoding in ("open_clip", "top_p", "beam", "greedy"):
        path = tmp_path / f"{decoding}.csv"
        write(area, f"coca:{tmp_path / 'coca'}", decoding=decoding, per_image=1, csv=path, max_tokens=12)
        table = pd.read_csv(path, keep_default_na=False)
        assert table.columns.tolist() == ["city", "image", "caption"]
        assert set(table["city"]) <= {"town"}
        assert table["image"].is_monotonic_increasing
        said[decoding] = table["caption"].tolist()
    assert (area.captions["origin"] == f"model:coca:{tmp_path / 'coca'}").sum() == len(said["greedy"])
    assert area.captions["origin"].isin(["human"]).sum() == 5


def test_prompts_are_versioned_files_and_say_only_what_is_known() -> None:
    assert {"satellite-1", "street-1", "facts-1", "toolkit-1"} <= set(prompt_names())
    toolkit = read_prompt("toolkit-1")
    assert (toolkit.text, toolkit.max_tokens, toolkit.temperature, toolkit.top_p) == ("", 128, 0.1, 0.75)
    facts = read_prompt("facts-1").fill({"region": "Alder Bank", "ground_m": "153"})
    assert "It lies in Alder Bank." in facts
    assert "153 metres" in facts
    assert "points of interest" not in facts
    assert "{" not in facts
    assert set(prompts_of("auto")) == {"satellite", "street"}
    assert prompts_of("auto")["street"].text != prompts_of("auto")["satellite"].text
    with pytest.raises(UnknownNameError, match="satellite-1"):
        read_prompt("satelite-1")


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('text = "What is at {lon}?"\nmax_tokens = 9\n')
    assert read_prompt(str(tmp_path / "mine.toml")).max_tokens == 9
    (tmp_path / "mine.toml").write_text('text = "What about {income}?"\n')
    with pytest.raises(UnknownNameError, match="placeholder"):
        read_prompt(str(tmp_path / "mine.toml"))


def test_a_clip_writes_no_captions(area: Area, tmp_path: Path) -> None:
    loaded = new_model("clip-small", seed=0, captions=["a b"] * 2)
    assert not hasattr(loaded.model, "text_decoder")
    with pytest.raises(InputError, match="decoder"):
        write(area, "coca:colour")
