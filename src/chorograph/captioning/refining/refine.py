"""Captions through the rules: what is kept, what is dropped, and what became of the whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chorograph.area.captions.by_origin import REFINED
from chorograph.captioning.refining.names import false_discovery_rate
from chorograph.captioning.refining.rules import RULES, Sentence, Surroundings, plain_words
from chorograph.captioning.refining.sentences import split_sentences
from chorograph.metrics.captions import distinct, self_bleu, tokenize

#: Sentences that the diversity of many is measured on.
_SAMPLE = 2_000


@dataclass(frozen=True)
class Refined:
    """Sentences that were kept (the columns of captions) and dropped (with rule and reason)."""

    kept: pd.DataFrame
    dropped: pd.DataFrame


def into_sentences(captions: pd.DataFrame) -> pd.DataFrame:
    """Return a row a sentence, in the order of images, origins and ranks: `of` names its caption, `place` is within."""
    rows = []
    ordered = captions.sort_values(["image_id", "origin", "rank", "caption_id"], kind="stable")
    for row in ordered.to_dict("records"):
        for place, text in enumerate(split_sentences(row["caption"])):
            rows.append({**row, "of": row["caption_id"], "place": place, "caption": text})
    return pd.DataFrame(rows, columns=[*captions.columns, "of", "place"])


def images_of(sentences: pd.DataFrame) -> dict[str, int]:
    """Return how many images bear each sentence, by what it says."""
    said = pd.DataFrame({"said": sentences["caption"].map(plain_words), "image_id": sentences["image_id"]})
    return dict(Counter(said.drop_duplicates()["said"]))


def refine(sentences: pd.DataFrame, rules: Sequence[str], around: Surroundings) -> Refined:
    """Ask the rules about each sentence, in their order; the first that objects drops it, with its reason."""
    chosen = [(name, RULES[name]) for name in rules]
    before: dict[tuple[str, str], list[str]] = defaultdict(list)
    kept, dropped = [], []
    for row in sentences.to_dict("records"):
        own = before[row["image_id"], row["origin"]]
        sentence = Sentence(row["caption"], row["image_id"], row["of"], tuple(own))
        for name, rule in chosen:
            if (reason := rule(sentence, around)) is not None:
                dropped.append({**row, "rule": name, "reason": reason})
                break
        else:
            kept.append({**row, "rank": len(own)})
            own.append(row["caption"])
    columns = list(sentences.columns)
    return Refined(
        _named(pd.DataFrame(kept, columns=columns)), _named(pd.DataFrame(dropped, columns=[*columns, "rule", "reason"]))
    )


def diversity(texts: Sequence[str], seed: int = 0) -> dict[str, float]:
    """Return how different sentences are: distinct-1, distinct-2, and mean self-BLEU of (a draw of) them."""
    drawn = np.random.default_rng(seed).permutation(len(texts))[:_SAMPLE]
    tokens = [tokenize(texts[row]) for row in sorted(drawn.tolist())]
    if len(tokens) < 2:
        return {}
    found = {f"distinct-{order}": round(float(distinct(tokens, order)), 4) for order in (1, 2)}
    return {**found, "self-BLEU": round(float(np.mean(self_bleu(tokens))), 4)}


def account(sentences: pd.DataFrame, refined: Refined, around: Surroundings) -> dict[str, Any]:
    """Return what became of the whole: drops by rule and reason, diversity, and false names before and after."""

    def measures(texts: Sequence[str]) -> dict[str, Any]:
        false, all_names = false_discovery_rate(texts, around.knowledge, around.gazetteer)
        return {**diversity(texts), "place names": all_names, "of them not the area's own": false}

    by_rule = Counter(refined.dropped["rule"])
    return {
        "dropped by rule": {name: by_rule[name] for name in RULES if by_rule[name]},
        "before": measures(sentences["caption"].tolist()),
        "after": measures(refined.kept["caption"].tolist()),
    }


def others_of(captions: pd.DataFrame) -> Mapping[str, tuple[str, ...]]:
    """Return what a captioner says of each image."""
    said = captions.groupby("image_id")["caption"].agg(tuple)
    return dict(said.items())  # type: ignore[arg-type]


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Give sentences their own ids and the origin of refined captions."""
    ids = [f"{of}.{place}" for of, place in zip(frame["of"], frame["place"], strict=True)]
    return frame.assign(caption_id=ids, origin=REFINED + frame["origin"].astype(str)).reset_index(drop=True)
