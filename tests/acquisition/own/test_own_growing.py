"""An area that grows step by step: what is added, what is left, and what it never costs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from own_made import IDS, LAT, LON, picture, write_tiles
from shapely.geometry import Point, box

from chorograph.acquisition.own.grids import cells_within
from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.area.check import check_area
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.settings import configure, plain
from chorograph.ground.stage import Outcome, silent
from chorograph.verbs.table import get_verb

Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, files: OwnFiles) -> Run:
    """Return a function that runs `area VERB` on the area of the test."""

    def call(verb: str, **asked: Any) -> Outcome:
        chosen = get_verb(f"area {verb}")
        place = {"out" if verb == "new" else "area": tmp_path / "area"}
        return chosen(configure(chosen.settings, {**place, **asked}), silent)

    return call


@pytest.fixture
def area(run: Run, files: OwnFiles) -> Path:
    """Return an area of regions alone."""
    run("new", regions=files.regions, region_id="geoid")
    return files.regions.parent / "area"


def _embed(area: Path) -> Path:
    """File vectors of the area's images as `embed` would."""
    images = Area.open(area).images
    vectors = np.arange(2 * len(images), dtype=np.float32).reshape(-1, 2)
    ids, hashes = images["image_id"].to_numpy(object), images["sha256"].to_numpy(object)
    return Embeddings("colour", "f", ids, hashes, vectors).write(area / "embeddings" / "colour.parquet")


def test_an_area_grows_to_what_build_makes_at_once(
    run: Run, area: Path, files: OwnFiles, build: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "facts.tsv").write_text(f"tract:{IDS[0]}\tborderBy\ttract:{IDS[1]}\n")
    (tmp_path / "poi.csv").write_text(f"geoid,shop\n{IDS[0]},3\n")
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    run("add indicators", from_=files.indicators[0], region_id="geoid")
    run("add places", from_=tmp_path / "poi.csv", region_id="geoid")
    run("add graph", from_=tmp_path / "facts.tsv")
    assert check_area(Area.open(area)) == []
    area.rename(tmp_path / "grown")
    whole, _ = build(poi=tmp_path / "poi.csv", triples=tmp_path / "facts.tsv")
    grown = Area.open(tmp_path / "grown")
    for table in ("regions", "images", "indicators", "poi_counts", "triples", "entities"):
        pd.testing.assert_frame_equal(pd.DataFrame(grown.read(table)), pd.DataFrame(whole.read(table)))
    for uri in whole.images["uri"]:
        assert grown.read_encoded(uri) == whole.read_encoded(uri)


def test_a_step_done_is_not_done_again(run: Run, area: Path, files: OwnFiles) -> None:
    asked = {"from_": files.tiles, "tiles_table": files.tiles_table}
    assert run("add imagery", **asked).manifest["counts"]["images added"] == 4
    assert run("add imagery", **asked).skipped
    before = (area / "images.parquet").read_bytes()
    (area / "images.parquet").unlink()
    assert run("add imagery", **asked).manifest["counts"]["images added"] == 4
    assert (area / "images.parquet").read_bytes() == before


def test_mending_one_cell_costs_nothing_else(run: Run, area: Path, files: OwnFiles) -> None:
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    run("add indicators", from_=files.indicators[0], region_id="geoid")
    vectors = _embed(area)
    kept = {path: path.read_bytes() for path in (vectors, area / "images.parquet", area / "regions.parquet")}
    text = files.indicators[0].read_text()
    files.indicators[0].write_text(text.replace(",101", ",999"))
    with pytest.raises(InputError, match=rf"holds {IDS[1]} income_usd .*\(1 such rows\); give --replace"):
        run("add indicators", from_=files.indicators[0], region_id="geoid")
    counts = run("add indicators", from_=files.indicators[0], region_id="geoid", replace=True).manifest["counts"]
    assert (counts["indicators replaced"], counts["indicators there already"]) == (1, 3)
    assert Area.open(area).indicators["value"].tolist() == [100, 999, 102, 103]
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_picture_that_changed_takes_the_place_of_the_old(run: Run, area: Path, files: OwnFiles) -> None:
    asked = {"from_": files.tiles, "tiles_table": files.tiles_table}
    run("add imagery", **asked)
    before = Area.open(area).images
    (files.tiles / "t2.jpg").write_bytes(picture(77))
    with pytest.raises(InputError, match="holds t2 already, with other values"):
        run("add imagery", **asked)
    run("add imagery", **asked, replace=True)
    after = Area.open(area).images
    assert (after["sha256"] == before["sha256"]).tolist() == [True, True, False, True]
    assert check_area(Area.open(area)) == []
    assert len(list((area / "images").iterdir())) == 4  # the old one is gone


def test_sources_and_licences_are_told_once(run: Run, area: Path, files: OwnFiles) -> None:
    said = {"source": "Census 2015", "licence": "public domain"}
    run("add indicators", from_=files.indicators[0], region_id="geoid", **said)
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table, **said)
    sources = [(source.name, source.licence) for source in Area.open(area).sources]
    assert sources == [("own files", "unstated"), ("Census 2015", "public domain")]


def test_indicators_need_regions(run: Run, tmp_path: Path, files: OwnFiles) -> None:
    run("new")
    with pytest.raises(InputError, match="has no regions"):
        run("add indicators", from_=files.indicators[0])


def _pairs(folder: Path, form: str) -> Path:
    """Write three pictures and four captions in one of the forms that people have."""
    write_tiles(folder / "in")
    (folder / "in" / "t3.jpg").unlink()
    said = {"t0": ["a park", "trees"], "t1": ["a road"], "t2": ['a "big", roof']}
    if form == "beside":
        for name, lines in said.items():
            (folder / "in" / f"{name}.txt").write_text("\n".join(lines) + "\n\n")
    elif form == "classes":
        for name, lines in said.items():
            (folder / name).mkdir()
            (folder / "in" / f"{name}.jpg").rename(folder / name / f"{name}.jpg")
            (folder / name / f"{name}.txt").write_text("\n".join(lines))
    elif form == "jsonl":
        records = [{"file_name": f"in/{n}.jpg", "text": line} for n, lines in said.items() for line in lines]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    elif form == "jsonl-lists":
        records = [{"file_name": f"in/{n}.jpg", "captions": lines} for n, lines in said.items()]
        (folder / "metadata.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    else:
        rows = [{"filepath": f"in/{n}.jpg", "title": line} for n, lines in said.items() for line in lines]
        pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False, sep="\t" if form == "tabs" else ",")
    return folder


@pytest.mark.parametrize("form", ["beside", "classes", "jsonl", "jsonl-lists", "csv", "tabs"])
def test_pairs_of_any_form_make_a_corpus(run: Run, tmp_path: Path, form: str) -> None:
    (tmp_path / "pairs").mkdir()
    run("new")
    run("add captions", from_=_pairs(tmp_path / "pairs", form))
    corpus = Area.open(tmp_path / "area")
    assert check_area(corpus) == []
    assert len(corpus.images) == 3
    assert corpus.captions["caption"].tolist() == ["a park", "trees", "a road", 'a "big", roof']
    assert corpus.captions["rank"].tolist() == [0, 1, 0, 0]
    assert run("add captions", from_=tmp_path / "pairs").skipped


def test_captions_find_the_images_of_an_area(run: Run, area: Path, files: OwnFiles, tmp_path: Path) -> None:
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    (tmp_path / "said.csv").write_text("filename,caption\nelsewhere/t1.jpg,a road\nt2,a roof\n")
    run("add captions", from_=tmp_path / "said.csv", origin="model:x")
    assert Area.open(area).captions["image_id"].tolist() == ["t1", "t2"]
    (tmp_path / "said.csv").write_text("filename,caption\nt1,a road\nt9,a roof\n")
    with pytest.raises(InputError, match=r"said\.csv, line 3: no image is called 't9' \(1 such captions\)"):
        run("add captions", from_=tmp_path / "said.csv")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.jsonl", '{"file_name": "a"}\n', r"m\.jsonl: line 1 needs a file"),
        ("m.jsonl", '{"file_name": "a", "text": "b"}\n{', "line 2 is not JSON"),
        ("m.jsonl", "[1]\n", "line 1 is not an object"),
        ("m.csv", "filepath,title\na.jpg,\n", "title is empty in line 2"),
        ("m.csv", "filepath,x\na.jpg,1\n", "named 'caption'"),
        ("m.csv", 'filepath,title\na.jpg,"open\n', "line 2: a quotation mark opens here"),
    ],
)
def test_captions_that_are_none(run: Run, tmp_path: Path, name: str, text: str, message: str) -> None:
    run("new")
    (tmp_path / name).write_text(text)
    with pytest.raises(ChorographError, match=message):
        run("add captions", from_=tmp_path / name)


def test_a_folder_without_captions(run: Run, tmp_path: Path, files: OwnFiles) -> None:
    run("new")
    with pytest.raises(InputError, match=r"holds no captions: neither .* \(4 pictures\)"):
        run("add captions", from_=files.tiles)


def test_street_views_go_to_the_nearest_region_and_no_more_than_asked(run: Run, area: Path, tmp_path: Path) -> None:
    views = tmp_path / "views"
    views.mkdir()
    lon = [10.2, 10.4, 10.6, 10.8, 9.999, 9.5]
    for k in range(6):
        (views / f"v{k}.jpg").write_bytes(picture(50 + k))
    (tmp_path / "v.csv").write_text("\n".join(["file,lon,lat", *(f"v{k},{x},{LAT}" for k, x in enumerate(lon))]) + "\n")
    done = run("add streetviews", from_=views, tiles_table=tmp_path / "v.csv", within_m=200, most=3)
    images = Area.open(area).images
    assert set(images["view"]) == {"street"}
    assert images["region_id"].isna().tolist().count(True) == 1  # 42 km from any region
    assert images["region_id"].value_counts()[IDS[0]] == 3
    assert done.manifest["counts"]["street views of the nearest region"] == 1
    assert done.manifest["dropped"] == {"street view beyond the most of a region": 2}


def test_street_views_by_region_and_those_that_all_miss(run: Run, area: Path, tmp_path: Path) -> None:
    views = tmp_path / "views"
    views.mkdir()
    for k in range(4):
        (views / f"v{k}.jpg").write_bytes(picture(60 + k))
    table = tmp_path / "v.csv"
    table.write_text("\n".join(["file,lon,lat", *(f"v{k},{LAT},{LON[k]}" for k in range(4))]) + "\n")
    with pytest.raises(
        InputError, match="4 of 4 street views lie in no region; longitude and latitude seem to be swap"
    ):
        run("add streetviews", from_=views, tiles_table=table)
    table.write_text("\n".join(["file,geoid", *(f"v{k},{name}" for k, name in enumerate(IDS))]) + "\n")
    run("add streetviews", from_=views, tiles_table=table, region_id="geoid")
    assert Area.open(area).images["region_id"].tolist() == IDS


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[1.0, 2.0], None], r"embedding is no list of 2 numbers, as the first is, in row 2: None"),
        ([[1.0, 2.0], [1.0]], r"embedding is no list of 2 numbers.* in row 2"),
        ([["a"], ["b"]], r"embedding is no list of numbers, in row 1"),
        ([[1.0, None], [1.0, 2.0]], r"the vector of 't0' is not finite"),
        ([[1.0, 2.0], [-9999.0, 2.0]], r"the vector of 't1' holds -9999, a code for missing \(row 2\)"),
    ],
)
def test_what_is_no_vector_is_named(run: Run, files: OwnFiles, tmp_path: Path, cells: list[Any], message: str) -> None:
    run("new")
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    path = tmp_path / "v.parquet"
    pd.DataFrame({"image_id": ["t0", "t1"], "embedding": cells}).to_parquet(path)
    with pytest.raises(InputError, match=message):
        run("add embeddings", from_=path, name="v")


def test_vectors_of_files_and_lists_as_text(run: Run, area: Path, files: OwnFiles, tmp_path: Path) -> None:
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    (tmp_path / "v.csv").write_text('filename,embedding\nt0.jpg,"[1.0, 2.5]"\nT1.PNG,"[3, 4]"\n')
    name = "x" * 300  # longer than a file's name can be
    run("add embeddings", from_=tmp_path / "v.csv", name=name)
    held = Embeddings.read(Area.open(area).embeddings_path(name))
    assert held.image_ids.tolist() == ["t0", "t1"]
    assert held.vectors.tolist() == [[1, 2.5], [3, 4]]


def test_several_captions_of_a_cell_and_signs_within(run: Run, area: Path, files: OwnFiles, tmp_path: Path) -> None:
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    pd.DataFrame({"image": ["t0.jpg"], "caption": [["one", "two"]]}).to_parquet(tmp_path / "c.parquet")
    run("add captions", from_=tmp_path / "c.parquet")
    (tmp_path / "c.jsonl").write_text('{"image": "t1", "text": "a\u2028b"}\n')
    run("add captions", from_=tmp_path / "c.jsonl")
    assert Area.open(area).captions["caption"].tolist() == ["one", "two", "a\u2028b"]


def test_vectors_made_elsewhere(run: Run, area: Path, files: OwnFiles, tmp_path: Path) -> None:
    frame = pd.DataFrame({"geoid": [name.lstrip("0") for name in IDS], "A00": range(4), "A01": 1.5})
    frame.to_csv(tmp_path / "v.csv", index=False)
    run("add embeddings", from_=tmp_path / "v.csv", name="alpha", region_id="geoid")
    held = GraphEmbeddings.read(Area.open(area).embeddings_path("alpha"))
    assert held.region_ids.tolist() == IDS
    assert held.vectors.tolist() == [[k, 1.5] for k in range(4)]
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    lists = pd.DataFrame({"image_id": ["t0", "t9"], "embedding": [[1.0, 2.0], [3.0, 4.0]]})
    lists.to_parquet(tmp_path / "v.parquet")
    done = run("add embeddings", from_=tmp_path / "v.parquet", name="mine")
    images = Embeddings.read(Area.open(area).embeddings_path("mine"))
    assert images.image_ids.tolist() == ["t0"]
    assert done.manifest["dropped"] == {"vector of an image that is not there": 1}
    next((area / "added").glob("embeddings-v.csv*")).unlink()  # as if it had been killed before its manifest
    assert run("add embeddings", from_=tmp_path / "v.csv", name="alpha", region_id="geoid").manifest["counts"]
    frame.assign(A01=2.5).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(InputError, match="holds vectors called 'alpha' already; give --replace"):
        run("add embeddings", from_=tmp_path / "v.csv", name="alpha", region_id="geoid")
    frame.assign(A00=np.nan).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(InputError, match=r"v\.csv: the vector of .* is not finite \(line 2"):
        run("add embeddings", from_=tmp_path / "v.csv", name="other", region_id="geoid")


BOUNDARY = gpd.GeoDataFrame(geometry=[box(10, 40, 10.1, 40.1)], crs=4326)


@pytest.mark.parametrize("grid", ["square:500", "square:2000", "tiles:15", "h3:8"])
def test_cells_fill_a_boundary(grid: str) -> None:
    if grid.startswith("h3"):
        pytest.importorskip("h3")
    cells = cells_within(BOUNDARY, grid)
    assert cells["region_id"].is_unique
    assert BOUNDARY.geometry.iloc[0].covers(shapely.MultiPoint(shapely.centroid(cells.geometry.to_numpy())))
    covered = shapely.union_all(cells.geometry.to_numpy()).intersection(BOUNDARY.geometry.iloc[0]).area / 0.01
    assert 0.8 < covered <= 1
    flat = cells.geometry.to_crs(3035)
    if grid.startswith("square"):
        assert flat.area.to_numpy() == pytest.approx(float(grid[7:]) ** 2, rel=1e-3)
        pairs = shapely.intersection(cells.geometry.to_numpy()[:-1], cells.geometry.to_numpy()[1:])
        assert shapely.area(pairs).max() < 1e-9


def test_tile_cells_are_those_of_morecantile() -> None:
    morecantile = pytest.importorskip("morecantile")
    cells = cells_within(BOUNDARY, "tiles:13")
    scheme = morecantile.tms.get("WebMercatorQuad")
    for name, shape in zip(cells["region_id"], cells.geometry, strict=True):
        zoom, x, y = map(int, name.split("/"))
        assert shape.bounds == pytest.approx(tuple(scheme.bounds(morecantile.Tile(x, y, zoom))), abs=1e-9)


def test_a_small_boundary_gets_the_cell_it_touches() -> None:
    small = gpd.GeoDataFrame(geometry=[Point(10, 40).buffer(1e-4)], crs=4326)
    assert 1 <= len(cells_within(small, "square:5000")) <= 4


@pytest.mark.parametrize("grid", ["square", "square:0", "circle:5", "tiles:1.5", "tiles:99", "h3:16", "square:1"])
def test_grids_that_are_none(grid: str) -> None:
    with pytest.raises(InputError):
        cells_within(BOUNDARY, grid)


def test_an_area_from_a_boundary(run: Run, tmp_path: Path) -> None:
    BOUNDARY.to_crs(3857).to_file(tmp_path / "city.gpkg")
    counts = run("new", boundary=tmp_path / "city.gpkg", grid="square:1000").manifest["counts"]
    area = Area.open(tmp_path / "area")
    assert counts["regions"] == len(area.regions) > 50
    assert check_area(area) == []


@pytest.mark.parametrize("asked", [{"grid": "square:500"}, {"boundary": "b"}, {"regions": "r", "grid": "square:5"}])
def test_half_a_boundary_is_refused(run: Run, asked: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"--boundary|not of both"):
        run("new", **asked)


def test_info_says_what_is_there_and_what_is_missing(run: Run, area: Path, files: OwnFiles) -> None:
    run("add imagery", from_=files.tiles, tiles_table=files.tiles_table)
    facts = run("info").manifest["facts"]
    assert facts["lacks"]["indicators"] == "chorograph area add indicators"
    assert "images" not in facts["lacks"]
    assert facts["lacks"]["embeddings"] == "chorograph embed"
    assert LON[0] == 10.5


def _build(files: OwnFiles, out: Path) -> Outcome:
    verb = get_verb("area build")
    asked = {name: value for name, value in plain(files).items() if value is not None}
    return verb(configure(verb.settings, {**asked, "out": out}), silent)


def test_building_anew_after_mending_a_cell_keeps_the_embeddings(files: OwnFiles, tmp_path: Path) -> None:
    out = tmp_path / "area"
    _build(files, out)
    vectors = _embed(out)
    kept = {path: path.read_bytes() for path in (vectors, out / "images.parquet")}
    (out / "indicators.toml").write_text("")
    assert _build(files, out).skipped
    files.indicators[0].write_text(files.indicators[0].read_text().replace(",101", ",999"))
    (files.tiles / "t3.jpg").write_bytes(picture(88))
    assert not _build(files, out).skipped
    area = Area.open(out)
    assert area.name == "area"
    assert area.indicators["value"].tolist() == [100, 999, 102, 103]
    assert check_area(area) == []
    assert vectors.read_bytes() == kept[vectors]
    assert (out / "indicators.toml").exists()
    held = dict(zip(Embeddings.read(vectors).image_ids, Embeddings.read(vectors).sha256, strict=True))
    same = [held[row.image_id] == row.sha256 for row in area.images.itertuples()]
    assert same == [True, True, True, False]  # one picture to encode again
    assert len(list((out / "images").iterdir())) == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_building_anew_keeps_links_and_what_is_not_ours(
    files: OwnFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The area takes the place of the old one whole; what the build did not make is linked over, or copied."""
    out, disk = tmp_path / "area", tmp_path / "large-disk"
    _build(files, out)
    disk.mkdir()
    (out / "embeddings").symlink_to(Path("..") / "large-disk")
    vectors = _embed(out)
    (out / "notes" / "deep").mkdir(parents=True)
    (out / "notes" / "deep" / "mine.txt").write_text("mine")
    files.indicators[0].write_text(files.indicators[0].read_text().replace(",101", ",999"))

    def no_links(*given: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    assert not _build(files, out).skipped
    assert (out / "embeddings").is_symlink()
    assert (disk / vectors.name).is_file()
    assert Embeddings.read(vectors).vectors.shape[0] == 4
    assert (out / "notes" / "deep" / "mine.txt").read_text() == "mine"
    files.indicators[0].write_text(files.indicators[0].read_text().replace(",999", ",998"))
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out / "notes")
    with pytest.raises(InputError, match="notes is a disk of its own"):
        _build(files, out)
    assert 999 in Area.open(out).indicators["value"].tolist()


def test_a_mistake_when_building_anew_changes_nothing(files: OwnFiles, tmp_path: Path) -> None:
    out = tmp_path / "area"
    _build(files, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    files.indicators[0].write_text("geoid,income_usd\nnobody,1\n")
    with pytest.raises(InputError, match="no polygon has geoid 'nobody'"):
        _build(files, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_area_that_has_grown_is_not_built_anew(run: Run, files: OwnFiles, tmp_path: Path) -> None:
    _build(files, tmp_path / "area")
    (tmp_path / "more.csv").write_text(f"geoid,age\n{IDS[0]},30\n")
    run("add indicators", from_=tmp_path / "more.csv", region_id="geoid")
    assert _build(files, tmp_path / "area").skipped
    files.indicators[0].write_text(files.indicators[0].read_text().replace(",101", ",999"))
    with pytest.raises(InputError, match=r"has grown since it was built \(indicators-more\.csv\)"):
        _build(files, tmp_path / "area")
