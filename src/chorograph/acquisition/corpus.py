"""Corpora: images with classes or captions, without regions. A class is a fact of the graph: image isOf class."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd


def class_facts(classes: Iterable[tuple[str, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return triples and entities for (image_id, class) pairs."""
    pairs = list(classes)
    triples = pd.DataFrame(
        [(f"image:{i}", "isOf", f"class:{c}") for i, c in pairs], columns=["head", "relation", "tail"]
    )
    images = [(f"image:{image}", "image") for image, _ in pairs]
    names = [(f"class:{name}", "class") for name in sorted({name for _, name in pairs})]
    return triples, pd.DataFrame(images + names, columns=["entity", "kind"])
