"""Adding what other people made to an area that stands: rasters, maps, and vectors of the ground."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.sources.maps.mapped import KINDS, Mapped, context, counted_places, measures
from chorograph.acquisition.sources.maps.osm import KEYS, is_osm, read_osm
from chorograph.acquisition.sources.maps.overture import read_overture
from chorograph.acquisition.sources.vectors.elsewhere import Made, region_vectors
from chorograph.acquisition.sources.zonal import kind_of, read_raster
from chorograph.area.descriptions import Description, write_descriptions
from chorograph.area.folder import Area, Source
from chorograph.area.growing import add_rows, add_source, add_vectors
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import EmbeddingSettings, MapSettings, Provenance, RasterSettings
    from chorograph.ground.stage import Ledger, Progress

#: What a map is said to be from, where nobody says otherwise.
_OSM = Source("OpenStreetMap", "ODbL-1.0", "© OpenStreetMap contributors", "https://www.openstreetmap.org/copyright")
_OVERTURE = Source(
    "Overture Maps", "ODbL-1.0 and CDLA-Permissive-2.0, by theme",
    "© OpenStreetMap contributors, Overture Maps Foundation", "https://docs.overturemaps.org/attribution/",
)  # fmt: skip


def add_raster(
    area: Area,
    path: Path | str,
    asked: RasterSettings,
    provenance: Provenance,
    ledger: Ledger,
    *,
    replace: bool = False,
    allowed: Sequence[str] = (),
) -> None:
    """Add what a raster's cells come to in each region as an indicator, and what kind of indicator that is."""
    rows = read_raster(path, asked, _regions(area), provenance.source, ledger, allowed)
    add_rows(area, "indicators", rows, ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))
    write_descriptions(area, {name: Description(kind=kind_of(asked)) for name in rows["indicator"].unique()})


def add_map(
    area: Area,
    path: Path,
    asked: MapSettings,
    category: str | None,
    provenance: Provenance,
    ledger: Ledger,
    *,
    replace: bool = False,
) -> None:
    """Add a map's places (counts, and single ones for `graph build`), measures of roads and buildings, and context."""
    regions = _regions(area)
    if is_osm(path):
        found, known = read_osm(path, regions, asked.take, ledger, asked.keys or KEYS), _OSM
    else:
        found, known = read_overture(path, regions, asked.take, ledger, category), _OVERTURE
    source = known if provenance.source == "own files" else Source(provenance.source, provenance.licence)
    ledger.facts["map"] = {**found.facts, "source": source.name, "licence": source.licence}
    held = [_add_places(area, found, regions, ledger, replace=replace)] if found.places is not None else []
    held.append(_add_measures(area, found, regions, asked, source.name, ledger, replace=replace))
    held.append(_add_context(area, found, asked, ledger, replace=replace))
    if not any(held):
        raise InputError(f"{path} holds nothing near the regions of {area.path}; is it of another place?")
    add_source(area, source)


def add_made_elsewhere(
    area: Area,
    made: Made,
    asked: EmbeddingSettings,
    provenance: Provenance,
    ledger: Ledger,
    progress: Progress,
    *,
    replace: bool = False,
) -> None:
    """Add AlphaEarth's or TESSERA's vectors of the area's regions, under a name of their own."""
    if provenance.licence != "unstated":
        made = dataclasses.replace(made, source=dataclasses.replace(made.source, licence=provenance.licence))
    vectors = region_vectors(made, asked, _regions(area), ledger, progress)
    add_vectors(area, asked.name, vectors, ledger, replace=replace)
    add_source(area, made.source)


def _add_places(area: Area, found: Mapped, regions: gpd.GeoDataFrame, ledger: Ledger, *, replace: bool) -> bool:
    places = found.places
    if places is None or places.empty:
        return False
    counts = counted_places(places, regions, ledger)
    add_rows(area, "places", places.drop_duplicates("place"), ledger, replace=replace)
    add_rows(area, "poi_counts", counts, ledger, replace=replace)
    return True


def _add_measures(
    area: Area, found: Mapped, regions: gpd.GeoDataFrame, asked: MapSettings, source: str, ledger: Ledger,
    *, replace: bool,
) -> bool:  # fmt: skip
    if (found.roads is None and found.buildings is None) or (
        "roads" not in asked.take and "buildings" not in asked.take
    ):
        return False
    rows = measures(found, regions, ledger)
    if "roads" not in asked.take:
        rows = rows[~rows["indicator"].str.contains("road")]
    if rows.empty:
        return False
    year = asked.year if asked.year is not None else found.year
    add_rows(area, "indicators", rows.assign(year=year, source=source), ledger, replace=replace)
    write_descriptions(area, {name: Description(kind=KINDS[name]) for name in rows["indicator"].unique()})
    return True


def _add_context(area: Area, found: Mapped, asked: MapSettings, ledger: Ledger, *, replace: bool) -> bool:
    drawn = context(found)
    if "context" not in asked.take or drawn.empty:
        return False
    add_rows(area, "context", drawn, ledger, replace=replace)
    return True


def _regions(area: Area) -> gpd.GeoDataFrame:
    if not area.has_regions:
        raise InputError(f"{area.path} has no regions; make the area with `chorograph area new OUT --regions FILE`")
    return area.regions
