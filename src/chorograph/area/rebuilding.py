"""Building an area anew in its place: what other verbs put there stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from chorograph.area.folder import Area
from chorograph.area.tables import TABLES
from chorograph.ground.drafts import contents
from chorograph.ground.errors import InputError
from chorograph.ground.stage import MANIFEST

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


def keep_the_rest(area: Path, new: Path, made: Iterable[str]) -> None:
    """Link into the whole area `new`, which is to take the place of `area`, what lies in that and was not built.

    `made` are the tables that the build before made: those that are not made again go. All else stays, embeddings above
    all: their vectors are found by the hash of an image, and hold for every picture that is the same. Files are linked,
    not copied, where the disk can do that. Raises `InputError` where captions would lose their image, or another disk
    is mounted within.
    """
    _check_captions(new, area)
    gone = {MANIFEST, "images", *(f"{name}.parquet" for name in TABLES if name in made)}
    for name in contents(area):
        if name not in gone and not (new / name).exists():
            _link(area / name, new / name)


def _link(source: Path, target: Path) -> None:
    """Make `target` the same as `source`, a file, a link or a folder with all below it."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        if os.path.ismount(source):
            raise InputError(f"{source} is a disk of its own, which cannot move; build in another place")
        target.mkdir()
        for name in contents(source):
            _link(source / name, target / name)
    else:
        try:
            os.link(source, target)
        except OSError:  # the disk knows no links
            shutil.copy2(source, target)


def _check_captions(new: Path, area: Path) -> None:
    captions = Area.open(area).captions
    lost = ~captions["image_id"].isin(set(Area.open(new).images["image_id"]))
    if lost.any() and not (new / "captions.parquet").is_file():
        raise InputError(
            f"{area} has captions of {int(lost.sum())} images that would be gone (first "
            f"{captions['image_id'][lost].iloc[0]!r}); build in another place"
        )
