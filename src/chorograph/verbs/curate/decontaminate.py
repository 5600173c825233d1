"""`curate decontaminate`: a corpus without the images of test sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import between, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph curate decontaminate`."""

    corpus: Path = setting(help="the corpus to clean")
    against: list[Path] = setting(help="test sets: areas, folders of images, or shards")
    out: Path = setting(help="the clean corpus, a new folder")
    distance: int = setting(
        6,
        help="bits of 64 that two perceptual hashes may differ in and be the same picture",
        within=between(0, 64),
    )


def inputs(settings: Settings) -> list[Path]:
    """Return the corpus and the test sets."""
    return [settings.corpus, *settings.against]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the clean corpus; `removed.parquet` in it says what is gone and why."""
    from chorograph.area.folder import Area
    from chorograph.curation.decontaminate import find_contamination, hash_corpus, read_tests, write_without

    area = Area.open(settings.corpus)

    def work(ledger: Ledger, out: Path) -> None:
        tests = read_tests(settings.against, ledger.drop, progress)
        removed = find_contamination(*hash_corpus(area, ledger.drop, progress), tests, settings.distance)
        left = write_without(area, removed, out)
        ledger.count("test images", len(tests.names))
        ledger.count("images before", len(area.images))
        ledger.count("images left", left)
        for how, number in removed["how"].value_counts().items():
            ledger.drop(str(how), int(number))
        rows = [[row.image_id, row.test_image, row.how, str(row.bits)] for row in removed.head(20).itertuples()]
        ledger.facts["table"] = {"columns": ["removed", "is", "how", "bits"], "rows": rows}

    return make_folder("decontaminate", out=settings.out, config=plain(settings), inputs=inputs(settings), work=work)


VERB = Verb(
    "curate decontaminate",
    "Take the images of test sets out of a corpus, and say which.",
    Settings,
    run,
    ("corpus",),
    "chorograph curate decontaminate corpus --against rsicd --out clean",
)
