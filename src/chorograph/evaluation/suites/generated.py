"""Generated pictures beside real ones: Frechet distance of their features, and how well they show their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chorograph.area.images import read_rgb
from chorograph.evaluation.examples.checks import check_photograph
from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.files import read_json
from chorograph.models.encoders.protocols import ImageEncoder

_BATCH = 64
_KINDS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def read_pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures that `generate` listed in a folder, and their prompts; `InputError` for another folder."""
    listed = folder / "pictures.json"
    if not listed.is_file():
        raise InputError(f"{folder} holds no pictures.json; give a folder that `chorograph generate` wrote")
    content = read_json(listed)
    try:
        rows = content["pictures"] if isinstance(content, dict) else []
        found = [(folder / Path(str(row["file"])).name, str(row["prompt"])) for row in rows]
    except (KeyError, TypeError) as error:
        raise InputError(f"{listed} is damaged: {error!r}") from error
    return [path for path, _ in found], [prompt for _, prompt in found]


def real_pictures(folder: Path) -> list[Path]:
    """Return the images below a folder; `InputError` for one that holds none, and for an image that is generated."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _KINDS)
    if not found:
        raise InputError(f"{folder} holds no images")
    for path in found:
        check_photograph(path)
    return found


def features_of(encoder: ImageEncoder, files: Sequence[Path]) -> NDArray[np.float32]:
    """Return an encoder's features (n, dim) of image files."""
    parts = (files[start : start + _BATCH] for start in range(0, len(files), _BATCH))
    return np.concatenate([encoder.encode([read_rgb(path) for path in part]) for part in parts])


def frechet_distance(real: NDArray[np.float32], generated: NDArray[np.float32]) -> float:
    """Return the Frechet distance of two sets of features (n, dim) (Heusel et al. 2017), by torchmetrics.

    It depends on the network that made the features, and on how many there are: below some thousands it is biased
    upwards. Raises `InputError` for fewer than two of either.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError as error:
        raise MissingExtraError.of("generate", error) from error
    if min(len(real), len(generated)) < 2:
        raise InputError("a distance of distributions needs two pictures of either kind, and better thousands")
    given: Any = torch.nn.Identity()  # features are given as they are, in the place of images
    given.num_features = real.shape[1]
    metric = FrechetInceptionDistance(feature=given)
    for array, kind in ((real, True), (generated, False)):
        metric.update(torch.from_numpy(np.asarray(array, dtype=np.float32)), real=kind)
    return float(metric.compute())


def clip_score(images: NDArray[np.float32], texts: NDArray[np.float32]) -> float:
    """Return the mean of 100 max(cosine, 0) of image and text features (n, dim) of unit length, row by row.

    Hessel et al. 2021 as torchmetrics scales it; the paper's own factor is 2.5.
    """
    return float(100 * np.clip((images * texts).sum(1), 0, None).mean())
