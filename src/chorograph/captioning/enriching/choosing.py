"""Choosing among candidate captions as RS5M's third part does (Zhang et al. 2024, section III-B, B6 to B10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chorograph.ground.arrays import Pixels, Vector
from chorograph.ground.errors import ImageError
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.models.encoders.protocols import ImageTextEncoder

#: Degrees that an image is turned by for the choice that does not depend on how it lies.
ANGLES = tuple(range(0, 360, 30))
#: How many of the candidates stay after the first encoder and after the second.
FIRST, SECOND = 10, 5
#: Origins begin with these: the best-ranked captions, and the one that turning the image changes least.
TOP, TURNED = "top:", "turned:"


@dataclass(frozen=True)
class Chosen:
    """Rows of the candidates of an image: the best by two encoders, best first, and the rotation-invariant one."""

    top: tuple[int, ...]
    turned: int


def cascade(first: ArrayLike, second: ArrayLike, *, keep: int = FIRST, then: int = SECOND) -> tuple[int, ...]:
    """Return the rows of the best `then` candidates by `second` among the best `keep` by `first`, best first."""
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    kept = np.argsort(-one, kind="stable")[:keep]
    return tuple(kept[np.argsort(-two[kept], kind="stable")][:then].tolist())


def least_turned(similarity: ArrayLike) -> int:
    """Return the row of similarities (candidates, angles) that varies least over the angles."""
    return int(np.asarray(similarity, dtype=np.float64).var(axis=1).argmin())


def turn(image: Pixels, degrees: float) -> Pixels:
    """Return an image turned, of its own size; the corners that come in are mirrored, not black."""
    from PIL import Image

    height, width = image.shape[:2]
    margin = int(np.ceil((np.hypot(height, width) - min(height, width)) / 2))
    margin = min(margin, min(height, width) - 1)
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    turned = np.asarray(Image.fromarray(wide).rotate(degrees, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(turned[margin : margin + height, margin : margin + width])


def choose(image: Pixels, texts: Sequence[str], first: ImageTextEncoder, second: ImageTextEncoder) -> Chosen:
    """Choose among candidate captions of an image: 20 to 10 by `first`, to 5 by `second`, and one over 12 angles.

    Which of its encoders the paper turns the image for it does not say; here it is the second, among the five.
    """
    told = second.encode_texts(texts)
    top = cascade(
        _cosine(first.encode([image]), first.encode_texts(texts))[0], _cosine(second.encode([image]), told)[0]
    )
    turned = second.encode([turn(image, angle) for angle in ANGLES])
    return Chosen(top, top[least_turned(_cosine(turned, told[list(top)]).T)])


def choose_area(
    area: Area,
    origin: str,
    first: ImageTextEncoder,
    second: ImageTextEncoder,
    ledger: Ledger,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the chosen captions of an area: `top:ORIGIN`, ranked and scored, and `turned:ORIGIN`, one an image."""
    captions = area.captions[area.captions["origin"] == origin].sort_values(["image_id", "rank", "caption_id"])
    uris = area.images.drop_duplicates("image_id").set_index("image_id")["uri"].dropna()
    groups: list[Any] = list(captions.groupby("image_id"))
    rows: list[tuple[Any, ...]] = []
    for number, (image_id, group) in enumerate(groups, start=1):
        if image_id not in uris:
            ledger.drop("image known but not held")
            continue
        try:
            image = area.read_image(uris[image_id])
        except ImageError as error:
            ledger.drop(f"image {error.reason}")
            continue
        texts = list(dict.fromkeys(group["caption"]))
        chosen = choose(image, texts, first, second)
        scores: Vector = _cosine(second.encode([image]), second.encode_texts([texts[row] for row in chosen.top]))[0]
        rows += [
            (f"{image_id}#{TOP}{origin}{rank}", image_id, rank, texts[row], TOP + origin, float(score))
            for rank, (row, score) in enumerate(zip(chosen.top, scores.tolist(), strict=True))
        ]
        rows.append((f"{image_id}#{TURNED}{origin}", image_id, 0, texts[chosen.turned], TURNED + origin, None))
        ledger.count("candidates", ledger.counts.get("candidates", 0) + len(texts))
        progress("choosing captions", number, len(groups))
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "rank", "caption", "origin", "score"])


def _cosine(one: ArrayLike, other: ArrayLike) -> Any:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    a, b = a / np.linalg.norm(a, axis=1, keepdims=True), b / np.linalg.norm(b, axis=1, keepdims=True)
    return a @ b.T
