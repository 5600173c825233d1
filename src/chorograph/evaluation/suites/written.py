"""Captions judged: those of a file, or those that a CoCa writes now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from chorograph.evaluation.accounting import account, commit, interval
from chorograph.evaluation.examples.encoding import encode_examples
from chorograph.evaluation.examples.layouts import Example, of_role, read_captioned
from chorograph.evaluation.examples.seen import read_seen
from chorograph.evaluation.suites import captions
from chorograph.evaluation.suites.captions import Judged
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.captions import meteor_nltk
from chorograph.metrics.regression import Estimate
from chorograph.models.encoders.registry import load_encoder, load_image_text_encoder

if TYPE_CHECKING:
    from chorograph.models.encoders.open_clip import OpenClipEncoder


@dataclass(frozen=True)
class Judgement:
    """Captions beside their references, what is known of them, and scores of each image that needed its pixels."""

    judged: Judged
    account: dict[str, Any]
    image_scores: dict[str, Vector] = field(default_factory=dict)


def judge_file(
    candidates: Path, data: Path, ledger: Ledger, progress: Progress, *,
    split: str | None, role: str, scorer: str | None, device: str,
) -> Judgement:  # fmt: skip
    """Return the captions of a file beside the references of `data`; `scorer` names the model of CLIPScore."""
    references = captions.read_references(data, ledger, split=split, role=role)
    judged = captions.match(captions.read_captions(candidates), references, ledger, where=str(candidates))
    known = {"task": "captions", "candidates": str(candidates), "data": str(data), "library": {"commit": commit()}}
    if scorer is None:
        return Judgement(judged, known)
    examples = of_role(read_captioned(data, Ledger(), split=split), role)
    return _with_clip_scores(Judgement(judged, known), examples, scorer, device, progress)


def judge_model(
    model: str, data: Path, ledger: Ledger, progress: Progress, *,
    split: str | None, role: str, scorer: str | None, device: str,
    decoding: Mapping[str, Any], seen_files: Sequence[Path], skip_bad: bool,
) -> Judgement:  # fmt: skip
    """Return the captions that a CoCa writes for the images of `data`, beside the references.

    Raises `InputError` where the model has no decoder.
    """
    examples = of_role(read_captioned(data, ledger, split=split), role)
    captioner = _load_captioner(model, device)
    encoded = encode_examples(captioner, examples, ledger, skip_bad=skip_bad, progress=progress)
    written = captions.write_captions(captioner.loaded, encoded.examples, **decoding, progress=progress)
    references = {example.key: list(example.captions) for example in encoded.examples}
    judged = captions.match(written, references, ledger, where=model)
    seen = read_seen(seen_files, model, ledger, progress)
    known = account("captions", captioner, encoded, data, {}, ledger, seen=seen, decoding=dict(decoding))
    if scorer is None:
        return Judgement(judged, known)
    if scorer == model:
        ledger.warnings.append("CLIPScore comes from the model that wrote the captions: it judges itself")
    return _with_clip_scores(Judgement(judged, known), encoded.examples, scorer, device, progress)


def score_captions(
    judgement: Judgement, seed: int, ledger: Ledger, *, with_meteor: bool, with_nltk: bool = False
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, Any]]:
    """Return what `scores.json` holds, a row an image, and the table of scores with 95 % intervals."""
    judged, known = judgement.judged, judgement.account
    of_images = dict(judgement.image_scores)
    if with_nltk:
        of_images["meteor_nltk"] = meteor_nltk(judged.candidates, judged.references)
    scores = captions.score_corpus(judged, of_images, seed)
    if with_meteor:
        scores["meteor"] = captions.meteor(judged)
    rows = [{"name": "the captions", "kind": "model", "scores": _plain(scores)}]
    if len(judged.image_ids) > 1:
        dealt = captions.score_corpus(captions.shuffled(judged, seed), seed=seed)
        rows.append({"name": "the same captions, on other images", "kind": "baseline", "scores": _plain(dealt)})
    else:
        ledger.warnings.append("one image alone: CIDEr-D is 0 by its definition, and there are no intervals")
    result = known | {
        "references_sha256": judged.digest(),
        "tokenisation": "chorograph.metrics.captions.tokenize",
        "counts": dict(ledger.counts),
        "dropped": dict(ledger.dropped),
        "warnings": list(ledger.warnings),
        "rows": rows,
    }
    lines = [[name, f"{score.value:.4f}", interval(score, 1)] for name, score in scores.items()]
    table = {"columns": ["score", "value", "95 % interval"], "rows": lines}
    return result, captions.score_images(judged).assign(**of_images), table


def _load_captioner(name: str, device: str) -> OpenClipEncoder:
    # A file of captions is judged without torch.
    from chorograph.models.coca.towers import is_coca
    from chorograph.models.encoders.open_clip import OpenClipEncoder

    encoder = load_encoder(name, device)
    if not isinstance(encoder, OpenClipEncoder) or not is_coca(encoder.loaded.model):
        raise InputError(f"{name} has no decoder; captions need a CoCa")
    return encoder


def _with_clip_scores(
    judgement: Judgement, examples: Sequence[Example], name: str, device: str, progress: Progress
) -> Judgement:
    scorer = load_image_text_encoder(name, device)
    known = judgement.account | {"scorer": scorer.name, "scorer_fingerprint": scorer.fingerprint}
    scores = captions.clip_scores(scorer, examples, judgement.judged, progress)
    return Judgement(judgement.judged, known, {"clip_score": scores})


def _plain(scores: Mapping[str, Estimate]) -> dict[str, list[float | None]]:
    return {name: score.as_list() for name, score in scores.items()}
