"""`publish`: an area as files that other programs open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph publish`."""

    area: Path = setting(help="the area folder, or a run's; runs beside it are found")
    out: Path = setting(help="folder for index.html (the map), regions.gpkg (QGIS), regions.pmtiles (web maps), STAC")
    pictures: int = setting(
        6, help="pictures a region on the map's cards, from above and from the street each", within=at_least(0)
    )
    run: list[Path] = setting([], help="a run folder that does not lie beside its area")


def inputs(settings: Settings) -> list[Path]:
    """Return the area."""
    return [settings.area]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the files and a manifest into `settings.out`."""
    from chorograph.serving.catalogue.served import Catalogue
    from chorograph.serving.publish.files import write_area_geopackage, write_pmtiles
    from chorograph.serving.publish.site import write_site
    from chorograph.serving.publish.stac import write_stac

    served = next(iter(Catalogue.open([settings.area], settings.run, cache=False)))

    def work(ledger: Ledger, out: Path) -> None:
        ledger.count("regions", len(served.regions))
        ledger.drop("region without geometry: not in the tiles", int(served.regions.geometry.isna().sum()))
        ledger.outputs += [
            write_area_geopackage(served, out / "regions.gpkg"),
            write_pmtiles(served, out / "regions.pmtiles", progress),
            *write_stac(served, out),
            *write_site(served, out, settings.pictures, progress),
        ]

    tables = [served.area.table_path(name) for name in ("regions", "indicators", "images")]
    folders = {run.folder for layer in served.layers.values() for run in layer.runs if run.folder is not None}
    read = [*tables, *(folder / "predictions.parquet" for folder in sorted(folders))]
    asked = {**plain(settings), "area": str(served.area.path.resolve()), "out": str(settings.out.resolve())}
    return make_folder("publish", out=settings.out, config=asked, inputs=read, work=work)


VERB = Verb(
    "publish",
    "Write an area for elsewhere: a map that opens by a double click, a GeoPackage coloured in QGIS, PMTiles, STAC.",
    Settings,
    run,
    ("area", "out"),
    "chorograph publish my-area published",
)
