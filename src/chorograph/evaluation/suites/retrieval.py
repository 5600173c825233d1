"""Image-text retrieval on a data set with several captions an image."""

from __future__ import annotations

import numpy as np

from chorograph.area.images import read_rgb
from chorograph.evaluation.examples.encoding import Encoded
from chorograph.evaluation.suites.zero_shot import PUBLISHED, encode_distinct
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.regression import BlockBootstrap, Estimate
from chorograph.metrics.retrieval import belonging, best_ranks, recall_intervals
from chorograph.models.coca.decoding import caption_evidence
from chorograph.models.coca.towers import is_coca
from chorograph.models.encoders.protocols import ImageTextEncoder


def evaluate_retrieval(
    encoder: ImageTextEncoder,
    encoded: Encoded,
    ledger: Ledger,
    *,
    shared: bool = True,
    decoder: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, dict[str, Estimate]]:
    """Return the recalls of encoded images and their captions, each with its interval, as one or two rows.

    With `shared`, files of the same bytes are one image, and a caption that several images bear is right for all of
    them. Without, every file and every row of captions stands for itself, and its copies elsewhere are wrong answers
    that tie with it: against the model in the row `retrieval`, at random in `published arithmetic`, which is what a
    library's sorting comes to. Both kinds of duplicates are counted. With `decoder`, a further row scores a pair by the
    contrastive logit and the evidence of a CoCa's decoder together, without any weight to choose; `InputError` for a
    model that has none.
    """
    captions: dict[str, list[str]] = {}
    for number, (example, digest) in enumerate(zip(encoded.examples, encoded.sha256, strict=True)):
        captions.setdefault(digest if shared else str(number), []).extend(example.captions)
    first = {digest: row for row, digest in reversed(list(enumerate(encoded.sha256)))}
    rows = [first[digest] for digest in captions] if shared else list(range(len(encoded.examples)))
    texts, pairs = belonging(list(captions.values()), shared=shared)
    said = [text for of_image in captions.values() for text in of_image]
    within = sum(len(of_image) - len(set(of_image)) for of_image in captions.values())
    ledger.count("captions", len(said))
    ledger.count("captions repeated for the same image", within)
    ledger.count("captions of several images", len(said) - within - len(set(said)))
    ledger.count("identical images", len(encoded.examples) - len(first))
    text_features = encode_distinct(encoder, texts, progress=progress)
    bootstrap = BlockBootstrap(seed=seed)
    ranks = best_ranks(encoded.vectors[rows], text_features, pairs, count_ties=not shared)
    found = {"retrieval": recall_intervals(ranks, pairs, bootstrap)}
    if not shared:
        found[PUBLISHED] = recall_intervals(ranks, pairs, bootstrap, ties_at_random=True)
    if decoder:
        loaded = getattr(encoder, "loaded", None)
        if loaded is None or not is_coca(loaded.model):
            raise InputError(f"{encoder.name} has no decoder that could judge captions; leave --decoder away")
        images = [read_rgb(encoded.examples[row].file) for row in rows]
        evidence = caption_evidence(loaded, images, texts, progress=progress)
        scale = float(loaded.model.logit_scale.detach().exp())
        scores = (scale * encoded.vectors[rows] @ text_features.T + evidence).astype(np.float32)
        # Scores are features by which each text has a direction of its own.
        ranks = best_ranks(scores, np.eye(len(texts), dtype=np.float32), pairs, count_ties=False)
        found["contrast and decoder"] = recall_intervals(ranks, pairs, bootstrap)
    return found
