"""Captions of an area: every image that is wanted, each asked once, whatever happens in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from chorograph.captioning.prompts import prompts_of
from chorograph.captioning.registry import captioner
from chorograph.captioning.request import Answer, Captioner, Request
from chorograph.captioning.run.book import AnswerBook
from chorograph.captioning.run.requests import make_requests
from chorograph.captioning.settings import CaptionSettings
from chorograph.ground.files import slug
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: The engine that is none: this process.
PLAIN = "plain"
_COLUMNS = ["caption_id", "image_id", "rank", "caption", "origin", "score"]


def book_path(area: Area, name: str) -> Path:
    """Return where the answers of a captioner lie."""
    return area.path / "captioning" / f"{slug(name)}.jsonl"


def caption_area(
    area: Area,
    settings: CaptionSettings,
    ledger: Ledger,
    progress: Progress = silent,
    *,
    engine: str = PLAIN,
    ray_address: str | None = None,
) -> tuple[pd.DataFrame, str]:
    """Return captions (the contract's columns) of the images that the settings want, and their origin.

    Answers are kept in the area as they come: what was answered is never asked again, by an image's hash and the
    prompt. `engine`: `plain` for one process, or `native` or `ray` for a Daft plan.
    Requests without an answer are counted by reason. Raises `InputError` where an endpoint refuses all work.
    """
    prompts = prompts_of(settings.prompt)
    writer = captioner(settings, next(iter(prompts.values())), area)
    if not writer.looks:
        requests = _of_facts(area, settings)
        answers = _Answers()
        writer.write(requests, answers)
        return _frame(requests, writer, answers.of, ledger), writer.origin
    requests = make_requests(area, prompts, settings.view, settings.per_image, settings.seed, ledger)
    path = book_path(area, settings.captioner)
    with AnswerBook(path, writer.identity) as book:
        todo = unanswered(requests, book)
        book.tell(lambda number: progress(f"captions by {settings.captioner}", number, len(todo)))
        ledger.count("requests answered before", len(requests) - len(todo))
        if todo and engine == PLAIN:
            writer.write(todo, book)
        elif todo:
            from chorograph.captioning.run.plan import answer_by_plan

            answer_by_plan(area, settings, todo, book, name=engine, ray_address=ray_address)
        ledger.count("answers now", book.answered_now)
        _account(book, ledger)
        return _frame(requests, writer, book.answer, ledger), writer.origin


def unanswered(requests: Sequence[Request], book: AnswerBook) -> list[Request]:
    """Return the requests that are to be asked: each once, those whose trouble may have passed again."""
    found: dict[str, Request] = {}
    for request in requests:
        answer = book.answer(request)
        if answer is None or answer.passing:
            found.setdefault(request.key(book.identity), request)
    return list(found.values())


class _Answers:
    """Answers that are kept nowhere: of a captioner that costs nothing."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], Answer] = {}

    def of(self, request: Request) -> Answer | None:
        return self._held.get((request.image_id, request.rank))

    def answered(self, request: Request, answer: Answer) -> None:
        self._held[request.image_id, request.rank] = answer

    def sent(self, request: Request) -> None:
        """Nothing is sent."""

    def ended(self, request: Request, kind: str, tokens: int) -> None:
        """Nothing is sent."""

    def spent(self, reserve: int) -> tuple[int, int]:
        return 0, 0


def _of_facts(area: Area, settings: CaptionSettings) -> list[Request]:
    images = area.images.drop_duplicates("image_id")
    if settings.view != "all":
        images = images[images["view"] == settings.view]
    return [
        Request(image_id, area.path, f"id:{image_id}", rank=rank, seed=settings.seed)
        for image_id in images["image_id"]
        for rank in range(settings.per_image)
    ]


def _frame(
    requests: Sequence[Request], writer: Captioner, answer_of: Callable[[Request], Answer | None], ledger: Ledger
) -> pd.DataFrame:
    """Return a row a caption; images without one are counted by reason."""
    name = writer.origin.removeprefix("model:")
    rows = []
    lacking: dict[str, str] = {}
    captioned = set()
    for request in requests:
        answer = answer_of(request)
        if answer is None or not answer.text.strip():
            reason = "no answer" if answer is None else answer.reason or "caption without a word"
            lacking.setdefault(request.image_id, reason)
            continue
        captioned.add(request.image_id)
        rows.append(
            (f"{request.image_id}#{name}{request.rank}", request.image_id, request.rank, answer.text.strip(),
             writer.origin, answer.score)
        )  # fmt: skip
    for reason, number in Counter(reason for image, reason in lacking.items() if image not in captioned).items():
        ledger.drop(reason, number)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _account(book: AnswerBook, ledger: Ledger) -> None:
    """Count what an endpoint cost, and how its attempts ended."""
    requests, tokens = book.spent(0)
    if not requests:
        return
    ledger.count("requests sent, all runs", requests)
    ledger.count("tokens spent, all runs", tokens)
    ledger.facts["attempts"] = dict(book.kinds)
    failed = sum(answer.passing for answer in book.answers.values())
    if failed:
        ledger.warnings.append(f"{failed:,} requests had no answer, for reasons that may pass; run the command again")


def failures(path: Path) -> int:
    """Return how many answers failed so far for a reason that may pass; 0 where nothing was asked yet."""
    return AnswerBook(path, "").failures if path.exists() else 0
