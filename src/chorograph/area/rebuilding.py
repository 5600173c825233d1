"""Building an area anew in its place: what other verbs put there stays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chorograph.area.folder import Area
from chorograph.area.tables import TABLES
from chorograph.ground.errors import InputError
from chorograph.ground.files import sha256_file

#: Steps that write into the tables that a build makes.
_SHARED = ("imagery", "streetviews", "indicators", "raster", "places", "graph", "captions")


def check_only_built(area: Path) -> None:
    """Raise `InputError` where other files were added to the area since it was built."""
    grown = sorted(
        path.name.removesuffix(".manifest.json")
        for path in (area / "added").glob("*.manifest.json")
        if path.name.startswith(_SHARED)
    )
    if grown:
        raise InputError(
            f"{area} has grown since it was built ({', '.join(grown)}): building it anew would lose that; mend it with "
            "`chorograph area add … --replace`, or build in another place"
        )


def put_in_place(new: Path, area: Path, made: Iterable[str]) -> None:
    """Move the tables and images of a whole area `new` into the existing one at `area`.

    `made` are the tables that the build before made: those that are not made again go. All else stays, embeddings above
    all: their vectors are found by the hash of an image, and hold for every picture that is the same. Each file moves
    in one step, images before the table that names them. Raises `InputError` where captions would lose their image.
    """
    _check_captions(new, area)
    (area / "images").mkdir(exist_ok=True)
    for file in sorted((new / "images").glob("*")):
        target = area / "images" / file.name
        if not (target.is_file() and sha256_file(target) == sha256_file(file)):
            file.replace(target)
    for name in TABLES:
        if (table := new / f"{name}.parquet").is_file():
            table.replace(area / table.name)
        elif name in made:
            (area / f"{name}.parquet").unlink(missing_ok=True)
    (new / "area.toml").replace(area / "area.toml")
    named = {str(uri) for uri in Area.open(area).images["uri"].dropna()}
    for file in sorted((area / "images").glob("*")):
        if f"images/{file.name}" not in named:
            file.unlink()


def _check_captions(new: Path, area: Path) -> None:
    captions = Area.open(area).captions
    lost = ~captions["image_id"].isin(set(Area.open(new).images["image_id"]))
    if lost.any() and not (new / "captions.parquet").is_file():
        raise InputError(
            f"{area} has captions of {int(lost.sum())} images that would be gone (first "
            f"{captions['image_id'][lost].iloc[0]!r}); build in another place"
        )
