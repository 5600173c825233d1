"""UrbanCLIP's published data (Yan et al. 2024): captions, tiles and labels of Chinese cities.

The column that its file calls WGS84 holds BD-09 degrees of a tile's corner. Places here come from the tile indices,
through Baidu's projection, into real WGS84. The labels are kept as published: they were read from rasters about a
kilometre off (the corner, taken for WGS84), of four different years; no reader can mend that.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from chorograph.acquisition.coordinates.baidu_tiles import numbers, read_table, region_of, tile_images, tile_regions
from chorograph.acquisition.layouts.captions_json import caption_table, read_pairs
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress, silent

_SOURCE = Source(
    "UrbanCLIP",
    licence="unstated",
    attribution="Yan et al. 2024; tiles by Baidu; ODIAC2022, WorldPop 2020, a GDP raster of 2010",
)
#: Column of the released table -> indicator, unit, year of its raster.
_LABELS = {
    "carbon_emissions (ton)": ("carbon", "t CO2", 2021),
    "population (unit)": ("population", "people", 2020),
    "gdp (million yuan)": ("gdp", "million CNY", 2010),
}
_ORIGIN = "model:LLaMA-Adapter-V2"


def import_urbanclip(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build an area of one region a tile from captions, labels and whatever images are held.

    Also files `splits/yan2024_random`: the released recipe (rows with any zero dropped, shuffled with seed 42, first
    four fifths train), city by city. Its sizes equal the published ones; whether its rows do cannot be checked.
    """
    caption_files = sorted({*source.glob("**/*_captions.json"), *source.glob("**/*_captions.json.gz")})
    tables = sorted(source.glob("**/integrated_satellite_data.csv"))
    if not caption_files and not tables:
        raise InputError(f"{source} holds neither *_captions.json nor integrated_satellite_data.csv")
    pairs: list[tuple[str, str]] = []
    for file in caption_files:
        for image, sentence in read_pairs(file):
            if not sentence:
                ledger.drop("empty caption")
                continue
            pairs.append((_region(image, str(file)), sentence))
    labels = pd.concat([_labels(path) for path in tables]) if tables else pd.DataFrame({"region_id": []})
    files = {
        _region(f"{path.parent.name}/{path.name}", str(path)): path for path in sorted(source.glob("images/*/*_s.jpg"))
    }
    regions = {region for region, _ in pairs} | set(labels["region_id"]) | set(files)
    with AreaDraft(out, out.name, "UrbanCLIP", [_SOURCE]) as draft:
        draft.write("regions", tile_regions(regions))
        draft.write(
            "images",
            tile_images(
                draft, regions, files, ledger, progress,
                skip_bad=skip_bad, source=_SOURCE.name, licence="Baidu's terms",
            ),
        )  # fmt: skip
        if pairs:
            draft.write("captions", caption_table(pairs, _ORIGIN))
        if tables:
            long = labels.melt(id_vars="region_id", var_name="column", value_name="value")
            facts = pd.DataFrame(long["column"].map(_LABELS).tolist(), columns=["indicator", "unit", "year"])
            draft.write(
                "indicators", pd.concat([long[["region_id", "value"]], facts], axis=1).assign(source=_SOURCE.name)
            )
            draft.write_split("yan2024_random", released_split(labels))
            _warn(labels, ledger)
    ledger.count("regions", len(regions))
    ledger.count("captions", len(pairs))
    ledger.count("captioned images", len({region for region, _ in pairs}))
    ledger.count("labelled tiles", len(labels))


def released_split(labels: pd.DataFrame) -> pd.DataFrame:
    """Return region_id and role of the released recipe, city by city; rows with any zero are in neither part."""
    parts = []
    whole = labels[(labels.drop(columns="region_id") != 0).all(axis=1)]
    for _, city in whole.groupby(whole["region_id"].str.partition("/")[0], sort=True):
        shuffled = city["region_id"].sample(frac=1, random_state=42)
        train = int(0.8 * len(shuffled))
        roles = ["train"] * train + ["test"] * (len(shuffled) - train)
        parts.append(pd.DataFrame({"region_id": shuffled.to_numpy(), "role": roles}))
    return pd.concat(parts, ignore_index=True)


def _labels(path: Path) -> pd.DataFrame:
    table = read_table(path, ["satellite_img_name", *_LABELS])
    regions = [_region(name, f"{path}, line {row}") for row, name in enumerate(table["satellite_img_name"], start=2)]
    return pd.DataFrame({"region_id": regions, **{column: numbers(table, column, path) for column in _LABELS}})


def _region(image: str, where: str) -> str:
    city, slash, name = image.rpartition("/")
    if not slash:
        raise InputError(f"{where}: {image!r} does not say its city, as in City/16_X_Y_s.jpg")
    return region_of(city, name, where)


def _warn(labels: pd.DataFrame, ledger: Ledger) -> None:
    zeros = {column: int((labels[column] == 0).sum()) for column in _LABELS}
    ledger.warnings.append(
        "a zero may be a real zero or a missing value of the raster, the release does not say: "
        + ", ".join(f"{_LABELS[column][0]} {number}" for column, number in zeros.items())
    )
    column = next(name for name in _LABELS if name.startswith("gdp"))
    ties = int((labels[column] == 10000.0).sum())
    ledger.warnings.append(f"{ties} of {len(labels)} GDP values are exactly 10000: the source is piece-wise constant")
