"""`evaluate captions`: its settings and its stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage

if TYPE_CHECKING:
    from chorograph.evaluation.suites.captions import Judged
    from chorograph.metrics.regression import Estimate
    from chorograph.models.encoders.open_clip import OpenClipEncoder


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig:
    """Settings of `chorograph evaluate captions`."""

    data: Path = setting(
        help="the references: an area, a data set with captions, or (with --candidates) a JSON or CSV file of captions"
    )
    out: Path = setting(help="folder for scores.json, captions.csv and manifest")
    model: str | None = setting(None, help="a CoCa that writes the captions: a checkpoint folder, open_clip:NAME/TAG")
    candidates: Path | None = setting(None, help="captions written elsewhere, one an image: JSON or CSV")
    split: str | None = setting(None, help="only the images of this given split of an area")
    role: str = setting("test", help="which part, where the data is parted", choices=("test", "val", "train"))
    scorer: str | None = setting(None, help="model of CLIPScore; published ones use open_clip:ViT-B-32/openai")
    meteor: bool = setting(False, help="METEOR too; it needs Java and the package pycocoevalcap")
    max_length: int | None = setting(None, help="most tokens of a written caption; default: the model's")
    top_p: float = setting(0.0, help="draw tokens among the likeliest of this probability; 0 takes the likeliest")
    seen: list[Path] = setting(
        [],
        help="an area or folder of images that training saw; a checkpoint's own training images are always looked for",
    )
    skip_bad: bool = setting(False, help="go on past images that cannot be read, and count them by reason")
    seed: int = setting(0, help="decides the bootstrap, and whatever is drawn")
    device: str = setting("cpu", help="torch device of the models: cpu, cuda")


def evaluate_captions(config: CaptionsConfig, progress: Progress) -> Outcome:
    """Judge captions against references into the folder `config.out`."""
    from chorograph.metrics.captions import check_meteor

    if (config.model is None) == (config.candidates is None):
        raise InputError("say whose captions are judged: --model, or --candidates (one of them)")
    is_area = (config.data / "area.toml").is_file()
    if config.split is not None and not is_area:
        raise InputError(f"{config.data} is no area, so it has no split {config.split!r}; leave --split away")
    if config.meteor:
        check_meteor()

    def work(ledger: Ledger) -> None:
        judged, result, extra = _written(config, ledger, progress) if config.model else _given(config, ledger, progress)
        _finish(config, judged, result, extra, ledger)

    # The tables of an area name its images by hash.
    inputs = [config.data / f"{table}.parquet" for table in ("images", "captions")] if is_area else [config.data]
    inputs += [*config.seen, *([config.candidates] if config.candidates else [])]
    if config.split is not None:
        inputs.append(config.data / "splits" / f"{config.split}.parquet")
    inputs += [Path(name) for name in (config.model, config.scorer) if name and Path(name).exists()]
    name = "evaluate captions"
    return run_stage(name, manifest=config.out / "manifest.json", config=plain(config), inputs=inputs, work=work)


_Parts = tuple["Judged", dict[str, Any], dict[str, Any]]


def _given(config: CaptionsConfig, ledger: Ledger, progress: Progress) -> _Parts:
    """Return captions that came in a file, what is known of them, and scores that need the images."""
    from chorograph.evaluation.accounting import commit
    from chorograph.evaluation.examples.layouts import of_role, read_captioned
    from chorograph.evaluation.suites import captions

    assert config.candidates is not None  # noqa: S101  # checked at the door
    references = captions.read_references(config.data, ledger, split=config.split, role=config.role)
    where = str(config.candidates)
    judged = captions.match(captions.read_captions(config.candidates), references, ledger, where=where)
    result = {"task": "captions", "candidates": where, "data": str(config.data), "library": {"commit": commit()}}
    if config.scorer is None:
        return judged, result, {}
    examples = of_role(read_captioned(config.data, Ledger(), split=config.split), config.role)
    return judged, result, _clip_scores(config, examples, judged, result, progress)


def _written(config: CaptionsConfig, ledger: Ledger, progress: Progress) -> _Parts:
    """Return captions that a model writes, with an account of model and data, and scores that need the images."""
    from chorograph.evaluation.accounting import account
    from chorograph.evaluation.examples.encoding import encode_examples
    from chorograph.evaluation.examples.layouts import of_role, read_captioned
    from chorograph.evaluation.examples.seen import read_seen
    from chorograph.evaluation.suites import captions

    assert config.model is not None  # noqa: S101  # checked at the door
    examples = of_role(read_captioned(config.data, ledger, split=config.split), config.role)
    captioner = _captioner(config.model, config.device)
    encoded = encode_examples(captioner, examples, ledger, skip_bad=config.skip_bad, progress=progress)
    decoding: dict[str, Any] = {"max_length": config.max_length, "top_p": config.top_p, "seed": config.seed}
    written = captions.write_captions(captioner.loaded, encoded.examples, **decoding, progress=progress)
    references = {example.key: list(example.captions) for example in encoded.examples}
    judged = captions.match(written, references, ledger, where=config.model)
    seen = read_seen(config.seen, config.model, ledger, progress)
    result = account("captions", captioner, encoded, config.data, {}, ledger, seen=seen, decoding=decoding)
    extra = {} if config.scorer is None else _clip_scores(config, encoded.examples, judged, result, progress)
    if config.scorer == config.model:
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
    config: CaptionsConfig, examples: Any, judged: Judged, result: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    from chorograph.evaluation.suites.captions import clip_scores
    from chorograph.models.encoders.registry import load_image_text_encoder

    scorer = load_image_text_encoder(str(config.scorer), config.device)
    result |= {"scorer": scorer.name, "scorer_fingerprint": scorer.fingerprint}
    return {"clip_score": clip_scores(scorer, examples, judged, progress)}


def _finish(
    config: CaptionsConfig, judged: Judged, result: dict[str, Any], extra: dict[str, Any], ledger: Ledger
) -> None:
    from chorograph.evaluation.accounting import interval
    from chorograph.evaluation.suites import captions

    scores = captions.score_corpus(judged, extra, config.seed)
    if config.meteor:
        scores["meteor"] = captions.meteor(judged)
    rows = [{"name": "the captions", "kind": "model", "scores": _plain(scores)}]
    if len(judged.image_ids) > 1:
        dealt = captions.score_corpus(captions.shuffled(judged, config.seed), seed=config.seed)
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
    write_json(config.out / "scores.json", result)
    with atomic_path(config.out / "captions.csv") as temporary:
        captions.score_images(judged).assign(**extra).to_csv(temporary, index=False)
    ledger.outputs += [config.out / "scores.json", config.out / "captions.csv"]
    lines = [[name, f"{score.value:.4f}", interval(score, 1)] for name, score in scores.items()]
    ledger.facts["table"] = {"columns": ["score", "value", "95 % interval"], "rows": lines}


def _plain(scores: Mapping[str, Estimate]) -> dict[str, list[float | None]]:
    return {name: score.as_list() for name, score in scores.items()}
