"""A run that was killed goes on, whatever it took: windows of rasters by ranges of bytes, and street views.

Tiles are tested so beside their service (`test_tile_service.py`); all three keep a journal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_rasters import bounds_of_regions, write_cog
from made_sources import ALLOW, COLUMNS, ROWS, ZOOM, make_area, tables
from street_servers import TOKEN, mapillary_like, some_views

from chorograph.ground.stage import Outcome
from range_server import range_server

Add = Callable[..., Outcome]
UTM = "EPSG:32632"
#: A run in a process of its own, without the start of the command line.
_RUN = """
import json, sys
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.verbs.table import get_verb
verb = get_verb(sys.argv[1])
verb(configure(verb.settings, json.loads(sys.argv[2])), silent)
"""


@contextmanager
def windows(folder: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    west, south, east, north = bounds_of_regions(UTM)
    write_cog(folder / "city.tif", UTM, (west - 400, south - 400, east + 400, north + 400))
    with range_server(folder) as server:
        yield f"cog:{server.base}/city.tif", {"zoom": ZOOM}, COLUMNS * ROWS


@contextmanager
def views(folder: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    with mapillary_like(some_views(), delay_s=0.1) as server:
        yield f"mapillary:{server.base}", {"most": 12}, 24
    asked = [number for path, number in server.asked.items() if path.startswith("/cdn")]
    # Once for the run that was let alone and once for the killed one; the one under way when it was killed again.
    assert sum(asked) <= 2 * 24 + 1


@pytest.mark.parametrize(("kind", "served"), [("imagery", windows), ("streetviews", views)])
def test_a_run_that_was_killed_goes_on(
    add: Add, area: Path, tmp_path: Path, kind: str, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", TOKEN)
    cut = make_area(tmp_path / "cut")
    with served(tmp_path / "web") as (address, asked, number):
        add(kind, address, **asked)
        said = {"area": str(cut), "from": address, "allow": ALLOW, "per_host": 1, "pause_s": 0.1, **asked}

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", _RUN, f"area add {kind}", json.dumps(said)], env=os.environ)

        killed = start()
        while len(list(cut.glob("images/*"))) < number // 4:
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        had = {path.name: path.stat().st_mtime_ns for path in (cut / "images").iterdir()}
        assert start().wait(120) == 0
    assert number // 4 <= len(had) < number
    written = {path.name: path.stat().st_mtime_ns for path in (cut / "images").iterdir()}
    # What was had is not had again, but for the one that was being written.
    assert sum(written[name] != at for name, at in had.items()) <= 1
    assert tables(cut) == tables(area)
