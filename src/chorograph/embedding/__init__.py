"""Images into vectors, each content once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorograph.area.embeddings import Embeddings
    from chorograph.area.folder import Area
    from chorograph.ground.stage import Progress


def embed(
    area: Area,
    model: str = "default",
    *,
    view: str = "satellite",
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Embeddings:
    """Encode the held images of an area; vectors made before, of unchanged images, are not made again.

    `model`: default, colour, rcf:K, open_clip:NAME/TAG, a checkpoint folder, or several joined by `+`. The vectors
    are also written to `embeddings/` in the area. Raises `UnknownNameError` for a model nobody knows,
    `MissingExtraError` where it needs torch, `InputError` where no image can be read.
    """
    from chorograph.embedding.run import embed_images
    from chorograph.ground.stage import Ledger, silent

    return embed_images(area, model, Ledger(), view=view, device=device, seed=seed, progress=progress or silent)
