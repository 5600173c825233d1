"""Refining an area: what is known is read, sentences are judged, the tables are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chorograph.area.captions.by_origin import captions_by, unrefined
from chorograph.area.ratings import low_rated
from chorograph.captioning.refining.known import read_knowledge
from chorograph.captioning.refining.refine import account, images_of, into_sentences, others_of, refine
from chorograph.captioning.refining.rules import Limits, Surroundings
from chorograph.captioning.refining.settings import RefineSettings
from chorograph.captioning.refining.store import set_aside
from chorograph.ground.errors import ImageError, InputError, SettingError
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.captions import clip_score

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.models.encoders.protocols import ImageTextEncoder

_BATCH = 64
#: Origins of captions that people wrote.
_PEOPLE = "human"


def refine_area(
    area: Area,
    settings: RefineSettings,
    ledger: Ledger,
    *,
    encoder: ImageTextEncoder | None = None,
    progress: Progress = silent,
) -> None:
    """Refine the captions of an area: those kept take the place of the originals, which are set aside.

    Raises `InputError` where there are no captions of an origin that the settings name.
    """
    before = unrefined(area)
    origins = list(settings.origin) or sorted(set(before["origin"]) - {_PEOPLE, settings.against or _PEOPLE})
    for origin in origins:
        if origin not in set(before["origin"]):
            held = ", ".join(sorted(set(before["origin"]))) or "none"
            raise InputError(f"{area.path} holds no captions of origin {origin!r}; it holds: {held}")
    sentences = into_sentences(before[before["origin"].isin(origins)])
    if sentences.empty:
        raise InputError(f"{area.path} holds no captions to refine; `chorograph caption` writes some")
    around = surroundings(area, settings, sentences, encoder=encoder, progress=progress)
    refined = refine(sentences, settings.rules, around)
    ledger.count("captions", int(before["origin"].isin(origins).sum()))
    ledger.count("sentences", len(sentences))
    ledger.count("sentences kept", len(refined.kept))
    for rule, reason in refined.dropped[["rule", "reason"]].itertuples(index=False, name=None):
        ledger.drop(f"{rule}: {_general(rule, reason)}")
    bare = set(sentences["image_id"]) - set(refined.kept["image_id"])
    ledger.count("images left without a caption", len(bare))
    ledger.facts.update(account(sentences, refined, around))
    ledger.outputs += set_aside(area, origins, refined)


def surroundings(
    area: Area,
    settings: RefineSettings,
    sentences: pd.DataFrame,
    *,
    encoder: ImageTextEncoder | None = None,
    progress: Progress = silent,
) -> Surroundings:
    """Return what the rules may look at beside the sentences; `SettingError` for limits that need more."""
    if (settings.clip_score is not None or settings.perception is not None) and encoder is None:
        raise SettingError("options: --clip-score and --perception need an encoder: --clip")
    others = {} if settings.against is None else others_of(captions_by(area, [settings.against]))
    return Surroundings(
        limits=Limits(
            least_words=settings.least_words,
            most_words=settings.most_words,
            most_images=settings.most_images,
            most_share=settings.most_share,
            least_agreement=settings.least_agreement,
            clip_score=settings.clip_score,
            perception=settings.perception,
        ),
        knowledge=read_knowledge(area),
        images=sentences["image_id"].nunique(),
        images_of=images_of(sentences),
        others=others,
        scores={} if encoder is None else clip_scores(area, sentences, encoder, progress),
        low=_low(area, settings.least_rating, settings.raters),
    )


def clip_scores(
    area: Area, sentences: pd.DataFrame, encoder: ImageTextEncoder, progress: Progress = silent
) -> dict[tuple[str, str], float]:
    """Return CLIPScore by (image_id, sentence); sentences of images that are not held or not read have none."""
    uris = area.images.drop_duplicates("image_id").set_index("image_id")["uri"].dropna()
    found: dict[tuple[str, str], float] = {}
    groups: Sequence[Any] = list(sentences[sentences["image_id"].isin(uris.index)].groupby("image_id")["caption"])
    for start in range(0, len(groups), _BATCH):
        read = []
        for image_id, texts in groups[start : start + _BATCH]:
            try:
                read.append((image_id, list(texts), area.read_image(uris[image_id])))
            except ImageError:
                continue
        if read:
            images = np.repeat(encoder.encode([image for *_, image in read]), [len(t) for _, t, _ in read], axis=0)
            pairs = [(image_id, text) for image_id, texts, _ in read for text in texts]
            scores = clip_score(images, encoder.encode_texts([text for _, text in pairs]))
            found.update(zip(pairs, scores.tolist(), strict=True))
        progress("judging captions", min(start + _BATCH, len(groups)), len(groups))
    return found


def _low(area: Area, least: float | None, raters: int) -> dict[tuple[str, str], str]:
    """Return the question in which people marked a caption low, by (image_id, caption_id)."""
    if least is None:
        return {}
    return {pair: mark.question for pair, mark in low_rated(area.read("ratings"), least, raters).items()}


def _general(rule: str, reason: str) -> str:
    """Return a reason without the name that it is about, where there may be thousands of names."""
    return "names a place that is not the area's own" if rule == "place_name" else reason
