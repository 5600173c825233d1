"""Taking tiles into an area, and noticing one picture that stands for many."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from chorograph.acquisition.own.imagery.pictures import Held, Images, take
from chorograph.acquisition.own.imagery.pixels import choose_scaling
from chorograph.acquisition.own.imagery.tiles import Tiles
from chorograph.acquisition.own.own_settings import ImagerySettings
from chorograph.ground.stage import Ledger, Progress, silent

#: The columns of tiles that an area's table of images has too.
_KEPT = ("region_id", "zoom", "x", "y", "lon", "lat", "captured", "licence")
#: One picture in so many regions is no picture of any of them.
_SEVERAL = 3


class Holder(Images, Protocol):
    """Takes pictures in, and out again."""

    def remove_image(self, uri: str) -> None:
        """Take out a picture that was just taken in."""


def hold_tiles(
    into: Holder,
    tiles: Tiles,
    asked: ImagerySettings,
    source: str,
    licence: str,
    ledger: Ledger,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Take every tile that opens into the area; returns the rows of its table of images."""
    frame = tiles.frame
    files = [path for path in frame["path"] if path.is_file()]
    scaling = choose_scaling(files, asked.scale, asked.bands, ledger.warnings)
    held: list[Held | None] = []
    for done, (name, path, row) in enumerate(zip(frame["tile"], frame["path"], frame["row"], strict=True), start=1):
        where = tiles.where(int(row))
        held.append(take(into, name, path, scaling, ledger, skip_bad=asked.skip_bad, where=where))
        progress("reading tiles", done, len(frame))
    columns: dict[str, Any] = {column: frame[column] for column in _KEPT if column in frame}
    images = pd.DataFrame({"image_id": frame["tile"], **columns})
    images["uri"] = pd.Series([one.uri if one else None for one in held], index=frame.index, dtype=object)
    images["sha256"] = pd.Series([one.sha256 if one else None for one in held], index=frame.index, dtype=object)
    if flat := [name for name, one in zip(frame["tile"], held, strict=True) if one and one.flat]:
        ledger.count("images of one colour", len(flat))
        if len(flat) >= _SEVERAL:
            ledger.warnings.append(
                f"{len(flat)} pictures show one colour each (first {flat[0]!r}): open water, or no imagery at all"
            )
    _notice_repeated(into, images, frame["path"], asked.repeated == "drop", ledger)
    given = images["licence"] if "licence" in images else pd.Series(None, index=images.index, dtype=object)
    return images.assign(view="satellite", source=source, licence=given.fillna(licence))


def _notice_repeated(into: Holder, images: pd.DataFrame, paths: pd.Series[Any], drop: bool, ledger: Ledger) -> None:
    """Name pictures that stand in several regions (without regions: for several tiles); drop them where asked."""
    held = images[images["sha256"].notna()]
    place = "region_id" if "region_id" in images and images["region_id"].notna().any() else "image_id"
    regions = held.groupby("sha256")[place].nunique().sort_values(ascending=False, kind="stable")
    for digest, number in regions[regions >= _SEVERAL].items():
        rows = held.index[held["sha256"] == digest]
        what = f"one picture stands for {len(rows)} tiles" + (f" in {number} regions" if place == "region_id" else "")
        name = Path(paths[rows[0]]).name
        if not drop:
            ledger.warnings.append(
                f"{what} ({name}): where it is a provider's 'no imagery', leave it out with --repeated drop; regions "
                "that share a picture stay in one fold"
            )
            continue
        ledger.drop("image repeated in several regions", len(rows))
        ledger.warnings.append(f"{what} ({name}): they are known, but not held (--repeated drop)")
        for uri in images.loc[rows, "uri"]:
            into.remove_image(uri)
        images.loc[rows, ["uri", "sha256"]] = None
