"""Vectors made elsewhere: a table of ids and numbers, of images or of regions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.reading.ids import id_column_of, match_regions
from chorograph.acquisition.own.reading.numbers import is_textual, numbers
from chorograph.acquisition.own.reading.tables import OwnTable, read_table
from chorograph.area.embeddings import Embeddings
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger

_IMAGE = ("image_id", "tile", "image", "filename", "file_name")
_LIST = ("embedding", "vector", "features")


def read_vectors(
    path: Path,
    name: str,
    reading: Reading,
    id_column: str,
    regions: list[str],
    images: pd.DataFrame,
    ledger: Ledger,
) -> Embeddings | GraphEmbeddings:
    """Return vectors by `name`: of regions where the table names regions, else of images.

    The vector is a column of lists (Parquet) or all columns of numbers, in their order. A vector that is not finite, an
    id that appears twice and an unknown region are `InputError`s with their row; images that the area has not are
    counted.
    """
    table = read_table(path, reading)
    notes = list(table.notes)
    column = id_column_of(table, id_column, regions, notes) if regions else None
    image = None if column else table.need(_IMAGE)
    ids = match_regions(table, column, regions, notes) if column else table.filled(str(image))
    if (twice := ids.duplicated()).any():
        raise InputError(f"{path}: {ids[twice].iloc[0]!r} appears twice ({table.line(twice)})")
    vectors = _vectors(table, {str(column or image)})
    if (odd := pd.Series(~np.isfinite(vectors).all(1))).any():
        raise InputError(f"{path}: the vector of {ids[odd].iloc[0]!r} is not finite ({table.line(odd)})")
    ledger.warnings.extend(notes)
    digest = hashlib.sha256(vectors.tobytes()).hexdigest()
    if column:
        return GraphEmbeddings(name, digest, ids.to_numpy(object), vectors, note=f"made elsewhere: {path.name}")
    hashes = images.set_index("image_id")["sha256"].reindex(ids)
    known = ids.isin(set(images["image_id"])).to_numpy()
    ledger.drop("vector of an image that is not there", int((~known).sum()))
    if not known.any():
        raise InputError(f"{path}: the area has none of its {len(ids)} images (first {ids.iloc[0]!r})")
    sha = hashes.fillna("").to_numpy(object)
    return Embeddings(name, digest, ids.to_numpy(object)[known], sha[known], vectors[known])


def _vectors(table: OwnTable, others: set[str]) -> NDArray[np.float32]:
    listed = next((name for name in _LIST if name in table.columns), None)
    if listed is not None and len(table) and isinstance(table.frame[listed].iloc[0], list | tuple | np.ndarray):
        widths = {len(cell) for cell in table.frame[listed]}
        if len(widths) != 1:
            raise InputError(f"{table.path}: {listed} has vectors of {len(widths)} lengths")
        return np.stack([np.asarray(cell, dtype=np.float32) for cell in table.frame[listed]])
    columns = [name for name in table.columns if name not in others and not is_textual(table, name)]
    if not columns:
        raise InputError(f"{table.path} has neither a column of vectors ({', '.join(_LIST)}) nor columns of numbers")
    return np.stack([numbers(table, name).to_numpy() for name in columns], axis=1).astype(np.float32)
