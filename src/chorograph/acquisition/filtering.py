"""An area without some of its regions and images, written beside it: nothing is taken from the one that stands."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.area.folder import Area, write_table
from chorograph.area.images import MARK
from chorograph.area.tables import TABLES
from chorograph.ground.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from chorograph.ground.stage import Ledger

#: What was left out of a filtered area: kind (region or image), id, reason.
REMOVED = "removed.parquet"


@dataclass(frozen=True)
class Filtered:
    """What is left out, each with its reason: `regions` by region_id, `images` by image_id."""

    regions: pd.Series[str]
    images: pd.Series[str]


def choose(area: Area, zero: Sequence[str], words: Sequence[str]) -> Filtered:
    """Return what is left out: regions where all indicators of `zero` are 0, images of which a caption has a word.

    An image goes with its region; a missing value is not 0; words are compared whole, in any case. Raises
    `UnknownNameError` for an indicator that the area does not have.
    """
    regions = pd.Series(dtype=object)
    if zero:
        rows = area.indicators
        for name in zero:
            if name not in set(rows["indicator"]):
                raise UnknownNameError.of(f"indicator of {area.path}", name, set(rows["indicator"]))
        values = rows.pivot_table(index="region_id", columns="indicator", values="value", aggfunc="max")
        nothing = values.index[(values.reindex(columns=list(zero)) == 0).all(axis=1)]
        regions = pd.Series(f"{', '.join(zero)} all 0", index=nothing, dtype=object)
    images = area.images.set_index("image_id")["region_id"]
    gone = images[images.isin(regions.index)]
    reasons = pd.Series([f"region {name} is left out" for name in gone], index=gone.index, dtype=object)
    for word in words:
        pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
        said = area.captions[[pattern.search(text) is not None for text in area.captions["caption"]]]
        told = pd.Series(f"a caption says {word!r}", index=said["image_id"].unique(), dtype=object)
        reasons = pd.concat([reasons, told[~told.index.isin(reasons.index)]])
    return Filtered(regions, reasons)


def write_filtered(area: Area, out: Path, chosen: Filtered, ledger: Ledger) -> None:
    """Write the rest of an area to the folder `out`, with what was left out and why in `removed.parquet`.

    Files of images are linked where the disk allows it, else copied. Vectors, splits and predictions are not taken
    along: they are made of the rest. Raises `InputError` where nothing is left out, or nothing is left.
    """
    if not len(chosen.regions) and not len(chosen.images):
        raise InputError(f"nothing of {area.path} is left out by this; there is no need of another area")
    out.mkdir(parents=True, exist_ok=True)
    for name in ("area.toml", "indicators.toml"):
        if (area.path / name).is_file():
            shutil.copyfile(area.path / name, out / name)
    entities = set(area.entities.loc[area.entities["region_id"].isin(chosen.regions.index), "entity"])
    for table in TABLES:
        if not area.has(table):
            continue
        frame = area.read(table)
        kept = pd.Series(data=True, index=frame.index)
        for column, gone in (("region_id", chosen.regions.index), ("image_id", chosen.images.index)):
            if column in frame:
                kept &= ~frame[column].isin(gone)
        for column in {"head", "tail"} & set(frame.columns):
            kept &= ~frame[column].isin(entities)
        if table == "regions" and not kept.any():
            raise InputError(f"no region of {area.path} would be left")
        ledger.drop(f"row of {table}", int((~kept).sum()))
        rest = frame[kept].reset_index(drop=True)
        ledger.count(table, len(rest))
        if table == "images":
            _take_along(area, out, rest["uri"].dropna())
        write_table(out, table, rest)
    removed = [("region", name, why) for name, why in chosen.regions.items()]
    removed += [("image", name, why) for name, why in chosen.images.items()]
    frame = pd.DataFrame(removed, columns=["kind", "id", "reason"]).astype(str)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), out / REMOVED)


def _take_along(area: Area, out: Path, uris: pd.Series[str]) -> None:
    for uri in sorted({str(uri).partition(MARK)[0] + (".tar" if MARK in str(uri) else "") for uri in uris}):
        source, target = area.resolve(uri), out / uri
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
