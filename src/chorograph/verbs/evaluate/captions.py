"""`evaluate captions`: captions, from a file or written by a CoCa, judged against human ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.files import atomic_path
from chorograph.ground.settings import at_least, between, setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.evaluate.settings import EvaluateSettings, PartSettings, finish, run_evaluation
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(PartSettings, EvaluateSettings):
    """Settings of `chorograph evaluate captions`."""

    data: Path = setting(
        help="the references: an area, a data set with captions, or (with --candidates) a JSON or CSV file of captions"
    )
    model: str | None = setting(None, help="a CoCa that writes the captions: a checkpoint folder, open_clip:NAME/TAG")
    candidates: Path | None = setting(None, help="captions written elsewhere, one an image: JSON or CSV")
    scorer: str | None = setting(None, help="model of CLIPScore; published ones use open_clip:ViT-B-32/openai")
    meteor: bool = setting(False, help="METEOR too; it needs Java and the package pycocoevalcap")
    meteor_nltk: bool = setting(
        False, help="METEOR as RS5M's authors measure it, one reference at a time; it needs nltk and its WordNet"
    )
    max_length: int | None = setting(
        None, help="most tokens of a written caption; default: the model's", within=at_least(1)
    )
    top_p: float = setting(
        0.0,
        help="draw tokens among the likeliest of this probability; 0 takes the likeliest",
        within=between(0, 1),
    )
    skip_bad: bool = setting(False, help="go on past images that cannot be read, and count them by reason")


def inputs(settings: Settings) -> list[Path]:
    """Return the references, the captions, what training saw, and the models that are files or folders."""
    from chorograph.area.named_files import named_file

    if (settings.data / "area.toml").is_file():
        # The tables of an area name its images by hash.
        found = [settings.data / f"{table}.parquet" for table in ("images", "captions")]
    else:
        found = [settings.data]
    found += [*settings.seen, *([settings.candidates] if settings.candidates else [])]
    if settings.split is not None:
        found.append(named_file(settings.data / "splits", settings.split))
    return found + [Path(name) for name in (settings.model, settings.scorer) if name and Path(name).exists()]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Judge the captions, and write `scores.json` and `captions.csv`."""
    from chorograph.metrics.captions import check_meteor, check_meteor_nltk

    if (settings.model is None) == (settings.candidates is None):
        raise SettingError("options: say whose captions are judged: --model, or --candidates (one of them)")
    if settings.split is not None and not (settings.data / "area.toml").is_file():
        raise InputError(f"{settings.data} is no area, so it has no split {settings.split!r}; leave --split away")
    if settings.meteor:
        check_meteor()
    if settings.meteor_nltk:
        check_meteor_nltk()

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.suites.written import judge_file, judge_model, score_captions

        shared: dict[str, Any] = {
            "split": settings.split,
            "role": settings.role,
            "scorer": settings.scorer,
            "device": settings.device,
        }
        if settings.model is not None:
            decoding = {"max_length": settings.max_length, "top_p": settings.top_p, "seed": settings.seed}
            judgement = judge_model(settings.model, settings.data, ledger, progress, **shared, decoding=decoding,
                                    seen_files=settings.seen, skip_bad=settings.skip_bad)  # fmt: skip
        else:
            judgement = judge_file(Path(str(settings.candidates)), settings.data, ledger, progress, **shared)
        result, images, table = score_captions(
            judgement, settings.seed, ledger, with_meteor=settings.meteor, with_nltk=settings.meteor_nltk
        )
        with atomic_path(settings.out / "captions.csv") as temporary:
            images.to_csv(temporary, index=False)
        ledger.outputs.append(settings.out / "captions.csv")
        finish(settings.out, result, table, ledger)

    return run_evaluation("evaluate captions", settings, inputs(settings), work)


VERB = Verb(
    "evaluate captions",
    "Judge captions, from a file or written by a CoCa, against human ones.",
    Settings,
    run,
    example="chorograph evaluate captions --model rsicd-coca --data rsicd --split by_class --out captions",
)
