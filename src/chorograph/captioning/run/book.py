"""The book of answers: a line an event, appended; what a killed run had answered is never asked again."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from chorograph.captioning.request import Answer, Request
from chorograph.ground.errors import InputError

#: Seconds between two times that the book is brought to the disk; the system holds what was written meanwhile.
_SYNC_S = 1.0


class AnswerBook:
    """Answers by key, and what was spent on them, in a file of JSON lines.

    A line that was cut off by a crash is the last one, and is removed. One process writes at a time (the stage that
    opens the book holds a claim).
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self.answers: dict[str, Answer] = {}
        self.kinds: Counter[str] = Counter()
        self.answered_now = 0
        self.failures = 0
        self._told: Callable[[int], None] = lambda number: None
        self._open: Counter[str] = Counter()
        self._requests = self._tokens = 0
        self._synced = time.monotonic()
        self._file: IO[bytes] | None = None
        self._read()

    def __enter__(self) -> Self:
        """Open for writing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        """Bring everything to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def tell(self, told: Callable[[int], None]) -> None:
        """Call `told` with the number of answers of this run after each."""
        self._told = told

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request, where there is one."""
        return self.answers.get(request.key(self.identity))

    def answered(self, request: Request, answer: Answer) -> None:
        """Keep an answer."""
        self._note({"key": request.key(self.identity), "image_id": request.image_id, **_brief(answer)})
        self.answered_now += 1
        self._told(self.answered_now)

    def sent(self, request: Request) -> None:
        """Note, before it leaves, that an attempt costs a request."""
        self._note({"sent": request.key(self.identity)})

    def ended(self, request: Request, kind: str, tokens: int) -> None:
        """Note how an attempt ended, and the tokens that it cost."""
        self._note({"ended": request.key(self.identity), "kind": kind, "tokens": tokens})
        self.kinds[kind] += 1

    def spent(self, reserve: int) -> tuple[int, int]:
        """Return requests and tokens of all runs; an attempt that never ended counts as `reserve` tokens."""
        return self._requests, self._tokens + reserve * sum(self._open.values())

    def _note(self, event: dict[str, Any]) -> None:
        assert self._file is not None  # noqa: S101  # opened by `with`
        self._file.write(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > _SYNC_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        if "sent" in event:
            self._requests += 1
            self._open[event["sent"]] += 1
        elif "ended" in event:
            self._tokens += int(event["tokens"])
            self._open[event["ended"]] -= 1
        else:
            answer = Answer(**{name: event[name] for name in Answer.__dataclass_fields__ if name in event})
            self.failures += answer.passing
            self.answers[event["key"]] = answer

    def _read(self) -> None:
        if not self.path.exists():
            return
        good = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # cut off by a crash
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise InputError(
                        f"{self.path}, line {number}, is no captioner's answer ({error}); remove the file to ask anew"
                    ) from error
                good += len(line)
        if good < self.path.stat().st_size:
            with self.path.open("rb+") as file:
                file.truncate(good)


def _brief(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in asdict(answer).items() if value not in ("", None, False)}
