from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, silent
from chorograph.models.preprocessing import Preprocessing
from chorograph.pretraining.feeds import pairs as module
from chorograph.pretraining.feeds.pairs import (
    InMemory,
    Pairs,
    assign_roles,
    batches,
    caption_of,
    load_pairs,
    load_shard_pairs,
)
from chorograph.shards.pairs import open_pairs
from chorograph.shards.write import ShardWriter

_PREPROCESSING = Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3)


def _load(area: Area, holdout: str, ledger: Ledger | None = None) -> tuple[Pairs, Pairs, str]:
    return load_pairs(
        area, _PREPROCESSING, view="satellite", holdout=holdout, seed=0, ledger=ledger or Ledger(), progress=silent
    )


def _pixels(pairs: Pairs) -> Tensor:
    pixels, reasons = pairs.images.read(np.arange(len(pairs)))
    assert reasons == [None] * len(pairs)
    return pixels


def test_every_caption_of_an_image_is_used_before_one_comes_again() -> None:
    for row in range(20):
        used = [caption_of(3, row, epoch, seed=4) for epoch in range(9)]
        for start in (0, 3, 6):
            assert sorted(used[start : start + 3]) == [0, 1, 2]
    assert len({tuple(caption_of(3, row, epoch, seed=4) for epoch in range(3)) for row in range(50)}) > 3


def test_every_row_is_in_one_batch_of_an_epoch() -> None:
    for epoch in range(3):
        steps = batches(130, 64, epoch, seed=0)
        assert sorted(np.concatenate(steps).tolist()) == list(range(130))
        assert sorted(map(len, steps)) == [43, 43, 44]
    assert not np.array_equal(batches(130, 64, 0, 0)[0], batches(130, 64, 1, 0)[0])
    assert np.array_equal(batches(130, 64, 1, 0)[0], batches(130, 64, 1, 0)[0])


def test_regions_are_held_out_whole_and_losses_are_counted(colours: Area) -> None:
    ledger = Ledger()
    train, held, how = _load(colours, "0.25", ledger)
    owner = colours.images.set_index("image_id")["region_id"]
    assert len({owner[i] for i in held.image_ids}) == 2
    assert not {owner[i] for i in train.image_ids} & {owner[i] for i in held.image_ids}
    assert len(train) + len(held) == 29
    assert how.startswith("2 of 8 regions")
    assert ledger.dropped == Counter(
        {"image known but not held": 1, "image not an image": 1, "image without a caption": 1}
    )
    assert ledger.counts["images trained on"] == len(train)
    assert _pixels(train).dtype == torch.uint8
    assert _pixels(train).shape == (len(train), 3, 16, 16)


def test_pixels_belong_to_their_captions(colours: Area) -> None:
    train, _, _ = _load(colours, "0")
    pixels = _pixels(train)
    for row in range(len(train)):
        red, green, blue = pixels[row].float().mean((1, 2)).tolist()
        colour = train.captions[row][0].split()[1]
        guess = "white" if min(red, green, blue) > 150 else ("red", "green", "blue")[int(np.argmax([red, green, blue]))]
        assert guess == colour
        assert train.captions_at([row], 0, 0)[0] in train.captions[row]


def test_a_corpus_without_regions_holds_out_images(colours: Area) -> None:
    (colours.path / "regions.parquet").unlink()
    corpus = Area.open(colours.path)
    roles = assign_roles(corpus, corpus.images, "0.25", seed=0)
    assert roles.held.sum() == 8
    assert "8 of 32 images" in roles.how


def test_a_given_split_never_shows_its_test_rows(colours: Area) -> None:
    regions = colours.regions["region_id"]
    role = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    colours.write_split("official", pd.DataFrame({"region_id": regions, "role": role}))
    train, held, how = _load(colours, "official")
    owner = colours.images.set_index("image_id")["region_id"]
    assert {owner[i] for i in train.image_ids} == {"r0", "r1", "r2", "r3"}
    assert {owner[i] for i in held.image_ids} == {"r4", "r5"}
    assert "official" in how
    with pytest.raises(InputError, match="official"):
        _load(colours, "oficial")


@pytest.mark.parametrize("holdout", ["1", "1.5", "-0.1"])
def test_a_share_is_a_share(colours: Area, holdout: str) -> None:
    with pytest.raises(InputError, match="share"):
        _load(colours, holdout)


def test_an_area_without_captions_says_what_to_do(colours: Area) -> None:
    (colours.path / "captions.parquet").unlink()
    with pytest.raises(InputError, match="chorograph caption"):
        _load(colours, "0.1")


def test_pixels_that_do_not_fit_in_memory_are_read_when_wanted(colours: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    small, _, _ = _load(colours, "0.1")
    monkeypatch.setattr(module, "_MEMORY_BYTES", 0)
    ledger = Ledger()
    large, held, _ = _load(colours, "0.1", ledger)
    assert "image not an image" not in ledger.dropped
    pixels, reasons = large.images.read(np.arange(len(large)))
    bad = [image_id for image_id, reason in zip(large.image_ids, reasons, strict=True) if reason]
    assert bad == ["t05"] or "t05" in held.image_ids
    assert [reason for reason in reasons if reason] == ["not an image"] * len(bad)
    # Scaled as they are decoded: not to the bit what the whole image gives.
    assert (pixels.int() - _pixels(small).int()).abs().float().mean() < 4
    assert [image_id for image_id in large.image_ids if image_id not in bad] == list(small.image_ids)


def test_a_folder_and_its_tar_copy_give_the_same_pairs(colours: Area, tmp_path: Path) -> None:
    images = colours.images[~colours.images["image_id"].isin(["t05", "t06", "t07"])].sort_values("image_id")
    first = colours.captions.set_index("image_id")
    first = first[first["rank"] == 0]["caption"]
    with ShardWriter(tmp_path / "tars", max_samples=10) as writer:
        for image_id, uri in zip(images["image_id"], images["uri"], strict=True):
            writer.write(image_id, {"jpg": colours.resolve(uri).read_bytes(), "txt": first[image_id]})
    (colours.path / "regions.parquet").unlink()
    colours.write("captions", colours.captions[colours.captions["rank"] == 0])
    colours.write("images", images)
    folder, folder_held, _ = _load(Area.open(colours.path), "0.25")
    shards = open_pairs([tmp_path / "tars"], lambda reason: pytest.fail(reason))
    tars, tars_held, how = load_shard_pairs(
        shards, _PREPROCESSING, holdout="0.25", seed=0, ledger=Ledger(), progress=silent
    )
    assert how.startswith("7 of 29 keys")
    for ours, theirs in ((tars, folder), (tars_held, folder_held)):
        assert tuple(ours.image_ids) == tuple(theirs.image_ids)
        assert torch.equal(_pixels(ours), _pixels(theirs))
        rows = np.arange(len(ours))
        assert ours.captions_at(rows, 1, 0) == theirs.captions_at(rows, 1, 0)
    with pytest.raises(InputError, match="split"):
        load_shard_pairs(shards, _PREPROCESSING, holdout="official", seed=0, ledger=Ledger(), progress=silent)


def test_shuffled_captions_are_a_permutation_of_whole_images() -> None:
    pixels = torch.zeros(50, 3, 1, 1, dtype=torch.uint8)
    pairs = Pairs(tuple(map(str, range(50))), InMemory(pixels), tuple((f"a{n}", f"b{n}") for n in range(50)))
    shuffled = pairs.shuffled(0)
    assert shuffled.image_ids == pairs.image_ids
    assert tuple(shuffled.captions) != pairs.captions
    assert sorted(shuffled.captions) == sorted(pairs.captions)
    assert tuple(shuffled.captions) == tuple(pairs.shuffled(0).captions)
    assert tuple(shuffled.captions) != tuple(pairs.shuffled(1).captions)
