"""Taking an image into an area: it is opened first, so that an area holds nothing that cannot be read."""

from __future__ import annotations

from pathlib import Path

from chorograph.area.draft import AreaDraft
from chorograph.area.images import read_rgb
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.stage import Ledger


def hold(
    draft: AreaDraft, image_id: str, file: Path | None, ledger: Ledger, *, skip_bad: bool, where: str = ""
) -> tuple[str | None, str | None]:
    """Copy an image that opens into the draft; returns (uri, sha256), or (None, None): known, but not held.

    A file that cannot be read is an `InputError` naming it, and `where` it is listed; with `skip_bad` it is counted by
    its reason instead.
    """
    if file is None:
        return None, None
    try:
        read_rgb(file)
        return draft.add_image(image_id, file)
    except ImageError as error:
        if not skip_bad:
            place = f" ({where})" if where else ""
            raise InputError(
                f"{file}{place}: {error.reason}; mend it, or go on past bad images with --skip-bad"
            ) from error
        ledger.drop(f"image {error.reason}")
        return None, None
