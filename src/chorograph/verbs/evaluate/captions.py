"""`evaluate captions`: captions, from a file or written by a CoCa, judged against human ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.files import atomic_path
from chorograph.ground.settings import at_least, between, setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.evaluate.settings import EvaluateSettings, PartSettings, finish, run_evaluation
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.evaluation.suites.captions import Judged
    from chorograph.metrics.regression import Estimate
    from chorograph.models.encoders.open_clip import OpenClipEncoder


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
    from chorograph.metrics.captions import check_meteor

    if (settings.model is None) == (settings.candidates is None):
        raise SettingError("options: say whose captions are judged: --model, or --candidates (one of them)")
    if settings.split is not None and not (settings.data / "area.toml").is_file():
        raise InputError(f"{settings.data} is no area, so it has no split {settings.split!r}; leave --split away")
    if settings.meteor:
        check_meteor()

    def work(ledger: Ledger) -> None:
        judge = _written if settings.model else _given
        _score(settings, *judge(settings, ledger, progress), ledger)

    return run_evaluation("evaluate captions", settings, inputs(settings), work)


_Parts = tuple["Judged", dict[str, Any], dict[str, Any]]


def _given(settings: Settings, ledger: Ledger, progress: Progress) -> _Parts:
    """Return captions that came in a file, what is known of them, and scores that need the images."""
    from chorograph.evaluation.accounting import commit
    from chorograph.evaluation.examples.layouts import of_role, read_captioned
    from chorograph.evaluation.suites import captions

    assert settings.candidates is not None  # noqa: S101  # checked at the door
    references = captions.read_references(settings.data, ledger, split=settings.split, role=settings.role)
    where = str(settings.candidates)
    judged = captions.match(captions.read_captions(settings.candidates), references, ledger, where=where)
    result = {"task": "captions", "candidates": where, "data": str(settings.data), "library": {"commit": commit()}}
    if settings.scorer is None:
        return judged, result, {}
    examples = of_role(read_captioned(settings.data, Ledger(), split=settings.split), settings.role)
    return judged, result, _clip_scores(settings, examples, judged, result, progress)


def _written(settings: Settings, ledger: Ledger, progress: Progress) -> _Parts:
    """Return captions that a model writes, with an account of model and data, and scores that need the images."""
    from chorograph.evaluation.accounting import account
    from chorograph.evaluation.examples.encoding import encode_examples
    from chorograph.evaluation.examples.layouts import of_role, read_captioned
    from chorograph.evaluation.examples.seen import read_seen
    from chorograph.evaluation.suites import captions

    assert settings.model is not None  # noqa: S101  # checked at the door
    examples = of_role(read_captioned(settings.data, ledger, split=settings.split), settings.role)
    captioner = _captioner(settings.model, settings.device)
    encoded = encode_examples(captioner, examples, ledger, skip_bad=settings.skip_bad, progress=progress)
    decoding: dict[str, Any] = {"max_length": settings.max_length, "top_p": settings.top_p, "seed": settings.seed}
    written = captions.write_captions(captioner.loaded, encoded.examples, **decoding, progress=progress)
    references = {example.key: list(example.captions) for example in encoded.examples}
    judged = captions.match(written, references, ledger, where=settings.model)
    seen = read_seen(settings.seen, settings.model, ledger, progress)
    result = account("captions", captioner, encoded, settings.data, {}, ledger, seen=seen, decoding=decoding)
    extra = {} if settings.scorer is None else _clip_scores(settings, encoded.examples, judged, result, progress)
    if settings.scorer == settings.model:
        ledger.warnings.append("CLIPScore comes from the model that wrote the captions: it judges itself")
    return judged, result, extra


def _captioner(name: str, device: str) -> OpenClipEncoder:
    from chorograph.models.coca.towers import is_coca
    from chorograph.models.encoders.open_clip import OpenClipEncoder
    from chorograph.models.encoders.registry import load_encoder

    encoder = load_encoder(name, device)
    if not isinstance(encoder, OpenClipEncoder) or not is_coca(encoder.loaded.model):
        raise InputError(f"{name} has no decoder; captions need a CoCa")
    return encoder


def _clip_scores(
    settings: Settings, examples: Any, judged: Judged, result: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    from chorograph.evaluation.suites.captions import clip_scores
    from chorograph.models.encoders.registry import load_image_text_encoder

    scorer = load_image_text_encoder(str(settings.scorer), settings.device)
    result |= {"scorer": scorer.name, "scorer_fingerprint": scorer.fingerprint}
    return {"clip_score": clip_scores(scorer, examples, judged, progress)}


def _score(settings: Settings, judged: Judged, result: dict[str, Any], extra: dict[str, Any], ledger: Ledger) -> None:
    from chorograph.evaluation.accounting import interval
    from chorograph.evaluation.suites import captions

    scores = captions.score_corpus(judged, extra, settings.seed)
    if settings.meteor:
        scores["meteor"] = captions.meteor(judged)
    rows = [{"name": "the captions", "kind": "model", "scores": _plain(scores)}]
    if len(judged.image_ids) > 1:
        dealt = captions.score_corpus(captions.shuffled(judged, settings.seed), seed=settings.seed)
        rows.append({"name": "the same captions, on other images", "kind": "baseline", "scores": _plain(dealt)})
    else:
        ledger.warnings.append("one image alone: CIDEr-D is 0 by its definition, and there are no intervals")
    result |= {
        "references_sha256": judged.digest(),
        "tokenisation": "chorograph.metrics.captions.tokenize",
        "counts": dict(ledger.counts),
        "dropped": dict(ledger.dropped),
        "warnings": list(ledger.warnings),
        "rows": rows,
    }
    with atomic_path(settings.out / "captions.csv") as temporary:
        captions.score_images(judged).assign(**extra).to_csv(temporary, index=False)
    ledger.outputs.append(settings.out / "captions.csv")
    lines = [[name, f"{score.value:.4f}", interval(score, 1)] for name, score in scores.items()]
    finish(settings.out, result, {"columns": ["score", "value", "95 % interval"], "rows": lines}, ledger)


def _plain(scores: Mapping[str, Estimate]) -> dict[str, list[float | None]]:
    return {name: score.as_list() for name, score in scores.items()}


VERB = Verb(
    "evaluate captions",
    "Judge captions, from a file or written by a CoCa, against human ones.",
    Settings,
    run,
    example="chorograph evaluate captions --model rsicd-coca --data rsicd --split by_class --out captions",
)
