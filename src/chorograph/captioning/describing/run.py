"""Describing an area: facts for every region, a model's wording where one is given, into `descriptions.parquet`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from chorograph.captioning.describing.facts import Fact, Facts, runs_of
from chorograph.captioning.describing.wording import Worded, held, parse, request_of, writer_of
from chorograph.captioning.run.area import unanswered
from chorograph.captioning.run.book import AnswerBook
from chorograph.captioning.settings import CaptionSettings
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import slug
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: The origin of sentences that come from tables alone.
FACTS = "facts"
_COLUMNS = ["region_id", "sentence", "rank", "evidence", "origin"]
#: Described regions whose words are shown at once.
_SHOWN = 3


def describe_area(
    area: Area,
    ledger: Ledger,
    *,
    regions: Sequence[str] = (),
    run: str | None = None,
    writer: str | None = None,
    settings: CaptionSettings | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Describe some regions, or all, and write them beside those that were described before; returns the sentences.

    `run`: predictions filed in the area, for indicators that nobody measured; default: the only ones there are.
    `writer`: a language model, `openai:MODEL@URL`. Raises `UnknownNameError` for a region that is not there.
    """
    known = area.regions["region_id"].tolist()
    if not known:
        raise InputError(f"{area.path} has no regions to describe")
    for region_id in regions:
        if region_id not in set(known):
            raise UnknownNameError.of(f"region of {area.path}", region_id, known)
    filed = runs_of(area)
    facts = Facts(area, run if run is not None else filed[0] if len(filed) == 1 else None)
    wanted = list(regions) or known
    told = {}
    for number, region_id in enumerate(wanted, start=1):
        told[region_id] = facts.of(region_id)
        progress("describing", number, len(wanted))
    rows = {region_id: _of_facts(of) for region_id, of in told.items()}
    if writer is not None:
        rows |= _reworded(area, told, writer, settings or CaptionSettings(), ledger, progress)
    frame = pd.DataFrame(
        [
            (region_id, sentence, rank, " ".join(evidence), origin)
            for region_id, lines in rows.items()
            for rank, (sentence, evidence, origin) in enumerate(lines)
        ],
        columns=_COLUMNS,
    )
    before = area.read("descriptions")
    ledger.count("regions described", len(wanted))
    ledger.count("sentences", len(frame))
    if len(wanted) <= _SHOWN:
        said = frame.groupby("region_id", sort=False)["sentence"].agg(" ".join)
        ledger.facts["descriptions"] = said.to_dict()
    kept = before[~before["region_id"].isin(wanted)]
    both = pd.concat([kept, frame], ignore_index=True) if len(kept) else frame
    ledger.outputs.append(area.write("descriptions", both))
    return frame


_Line = tuple[str, tuple[str, ...], str]


def _of_facts(facts: Sequence[Fact]) -> list[_Line]:
    return [(fact.sentence, fact.evidence, FACTS) for fact in facts]


def _reworded(
    area: Area,
    told: dict[str, list[Fact]],
    name: str,
    settings: CaptionSettings,
    ledger: Ledger,
    progress: Progress,
) -> dict[str, list[_Line]]:
    """Return a model's wording of those regions where any of it stands; the others keep their facts, counted."""
    writer = writer_of(name, settings)
    requests = {region_id: request_of(region_id, facts, area) for region_id, facts in told.items()}
    dropped: Counter[str] = Counter()
    rows: dict[str, list[_Line]] = {}
    path = area.path / "captioning" / f"{slug(f'describe {name}')}.jsonl"
    with AnswerBook(path, writer.identity) as book:
        todo = unanswered(list(requests.values()), book)
        book.tell(lambda number: progress(f"wording by {name}", number, len(todo)))
        if todo:
            writer.write(todo, book)
        for region_id, request in requests.items():
            answer = book.answer(request)
            if answer is None or not answer.text:
                ledger.drop(f"wording: {answer.reason if answer else 'no answer'}; the facts stand")
                continue
            kept: list[Worded] = held(parse(answer.text), told[region_id], dropped)
            if not kept:
                ledger.drop("wording: no sentence stands; the facts do")
                continue
            rows[region_id] = [(one.sentence, one.evidence, f"model:{name}") for one in kept]
        ledger.facts["attempts"] = dict(book.kinds)
    for reason, number in dropped.items():
        ledger.drop(f"sentence with {reason}", number)
    return rows
