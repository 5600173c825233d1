"""What a served page costs: the first map, search among a million vectors, reads of a region.

    OMP_NUM_THREADS=2 python benchmarks/serve.py [--regions 400 100000] [--vectors 1000000] [--only map search reads]

Ratios of one run. `map`: from opening the page in headless Chromium, with nothing cached, to the first drawn map of the
larger area, beside the smaller one. `search`: the p95 of an exact search of unit vectors beside the p95 of the bare
matrix product, turn by turn; of the LanceDB index beside both, with its recall and the processor time of a search,
which other work on the machine does not change. `reads`: a region's card and feature beside a bare uvicorn answer of
the same bytes, turn by turn. Writes benchmarks/results/serve.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import pandas as pd
import shapely
import uvicorn
from numpy.typing import NDArray

from chorograph.area.folder import Area
from chorograph.ground.files import write_json
from chorograph.searching.index import ExactIndex, LanceIndex
from chorograph.serving.api.app import Serving, create_app
from chorograph.serving.api.guard import Access
from chorograph.serving.catalogue.served import Catalogue
from chorograph.serving.run import PatientProtocol, listen

RESULTS = Path(__file__).parent / "results" / "serve.json"
TOKEN = "a-token-of-the-benchmark"  # noqa: S105


def write_area(folder: Path, regions: int, seed: int = 0) -> Path:
    """Write an area of that many regions, a jittered grid of twelve corners each, with one indicator."""
    side = round(regions**0.5)
    rng = np.random.default_rng(seed)
    step, parts = 0.01, 3
    fine = side * parts + 1
    x, y = np.meshgrid(np.arange(fine) * step / parts, np.arange(fine) * step / parts)
    jitter = rng.uniform(-0.2, 0.2, (2, fine, fine)) * step / parts
    corners = np.stack([x + jitter[0], y + jitter[1]], axis=-1)
    rows, columns = (index.ravel() * parts for index in np.indices((side, side)))
    along = np.arange(parts)
    ring = [
        (0 * along, along),
        (along, parts + 0 * along),
        (parts + 0 * along, parts - along),
        (parts - along, 0 * along),
    ]
    points = np.concatenate([corners[rows[:, None] + i, columns[:, None] + j] for i, j in ring], axis=1)
    shapes = shapely.polygons(points)
    ids = [f"R{number:06d}" for number in range(len(shapes))]
    folder.mkdir(parents=True)
    (folder / "area.toml").write_text(f'name = "grid{regions}"\ntitle = "A grid of {regions} regions"\n')
    area = Area.open(folder)
    area.write("regions", gpd.GeoDataFrame({"region_id": ids, "name": ids}, geometry=shapes, crs="EPSG:4326"))
    value = np.exp(rng.normal(10, 1, len(ids)))
    area.write(
        "indicators",
        pd.DataFrame({"region_id": ids, "indicator": "income", "value": value, "unit": "crowns", "source": "drawn"}),
    )
    return folder


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve an application in a thread, with the protocol that `chorograph serve` has."""
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, http=PatientProtocol, ws="none", log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


def serve_areas(*areas: Path) -> Any:
    catalogue = Catalogue.open(areas, cache=False)
    for served in catalogue:
        served.ladder.warm()  # what `serve` does beside its first answers
    return create_app(Serving(catalogue, Access(TOKEN), warm=False)), [served.slug for served in catalogue]


def first_map(sizes: list[int], repeats: int) -> dict[str, Any]:
    """Return the seconds to the first drawn map by number of regions, the median of fresh browsers, and their ratio."""
    from playwright.sync_api import sync_playwright

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        areas = [write_area(Path(place) / f"grid{size}", size) for size in sizes]
        started = time.perf_counter()
        app, slugs = serve_areas(*areas)
        found["seconds to open and simplify all areas"] = round(time.perf_counter() - started, 1)
        times: dict[str, list[float]] = {slug: [] for slug in slugs}
        with running(app) as address, sync_playwright() as playwright:
            for _ in range(repeats):
                for slug in slugs:
                    times[slug].append(_open_once(playwright, f"{address}/areas/{slug}"))
    for size, slug in zip(sizes, slugs, strict=True):
        found[f"first map of {size:,} regions, s"] = round(float(np.median(times[slug])), 2)
    smaller, larger = (float(np.median(times[slug])) for slug in (slugs[0], slugs[-1]))
    return {**found, "larger over smaller": round(larger / smaller, 2)}


def _open_once(playwright: Any, address: str) -> float:
    """Return the seconds from asking for a page to its drawn map, in a browser of its own."""
    switches = ["--no-sandbox", "--no-first-run", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=switches)
    try:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        started = time.perf_counter()
        page.goto(address)
        while not page.evaluate("() => Boolean(window.chorographReady)"):
            time.sleep(0.02)
        page.wait_for_load_state("networkidle")
        waited = time.perf_counter() - started
        # A region under the pointer: the map is drawn, not only loaded.
        while not page.is_visible("#tip"):
            page.mouse.move(800, 400)
            page.mouse.move(803, 403)
            time.sleep(0.02)
        return max(waited, time.perf_counter() - started)
    finally:
        browser.close()


def clustered(number: int, dim: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return unit vectors around number / 200 centres: images lie in heaps, evenly drawn vectors do not."""
    centres = rng.standard_normal((max(1, number // 200), dim), dtype=np.float32)
    vectors = rng.standard_normal((number, dim), dtype=np.float32)
    for start in range(0, number, 100_000):
        part = vectors[start : start + 100_000]
        part *= 0.7
        part += centres[rng.integers(len(centres), size=len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def search(number: int, dim: int, queries: int, with_index: bool) -> dict[str, Any]:
    """Return the p95 of exact searches, of bare products and of the index, and the index's recall of ten."""
    rng = np.random.default_rng(0)
    vectors = clustered(number, dim, rng)
    asked = (
        vectors[rng.integers(number, size=queries)]
        + 0.3 * rng.standard_normal((queries, dim), dtype=np.float32) / dim**0.5
    )
    index = ExactIndex(vectors)
    times: dict[str, list[float]] = {"product": [], "exact": [], "index": []}
    truth = []
    for query in asked:
        times["product"].append(_timed(lambda query=query: vectors @ query)[0])
        took, (rows, _) = _timed(lambda query=query: index.search(query, 10))
        times["exact"].append(took)
        truth.append(set(rows.tolist()))
    found: dict[str, Any] = {"vectors": number, "width": dim, "queries": queries}
    if with_index:
        found |= _search_by_index(index, asked, truth, times["index"])
    p95 = {name: float(np.percentile(values, 95)) for name, values in times.items() if values}
    median = {name: float(np.median(values)) for name, values in times.items() if values}
    found |= {f"p95 {name}, ms": round(1000 * value, 1) for name, value in p95.items()}
    found |= {f"median {name}, ms": round(1000 * value, 1) for name, value in median.items()}
    found["p95 exact over bare product"] = round(p95["exact"] / p95["product"], 2)
    found["median exact over bare product"] = round(median["exact"] / median["product"], 2)
    return found


def _search_by_index(
    exact: ExactIndex, asked: NDArray[np.float32], truth: list[set[int]], times: list[float]
) -> dict[str, Any]:
    """Return what the LanceDB index costs and finds; the seconds of each search go into `times`."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        took, lance = _timed(lambda: LanceIndex.build(exact, Path(folder)))
        found["index built, s"] = round(took, 1)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        found["index on disk, GiB"] = round(size / 2**30, 2)
        hits, worked = [], time.process_time()
        for query, right in zip(asked, truth, strict=True):
            took, (rows, _) = _timed(lambda query=query: lance.search(query, 10))
            times.append(took)
            hits.append(len(right & set(rows.tolist())) / len(right))
        found["processor time of the index, all its threads, ms"] = round(
            1000 * (time.process_time() - worked) / len(asked), 1
        )
    return found | {"recall of ten by the index": round(float(np.mean(hits)), 3)}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    answer = work()
    return time.perf_counter() - started, answer


def reads(number: int) -> dict[str, Any]:
    """Return the median time of a region's feature and card beside a bare answer of the same bytes."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        app, (slug,) = serve_areas(write_area(Path(place) / "grid400", 400))
        with running(app) as address:
            paths = {
                "feature": f"{address}/collections/{slug}/items/R000100",
                "card as JSON": f"{address}/areas/{slug}/regions/R000100.json",
            }
            for name, path in paths.items():
                body = httpx.get(path, headers={"Accept-Encoding": "identity"}).content
                with running(bare(body)) as other:
                    found |= {f"{name}, {key}": value for key, value in _beside(path, other, number).items()}
    return found


def bare(body: bytes) -> Any:
    """Return the least application that answers with these bytes."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


def _beside(path: str, other: str, number: int) -> dict[str, Any]:
    ours, bare_times = [], []
    with httpx.Client(headers={"Accept-Encoding": "identity"}) as client:
        for _ in range(number):
            ours.append(_timed(lambda: client.get(path).raise_for_status())[0])
            bare_times.append(_timed(lambda: client.get(other).raise_for_status())[0])
    a, b = float(np.median(ours)), float(np.median(bare_times))
    return {"median ms": round(1000 * a, 2), "bare median ms": round(1000 * b, 2), "over bare": round(a / b, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, nargs=2, default=[400, 100_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--index", action=argparse.BooleanOptionalAction, default=True, help="also the LanceDB index")
    parser.add_argument("--reads", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=("map", "search", "reads"), default=["map", "search", "reads"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "reads": lambda: reads(options.reads),
        "map": lambda: first_map(options.regions, options.repeats),
        "search": lambda: search(options.vectors, options.dim, options.queries, options.index),
    }
    told: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {}
    for name in options.only:
        told[name] = parts[name]()
        print(name, json.dumps(told[name], indent=1), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told["machine"] = {
        "cores": os.cpu_count(),
        "processor": platform.processor(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    told["machine"]["peak GiB"] = round(peak, 1)
    write_json(options.out, told)


if __name__ == "__main__":
    main()
