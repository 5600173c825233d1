"""Adding a user's files to an existing area, a kind at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chorograph.acquisition.own.captions import match_images, read_captions
from chorograph.acquisition.own.facts import read_graph
from chorograph.acquisition.own.imagery.holding import hold_tiles
from chorograph.acquisition.own.imagery.pictures import stem_of, take
from chorograph.acquisition.own.imagery.pixels import choose_scaling
from chorograph.acquisition.own.imagery.taking import take_imagery
from chorograph.acquisition.own.imagery.tiles import list_tiles
from chorograph.acquisition.own.indicators import check_units, read_indicators
from chorograph.acquisition.own.points import read_points
from chorograph.acquisition.own.street import no_more_than
from chorograph.acquisition.own.vectors import read_vectors
from chorograph.area.folder import Area, Source
from chorograph.area.growing import ImagesOf, add_rows, add_source, add_vectors, remove_unnamed
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import (
        CaptionSettings,
        EmbeddingSettings,
        ImagerySettings,
        IndicatorSettings,
        PointSettings,
        Provenance,
        Reading,
        StreetSettings,
    )


def add_imagery(
    area: Area,
    folder: Path,
    asked: ImagerySettings,
    reading: Reading,
    id_column: str,
    provenance: Provenance,
    ledger: Ledger,
    progress: Progress = silent,
    *,
    replace: bool = False,
) -> None:
    """Add a folder of satellite pictures; one that is there already, byte for byte, is left."""
    regions = area.regions if area.has_regions else None
    rows = take_imagery(ImagesOf(area), folder, asked, reading, id_column, regions, provenance, ledger, progress)
    _add_images(area, rows, provenance, ledger, replace=replace)


def add_street_views(
    area: Area,
    folder: Path,
    asked: StreetSettings,
    reading: Reading,
    id_column: str,
    provenance: Provenance,
    ledger: Ledger,
    progress: Progress = silent,
    *,
    replace: bool = False,
) -> None:
    """Add a folder of street views with a table of their places (or regions).

    A view in no region goes to the nearest one within `within_m`; of a region at most `most` are taken, spread evenly
    over those listed. The others are counted.
    """
    regions = area.regions if area.has_regions else None
    tiles = list_tiles(folder, asked, reading, id_column, regions, ledger, within_m=asked.within_m)
    frame = tiles.frame
    if asked.most is not None:
        frame = no_more_than(frame, asked.most, ledger)
    kept = type(tiles)(frame.reset_index(drop=True), tiles.table)
    rows = hold_tiles(ImagesOf(area), kept, asked, provenance.source, provenance.licence, ledger, progress).assign(
        view="street"
    )
    _add_images(area, rows, provenance, ledger, replace=replace)


def add_indicators(
    area: Area,
    file: Path,
    asked: IndicatorSettings,
    reading: Reading,
    id_column: str,
    provenance: Provenance,
    ledger: Ledger,
    *,
    layer: str | None = None,
    replace: bool = False,
) -> None:
    """Add a table of indicators; with `replace` its values take the place of those of the same region and year."""
    rows = read_indicators(file, asked, reading, id_column, _regions(area), provenance.source, ledger, layer=layer)
    check_units(asked, rows)
    add_rows(area, "indicators", rows, ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))


def add_places(
    area: Area,
    file: Path,
    asked: PointSettings,
    reading: Reading,
    id_column: str,
    provenance: Provenance,
    ledger: Ledger,
    *,
    layer: str | None = None,
    replace: bool = False,
) -> None:
    """Add points of interest as counts a region and category."""
    rows = read_points(file, asked, reading, id_column, _regions(area), ledger, layer=layer)
    add_rows(area, "poi_counts", rows, ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))


def add_graph(area: Area, file: Path, provenance: Provenance, ledger: Ledger, *, replace: bool = False) -> None:
    """Add facts of a knowledge graph; entities are made from them."""
    known = set(area.regions["region_id"]) if area.has_regions else set()
    triples, entities = read_graph(file, known)
    add_rows(area, "entities", entities, ledger, replace=replace)
    add_rows(area, "triples", triples, ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))


def add_captions(
    area: Area,
    source: Path,
    asked: CaptionSettings,
    reading: Reading,
    provenance: Provenance,
    ledger: Ledger,
    progress: Progress = silent,
    *,
    replace: bool = False,
) -> None:
    """Add captions to the area's images; pictures that lie beside them and are not yet in the area are added too.

    A caption whose image is neither is an `InputError`, or with `skip_bad` counted.
    """
    captions, pictures = read_captions(source, reading, ledger)
    found, lost = match_images(captions, area.images["image_id"])
    new = {stem_of(name): path for name, path in pictures.items()}
    beside, nowhere = match_images(lost, new)
    if nowhere and not asked.skip_bad:
        raise InputError(
            f"{nowhere[0].where}: no image is called {nowhere[0].image!r} ({len(nowhere)} such captions); add the "
            "images first (chorograph area add imagery), or go on with --skip-bad"
        )
    ledger.drop("caption of an image that is not there", len(nowhere))
    if beside:
        _add_images(
            area,
            _pictures(area, {i: new[i] for i, _ in beside}, provenance, asked, ledger, progress),
            provenance,
            ledger,
        )
    pairs = [(image, one.caption) for image, one in [*found, *beside]]
    frame = pd.DataFrame(pairs, columns=["image_id", "caption"]).drop_duplicates()
    frame["rank"] = frame.groupby("image_id").cumcount()
    frame["caption_id"] = frame["image_id"] + "#" + frame["rank"].astype(str)
    add_rows(area, "captions", frame.assign(origin=asked.origin), ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))


def add_embeddings(
    area: Area,
    file: Path,
    asked: EmbeddingSettings,
    reading: Reading,
    id_column: str,
    provenance: Provenance,
    ledger: Ledger,
    *,
    replace: bool = False,
) -> None:
    """Add vectors made elsewhere, of images or of regions, under a name of their own."""
    regions = area.regions["region_id"] if area.has_regions else []
    vectors = read_vectors(file, asked.name, reading, id_column, list(regions), area.images, ledger)
    add_vectors(area, asked.name, vectors, ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))


def _regions(area: Area) -> gpd.GeoDataFrame:
    if not area.has_regions:
        raise InputError(f"{area.path} has no regions; make the area with `chorograph area new OUT --regions FILE`")
    return area.regions


def _pictures(
    area: Area,
    files: dict[str, Path],
    provenance: Provenance,
    asked: CaptionSettings,
    ledger: Ledger,
    progress: Progress,
) -> pd.DataFrame:
    into, scaling = ImagesOf(area), choose_scaling(list(files.values()), None, None, ledger.warnings)
    rows = []
    for done, (name, path) in enumerate(files.items(), start=1):
        held = take(into, name, path, scaling, ledger, skip_bad=asked.skip_bad)
        rows.append((name, held.uri if held else None, held.sha256 if held else None))
        progress("reading pictures", done, len(files))
    frame = pd.DataFrame(rows, columns=["image_id", "uri", "sha256"])
    return frame.assign(view=asked.view, source=provenance.source, licence=provenance.licence)


def _add_images(
    area: Area, rows: pd.DataFrame, provenance: Provenance, ledger: Ledger, *, replace: bool = False
) -> None:
    before = area.images.set_index("image_id")["uri"]
    named = before.reindex(rows["image_id"]).to_numpy(object)
    now = rows["uri"].to_numpy(object)
    add_rows(area, "images", rows, ledger, replace=replace)
    add_source(area, Source(provenance.source, provenance.licence))
    gone = [str(old) for old, new in zip(named, now, strict=True) if isinstance(old, str) and old != new]
    remove_unnamed(area, [uri for uri in gone if ".tar#" not in uri])
    held = Area.open(area.path).images["uri"].notna()
    ledger.count("images held", int(np.sum(held)))
