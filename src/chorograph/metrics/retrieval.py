"""How well images and texts find each other: exact ranks of the best match, without holding all similarities.

The rank of a row counts, from 1, the columns that do not belong to it and score higher or the same: a tie counts
against the model, whatever the sign of the similarities, so that a model that gives all the same score earns nothing.
Published code leaves ties to how a library sorts; what that comes to, ties broken at random, is given beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices, Vectors
from chorograph.metrics.regression import BlockBootstrap, Estimate

#: The ranks that recall is reported at.
CUTS = (1, 5, 10)
WAYS = ("image_to_text", "text_to_image")

#: Images and texts whose similarities are held at once: 32 MB of float32.
_IMAGES, _TEXTS = 1024, 8192
#: Pairs whose features are gathered at once.
_PAIRS = 65536


@dataclass(frozen=True)
class Belonging:
    """Which of `texts` texts describe which of `images` images: pair p says that text[p] belongs to image[p].

    Every image and every text stands in at least one pair, and no pair appears twice.
    """

    images: int
    texts: int
    image: Indices
    text: Indices

    def __post_init__(self) -> None:
        """Check; `ValueError` for an image without a text, a text without an image, a repeated pair."""
        for name, number, ids in (("image", self.images, self.image), ("text", self.texts, self.text)):
            if len(ids) and (ids.min() < 0 or ids.max() >= number):
                raise ValueError(f"a pair names an {name} that is not among the {number}")
            if not np.bincount(ids, minlength=number).all():
                raise ValueError(f"every {name} must belong to something")
        if len(np.unique(self.image * self.texts + self.text)) != len(self.image):
            raise ValueError("a pair of image and text appears twice")


@dataclass(frozen=True)
class Ranks:
    """The rank of the best column of each row (n,), ties `against` the model, and who shares that column's score.

    `tied` counts the columns that do not belong to the row and score the same (None: not counted), `own` those that
    belong to it and do.
    """

    against: Indices
    tied: Indices | None
    own: Indices

    def within(self, cut: int, *, ties_at_random: bool = False) -> NDArray[np.float64]:
        """Return whether each row's rank is at most `cut`: 0 or 1; with ties at random, the probability that it is."""
        if not ties_at_random:
            return (self.against <= cut).astype(np.float64)
        if self.tied is None:
            raise ValueError("ties were not counted: best_ranks(..., count_ties=True)")
        places = cut - (self.against - self.tied - 1)
        missed = (places > 0).astype(np.float64)
        for place in range(cut):
            drawn = np.maximum(self.tied - place, 0) / np.maximum(self.tied + self.own - place, 1)
            missed = np.where(place < places, missed * drawn, missed)
        return np.asarray(np.where(places > 0, 1 - missed, 0.0))


@dataclass(frozen=True)
class BothRanks:
    """The ranks of texts for each image, and of images for each text."""

    image_to_text: Ranks
    text_to_image: Ranks


def belonging(captions: Sequence[Sequence[str]], *, shared: bool = True) -> tuple[list[str], Belonging]:
    """Return the texts of n images, and which belong to which.

    With `shared`, a text that several images bear (or one image twice) stands once and belongs to all of them. Without,
    every caption stands for itself and belongs to its own image only, as published tables count.
    """
    owner = np.repeat(np.arange(len(captions)), [len(of_image) for of_image in captions])
    texts = [text for of_image in captions for text in of_image]
    if not shared:
        return texts, Belonging(len(captions), len(texts), owner, np.arange(len(texts)))
    known: dict[str, int] = {}
    column = np.fromiter((known.setdefault(text, len(known)) for text in texts), dtype=np.int64, count=len(texts))
    pairs = np.unique(np.stack([owner, column], axis=1), axis=0)
    return list(known), Belonging(len(captions), len(known), pairs[:, 0], pairs[:, 1])


def best_ranks(
    image_features: Vectors, text_features: Vectors, pairs: Belonging, *, count_ties: bool = True
) -> BothRanks:
    """Return the exact ranks in both directions, from one pass over blocks of similarities.

    Memory is the features, their distinct rows and one block. Equal feature rows are multiplied once and compared by
    what they are, so that their ties do not depend on how a matrix product rounds. Without `count_ties` only the ranks
    against the model are there, sooner. Raises `ValueError` where shapes do not match or a feature is not finite.
    """
    if image_features.shape != (pairs.images, text_features.shape[1]) or len(text_features) != pairs.texts:
        raise ValueError(f"features {image_features.shape} and {text_features.shape} do not match the pairs")
    if not (_finite(image_features) and _finite(text_features)):
        raise ValueError("features must be finite")
    images, texts = _Distinct.of(image_features), _Distinct.of(text_features)
    # A similarity of what belongs together is computed here alone, once for equal features, and used everywhere.
    key = images.id[pairs.image] * len(texts.features) + texts.id[pairs.text]
    key, of_pair = np.unique(key, return_inverse=True)
    at_image, at_text = np.divmod(key, len(texts.features))
    own = _similarities(images.features, texts.features, at_image, at_text)
    score = own[of_pair]
    best_of_image, best_of_text = _best(score, pairs.image, pairs.images), _best(score, pairs.text, pairs.texts)
    of_image, of_text = _Counts.zeros(pairs.images), _Counts.zeros(pairs.texts)
    for a in images.chunks(_IMAGES):
        first, last = np.searchsorted(at_image, (a.start, a.stop))
        for b in texts.chunks(_TEXTS):
            block = images.features[a.start : a.stop] @ texts.features[b.start : b.stop].T
            held = first + np.flatnonzero((at_text[first:last] >= b.start) & (at_text[first:last] < b.stop))
            block[at_image[held] - a.start, at_text[held] - b.start] = own[held]
            block = b.spread(a.spread(block, 0), 1)
            for_image, for_text = best_of_image[a.rows, None], best_of_text[b.rows]
            of_image.reach[a.rows] += _count_across(block >= for_image)
            of_text.reach[b.rows] += _count_down(block >= for_text)
            if count_ties:
                of_image.exceed[a.rows] += _count_across(block > for_image)
                of_text.exceed[b.rows] += _count_down(block > for_text)
    return BothRanks(
        of_image.ranks(pairs.image[score == best_of_image[pairs.image]], ties=count_ties),
        of_text.ranks(pairs.text[score == best_of_text[pairs.text]], ties=count_ties),
    )


def recalls(ranks: BothRanks, *, ties_at_random: bool = False) -> dict[str, float]:
    """Return `image_to_text_recall@k`, `text_to_image_recall@k` and their mean, `mean_recall`."""
    found = {
        f"{way}_recall@{cut}": float(getattr(ranks, way).within(cut, ties_at_random=ties_at_random).mean())
        for way in WAYS
        for cut in CUTS
    }
    return {**found, "mean_recall": float(np.mean(list(found.values())))}


def recall_intervals(
    ranks: BothRanks, pairs: Belonging, bootstrap: BlockBootstrap, *, ties_at_random: bool = False
) -> dict[str, Estimate]:
    """Return the recalls of `recalls`, each with its 95 % interval.

    Images are resampled, each with its texts (a text of several images in equal parts with each); what is searched
    stays whole, as a rank is one among all. A single image has no interval.
    """
    share = 1 / np.bincount(pairs.text, minlength=pairs.texts)[pairs.text]
    texts = np.bincount(pairs.image, share, pairs.images).astype(np.float64)
    found: list[NDArray[np.float64]] = []
    sizes: list[NDArray[np.float64]] = []
    for cut in CUTS:
        found.append(ranks.image_to_text.within(cut, ties_at_random=ties_at_random))
        sizes.append(np.ones(pairs.images))
    for cut in CUTS:
        hits = ranks.text_to_image.within(cut, ties_at_random=ties_at_random)
        found.append(np.bincount(pairs.image, share * hits[pairs.text], pairs.images).astype(np.float64))
        sizes.append(texts)
    hit, size = np.stack(found, axis=1), np.stack(sizes, axis=1)
    drawn = np.concatenate([(w @ hit) / (w @ size) for w in bootstrap.weights(np.arange(pairs.images))])
    drawn = np.column_stack([drawn, drawn.mean(axis=1)])
    lower, upper = np.percentile(drawn, [2.5, 97.5], axis=0).tolist()
    if pairs.images < 2:
        lower = upper = [np.nan] * len(lower)
    named = recalls(ranks, ties_at_random=ties_at_random).items()
    return {name: Estimate(value, a, b) for (name, value), a, b in zip(named, lower, upper, strict=True)}


@dataclass(frozen=True)
class _Counts:
    """How many columns reach the best of each row, and how many exceed it."""

    reach: Indices
    exceed: Indices

    @classmethod
    def zeros(cls, rows: int) -> _Counts:
        """Begin counting."""
        return cls(np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))

    def ranks(self, best_of: Indices, *, ties: bool) -> Ranks:
        """Return the ranks; `best_of` names the row of each belonging column that scores its best."""
        own = np.bincount(best_of, minlength=len(self.reach))
        return Ranks(self.reach - own + 1, self.reach - self.exceed - own if ties else None, own)


@dataclass(frozen=True)
class _Chunk:
    """Rows that are compared together, and the range of distinct features that they have."""

    rows: Indices
    start: int
    stop: int
    of_row: Indices

    def spread(self, block: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Repeat distinct rows (columns, with axis 1) of a block for each row that has them."""
        return block if len(self.rows) == self.stop - self.start else np.take(block, self.of_row - self.start, axis)


@dataclass(frozen=True)
class _Distinct:
    """The distinct rows of a matrix, and which of them each row is."""

    features: Vectors
    id: Indices

    @classmethod
    def of(cls, features: Vectors) -> _Distinct:
        """Find equal rows by their digests."""
        known: dict[bytes, int] = {}
        ids = np.fromiter(
            (known.setdefault(sha256(row.tobytes()).digest(), len(known)) for row in features),
            dtype=np.int64,
            count=len(features),
        )
        if len(known) == len(features):
            return cls(features, ids)
        _, first = np.unique(ids, return_index=True)
        return cls(features[first], ids)

    def chunks(self, size: int) -> Iterator[_Chunk]:
        """Yield all rows, equal ones after each other, `size` at a time."""
        order = np.argsort(self.id, kind="stable")
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            ids = self.id[rows]
            yield _Chunk(rows, int(ids[0]), int(ids[-1]) + 1, ids)


def _similarities(a: Vectors, b: Vectors, rows: Indices, others: Indices) -> Vectors:
    parts = [
        np.einsum("pd,pd->p", a[rows[p : p + _PAIRS]], b[others[p : p + _PAIRS]]) for p in range(0, len(rows), _PAIRS)
    ]
    return np.concatenate(parts)


def _count_across(mask: NDArray[np.bool_]) -> Indices:
    # numpy counts along an axis by adding int64: three times slower than its count of one contiguous row.
    return np.fromiter(map(np.count_nonzero, mask), dtype=np.int64, count=len(mask))


def _count_down(mask: NDArray[np.bool_]) -> Indices:
    # 255 rows at a time, so that the sums fit into bytes: ten times faster than int64 sums.
    parts = [mask[r : r + 255].view(np.uint8).sum(axis=0, dtype=np.uint8) for r in range(0, len(mask), 255)]
    counts: Indices = np.sum(parts, axis=0, dtype=np.int64)
    return counts


def _best(score: Vectors, row: Indices, number: int) -> Vectors:
    best = np.full(number, -np.inf, dtype=np.float32)
    np.maximum.at(best, row, score)
    return best


def _finite(features: Vectors) -> bool:
    # The sum of finite float32 numbers, taken in float64, is finite; no mask as large as the matrix is made.
    return bool(np.isfinite(features.sum(dtype=np.float64)))
