"""Acquiring: tiles of a local server beside a bare async downloader.

    python benchmarks/acquire.py [--tiles 10000] [--rounds 3]

Prints one JSON object and writes results/acquire.json. Sides take turns within the run, against one server in a process
of its own that serves tiles out of memory. Ours is the whole of `area add imagery`: which tiles, polite fetching with
its checks, a file and a row in the journal for each, hashes, placeholders, tables, coverage. The bare one is aiohttp
with as many requests at once, which writes what it gets. Rates by the clock, and by this process's processor time,
which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "acquire.json"
ZOOM, WEST, NORTH, AT_ONCE = 16, 34_000, 22_000, 64


def tiles(number: int, rounds: int) -> dict[str, Any]:
    """Return rates of both sides over `number` tiles."""
    side = round(number**0.5)
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("tile_server.py")), str(side)], stdout=subprocess.PIPE,
            stdin=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None  # noqa: S101
            base = server.stdout.readline().strip()
            places = [(WEST + x, NORTH + y) for y in range(side) for x in range(side)]
            urls = [f"{base}/{ZOOM}/{x}/{y}.jpg" for x, y in places]
            took: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
            for turn in range(rounds + 1):
                for name in ("bare", "ours") if turn % 2 else ("ours", "bare"):
                    place = Path(folder) / f"{name}{turn}"
                    work = _ours(place, base, side) if name == "ours" else _bare(place, urls)
                    took[name].append(_timed(work))
                    held = len(list((place / "images").iterdir()))
                    if held != len(urls):
                        raise SystemExit(f"{name} held {held} of {len(urls)}")
                    shutil.rmtree(place)
        finally:
            server.kill()
    # The first turn warms up.
    clock = {name: len(urls) / statistics.median(a for a, _ in runs[1:]) for name, runs in took.items()}
    core = {name: len(urls) / statistics.median(b for _, b in runs[1:]) for name, runs in took.items()}
    return {
        "tiles": len(urls),
        "requests at once": AT_ONCE,
        "tiles/s": {name: round(rate) for name, rate in clock.items()},
        "tiles/s of processor time": {name: round(rate) for name, rate in core.items()},
        "ratio": round(clock["ours"] / clock["bare"], 3),
        "ratio of processor time": round(core["ours"] / core["bare"], 3),
    }


def _ours(place: Path, base: str, side: int) -> Callable[[], None]:
    import geopandas as gpd
    from shapely.geometry import box

    from chorograph.area.draft import AreaDraft
    from chorograph.area.tiles import tile_bounds
    from chorograph.ground.settings import configure
    from chorograph.ground.stage import silent
    from chorograph.verbs.area.add.imagery import VERB

    west, _, _, north = (float(edge) for edge in tile_bounds(WEST, NORTH, ZOOM))
    _, south, east, _ = (float(edge) for edge in tile_bounds(WEST + side - 1, NORTH + side - 1, ZOOM))
    shape = box(west, south, east, north).buffer(-(east - west) / side / 4)
    with AreaDraft(place, "city", "City") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ["one"]}, geometry=[shape], crs=4326))
    asked = {
        "area": place, "from_": f"xyz:{base}/{{z}}/{{x}}/{{y}}.jpg", "zoom": ZOOM, "per_host": AT_ONCE, "pause_s": 0,
        "allow": ["127.0.0.3/32"],
    }  # fmt: skip
    settings = configure(VERB.settings, asked)
    return lambda: VERB(settings, silent) and None


def _bare(place: Path, urls: list[str]) -> Callable[[], None]:
    import aiohttp

    (place / "images").mkdir(parents=True)

    async def main() -> None:
        queue = iter(enumerate(urls))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def work() -> None:
                for number, url in queue:
                    async with session.get(url) as response:
                        data = await response.read()
                    (place / "images" / f"{number}.jpg").write_bytes(data)

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    return lambda: asyncio.run(main())


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    clock, core = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - core


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {"tiles": lambda: tiles(asked.tiles, asked.rounds)}
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    for name, part in parts.items():
        result[name] = part()
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
