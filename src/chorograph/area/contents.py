"""What an area holds and lacks, told from its files without loading them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.ground.errors import AreaError
from chorograph.ground.files import check_regular

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: What an area may have, and the verb that adds it.
_ADDED_BY = {
    "regions": "chorograph area new OUT --regions FILE",
    "images": "chorograph area add imagery",
    "indicators": "chorograph area add indicators",
    "poi_counts": "chorograph area add places",
    "context": "chorograph area add places --from CITY.osm.pbf (roads, water and names for maps)",
    "captions": "chorograph caption, or chorograph area add captions",
    "triples": "chorograph graph build, or chorograph area add graph",
}
_FOLDERS = {"embeddings": "chorograph embed", "predictions": "chorograph predict --save NAME"}
#: Rows of a table that are looked at at once.
_ROWS = 1_000_000
#: What only regions can have.
_OF_REGIONS = ("indicators", "poi_counts", "context", "triples", "predictions")


def lacking(area: Area) -> dict[str, str]:
    """Return what the area has not, each with the verb that adds it."""
    tables = {name: verb for name, verb in _ADDED_BY.items() if not area.has(name)}
    folders = {name: verb for name, verb in _FOLDERS.items() if not any((area.path / name).glob("*.parquet"))}
    held = {**tables, **folders}
    return {name: verb for name, verb in held.items() if area.has_regions or name not in _OF_REGIONS}


def indicators_of(area: Area) -> dict[str, dict[str, Any]]:
    """Return the unit of each indicator, and the number of its values."""
    if not area.has("indicators"):
        return {}
    path = area.table_path("indicators")
    check_regular(path)
    counts: dict[tuple[str, str], int] = {}
    try:
        with pq.ParquetFile(path, read_dictionary=["indicator", "unit"]) as file:
            for batch in file.iter_batches(_ROWS, columns=["indicator", "unit", "value"]):
                table = pa.Table.from_batches([batch])
                for row in table.group_by(["indicator", "unit"]).aggregate([("value", "count")]).to_pylist():
                    key = (str(row["indicator"]), str(row["unit"]))
                    counts[key] = counts.get(key, 0) + row["value_count"]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise AreaError(f"{path} cannot be read as indicators: {error}") from error
    return {name: {"unit": unit, "regions": number} for (name, unit), number in sorted(counts.items())}
