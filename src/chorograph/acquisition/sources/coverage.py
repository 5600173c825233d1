"""What of an area a source covered: a table of every window that was wanted, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd

from chorograph.acquisition.sources.journal import Row
from chorograph.acquisition.sources.keeping import PLACEHOLDER
from chorograph.ground.files import atomic_path, slug
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: So many names of what is missing are told at once; the table has all.
_TOLD = 5


def coverage_path(area: Area, name: str) -> Path:
    """Return where the coverage of what was added under `name` lies."""
    return area.path / "coverage" / f"{slug(name)}.parquet"


def write_coverage(
    path: Path,
    frame: pd.DataFrame,
    shapes: Sequence[Any],
    rows: Sequence[Row],
    regions: gpd.GeoDataFrame,
    ledger: Ledger,
) -> None:
    """Write a row a window or place (GeoParquet, which QGIS opens), and tell what is missing.

    Columns: those of `frame` (image_id, region_id, …), status (held, placeholder, missing), reason?, nodata?, cloud?
    (shares of the picture, from 0 to 1), sha256?, url?, geometry (EPSG:4326). Counted: pictures wanted, held, and
    missing by reason; regions without any.
    """
    status = ["held" if row.uri else PLACEHOLDER if row.reason == PLACEHOLDER else "missing" for row in rows]
    columns = {name: [getattr(row, name) for row in rows] for name in ("reason", "nodata", "cloud", "sha256", "url")}
    table = frame.assign(status=status, **columns)
    table[["nodata", "cloud"]] = table[["nodata", "cloud"]].astype("float64")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        gpd.GeoDataFrame(table, geometry=list(shapes), crs=4326).to_parquet(temporary)
    ledger.outputs.append(path)
    _tell(table, path, regions, ledger)


def _tell(frame: pd.DataFrame, path: Path, regions: gpd.GeoDataFrame, ledger: Ledger) -> None:
    missing = frame[frame["status"] == "missing"]
    ledger.count("pictures wanted", len(frame))
    ledger.count("pictures held", int((frame["status"] == "held").sum()))
    for reason, number in missing["reason"].value_counts().items():
        ledger.drop(f"picture missing: {reason}", int(number))
    without = regions[~regions["region_id"].isin(frame.loc[frame["status"] == "held", "region_id"])]
    ledger.count("regions without a picture", len(without))
    if len(missing):
        named = ", ".join(missing["image_id"].head(_TOLD)) + (", …" if len(missing) > _TOLD else "")
        ledger.warnings.append(
            f"{len(missing):,} of {len(frame):,} pictures are missing ({named}); coverage/{path.name} names each and "
            "why; --retry-missing asks for them again"
        )
    if len(without):
        named = ", ".join(without["region_id"].head(_TOLD)) + (", …" if len(without) > _TOLD else "")
        ledger.warnings.append(f"{len(without):,} regions have no picture of this source ({named})")
    for name, says in (("nodata", "without data"), ("cloud", "of cloud")):
        if (share := frame.loc[frame["status"] == "held", name]).notna().any():
            ledger.facts[f"mean share {says}"] = round(float(share.mean()), 4)
