from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from PIL import Image

from chorograph.acquisition.own.image_folder import import_image_folder
from chorograph.acquisition.pack import pack as pack_areas
from chorograph.area.check import check_area
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, silent
from chorograph.shards.pairs import open_pairs
from chorograph.shards.rs5m import archive_samples, read_metadata
from chorograph.verbs.area import import_, pack


def _jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return simplejpeg.encode_jpeg(pixels, colorspace="RGB")


def _corpus(path: Path, number: int = 7, captions: int = 2) -> Area:
    ids = [f"image.{row}" for row in range(number)]
    with AreaDraft(path, path.name, f"Title of {path.name}") as draft:
        added = [draft.add_image(image_id, _jpeg(row)) for row, image_id in enumerate(ids)]
        images = pd.DataFrame({"image_id": ids, "uri": [uri for uri, _ in added], "sha256": [s for _, s in added]})
        images.loc[number - 1, ["uri", "sha256"]] = None
        draft.write("images", images.assign(view="satellite", source="test", licence="CC0-1.0", lon=1.5))
        texts = [(f"{i}#{k}", i, k, f"caption {k} of {i}", "human") for i in ids[1:] for k in range(captions)]
        draft.write("captions", pd.DataFrame(texts, columns=["caption_id", "image_id", "rank", "caption", "origin"]))
        roles = ["train", "test", "val", "train", "test", "train", "train"][:number]
        draft.write_split("official", pd.DataFrame({"image_id": ids, "role": roles}))
    return Area.open(path)


def test_a_packed_corpus_holds_the_same(tmp_path: Path) -> None:
    area = _corpus(tmp_path / "a")
    outcome = pack.run(pack.Settings(areas=[area.path], out=tmp_path / "packed", shard_samples=4), silent)
    packed = Area.open(tmp_path / "packed")
    assert check_area(packed) == []
    assert outcome.manifest["counts"] == {"images": 6, "captions": 10, "shards": 2}
    assert outcome.manifest["dropped"] == {"known but not held": 1}
    held = area.images[area.images["uri"].notna()]
    pd.testing.assert_frame_equal(packed.images.drop(columns="uri"), held.drop(columns="uri"), check_dtype=False)
    for ours, theirs in zip(packed.images["uri"], held["uri"], strict=True):
        assert packed.read_encoded(ours) == area.read_encoded(theirs)
    said = area.captions[area.captions["image_id"].isin(packed.images["image_id"])]
    pd.testing.assert_frame_equal(packed.captions, said.reset_index(drop=True), check_dtype=False)
    # Read as bare shards, each image has its first caption.
    dropped: Counter[str] = Counter()
    pairs = open_pairs([packed.path / "shards"], lambda reason: dropped.update([reason]))
    assert [pairs.caption(row) for row in range(len(pairs))] == said[said["rank"] == 0]["caption"].tolist()
    assert dropped == {"image without a caption": 1}
    assert pack.run(pack.Settings(areas=[area.path], out=tmp_path / "packed", shard_samples=4), silent).skipped


def test_several_areas_by_role(tmp_path: Path) -> None:
    areas = [_corpus(tmp_path / name).path for name in ("a", "b")]
    pack.run(pack.Settings(areas=areas, out=tmp_path / "train", split="official"), silent)
    train = Area.open(tmp_path / "train")
    assert train.title == "Title of a and Title of b"
    assert train.images["image_id"].tolist() == [f"{n}/image.{row}" for n in "ab" for row in (0, 2, 3, 5)]
    assert train.split("official")["role"].tolist() == ["train", "val", "train", "train"] * 2
    pack.run(pack.Settings(areas=areas, out=tmp_path / "test", split="official", roles="test"), silent)
    assert len(Area.open(tmp_path / "test").images) == 4
    with pytest.raises(InputError, match="no image was left"):
        pack.run(pack.Settings(areas=areas, out=tmp_path / "none", split="official", roles="dev"), silent)
    with pytest.raises(InputError, match="one name"):
        pack.run(pack.Settings(areas=[areas[0], areas[0]], out=tmp_path / "twice"), silent)


def _archive(folder: Path, images: dict[str, bytes], parts: int = 3) -> list[Path]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in images.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    whole = gzip.compress(buffer.getvalue())
    cuts = np.linspace(0, len(whole), parts + 1).astype(int)
    paths = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        path = folder / f"pub11.tar.gz_a{'abc'[number]}"
        path.write_bytes(whole[start:end])
        paths.append(path)
    return paths


def test_rs5ms_archives_and_csv_become_a_corpus(tmp_path: Path) -> None:
    source = tmp_path / "rs5m"
    source.mkdir()
    images = {f"pub11/laion2b_0_{row}": _jpeg(row) for row in range(3)}
    images = {f"{name}.jpg": data for name, data in images.items()} | {"pub11/other.jpg": _jpeg(9), "pub11/x.pkl": b"."}
    _archive(source, images)
    (source / "pub11_train_metadata.csv").write_text(
        "img_name,text,url,download_status\n"
        'laion2b_0_0.jpg,"aerial view, 52.96° north\nof a farm",http://a,True\n'
        "laion2b_0_1.jpg,a port,http://b,True\nlaion2b_0_1.jpg,again,http://b,True\n",
        encoding="utf-8",
    )
    (source / "pub11_validation_metadata.csv").write_text("img_name,caption\nlaion2b_0_2.jpg,a lake\nx.jpg,\n")
    (source / "pub11_metacap_country_month.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    outcome = import_.run(import_.Settings(layout="rs5m", src=source, out=tmp_path / "corpus"), silent)
    corpus = Area.open(tmp_path / "corpus")
    assert check_area(corpus) == []
    assert corpus.captions["caption"].tolist() == ["aerial view, 52.96° north\nof a farm", "a port", "a lake"]
    assert corpus.read_encoded(corpus.images["uri"].iloc[2]) == images["pub11/laion2b_0_2.jpg"]
    assert outcome.manifest["dropped"] == {
        "name that comes again": 1,
        "row without a name or caption": 1,
        "image without a caption": 1,
        "member holds a pickle": 1,
    }


def test_metadata_that_is_refused(tmp_path: Path) -> None:
    pickled = tmp_path / "rs3_train_val_metadata_clean.pkl"
    pickled.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match="no CSV"):
        read_metadata(pickled, lambda reason: None)
    for content in (b"a,b\n1,2\n", b"img_name,text\n\xff,b\n", b""):
        (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.csv"):
            read_metadata(tmp_path / "x.csv", lambda reason: None)
    with pytest.raises(InputError, match="no split archives"):
        import_.run(import_.Settings(layout="rs5m", src=tmp_path, out=tmp_path / "corpus"), silent)


def test_a_missing_part_keeps_what_came_before(tmp_path: Path) -> None:
    images = {f"{row}.jpg": _jpeg(row) for row in range(40)}
    parts = _archive(tmp_path, images)
    dropped: Counter[str] = Counter()
    captions = dict.fromkeys(images, "a place")
    found = list(archive_samples(parts[:2], captions, lambda reason: dropped.update([reason])))
    assert 0 < len(found) < 40
    assert [sample.image() for sample in found] == [images[sample.name] for sample in found]
    assert dropped["shard truncated"] == 1


def test_other_caption_sets_are_named_by_their_file(tmp_path: Path) -> None:
    source = tmp_path / "rsitmd"
    (source / "images").mkdir(parents=True)
    (source / "images" / "a.jpg").write_bytes(_jpeg(0))
    record = {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a road"}]}
    (source / "dataset_RSITMD.json").write_text(json.dumps({"images": [record]}))
    import_.run(import_.Settings(layout="rsicd", src=source, out=tmp_path / "out"), silent)
    area = Area.open(tmp_path / "out")
    assert (area.title, area.sources[0].name) == ("RSITMD", "RSITMD")
    assert area.split("official")["role"].tolist() == ["test"]


def test_classes_are_packed_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for kind, number in (("farm", 0), ("port", 1)):
            (tmp_path / name / "src" / kind).mkdir(parents=True)
            Image.new("RGB", (8, 8), (number, 0, len(name))).save(tmp_path / name / "src" / kind / "水.1.png")
        import_image_folder(tmp_path / name / "src", tmp_path / name / f"area-{name}", Ledger())
    one, two = (Area.open(tmp_path / name / f"area-{name}") for name in ("a", "b"))
    for areas, start in (([one], ""), ([one, two], "area-a/")):
        pack_areas(areas, tmp_path / f"packed{len(areas)}", Ledger())
        packed = Area.open(tmp_path / f"packed{len(areas)}")
        assert check_area(packed) == []
        assert packed.image_classes()[f"{start}port/水.1"] == "port"
        assert len(packed.image_classes()) == 2 * len(areas) == len(packed.images)
