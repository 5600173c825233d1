"""Latent semantic analysis: text vectors without a trained model, learnt from the area's own captions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Matrix

#: Change it when the same captions would give other vectors.
_VERSION = b"lsa 1"


class LatentSemanticAnalysis:
    """TF-IDF of words and pairs of words, reduced to `components` by a truncated SVD (Deerwester et al. 1990).

    Learnt from all captions that it encodes: no label is seen, so it need not be learnt anew in each fold.
    """

    def __init__(self, components: int, seed: int = 0) -> None:
        self.components = components
        self.seed = seed
        self.fingerprint = ""

    @property
    def name(self) -> str:
        """The full name that loads it again."""
        return f"lsa:{self.components}"

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
        """Return (n, min(components, words)) float32 for n texts: of unit length, or zeros for one without a word."""
        digest = hashlib.sha256(_VERSION + f"{self.components} {self.seed}".encode())
        for text in texts:
            digest.update(text.encode() + b"\0")
        self.fingerprint = digest.hexdigest()
        vectors = latent_vectors(texts, self.components, self.seed, ngram_range=(1, 2))
        if unit:
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        return np.asarray(vectors, dtype=np.float32)


def latent_vectors(texts: Sequence[str], components: int, seed: int, **words: Any) -> Matrix:
    """Return (n, min(components, words)): TF-IDF with logarithmic counts, reduced by a truncated SVD.

    `words` are scikit-learn's settings of what counts as a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weighted = TfidfVectorizer(sublinear_tf=True, **words).fit_transform(texts)
    vectors: Matrix = TruncatedSVD(min(components, *weighted.shape), random_state=seed).fit_transform(weighted)
    return vectors
