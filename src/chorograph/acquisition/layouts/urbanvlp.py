"""UrbanVLP's published layout (Hao et al. 2025): satellite tiles, street views, captions of both, and labels.

Street views are named ID_LON,LAT_YYYYMM_HEADING.jpg. Their coordinates are Baidu's (BD-09), as the panoramas are; the
published code feeds them to a location encoder that expects WGS84. They are turned into WGS84 here. A tile without
street views has none: nothing is filled with zeros.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from chorograph.acquisition.coordinates.baidu import bd09_to_wgs84
from chorograph.acquisition.coordinates.baidu_tiles import (
    numbers,
    read_table,
    region_of,
    region_of_pair,
    tile_images,
    tile_regions,
)
from chorograph.acquisition.holding import hold
from chorograph.acquisition.layouts.captions_json import caption_table, read_pairs
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json
from chorograph.ground.stage import Ledger, Progress, silent

_SOURCE = Source("UrbanVLP", licence="unstated", attribution="Hao et al. 2025; imagery by Baidu")
_STREET = re.compile(r"(?P<id>[^_]+)_(?P<lon>-?[\d.]+),(?P<lat>-?[\d.]+)_(?P<month>\d{6})_(?P<heading>[\d.]+)")
_UNITS = {
    # Published after the logarithm and after squeezing each column to width 1 about its mean.
    "carbon": "ln(t CO2), squeezed",
    "population": "ln(people), squeezed",
    "gdp": "ln(million CNY), squeezed",
    "nightlight": "unstated",
    "houseprice": "unstated",
}


def import_urbanvlp(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build an area of one region a tile, with street views in the tile that holds them, captions and labels."""
    satellites = sorted(source.glob("urbansat/satellite_images/*/*.jpg"))
    if not satellites:
        raise InputError(f"{source} holds no urbansat/satellite_images/CITY/*.jpg")
    files = {region_of(path.parent.name, path.name, str(path)): path for path in satellites}
    pairs = []
    for path in sorted(source.glob("urbansat/satellite_texts/*.json")):
        pairs += [(region_of(path.stem, Path(image).name, str(path)), text) for image, text in read_pairs(path)]
    indicators, poi = _labels(source, ledger)
    regions = tile_regions({*files, *(region for region, _ in pairs), *indicators["region_id"], *poi["region_id"]})
    with AreaDraft(out, out.name, "UrbanVLP", [_SOURCE]) as draft:
        draft.write("regions", regions)
        held = {"skip_bad": skip_bad, "source": _SOURCE.name, "licence": "Baidu's terms"}
        images = tile_images(draft, regions["region_id"], files, ledger, progress, **held)  # type: ignore[arg-type]
        street = _street_views(draft, source, regions, ledger, skip_bad=skip_bad)
        draft.write("images", pd.concat([images, street], ignore_index=True))
        captions = [caption_table(pairs, "model:unstated")] if pairs else []
        if texts := _street_texts(source, set(street["image_id"]), ledger):
            captions.append(caption_table(texts, "model:unstated"))
        if captions:
            draft.write("captions", pd.concat(captions, ignore_index=True))
        if len(indicators):
            draft.write("indicators", indicators)
        if len(poi):
            draft.write("poi_counts", poi)
    ledger.count("regions", len(regions))
    ledger.count("street views", len(street))
    ledger.count("captions", sum(map(len, captions)))


def _street_views(
    draft: AreaDraft, source: Path, regions: gpd.GeoDataFrame, ledger: Ledger, *, skip_bad: bool
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for path in sorted(source.glob("urbansv/streetview_images/*/*.jpg")):
        match = _STREET.fullmatch(path.stem)
        if match is None:
            raise InputError(f"{path} is not named ID_LON,LAT_YYYYMM_HEADING.jpg")
        lon, lat = bd09_to_wgs84(float(match["lon"]), float(match["lat"]))
        image_id = f"{path.parent.name}/{path.stem}"
        uri, sha256 = hold(draft, image_id, path, ledger, skip_bad=skip_bad)
        month = f"{match['month'][:4]}-{match['month'][4:]}"
        rows.append(
            {
                "image_id": image_id,
                "uri": uri,
                "sha256": sha256,
                "lon": float(lon),
                "lat": float(lat),
                "captured": month,
            }
        )
    if not rows:
        return pd.DataFrame({"image_id": []})
    frame = pd.DataFrame(rows).assign(view="street", source=_SOURCE.name, licence="Baidu's terms")
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(frame["lon"], frame["lat"]), crs=4326)
    joined = points.sjoin(regions[["region_id", "geometry"]], how="left", predicate="within")
    frame["region_id"] = joined[~joined.index.duplicated()]["region_id"].to_numpy()
    ledger.count("street views in no tile", int(frame["region_id"].isna().sum()))
    return frame


def _street_texts(source: Path, known: set[str], ledger: Ledger) -> list[tuple[str, str]]:
    pairs = []
    for path in sorted(source.glob("urbansv/streetview_texts/*/*.json")):
        content = read_json(path)
        if not isinstance(content, dict):
            raise InputError(f"{path} is not {{image: text}}")
        for image, text in content.items():
            image_id = str(Path(image).with_suffix(""))
            if image_id in known and isinstance(text, str) and text.strip():
                pairs.append((image_id, text.strip()))
            else:
                ledger.drop("street-view caption without its image")
    return pairs


def _labels(source: Path, ledger: Ledger) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return indicators and POI counts of every CITY_{train,test}*.csv; a repeated tile keeps its first label."""
    values, counts, totals = [], [], []
    for path in sorted(source.glob("downstream*/*.csv")):
        city = path.stem.partition("_")[0]
        table = read_table(path, ["Coordinate"])
        where = [f"{path}, line {row}" for row in range(2, len(table) + 2)]
        regions = [region_of_pair(city, text, at) for text, at in zip(table["Coordinate"], where, strict=True)]
        values += [
            pd.DataFrame({"region_id": regions, "value": numbers(table, column, path)}).assign(
                indicator=column, unit=_UNITS[column], source=_SOURCE.name
            )
            for column in table.columns
            if column in _UNITS
        ]
        if "poi" in table.columns:
            for region, text, at in zip(regions, table["poi"], where, strict=True):
                held = parse_poi(text, at)
                counts += [(region, kind, number) for kind, number in held.items()]
                totals.append((region, float(sum(held.values()))))
    if totals:
        # The sixth indicator: how many points of interest there are, of all kinds; each kind's is in poi_counts.
        total = pd.DataFrame(totals, columns=["region_id", "value"])
        values.append(total.assign(indicator="poi", unit="points of interest", source=_SOURCE.name))
    empty = pd.DataFrame({name: [] for name in ("region_id", "indicator", "value", "unit", "source")})
    indicators = pd.concat(values, ignore_index=True) if values else empty
    repeated = indicators.duplicated(["region_id", "indicator"])
    ledger.drop("label of a tile that has one already", int(repeated.sum()))
    poi = pd.DataFrame(counts, columns=["region_id", "poi", "count"])
    return indicators[~repeated], poi.drop_duplicates(["region_id", "poi"])


def parse_poi(text: str, where: str) -> dict[str, int]:
    """Read a cell such as `{'Healthcare': 1, ' Business and Residential': 0}` as counts; names lose stray spaces."""
    try:
        content = ast.literal_eval(text)
        return {str(kind).strip(): int(number) for kind, number in content.items()}
    except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError) as error:
        raise InputError(f"{where}: poi is not a table of counts: {text[:80]!r}") from error
