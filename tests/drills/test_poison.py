"""Poison at the door: files that an enemy wrote, or a hand edited, end in an error of ours, never in a traceback.

A dozen mutations of every file in `make test`; CHOROGRAPH_DRILLS=10000 (as `make drills` sets it) tries that many in
all. Every door either takes a file or says what is wrong in it; anything else, a hang among it, fails.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import tarfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import tomli_w
import torch
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mutations import KINDS, contents, damaged, put, tables, write_json, write_table
from PIL import Image
from safetensors.numpy import save_file

from chorograph.acquisition.own.imagery.tiles import list_tiles
from chorograph.acquisition.own.indicators import read_indicators
from chorograph.acquisition.own.own_settings import ImagerySettings, IndicatorSettings, Reading, RegionSettings
from chorograph.acquisition.own.regions import read_regions
from chorograph.area.check import check_area
from chorograph.area.contents import indicators_of
from chorograph.area.descriptions import FILE as DESCRIPTIONS
from chorograph.area.descriptions import read_descriptions
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.area.local_files import features_source, offline
from chorograph.area.raster_files import open_raster
from chorograph.captioning.describing.facts import read_predictions
from chorograph.captioning.prompts import read_prompt
from chorograph.curation.run.plan import read_plan
from chorograph.curation.steps.detector import Detector, read_detector, write_detector
from chorograph.evaluation.examples.layouts import read_captioned
from chorograph.evaluation.suites.captions import read_captions
from chorograph.evaluation.suites.generated import read_pictures as read_drawn
from chorograph.evaluation.suites.localization import read_samples
from chorograph.graph.reading import read_columns, read_facts
from chorograph.ground.errors import AreaError, ChorographError
from chorograph.ground.files import read_json
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, read_manifest, run_stage, silent
from chorograph.metrics.localization import region_mask
from chorograph.models.adapters.methods import Adapter, add_adapter, load_adapter, save_adapter
from chorograph.models.checkpoint import load_checkpoint, save_checkpoint
from chorograph.models.coca.tokenizer import WordTokenizer
from chorograph.models.coca.towers import build
from chorograph.models.encoders.kept import restore_part
from chorograph.models.encoders.open_clip import ImageTextModel
from chorograph.models.encoders.rcf import RandomConvolutions
from chorograph.models.encoders.registry import load_encoder
from chorograph.models.graph.aligned import ALIGNED_FORMAT, VectorTower, load_aligned
from chorograph.models.preprocessing import Preprocessing
from chorograph.recipe.run import read_recipe
from chorograph.reporting.run import read_run, read_runs
from chorograph.serving.catalogue.layers import area_of_run
from chorograph.shards.pairs import open_pairs
from chorograph.study.explanation import read_concepts
from chorograph.verbs import report
from chorograph.verbs.table import get_verb

#: All inputs of a whole run, and the seconds after which a door hangs.
_ALL = int(os.environ.get("CHOROGRAPH_DRILLS", "0"))
_HANGS_S = 120
#: More than what is taken up already no door may take.
_MORE_BYTES = 3 * 1024**3
_SETTINGS: dict[str, dict[str, Any]] = {
    "predict": {"area": "city", "indicator": ["income"], "out": "run", "folds": 5, "level": 0.9, "probe": "ridge"},
    "pretrain": {"area": "city", "out": "model", "objective": "clip", "epochs": 3, "lr": 0.001, "also": ["more=2"]},
    "embed": {"area": "city", "model": "colour+rcf:64", "seed": 1},
    "curate": {"recipe": "r.yaml", "in": ["web=a.parquet"], "out": "out", "partition_rows": 10},
    "area build": {"tiles": "tiles", "regions": "r.geojson", "unit": ["a=USD"], "out": "city", "scale": "0:1"},
    "area synthetic": {"out": "city", "regions": 24, "tiles_per_region": 1},
}
_TABLES = ("regions", "images", "captions", "indicators", "poi_counts", "triples", "entities")
_CURATE = """\
title: Drill
columns: {caption: TEXT, url: URL}
steps:
  - keywords: {patterns: [aerial]}
  - fetch: {allow: [127.0.0.0/8], connections: 4, robots: false}
  - valid_images: {min_side: 32}
  - hash_duplicates: {distance: 4}
output: {name: drill}
"""
_RECIPE = """\
title: Mini
arguments: {seed: a number}
stages:
  - area synthetic: {out: '{out}/city', regions: 30, seed: '{seed}'}
  - embed: {area: '{out}/city', model: colour}
expects:
  - {run: '{out}/run', metric: r2, value: 0.5, source: nobody}
"""


@dataclass(frozen=True)
class Door:
    """A file of a folder, and what reads it."""

    name: str
    file: str
    read: Callable[[Path], Any]


def _check(folder: Path) -> None:
    if problems := check_area(Area.open(folder), open_images=False):
        raise AreaError("; ".join(problems))


def _stage(folder: Path) -> None:
    """A manifest that vouches for nothing lets the stage be done again."""
    run_stage("drill", manifest=folder / "manifest.json", config={}, inputs=[], work=lambda ledger: None)


def _feature(folder: Path) -> None:
    with offline():
        source = features_source(folder / "a.geojson")
        try:
            pyogrio.read_dataframe(source)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, RuntimeError) as error:
            raise ChorographError(str(error)) from error  # as the readers of own files do


def _settings(content: Any) -> None:
    """Configure each verb with what a recipe would hold for it."""
    if not isinstance(content, dict):
        raise ChorographError("settings are a table")
    for name, values in content.items():
        if not isinstance(values, dict):
            raise ChorographError("settings are a table")
        configure(get_verb(name).settings, values)


def _own_table(folder: Path) -> None:
    regions = Area.open(folder / "area").regions
    read_indicators(folder / "own.csv", IndicatorSettings(), Reading(), "region_id", regions, "own", Ledger())


def _own_tiles(folder: Path) -> None:
    asked = ImagerySettings(tiles_table=folder / "tiles.csv")
    list_tiles(folder / "tiles", asked, Reading(), "region_id", None, Ledger())


def _raster(folder: Path) -> None:
    with open_raster(folder / "tiles/0.tif") as raster:
        raster.read()


def _sentences(folder: Path) -> None:
    for sample in read_samples(folder / "large"):
        region_mask((64, 64), sample.regions)


#: The formats of images that are mutated.
_KINDS = ("jpg", "png", "tif", "webp", "gif", "bmp", "jp2")
_DOORS = (
    Door("area", "area/area.toml", lambda f: Area.open(f / "area")),
    *(Door(name, f"area/{name}.parquet", lambda f, n=name: Area.open(f / "area").read(n)) for name in _TABLES),  # type: ignore[misc]
    Door("check images", "area/images.parquet", lambda f: _check(f / "area")),
    Door("check entities", "area/entities.parquet", lambda f: _check(f / "area")),
    Door("split", "area/splits/s.parquet", lambda f: Area.open(f / "area").split("s")),
    Door("embeddings", "area/embeddings/e.parquet", lambda f: Embeddings.read(f / "area/embeddings/e.parquet")),
    Door("run manifest", "run/manifest.json", lambda f: (read_manifest(f / "run/manifest.json"), read_run(f / "run"))),
    Door("stage manifest", "manifest.json", _stage),
    Door("scores", "run/scores.json", lambda f: read_run(f / "run")),
    Door("predictions", "run/predictions.parquet", lambda f: read_run(f / "run")),
    Door("recipe", "recipe.yaml", lambda f: read_recipe(f / "recipe.yaml", {"seed": "1"}, f / "out")),
    Door("curate recipe", "curate.yaml", lambda f: read_plan(f / "curate.yaml")),
    Door("checkpoint", "model/config.json", lambda f: load_checkpoint(f / "model")),
    Door("tokenizer", "model/tokenizer.json", lambda f: load_checkpoint(f / "model")),
    Door("weights", "model/model.safetensors", lambda f: load_checkpoint(f / "model")),
    Door("detector", "detector/detector.json", lambda f: read_detector(f / "detector")),
    Door("detector numbers", "detector/detector.npz", lambda f: read_detector(f / "detector")),
    Door("features", "a.geojson", _feature),
    Door("descriptions", f"area/{DESCRIPTIONS}", lambda f: read_descriptions(Area.open(f / "area"))),
    Door("contents", "area/indicators.parquet", lambda f: indicators_of(Area.open(f / "area"))),
    Door("sizes", "area/images.parquet", lambda f: Area.open(f / "area").sizes()),
    Door("all scores", "run/scores.json", lambda f: read_runs(f / "run")),
    Door(
        "report manifest",
        "run/manifest.json",
        lambda f: (report.inputs(report.Settings(run=f / "run")), area_of_run(f / "run")),
    ),
    Door("settings", "settings.json", lambda f: _settings(read_json(f / "settings.json"))),
    Door(
        "what an encoder learnt",
        "rcf.safetensors",
        lambda f: restore_part(RandomConvolutions(8), f / "rcf.safetensors"),
    ),
    Door("adapter", "adapter/adapter.json", lambda f: load_adapter(_tiny().model, f / "adapter")),
    Door("adapter weights", "adapter/adapter.safetensors", lambda f: load_adapter(_tiny().model, f / "adapter")),
    Door("aligned tower", "aligned/config.json", lambda f: load_aligned(f / "aligned")),
    Door("own table", "own.csv", _own_table),
    Door(
        "own regions", "own.geojson", lambda f: read_regions(f / "own.geojson", RegionSettings(), Reading(), Ledger())
    ),
    Door("own tiles", "tiles.csv", _own_tiles),
    Door("triples of text", "triples.tsv", lambda f: read_facts(f / "triples.tsv")),
    Door("caption table", "pairs/captions.csv", lambda f: read_captioned(f / "pairs/captions.csv", Ledger())),
    Door("captions to judge", "captions.json", lambda f: read_captions(f / "captions.json")),
    Door("prompt", "prompt.toml", lambda f: read_prompt(str(f / "prompt.toml"))),
    Door("concepts", "concepts.txt", lambda f: read_concepts(f / "concepts.txt")),
    Door(
        "points of a graph", "points.csv", lambda f: read_columns(f / "points.csv", ("poi", "category"), ("lon", "lat"))
    ),
    Door("pictures that were drawn", "drawn/pictures.json", lambda f: read_drawn(f / "drawn")),
    Door("sentences of large images", "large/annotations/anno.json", _sentences),
    Door("filed predictions", "area/predictions/p.parquet", lambda f: read_predictions(Area.open(f / "area"), "p")),
    Door("shard", "s.tar", lambda f: open_pairs([f / "s.tar"], lambda *reason: None)),
    *(Door(f"image {kind}", f"tiles/0.{kind}", lambda f, k=kind: read_rgb(f / f"tiles/0.{k}")) for kind in _KINDS),  # type: ignore[misc]
    Door("raster", "tiles/0.tif", _raster),
)


@cache
def _good() -> Path:
    """Return a folder of good files, made once."""
    folder = Path(mkdtemp(prefix="chorograph-poison-"))
    city = {"out": folder / "area", "regions": 24, "tiles_per_region": 1, "street_views_per_region": 0}
    _run("area synthetic", city)
    area = Area.open(folder / "area")
    ids = area.images["image_id"].to_numpy(object)
    vectors = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    Embeddings("e", "f", ids, area.images["sha256"].to_numpy(object), vectors).write(area.embeddings_path("e"))
    frame = area.regions[["region_id"]].assign(role="train", fold=0)
    area.write_split("s", frame)
    indicator = str(area.indicators["indicator"].iloc[0])
    asked = {
        "area": folder / "area",
        "embeddings": "e",
        "indicator": indicator,
        "probe": "ridge",
        "folds": 3,
        "block_m": 1000,
    }
    _run("predict", {**asked, "out": folder / "run", "save": "p"})
    _stage(folder)
    (folder / "recipe.yaml").write_text(_RECIPE)
    (folder / "curate.yaml").write_text(_CURATE)
    _model(folder / "model")
    numbers = np.ones(4)
    write_detector(folder / "detector", Detector("colour", "f", numbers, numbers, numbers, 0.5), {})
    feature = {"type": "Feature", "properties": {"a": 1}, "geometry": {"type": "Point", "coordinates": [1.0, 2.0]}}
    write_json(folder / "a.geojson", {"type": "FeatureCollection", "features": [feature, feature]})
    _more(folder, area)
    return folder


def _more(folder: Path, area: Area) -> None:
    """Add what the doors beside those of areas and runs read."""
    (folder / "area" / DESCRIPTIONS).write_text(
        f'["{area.indicators["indicator"].iloc[0]}"]\ntitle = "a"\nscale = "log"\n'
    )
    write_json(folder / "settings.json", _SETTINGS)
    encoder = RandomConvolutions(8)
    patches = [np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8) for seed in range(3)]
    encoder.fit(patches, seed=0)
    save_file(dict(encoder.state()), folder / "rcf.safetensors")
    tiny, adapter = _tiny(), Adapter("lora", ("image",), 2)
    add_adapter(tiny.model, adapter)
    save_adapter(folder / "adapter", tiny.model, adapter, base="tiny")
    (folder / "aligned").mkdir()
    tower = VectorTower(4, 8)
    save_file(
        {name: tensor.numpy() for name, tensor in tower.state_dict().items()}, folder / "aligned/model.safetensors"
    )
    write_json(
        folder / "aligned/config.json", {"format": ALIGNED_FORMAT, "tower": "vectors:colour", "size": 64, "width": 8}
    )
    ids = area.regions["region_id"].tolist()
    (folder / "own.csv").write_text(
        "region_id,income,year\n" + "".join(f"{name},{10 + row},2020\n" for row, name in enumerate(ids))
    )
    corners = [[0, 0], [1, 0], [1, 1], [0, 0]]
    shape = {"type": "Polygon", "coordinates": [corners]}
    features = [{"type": "Feature", "properties": {"region_id": name}, "geometry": shape} for name in ("a", "b")]
    write_json(folder / "own.geojson", {"type": "FeatureCollection", "features": features})
    (folder / "tiles").mkdir()
    for kind in _KINDS:
        Image.fromarray(patches[0]).save(folder / f"tiles/0.{kind}", format="JPEG2000" if kind == "jp2" else None)
    (folder / "tiles.csv").write_text("tile,lon,lat,captured\n0.jpg,1.5,2.5,2020-01-02\n0.png,1.6,2.5,2020-01-02\n")
    (folder / "prompt.toml").write_text('view = "satellite"\ntext = "what is seen of {region}?"\nmax_tokens = 9\n')
    (folder / "concepts.txt").write_text("a river\n# no word\nforest\n")
    (folder / "points.csv").write_text("poi,category,lon,lat\na,food,1.5,2.5\nb,shop,1.6,2.5\n")
    (folder / "drawn").mkdir()
    write_json(folder / "drawn/pictures.json", {"pictures": [{"file": "0.png", "prompt": "a road"}]})
    (folder / "large/annotations").mkdir(parents=True)
    (folder / "large/imgs").mkdir()
    Image.fromarray(patches[0]).save(folder / "large/imgs/a.png")
    said = {"caption": "a road", "jpg_name": "a.png", "points": [[[1, 1], [9, 1], [9, 9]]]}
    write_json(folder / "large/annotations/anno.json", [said, said])
    (folder / "triples.tsv").write_text("a\tnear\tb\nb\tnear\tc\n")
    (folder / "pairs").mkdir()
    for number in range(2):
        Image.fromarray(patches[number]).save(folder / f"pairs/{number}.jpg")
    (folder / "pairs/captions.csv").write_text('filename,title\n0.jpg,a road\n1.jpg,a "green" field\n')
    write_json(folder / "captions.json", [{"image": "0.jpg", "captions": ["a road", "a field"]}])
    data = (folder / "tiles/0.jpg").read_bytes()
    with tarfile.open(folder / "s.tar", "w") as shard:
        for name, content in (("0.jpg", data), ("0.txt", b"a road"), ("1.jpg", data), ("1.json", b'{"caption": "a"}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def _run(name: str, values: dict[str, Any]) -> None:
    verb = get_verb(name)
    verb(configure(verb.settings, values), silent)


def _model(folder: Path) -> None:
    save_checkpoint(folder, _tiny(), facts={"seed": 0}, card="", history=[])


def _tiny() -> ImageTextModel:
    tokenizer = WordTokenizer(("a", "b"), 16)
    text = {"context_length": 16, "vocab_size": tokenizer.vocab_size, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    preprocessing = Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return ImageTextModel("tiny", config, build(config, 0), preprocessing, tokenizer)


@contextmanager
def _in_time() -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"a door did not answer in {_HANGS_S} s")

    before = signal.signal(signal.SIGALRM, late)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MORE_BYTES, limits[1]))
    faulthandler.dump_traceback_later(2 * _HANGS_S, exit=True)  # a hang inside of a library hears no alarm
    signal.alarm(_HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


def _knock(door: Door, folder: Path) -> str:
    """Read through a door; returns what it says, empty where it takes the file."""
    with _in_time():
        try:
            door.read(folder)
        except ChorographError as error:
            assert str(error).strip()
            return str(error)
    return ""


@st.composite
def _poisons(draw: st.DrawFn, file: str) -> Callable[[Path], bool]:
    """Draw something that puts a mutated file in place; it returns false where that is not possible."""
    good = _good() / file
    if draw(st.integers(0, 3)) == 0:
        data = draw(damaged(good.read_bytes()))
        return lambda path: bool(path.write_bytes(data)) or True
    match good.suffix:
        case ".json" | ".geojson":
            content = draw(contents(json.loads(good.read_text())))
            return lambda path: write_json(path, content) is None
        case ".toml":
            said = draw(contents(tomllib.loads(good.read_text())))
            return lambda path: _written(path, tomli_w.dumps, said)
        case ".yaml":
            plan = draw(contents(yaml.safe_load(good.read_text())))
            return lambda path: _written(path, yaml.safe_dump, plan)
        case ".parquet":
            table = draw(tables(pq.read_table(good)))
            return lambda path: write_table(path, table)
    data = draw(damaged(good.read_bytes()))
    return lambda path: bool(path.write_bytes(data)) or True


def _written(path: Path, dumps: Callable[[Any], str], content: Any) -> bool:
    try:
        path.write_text(dumps(content), encoding="utf-8")
    except (TypeError, ValueError, AttributeError, RecursionError, yaml.YAMLError):
        return False
    return True


@contextmanager
def _restored(path: Path) -> Iterator[None]:
    """Let a file of the good folder be changed, and put it back."""
    kept = path.with_name(f"{path.name}.kept")
    shutil.copy2(path, kept)
    try:
        yield
    finally:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        kept.rename(path)


#: Mutated inputs that each door was given so far, no two of them the same.
_TRIED: Counter[str] = Counter()


@pytest.mark.parametrize("door", _DOORS, ids=lambda door: door.name)
def test_mutated_files_are_refused_by_name(door: Door) -> None:
    path = _good() / door.file
    assert _knock(door, _good()) == ""
    asked, seen = max(12, -(-_ALL // len(_DOORS))), {path.read_bytes()}

    def poison(write: Callable[[Path], bool]) -> None:
        with _restored(path):
            if len(seen) <= asked and write(path) and (content := path.read_bytes()) not in seen:
                seen.add(content)
                _knock(door, _good())

    for number in range(8):  # what hypothesis draws again is no new input: it is asked for more, from another seed
        if len(seen) <= asked:
            drawn = seed(number)(given(_poisons(door.file))(poison))
            settings(max_examples=asked, deadline=None, database=None, suppress_health_check=list(HealthCheck))(drawn)()
    _TRIED[door.name] = len(seen) - 1
    print(f"{door.name}: {_TRIED[door.name]} mutated inputs")
    assert _TRIED[door.name] >= asked


def test_so_many_inputs_were_mutated() -> None:
    """As many as were asked for, where every door was tried in this process."""
    print(f"{sum(_TRIED.values())} different mutated inputs at {len(_TRIED)} doors, no uncaught exception")
    assert len(_TRIED) < len(_DOORS) or sum(_TRIED.values()) >= _ALL


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", _DOORS, ids=lambda door: door.name)
def test_what_is_no_file_is_named(door: Door, kind: str) -> None:
    path = _good() / door.file
    with _restored(path):
        put(kind, path)
        said = _knock(door, _good())
    assert said or door.name == "stage manifest"


def test_a_hub_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tower or a tokenizer of a hub in a checkpoint's configuration is an error that names the file."""
    path = _good() / "model/config.json"
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", lambda *a, **k: asked.append("hub"))
    config = json.loads(path.read_text())
    tower = {
        **config,
        "model": {**config["model"], "text_cfg": {**config["model"]["text_cfg"], "hf_model_name": "roberta-base"}},
    }
    for changed in (
        tower,
        {**config, "tokenizer": "open_clip:hf-hub:some/model"},
        {**config, "tokenizer": "xlm-roberta-base-ViT-B-32"},
    ):
        with _restored(path):
            write_json(path, changed)
            with pytest.raises(ChorographError, match=r"config\.json.* hub"):
                load_checkpoint(_good() / "model")
    assert asked == []


def test_a_model_that_a_file_names_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter says which model it stands on: that is loaded where it is, and never fetched."""
    asked: list[str] = []

    def never(*args: Any, local_files_only: bool = False, **rest: Any) -> str:
        asked.extend([] if local_files_only else ["hub"])
        raise FileNotFoundError("not on this machine")

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", never)
    monkeypatch.setattr("open_clip.download_pretrained", lambda *a, **k: asked.append("download"))
    model = "open_clip:ViT-B-32/laion2b_s34b_b79k"
    for folder, file, kind, key, named in (
        ("adapter", "adapter.json", "adapter", "base", model),
        ("aligned", "config.json", "knowcl", "tower", f"vectors:{model}"),
    ):
        path = _good() / folder / file
        with _restored(path):
            write_json(path, {**json.loads(path.read_text()), key: named})
            with pytest.raises(
                ChorographError, match=f"{file} names open_clip:ViT-B-32/laion2b_s34b_b79k.*not on this"
            ):
                load_encoder(f"{kind}:{_good() / folder}")
    assert asked == []


def test_a_model_larger_than_its_weights_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    path = _good() / "model/config.json"
    config = json.loads(path.read_text())
    config["model"]["text_cfg"]["width"] = 8192
    config["model"]["text_cfg"]["layers"] = 400
    monkeypatch.setattr(torch, "empty", lambda *a, **k: pytest.fail("it is being built"))
    with _restored(path):
        write_json(path, config)
        with pytest.raises(ChorographError, match="describes a model of more than"):
            load_checkpoint(_good() / "model")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x]\nsteps: [*a]\n", "line 2.*aliases|aliases.*line 2"),
        ("steps: []\nsteps: []\n", "'steps' appears twice"),
        ("steps: [" * 200, "cannot be read as a recipe|nested"),
        ("steps: !!python/object/apply:os.system [echo]\n", "cannot be read as a recipe"),
    ],
)
def test_yaml_is_plain(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ChorographError, match=rf"(?s)r\.yaml.*({says})"):
        read_plan(tmp_path / "r.yaml")
