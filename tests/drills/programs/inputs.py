"""The small inputs that drills run on: made once, by the command under test, in `work/base`."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from common import Box, copy_tree
from PIL import Image


def must(box: Box, args: list[str], cwd: Path, timeout_s: float = 900) -> None:
    """Run a command that has to succeed."""
    ended = box.run(args, cwd, timeout_s=timeout_s)
    if ended.code:
        raise SystemExit(f"making inputs: {' '.join(map(str, args))} failed ({ended.code}): {ended.err[-2000:]}")


def king_county(data: Path, to: Path, tracts: int = 40, tiles: int = 1) -> Path:
    """Write a subset of King County's files: labelled tracts spread over the county, a few tiles each."""
    if (to / "done").exists():
        return to
    shutil.rmtree(to, ignore_errors=True)
    (to / "tiles").mkdir(parents=True)
    source = data / "king-county"
    rows = list(csv.DictReader((source / "tiles.csv").open()))
    by_tract: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_tract[row["geoid"]].append(row)
    labelled = [row["geoid"] for row in csv.DictReader((source / "indicators.csv").open()) if row["geoid"] in by_tract]
    kept = sorted(np.random.default_rng(0).permutation(sorted(labelled))[:tracts].tolist())
    unlabelled = sorted(set(by_tract) - set(labelled))[:4]
    names = {*kept, *unlabelled}
    with (to / "tiles.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for tract in sorted(names):
            for row in by_tract[tract][:tiles]:
                writer.writerow(row)
                name = row["tile"] if row["tile"].endswith(".jpg") else row["tile"] + ".jpg"
                shutil.copy2(source / "tiles" / name, to / "tiles" / name)
    for name in ("indicators.csv", "poi_counts.csv"):
        frame = pd.read_csv(source / name, dtype=str)
        frame[frame["geoid"].isin(names)].to_csv(to / name, index=False)
    regions = json.loads((source / "tracts.geojson").read_text())
    regions["features"] = [f for f in regions["features"] if str(f["properties"]["geoid"]) in names]
    (to / "tracts.geojson").write_text(json.dumps(regions))
    with (to / "triples.tsv").open("w") as file:
        for line in (source / "triples.tsv").open():
            head, _, tail = line.rstrip("\n").split("\t")
            regional = [entity for entity in (head, tail) if entity.rpartition(":")[2] in by_tract]
            if all(entity.rpartition(":")[2] in names for entity in regional):
                file.write(line)
    (to / "done").touch()
    return to


def kc_build(kc: Path, out: str) -> list[str]:
    """Return the arguments of `area build` on the subset."""
    return [
        "area", "build", "--tiles", str(kc / "tiles"), "--tiles-table", str(kc / "tiles.csv"),
        "--regions", str(kc / "tracts.geojson"), "--region-id", "geoid", "--indicators", str(kc / "indicators.csv"),
        "--triples", str(kc / "triples.tsv"), "--poi", str(kc / "poi_counts.csv"), "--out", out,
    ]  # fmt: skip


def city(box: Box, base: Path) -> Path:
    """Return a small synthetic city with vectors, graph vectors: everything that later stages read."""
    to = base / "city"
    if not (base / "city.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, ["area", "synthetic", str(to), "--regions", "40", "--tiles-per-region", "1",
                   "--street-views-per-region", "1"], base)  # fmt: skip
        must(box, ["embed", str(to), "--model", "colour"], base)
        (base / "city.done").touch()
    return to


def kc_area(box: Box, data: Path, base: Path) -> Path:
    """Return an area of King County's subset, with vectors of its tiles and of its graph."""
    to = base / "kc-area"
    if not (base / "kc-area.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, kc_build(king_county(data, base / "kc", tracts=40, tiles=1), str(to)), base)
        must(box, ["embed", str(to), "--model", "colour"], base)
        must(box, ["graph", "embed", str(to), "--epochs", "1", "--dim", "8", "--name", "small"], base)
        (base / "kc-area.done").touch()
    return to


def begun(box: Box, data: Path, base: Path) -> Path:
    """Return an area of King County's subset that holds its regions alone."""
    to = base / "begun"
    if not (base / "begun.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        tracts = king_county(data, base / "kc") / "tracts.geojson"
        must(box, ["area", "new", str(to), "--regions", str(tracts), "--region-id", "geoid"], base)
        (base / "begun.done").touch()
    return to


def checkpoint(box: Box, base: Path) -> Path:
    """Return a small CoCa that was trained on the city."""
    to = base / "coca"
    if not (base / "coca.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, ["pretrain", str(city(box, base)), "--out", str(to), "--epochs", "1", "--device", "cpu"], base)
        (base / "coca.done").touch()
    return to


def corpus(box: Box, base: Path) -> Path:
    """Return the city's images and captions in shards."""
    to = base / "corpus"
    if not (base / "corpus.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, ["area", "pack", str(city(box, base)), "--out", str(to), "--shard-samples", "20"], base)
        (base / "corpus.done").touch()
    return to


def tiny(box: Box, base: Path, kind: str) -> Path:
    """Return a tiny pipeline, `blip2` or `diffusion`, as the tests build it from a configuration."""
    to = base / kind
    if not (base / f"{kind}.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        made = (
            "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import tiny_hf;"
            f"tiny_hf.{kind}(pathlib.Path(sys.argv[2]), ['a road', 'many houses'])"
        )
        _made(box, made, Path(__file__).resolve().parents[2], to)
        (base / f"{kind}.done").touch()
    return to


def open_clip_checkpoint(box: Box, base: Path) -> Path:
    """Return a checkpoint of a small open_clip architecture, which can be exported."""
    to = base / "vit"
    if not (base / "vit.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        made = (
            "import sys, pathlib; sys.path.insert(0, sys.argv[1]);"
            "from test_export import _loaded, _saved; _saved(_loaded('coca_ViT-B-32'), pathlib.Path(sys.argv[2]))"
        )
        _made(box, made, Path(__file__).resolve().parents[2] / "models", to)
        (base / "vit.done").touch()
    return to


def other_city(box: Box, base: Path) -> Path:
    """Return another synthetic city, with vectors of its images."""
    to = base / "other"
    if not (base / "other.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, ["area", "synthetic", str(to), "--regions", "40", "--tiles-per-region", "1", "--seed", "7"], base)
        must(box, ["embed", str(to), "--model", "colour"], base)
        (base / "other.done").touch()
    return to


def refined(box: Box, base: Path) -> Path:
    """Return the city with captions of which rules dropped some."""
    to = base / "refined"
    if not (base / "refined.done").exists():
        copy_tree(city(box, base), to)
        must(
            box,
            ["captions", "refine", str(to), "--rules", "length", "--rules", "sameness", "--rules", "place_name"],
            base,
        )
        (base / "refined.done").touch()
    return to


def rated(box: Box, base: Path) -> Path:
    """Return the city with ratings of two people in its database."""
    to = base / "rated"
    if not (base / "rated.done").exists():
        copy_tree(city(box, base), to)
        made = (
            "import sys, pathlib; from chorograph.area.folder import Area;"
            "from chorograph.serving.ratings.opening import url_of; from chorograph.serving.ratings.questions import NAMES;"
            "from chorograph.serving.ratings.store import Pair, RatingStore; folder = pathlib.Path(sys.argv[2]);"
            "rows = Area.open(folder).captions.head(20).itertuples(); store = RatingStore(url_of(folder));"
            "[store.save('city', who, Pair(row.image_id, row.caption_id), dict.fromkeys(NAMES, 1 + number % 5))"
            " for number, row in enumerate(rows) for who in ('ann', 'bob')]; store.close()"
        )
        _made(box, made, to, to)
        (base / "rated.done").touch()
    return to


def candidates(box: Box, base: Path) -> Path:
    """Return the city with four captions an image that a model wrote, of which one is to be chosen."""
    to = base / "candidates"
    if not (base / "candidates.done").exists():
        copy_tree(city(box, base), to)
        held = pd.read_parquet(to / "captions.parquet")
        said = ("houses beside a road", "a dense forest", "a river with a bridge", "open fields and trees")
        images = pd.read_parquet(to / "images.parquet")["image_id"].head(12)
        more = [
            {"caption_id": f"{image}-{rank}", "image_id": image, "rank": rank, "caption": text,
             "origin": "model:candidates", "score": None}
            for image in images
            for rank, text in enumerate(said)
        ]  # fmt: skip
        schema = pq.read_schema(to / "captions.parquet")
        table = pa.Table.from_pandas(pd.concat([held, pd.DataFrame(more)], ignore_index=True), schema=schema)
        pq.write_table(table, to / "captions.parquet")
        (base / "candidates.done").touch()
    return to


def pictures(box: Box, base: Path) -> Path:
    """Return pictures that a tiny diffusion model drew."""
    to = base / "pictures"
    if not (base / "pictures.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, ["generate", "a road", "--model", str(tiny(box, base, "diffusion")), "--out", str(to), "--number", "3",
                   "--steps", "2", "--device", "cpu"], base)  # fmt: skip
        (base / "pictures.done").touch()
    return to


def suite(data: Path, to: Path) -> Path:
    """Return a folder with two data sets of the suite: classes of images, and sentences about a large one."""
    if not (to / "done").exists():
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(classes(data, to.parent / "classes"), to / "eurosat-rgb")
        (to / "AIR-SLT" / "annotations").mkdir(parents=True)
        (to / "AIR-SLT" / "imgs").mkdir()
        shutil.copy2(scene(data, to.parent / "scene.png"), to / "AIR-SLT" / "imgs" / "scene.png")
        square = [[10, 10], [200, 10], [200, 200], [10, 200]]
        said = {"caption": "houses beside a road", "jpg_name": "scene.png", "points": [square]}
        (to / "AIR-SLT" / "annotations" / "anno.json").write_text(json.dumps([said]))
        (to / "done").touch()
    return to


def _made(box: Box, code: str, tests: Path, to: Path) -> None:
    """Run code with the Python beside the executable; it is given a folder of tests and what it is to make."""
    subprocess.run(
        [str(box.exe.parent / "python"), "-c", code, str(tests), str(to)], check=True, env=box.environment(),
        capture_output=True,
    )  # fmt: skip


def changed(data: Path, base: Path) -> Path:
    """Return King County's subset with other numbers, and another picture, than the area was built from."""
    to = base / "kc-changed"
    if not (to / "changed").exists():
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(king_county(data, base / "kc"), to)
        frame = pd.read_csv(to / "indicators.csv", dtype=str)
        column = next(
            name for name in frame if name != "geoid" and pd.to_numeric(frame[name], errors="coerce").notna().all()
        )
        frame.loc[0, column] = str(2 * float(frame.loc[0, column]) + 1)
        frame.to_csv(to / "indicators.csv", index=False)
        tile = sorted((to / "tiles").iterdir())[0]
        Image.open(tile).convert("RGB").transpose(Image.Transpose.ROTATE_90).save(tile)
        (to / "changed").touch()
    return to


def classes(data: Path, to: Path) -> Path:
    """Return a folder of images in folders of two classes."""
    if not (to / "done").exists():
        shutil.rmtree(to, ignore_errors=True)
        tiles = sorted((data / "king-county" / "tiles").iterdir())[:24]
        for place, tile in enumerate(tiles):
            folder = to / "classes" / ("forest", "river")[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tile, folder / tile.name)
        (to / "done").touch()
    return to / "classes"


def raster(to: Path) -> Path:
    """Write a raster of people over King County."""
    if not to.exists():
        import rasterio
        from rasterio.transform import from_bounds

        numbers = np.random.default_rng(0).integers(0, 50, (120, 160)).astype(np.float32)
        shape = {"width": 160, "height": 120, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
        with rasterio.open(
            to, "w", driver="GTiff", transform=from_bounds(-122.6, 47.0, -121.0, 47.8, 160, 120), **shape
        ) as file:
            file.write(numbers, 1)
    return to


def captions_table(base: Path) -> Path:
    """Write texts for pictures of the city's area, as a table."""
    images = pq.read_table(base / "kc-area" / "images.parquet").to_pandas()
    path = base / "captions.csv"
    images.assign(filename=images["image_id"], caption="houses beside a road")[["filename", "caption"]].to_csv(
        path, index=False
    )
    return path


def vectors_table(base: Path) -> Path:
    """Write vectors of regions that were made elsewhere."""
    regions = pq.read_table(base / "kc-area" / "regions.parquet", columns=["region_id"]).to_pandas()
    for place in range(4):
        regions[f"v{place}"] = np.random.default_rng(place).normal(size=len(regions))
    regions.rename(columns={"region_id": "geoid"}).to_csv(base / "vectors.csv", index=False)
    return base / "vectors.csv"


def run_folder(box: Box, base: Path) -> Path:
    """Return a run of `predict` on the city."""
    to = base / "run"
    if not (base / "run.done").exists():
        shutil.rmtree(to, ignore_errors=True)
        must(box, ["predict", str(city(box, base)), "--embeddings", "colour", "--indicator", indicator(base),
                   "--probe", "ridge", "--folds", "3", "--block-m", "1000", "--out", str(to)], base)  # fmt: skip
        (base / "run.done").touch()
    return to


def indicator(base: Path) -> str:
    """Return the first indicator of the city."""
    names = pq.read_table(base / "city" / "indicators.parquet", columns=["indicator"])["indicator"].to_pylist()
    return sorted(Counter(names))[0]


def rsicd(data: Path, to: Path, number: int = 40) -> Path:
    """Write some images of RSICD with their captions."""
    if (to / "done").exists():
        return to
    shutil.rmtree(to, ignore_errors=True)
    (to / "images").mkdir(parents=True)
    records = json.loads((data / "rsicd" / "captions.json").read_text())
    some = [records[i] for i in np.linspace(0, len(records) - 1, number).astype(int)]
    (to / "captions.json").write_text(json.dumps(some))
    for record in some:
        name = Path(record["image"]).name
        found = next((data / "rsicd").rglob(name))
        shutil.copy2(found, to / "images" / name)
    (to / "done").touch()
    return to


def scene(data: Path, to: Path, side: int = 512) -> Path:
    """Write a large image: tiles of King County side by side."""
    if not to.exists():
        names = sorted((data / "king-county" / "tiles").iterdir())[: (side // 256) ** 2]
        picture = Image.new("RGB", (side, side))
        for place, name in enumerate(names):
            picture.paste(
                Image.open(name).resize((256, 256)), (place % (side // 256) * 256, place // (side // 256) * 256)
            )
        picture.save(to)
    return to


def web(data: Path, to: Path, number: int = 120) -> Path:
    """Write the files of a small web: images to serve, and a table of pairs without its port (`{PORT}`)."""
    if (to / "done").exists():
        return to
    shutil.rmtree(to, ignore_errors=True)
    (to / "files").mkdir(parents=True)
    tiles = sorted((data / "king-county" / "tiles").iterdir())[:number]
    rows = []
    for place, tile in enumerate(tiles):
        shutil.copy2(tile, to / "files" / f"{place}.jpg")
        rows.append(
            {
                "TEXT": f"an aerial photograph of street number {place} with houses",
                "URL": f"http://127.0.0.1:{{PORT}}/{place}.jpg",
            }
        )
    (to / "rows.json").write_text(json.dumps(rows))
    (to / "done").touch()
    return to


def web_table(folder: Path, port: int, group: int = 15) -> Path:
    """Write the pairs of a web that is served at `port`, in small row groups."""
    rows = json.loads((folder / "rows.json").read_text())
    path = folder / "pairs.parquet"
    table = pa.table(
        {
            "TEXT": [row["TEXT"] for row in rows],
            "URL": [row["URL"].replace("{PORT}", str(port)) for row in rows],
        }
    )
    pq.write_table(table, path, row_group_size=group)
    return path


RECIPE = """\
title: Drill
columns: {caption: TEXT, url: URL}
steps:
  - keywords: {patterns: [aerial]}
  - fetch: {allow: [127.0.0.0/8], connections: 4, per_host: 4, host_pause_s: 0.01, robots: false, wait_s: 0.1}
  - valid_images: {min_side: 32}
  - hash_duplicates: {distance: 4}
output: {name: drill}
"""
