"""Memory: 20,000 regions and 100,000 images through embed, predict and report; peaks stay bounded, pages open.

Tables are made up (a grid of squares, labels that follow the vectors); images for `embed` are 16 px JPEGs. Every verb is
run at several sizes, and its peak of memory is reported with how it grows.

    python tests/drills/programs/memory.py --exe .venv/bin/chorograph                  # about ten quiet minutes
    python tests/drills/programs/memory.py --exe .venv/bin/chorograph --only 'report*,predict-ridge*'
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import Box, Ledger, Verdict, chosen, parser, with_exe_python

#: More than this is a blow-up (MB): a laptop of 16 GB, half of it free.
LIMIT_MB = 6000


def make_area(folder: Path, regions: int, images_each: int, width: int, held: bool) -> Path:
    """Write an area by the contract of docs/conventions.md: a grid of squares near (10, 50), images, vectors."""
    import geopandas as gpd
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    if (folder / "area.toml").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "embeddings").mkdir(parents=True)
    rng = np.random.default_rng(0)
    side = int(np.ceil(regions**0.5))
    row, column = np.divmod(np.arange(regions), side)
    step = 0.01
    squares = shapely.box(10 + column * step, 50 + row * step, 10 + (column + 1) * step, 50 + (row + 1) * step)
    ids = np.array([f"r{i:06d}" for i in range(regions)], dtype=object)
    gpd.GeoDataFrame(
        {"region_id": ids, "name": [f"Region {i}" for i in range(regions)], "group": None}, geometry=squares, crs=4326
    ).to_parquet(folder / "regions.parquet", index=False)
    field = np.sin(row / 9) + np.cos(column / 7) + rng.normal(0, 0.3, regions)
    value = np.exp(10 + 0.3 * field)
    labelled = rng.random(regions) < 0.9
    pd.DataFrame(
        {
            "region_id": ids[labelled],
            "indicator": "income",
            "value": value[labelled],
            "unit": "USD",
            "year": pd.array([2020] * labelled.sum(), dtype="Int64"),
            "source": "made up",
        }
    ).to_parquet(folder / "indicators.parquet", index=False)
    number = regions * images_each
    of = np.repeat(np.arange(regions), images_each)
    image_ids = np.array([f"i{i:07d}" for i in range(number)], dtype=object)
    uris, hashes = [None] * number, [hashlib.sha256(name.encode()).hexdigest() for name in image_ids]
    if held:
        from PIL import Image

        (folder / "images").mkdir()
        for i in range(number):
            data = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(data, "JPEG", quality=60)
            (folder / "images" / f"{i // 1000:03d}").mkdir(exist_ok=True)
            uris[i] = f"images/{i // 1000:03d}/{i}.jpg"
            (folder / uris[i]).write_bytes(data.getvalue())
            hashes[i] = hashlib.sha256(data.getvalue()).hexdigest()
    lon, lat = 10 + (column[of] + rng.random(number)) * step, 50 + (row[of] + rng.random(number)) * step
    pd.DataFrame(
        {
            "image_id": image_ids,
            "region_id": ids[of],
            "view": "satellite",
            "uri": uris,
            "url": None,
            "lon": lon,
            "lat": lat,
            "zoom": pd.array([None] * number, dtype="Int64"),
            "x": pd.array([None] * number, dtype="Int64"),
            "y": pd.array([None] * number, dtype="Int64"),
            "captured": None,
            "source": "made up",
            "licence": "none",
            "sha256": hashes,
        }
    ).astype(dict.fromkeys(("uri", "url", "captured"), object)).pipe(
        lambda f: pq.write_table(
            pa.Table.from_pandas(
                f,
                schema=pa.schema(
                    [
                        (
                            c,
                            pa.float64()
                            if c in ("lon", "lat")
                            else pa.int64()
                            if c in ("zoom", "x", "y")
                            else pa.string(),
                        )
                        for c in f.columns
                    ]
                ),
                preserve_index=False,
            ),
            folder / "images.parquet",
        )
    )
    vectors = rng.normal(0, 1, (number, width)).astype(np.float32)
    vectors[:, 0] += field[of]
    vectors[:, 1] -= field[of]
    table = pa.table(
        {
            "image_id": pa.array(image_ids, pa.string()),
            "sha256": pa.array(hashes, pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width),
            "model": pa.array(["fake"] * number),
        }
    )
    pq.write_table(
        table.replace_schema_metadata({"chorograph.fingerprint": "0" * 64}), folder / "embeddings" / "fake.parquet"
    )
    (folder / "area.toml").write_text('name = "big"\ntitle = "Big"\nsynthetic = true\n')
    return folder


def open_page(page: Path) -> str:
    """Open a page in headless Chromium; returns what it drew, and the seconds."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return "no chromium"
    watch = page.with_name("probe.html")
    text = page.read_text()
    script = "<script>window.errors=[];window.onerror=(m)=>{window.errors.push(String(m))};setTimeout(()=>{const n=document.querySelectorAll('#shapes *').length;document.documentElement.setAttribute('data-drawn',n+' shapes, '+window.errors.length+' errors');},20000)</script>"
    watch.write_text(text.replace("<head>", "<head>" + script, 1))
    begun = time.monotonic()
    try:
        run = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=40000",
                "--dump-dom",
                f"file://{watch}",
            ],
            capture_output=True,
            timeout=900,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "did not open in 900 s"
    finally:
        watch.unlink()
    found = re.search(r'data-drawn="([^"]*)"', run.stdout.decode(errors="replace"))
    return f"{found[1] if found else 'no answer'}, {time.monotonic() - begun:.0f} s"


def main() -> int:
    """Run the drills asked for."""
    words = parser(__doc__ or "")
    words.add_argument("--limit-mb", type=float, default=LIMIT_MB)
    asked = words.parse_args()
    exe = asked.exe.absolute()
    with_exe_python(exe)
    # Cold on purpose: memory is that of the command itself.
    box, base = Box(exe), asked.work / "memory"
    base.mkdir(parents=True, exist_ok=True)
    area = lambda n, each=5, held=False: make_area(
        base / f"area-{n}-{each}{'-held' if held else ''}", n, each, 128, held
    )

    def predict(n: int, probe: str, *more: str, modalities: str = "standard") -> list[str]:
        out = base / f"run-{n}-{probe}"
        shutil.rmtree(out, ignore_errors=True)
        return [
            "predict",
            str(area(n)),
            "--embeddings",
            "fake",
            "--indicator",
            "income",
            "--log",
            "--probe",
            probe,
            "--modalities",
            modalities,
            "--out",
            str(out),
            *more,
        ]

    drills = {
        "info-20000": lambda: ["area", "info", str(area(20_000))],
        "check-20000": lambda: ["area", "check", str(area(20_000)), "--no-images"],
        "predict-ridge-2000": lambda: predict(2000, "ridge"),
        "report-2000": lambda: ["report", str(base / "run-2000-ridge")],
        "predict-ridge-20000": lambda: predict(20_000, "ridge"),
        "report-20000": lambda: ["report", str(base / "run-20000-ridge")],
        "predict-gp-1000": lambda: predict(1000, "gp"),
        "predict-gp-2000": lambda: predict(2000, "gp"),
        "predict-gp-4000": lambda: predict(4000, "gp"),
        "predict-gp-20000": lambda: predict(20_000, "gp"),
        "embed-colour-10000": lambda: ["embed", str(area(2000, 5, True)), "--model", "colour", "--device", "cpu"],
        "embed-colour-100000": lambda: ["embed", str(area(20_000, 5, True)), "--model", "colour", "--device", "cpu"],
    }
    if asked.list:
        print("\n".join(drills))
        return 0
    ledger = Ledger(path=asked.json)
    for name in chosen(list(drills), asked.only, asked.skip):
        args = drills[name]()
        ended = box.run(args, base, rss_limit_mb=asked.limit_mb, cpu_limit_s=3000, timeout_s=7200)
        facts = {"rss_mb": round(ended.rss_mb), "cpu_s": round(ended.cpu_s), "code": ended.code}
        wrong = []
        if ended.rss_mb > asked.limit_mb:
            wrong.append(
                f"took more than {asked.limit_mb:.0f} MB and was stopped; it said: {ended.err.strip()[-200:] or 'nothing'}"
            )
        elif ended.timed_out:
            wrong.append("did not end")
        elif ended.code or ended.traceback:
            wrong.append(f"ended with {ended.code}: {ended.said}")
        elif name.startswith("report"):
            page = next(base.glob(f"run-{name.split('-')[1]}-ridge/report.html"))
            facts |= {"page_mb": round(page.stat().st_size / 1e6, 1), "opens": open_page(page)}
            if not re.match(r"[1-9]\d* shapes, 0 errors", str(facts["opens"])):
                wrong.append(f"the page does not draw: {facts['opens']}")
        told = ", ".join(f"{k} {v}" for k, v in facts.items())
        ledger.add(Verdict(name, not wrong, "; ".join([*wrong, told]), "memory" if wrong else "", facts))
    return ledger.end("memory drills")


if __name__ == "__main__":
    sys.exit(main())
