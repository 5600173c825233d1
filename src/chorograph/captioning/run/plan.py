"""Captions of corpora of millions: the same requests as a Daft plan, on this machine or on Ray.

A query a partition; what it answered goes into the book of answers before the next one begins, so a run that is killed
loses a partition at most. A worker makes its own captioner once, from the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from chorograph.area.folder import Area
from chorograph.captioning.prompts import prompts_of
from chorograph.captioning.registry import captioner
from chorograph.captioning.request import Answer, Captioner, Request
from chorograph.captioning.run.book import AnswerBook
from chorograph.captioning.settings import CaptionSettings
from chorograph.curation.run.engine import daft, engine, mendable
from chorograph.ground.errors import InputError, SettingError

#: Requests of a partition, and of a batch that a worker answers at a time.
PARTITION, _BATCH = 4_096, 256
_REQUEST = ("image_id", "path", "image", "prompt", "system", "rank", "seed")
_ANSWER = pa.struct(
    [("number", pa.int64()), ("text", pa.string()), ("reason", pa.string()), ("passing", pa.bool_()),
     ("score", pa.float64()), ("attempts", pa.int64()), ("tokens", pa.int64())]
)  # fmt: skip


def answer_by_plan(
    area: Area,
    settings: CaptionSettings,
    requests: Sequence[Request],
    book: AnswerBook,
    *,
    name: str,
    ray_address: str | None = None,
    partition: int = PARTITION,
) -> None:
    """Answer requests on the engine `name` (native or ray), and keep the answers in the book.

    A budget cannot be held over many workers: `SettingError` where one is asked for. `InputError` names the partition
    whose query failed; what was answered before stays.
    """
    if settings.max_requests is not None or settings.max_total_tokens is not None:
        raise SettingError("options: --max-requests and --max-total-tokens hold for one process; leave --engine away")
    with engine(name, ray_address):
        for start in range(0, len(requests), partition):
            some = requests[start : start + partition]
            try:
                answers = _query(str(area.path.resolve()), settings, some)
            except Exception as error:
                said = mendable(error) or error
                raise InputError(
                    f"requests {start + 1} to {start + len(some)}: {said}; what was answered before is kept, and the "
                    "same command goes on from there"
                ) from error
            for row in sorted(answers, key=lambda answer: int(answer["number"])):
                request = some[row.pop("number")]
                book.answered(request, Answer(**row))


def _query(area: str, settings: CaptionSettings, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Run the query of a partition; returns a row an answer."""
    module = daft()
    table: dict[str, list[Any]] = {"number": list(range(len(requests)))}
    for column in _REQUEST:
        table[column] = [getattr(request, column) for request in requests]
    table["path"] = [str(path) for path in table["path"]]
    said = asdict(settings)

    def answer(batch: Any) -> Any:
        return answer_rows(batch.to_arrow().to_pylist(), area, said)

    kind = module.DataType.from_arrow_type(_ANSWER)
    wrapped = module.func.batch(return_dtype=kind, unnest=True, batch_size=_BATCH)(answer)
    columns = [module.col(column) for column in ("number", *_REQUEST)]
    frame = module.from_pydict(table).select(wrapped(module.functions.to_struct(*columns)))
    found: list[dict[str, Any]] = frame.to_arrow().to_pylist()
    return found


class _Batch:
    """Keeps the answers of a batch; what they cost is told by the answers themselves."""

    def __init__(self, numbers: dict[Request, int]) -> None:
        self._numbers = numbers
        self.rows: dict[int, dict[str, Any]] = {}

    def answered(self, request: Request, answer: Answer) -> None:
        self.rows[self._numbers[request]] = {"number": self._numbers[request], **asdict(answer)}

    def sent(self, request: Request) -> None:
        """Told by the answer."""

    def ended(self, request: Request, kind: str, tokens: int) -> None:
        """Told by the answer."""

    def spent(self, reserve: int) -> tuple[int, int]:
        return 0, 0


def answer_rows(rows: list[dict[str, Any]], area: str, said: dict[str, Any]) -> pa.Array:
    """Answer the requests of a batch, in a worker."""
    numbers = {}
    for row in rows:
        number = row.pop("number")
        numbers[Request(**{**row, "path": Path(row["path"])})] = number
    kept = _Batch(numbers)
    _worker(area, tuple(sorted(said.items()))).write(list(numbers), kept)
    return pa.array([kept.rows[number] for number in numbers.values()], type=_ANSWER)


@cache
def _worker(area: str, said: tuple[tuple[str, Any], ...]) -> Captioner:
    """Return this process's captioner: a model is loaded once."""
    settings = CaptionSettings(**dict(said))
    return captioner(settings, next(iter(prompts_of(settings.prompt).values())), Area.open(area))
