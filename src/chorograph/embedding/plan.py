"""Encoding corpora of millions: the images of an area as a Daft plan, on this machine or on Ray.

A query a partition, each written whole and found again by a run that was killed. A worker loads its own encoder once;
one that must be fitted takes up what was fitted before (see `embed_images`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.area.images import read_rgb
from chorograph.curation.run.engine import daft, engine, mendable
from chorograph.ground.arrays import Vectors
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import atomic_path
from chorograph.models.encoders.protocols import ImageEncoder

#: Images of a partition, and of a batch that a worker encodes at a time.
PARTITION, _BATCH = 8_192, 256
_ENCODED = pa.struct([("row", pa.int64()), ("vector", pa.list_(pa.float32())), ("reason", pa.string())])
#: Makes an encoder in a worker, ready to encode.
Load = Callable[[], ImageEncoder]


def encode_by_plan(
    load: Load,
    identity: str,
    paths: Sequence[tuple[int, Path]],
    work: Path,
    *,
    name: str,
    ray_address: str | None = None,
    partition: int = PARTITION,
) -> Iterator[tuple[int, Vectors | str]]:
    """Yield (row, vector) of each image, or (row, reason) for one that cannot be read.

    `identity` names the encoder in the partitions that `work` keeps. `InputError` names the partition whose query
    failed; what was finished before stays.
    """
    with engine(name, ray_address):
        for start in range(0, len(paths), partition):
            some = paths[start : start + partition]
            said = repr([identity, *((row, str(path)) for row, path in some)])
            file = work / f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.parquet"
            if not file.is_file():
                try:
                    table = _query(load, identity, some)
                except Exception as error:
                    said = str(mendable(error) or error)
                    raise InputError(
                        f"images {start + 1} to {start + len(some)}: {said}; what was finished before is kept, and the "
                        "same command goes on from there"
                    ) from error
                with atomic_path(file) as temporary:
                    pq.write_table(table, temporary)
            for row in pq.read_table(file).to_pylist():
                yield row["row"], row["reason"] or np.array(row["vector"], dtype=np.float32)


def _query(load: Load, identity: str, paths: Sequence[tuple[int, Path]]) -> pa.Table:
    module = daft()

    def encode(batch: Any) -> Any:
        return _encode_rows(batch.to_arrow().to_pylist(), load, identity)

    kind = module.DataType.from_arrow_type(_ENCODED)
    wrapped = module.func.batch(return_dtype=kind, unnest=True, batch_size=_BATCH)(encode)
    frame = module.from_pydict({"row": [row for row, _ in paths], "path": [str(path) for _, path in paths]})
    columns = module.functions.to_struct(module.col("row"), module.col("path"))
    return frame.select(wrapped(columns)).to_arrow()


def _encode_rows(rows: list[dict[str, Any]], load: Load, identity: str) -> pa.Array:
    """Encode a batch, in a worker."""
    read, held, found = [], [], {}
    for row in rows:
        try:
            read.append(read_rgb(Path(row["path"])))
            held.append(row["row"])
        except ImageError as error:
            found[row["row"]] = {"row": row["row"], "vector": None, "reason": error.reason}
    vectors: Iterable[Any] = _worker(load, identity).encode(read) if read else ()
    for number, vector in zip(held, vectors, strict=True):
        found[number] = {"row": number, "vector": vector.tolist(), "reason": None}
    return pa.array([found[row["row"]] for row in rows], type=_ENCODED)


_LOADED: dict[str, ImageEncoder] = {}


def _worker(load: Load, identity: str) -> ImageEncoder:
    """Return this process's encoder: it is loaded once."""
    if identity not in _LOADED:
        _LOADED[identity] = load()
    return _LOADED[identity]
