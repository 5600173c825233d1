"""What encoders learnt from an area, kept beside their vectors."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file, save_file

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, check_regular, naming_damage
from chorograph.models.encoders.protocols import FittedEncoder, ImageEncoder
from chorograph.models.encoders.registry import load_encoder, parts_of

#: No part learns more than this of an area.
_MOST_BYTES = 1024**3


def stored_as(model: str, view: str) -> str:
    """Return the name that a model's vectors of a view are stored by: street views beside, not over, satellite ones."""
    return model if view == "satellite" else f"{view}:{model}"


def restore_kept(encoder: ImageEncoder, area: Area, view: str = "satellite") -> list[FittedEncoder]:
    """Give the parts of an encoder what they learnt from the area; return those of which nothing is kept yet."""
    unfitted: list[FittedEncoder] = []
    for part in parts_of(encoder):
        if isinstance(part, FittedEncoder):
            path = _kept_at(area, part.name, view)
            if path.is_file():
                restore_part(part, path)
            else:
                unfitted.append(part)
    return unfitted


def restore_part(part: FittedEncoder, path: Path) -> None:
    """Give a part of an encoder what it learnt of an area; `InputError` naming the file where it is damaged."""
    check_regular(path, _MOST_BYTES)
    with naming_damage(path, "what an encoder learnt of an area", "remove it and run `chorograph embed` again"):
        part.restore(load_file(path))


def keep(part: FittedEncoder, area: Area, view: str = "satellite") -> None:
    """Keep what a part learnt from the area, so that one image more does not change the vectors of all others."""
    with atomic_path(_kept_at(area, part.name, view)) as temporary:
        save_file(dict(part.state()), temporary)


def load_kept_encoder(area: Area, model: str, device: str = "cpu") -> ImageEncoder:
    """Load the encoder that made the area's satellite vectors, fitted as it was then.

    Raises as `load_encoder` does, and `InputError` where what a part learnt is missing.
    """
    encoder = load_encoder(model, device)
    for part in restore_kept(encoder, area):
        raise InputError(
            f"{_kept_at(area, part.name, 'satellite')} is missing; {part.name} needs it: run `chorograph embed` again"
        )
    return encoder


def _kept_at(area: Area, part: str, view: str) -> Path:
    return area.embeddings_path(stored_as(part, view)).with_suffix(".safetensors")
