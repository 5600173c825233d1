"""A small synthetic city with a made-up run beside it, opened once; a server of it in a thread; a browser's page."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.models.encoders.registry import load_encoder
from chorograph.serving.catalogue.served import Catalogue, ServedArea
from chorograph.synthetic import SyntheticCityConfig, build_synthetic

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKEN = "a-token-for-these-tests"  # noqa: S105
MODEL = "colour"
#: A region's name and a caption that would run, were they taken for markup.
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'&"


def write_run(folder: Path, area: Path, *, seed: int = 0) -> Path:
    """Write a run of median_income: the truth with noise, every tenth region unlike the others."""
    regions = gpd.read_parquet(area / "regions.parquet")
    rows = pd.read_parquet(area / "indicators.parquet")
    truth = rows[rows["indicator"] == "median_income"].set_index("region_id")["value"].reindex(regions["region_id"])
    rng = np.random.default_rng(seed)
    count = len(regions)
    guess = truth.fillna(truth.median()).to_numpy() * np.exp(rng.normal(0, 0.1, count))
    frame = gpd.GeoDataFrame(
        {
            "region_id": regions["region_id"],
            "indicator": "median_income",
            "fold": pd.array(np.where(truth.notna(), np.arange(count) % 4, None).tolist(), dtype="Int64"),
            "target": truth.to_numpy(),
            "predicted": guess,
            "lower": guess * 0.8,
            "upper": guess * (1.2 + 0.2 * rng.random(count)),
            "level": 0.9,
            "basis": "image",
            "supported": np.arange(count) % 10 != 0,
        },
        geometry=regions.geometry,
        crs=regions.crs,
    )
    folder.mkdir(parents=True)
    frame.to_parquet(folder / "predictions.parquet")
    r2 = {"name": "gp on image", "kind": "model", "fitted": {"r2": [0.7 - seed / 10, 0.6, 0.8]}}
    scores = {"indicator": "median_income", "unit": "crowns/year", "rows": [r2]}
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    manifest = {"stage": "predict", "config": {"area": str(area), "per": None}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city of 60 regions with vectors, a hostile name and caption, and two runs beside it; nobody writes to it."""
    place = tmp_path_factory.mktemp("serving") / "city"
    folder = place / "area"
    build_synthetic(SyntheticCityConfig(regions=60, tiles_per_region=2, street_views_per_region=1, seed=3), folder)
    area = Area.open(folder)
    regions = area.regions
    regions.loc[5, "name"] = HOSTILE
    area.write("regions", regions)
    captions = area.captions
    captions.loc[0, "caption"] = HOSTILE
    area.write("captions", captions)
    images = area.images[(area.images["view"] == "satellite") & area.images["uri"].notna()]
    encoder = load_encoder(MODEL)
    vectors = encoder.encode([area.read_image(uri) for uri in images["uri"]])
    hashes = images["sha256"].to_numpy(object)
    Embeddings(MODEL, encoder.fingerprint, images["image_id"].to_numpy(object), hashes, vectors).write(
        area.embeddings_path(MODEL)
    )
    write_run(place / "income", folder)
    write_run(place / "income-worse", folder, seed=1)
    return place


@pytest.fixture(scope="session")
def served(city: Path) -> ServedArea:
    """The city, opened."""
    return Catalogue.open([city], cache=False)["city"]


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve an application in a thread; gives its address."""
    import uvicorn

    from chorograph.serving.run import PatientProtocol, listen

    with listen("127.0.0.1", 0) as listening:
        config = uvicorn.Config(app, http=PatientProtocol, ws="none", log_config=None, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def run_app() -> Callable[[Any], Any]:
    """How to run an application."""
    return running


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """How to write a run."""
    return write_run


@pytest.fixture(scope="session")
def server(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the city."""
    pytest.importorskip("fastapi", reason="chorograph[serve] is not installed")
    from chorograph.serving.api.app import Serving, create_app
    from chorograph.serving.api.guard import Access
    from chorograph.serving.ratings.store import RatingStore

    stores = {"city": RatingStore(f"sqlite:///{tmp_path_factory.mktemp('ratings') / 'ratings.sqlite'}")}
    app = create_app(Serving(Catalogue.open([city], cache=False), Access(TOKEN), stores=stores, warm=False))
    with running(app) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, without anything that it would ask of the network by itself."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next((path for path in found if path), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    quiet = ["quic", "background-networking", "component-update", "sync"]
    switches = ["--no-sandbox", "--no-first-run", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=executable, args=[*switches, *(f"--disable-{name}" for name in quiet)]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    """A page as wide and tall as a small laptop's screen."""
    made = browser.new_page(viewport={"width": 1366, "height": 768})
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own; skips where the machine has none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *filter(None, [_which("initdb")])]
    if not found:
        pytest.skip("no PostgreSQL on this machine")
    binaries = found[-1].parent
    # Not below pytest's own folder: another run of it, beside this one, closes that to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="chorograph-postgres-"))
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        folder.chmod(0o755)
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": "postgres"}
    data, log = folder / "data", folder / "log"
    common = {"check": True, "capture_output": True, "cwd": folder, **as_user}
    subprocess.run([binaries / "initdb", "-D", data, "-U", "rater", "--auth", "trust"], **common)  # type: ignore[call-overload]
    options = f"-c listen_addresses='' -k {folder} -c max_connections=200"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"], **common)  # type: ignore[call-overload]
    yield f"postgresql+psycopg://rater@/postgres?host={folder}"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **{**common, "check": False})  # type: ignore[call-overload]
    shutil.rmtree(folder, ignore_errors=True)


def _which(name: str) -> Path | None:
    found = shutil.which(name)
    return None if found is None else Path(found)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ratings.sqlite'}"
    return str(request.getfixturevalue("postgres"))
