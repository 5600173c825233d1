"""Vectors made elsewhere: a table of ids and numbers, of images or of regions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.acquisition.own.captions import image_finder
from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.reading.ids import id_column_of, match_regions
from chorograph.acquisition.own.reading.numbers import SURE_CODES, is_textual, numbers
from chorograph.acquisition.own.reading.tables import OwnTable, is_nested, read_table
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
    if not len(table):
        raise InputError(f"{path} holds a header and no row")
    ids = match_regions(table, column, regions, notes) if column else _images(table.filled(str(image)), images)
    if (twice := ids.duplicated()).any():
        raise InputError(f"{path}: {ids[twice].iloc[0]!r} appears twice ({table.line(twice)})")
    vectors = _vectors(table, {str(column or image)})
    if (odd := pd.Series(~np.isfinite(vectors).all(1))).any():
        raise InputError(f"{path}: the vector of {ids[odd].iloc[0]!r} is not finite ({table.line(odd)})")
    if (coded := pd.Series(np.isin(vectors, SURE_CODES).any(1))).any():
        value = vectors[coded.to_numpy()][np.isin(vectors[coded.to_numpy()], SURE_CODES)][0]
        raise InputError(
            f"{path}: the vector of {ids[coded].iloc[0]!r} holds {value:g}, a code for missing ({table.line(coded)}); "
            "leave its row away"
        )
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
    if listed is not None and any(is_nested(cell) or str(cell).startswith("[") for cell in table.frame[listed]):
        return _of_lists(table, listed)
    columns = [name for name in table.columns if name not in others and not is_textual(table, name)]
    if not columns:
        raise InputError(f"{table.path} has neither a column of vectors ({', '.join(_LIST)}) nor columns of numbers")
    with np.errstate(over="ignore"):  # what single precision cannot hold is not finite, and named
        return np.stack([numbers(table, name).to_numpy() for name in columns], axis=1).astype(np.float32)


def _of_lists(table: OwnTable, column: str) -> NDArray[np.float32]:
    """Return the vectors of a column of lists, or of their text as CSV holds it; `InputError` names a row of none."""
    vectors: list[NDArray[np.float32]] = []
    for row, cell in enumerate(table.frame[column]):
        try:
            with np.errstate(over="ignore"):
                vector = np.asarray(json.loads(cell) if isinstance(cell, str) else cell, dtype=np.float32)
        except (ValueError, TypeError, RecursionError):
            vector = np.empty(0, np.float32)
        if vector.ndim != 1 or not vector.size or vector.size != (vectors[0].size if vectors else vector.size):
            wanted = f"{vectors[0].size} numbers, as the first is" if vectors else "numbers"
            raise InputError(
                f"{table.path}: {column} is no list of {wanted}, in {table.unit} {table.lines[row]}: {str(cell)[:60]}"
            )
        vectors.append(vector)
    return np.stack(vectors)


def _images(names: pd.Series[Any], images: pd.DataFrame) -> pd.Series[Any]:
    """Return the ids of the images that names mean (an id, or a file with its suffix), else the names themselves."""
    known = image_finder(images["image_id"])
    return names.map(lambda name: known(name) or name)
