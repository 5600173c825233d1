"""Captions judged against human ones: read from a file or written by a CoCa, scored with intervals over the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.evaluation.examples.checks import photograph
from chorograph.evaluation.examples.layouts import Example, of_role, read_captioned, refuse_generated
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json
from chorograph.ground.image_formats import SUFFIXES
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics import captions as metrics
from chorograph.metrics.regression import BlockBootstrap, Estimate
from chorograph.shards.caption_tables import LINES, TABLES, read_caption_rows, read_records

if TYPE_CHECKING:
    from chorograph.models.encoders.open_clip import ImageTextModel
    from chorograph.models.encoders.protocols import ImageTextEncoder

Captions = dict[str, list[str]]

_IMAGE_KEYS = ("image_id", "image", "filename")
#: What CLIPScore's authors write before a caption (Hessel et al. 2021, section 4).
_CLIP_PROMPT = "A photo depicts "
#: Images that are held at once.
_READ = 256


@dataclass(frozen=True)
class Judged:
    """One caption an image and the captions that it is judged against, in the order of the image ids."""

    image_ids: tuple[str, ...]
    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    def digest(self) -> str:
        """Return the SHA-256 of images and references: the data, whatever is judged on it."""
        described = json.dumps([self.image_ids, self.references], ensure_ascii=False)
        return hashlib.sha256(described.encode()).hexdigest()


def read_captions(path: Path) -> Captions:
    """Return the captions of each image of a JSON or CSV file.

    JSON is a list of records {image or image_id or filename: name, caption: text or captions: [texts]}, COCO's
    {annotations: [such records]}, Karpathy's {images}, or {name: text or [texts]}. CSV, TSV and JSON lines have the
    columns of such records, one caption a line.
    Raises `InputError` naming the file and the record.
    """
    return _from_records(_records(path), path)


def read_references(data: Path, ledger: Ledger, *, split: str | None, role: str) -> Captions:
    """Return the captions that a caption file, an area or a data set holds; no image needs to be at hand.

    `split` and `role` choose among an area's images. Raises `InputError` where nothing is left.
    """
    if data.is_file():
        return read_captions(data)
    if not (data / "area.toml").is_file():
        return {one.key: list(one.captions) for one in of_role(read_captioned(data, ledger), role)}
    area = Area.open(data)
    refuse_generated(area)
    images = area.images
    if split is not None:
        images = images[area.roles(split, images) == role]
    captions = area.captions.sort_values(["image_id", "rank", "caption_id"])
    captions = captions[captions["image_id"].isin(images["image_id"])]
    ledger.drop("image without a caption", len(images) - captions["image_id"].nunique())
    if captions.empty:
        within = f" of role {role} in split {split!r}" if split is not None else ""
        raise InputError(f"{data} holds no image with a caption{within}")
    return {str(image): list(texts) for image, texts in captions.groupby("image_id")["caption"]}


def match(candidates: Captions, references: Captions, ledger: Ledger, *, where: str) -> Judged:
    """Set one candidate beside each image's references; `where` is said of the candidates.

    An image id matches with or without its file's extension. Raises `InputError` for an image that has no candidate or
    several, for a candidate of an unknown image, and for an image whose references are all empty.
    """
    known, by_stem = Captions(), {_stem(image): image for image in references}
    for name, texts in candidates.items():
        image = name if name in references else by_stem.get(_stem(name))
        if image is None:
            raise InputError(f"{where}: image {name!r} has no reference captions")
        known[image] = known.get(image, []) + texts
    if missing := sorted(references.keys() - known.keys()):
        raise InputError(
            f"{where}: image {missing[0]!r} has no caption ({len(missing)} of {len(references)} have none); a score "
            "counts every image: caption it, or judge against fewer (--split)"
        )
    ids = sorted(references)
    for image in ids:
        if len(known[image]) != 1:
            raise InputError(f"{where}: image {image!r} has {len(known[image])} captions; one is judged")
    kept = []
    for image in ids:
        full = tuple(text for text in references[image] if text.strip())
        ledger.drop("empty reference", len(references[image]) - len(full))
        if not full:
            raise InputError(f"image {image!r} has empty references only; give it one, or leave the image out")
        kept.append(full)
    written = tuple(known[image][0].strip() for image in ids)
    ledger.count("images", len(ids))
    ledger.count("references", sum(map(len, kept)))
    if empty := written.count(""):
        ledger.count("empty candidates", empty)
        ledger.warnings.append(f"{empty} captions are empty; they score 0")
    return Judged(tuple(ids), written, tuple(kept))


def write_captions(
    captioner: ImageTextModel,
    examples: Sequence[Example],
    *,
    max_length: int | None = None,
    top_p: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Captions:
    """Write a caption for each image; `InputError` where the model has no decoder."""
    from chorograph.models.coca.decoding import generate

    written: Captions = {}
    for start in range(0, len(examples), _READ):
        part = examples[start : start + _READ]
        # A seed for each part, or every part would draw the same numbers.
        texts = generate(
            captioner,
            [read_rgb(example.file) for example in part],
            max_length=max_length,
            top_p=top_p,
            seed=seed + start // _READ,
        )
        written |= {example.key: [text] for example, text in zip(part, texts, strict=True)}
        progress("writing captions", start + len(part), len(examples))
    return written


def clip_scores(
    scorer: ImageTextEncoder, examples: Sequence[Example], judged: Judged, progress: Progress = silent
) -> Vector:
    """Return CLIPScore of each candidate (n,), by the features of `scorer`; `InputError` where an image is not held."""
    files = {example.key: example.file for example in examples}
    if absent := [image_id for image_id in judged.image_ids if image_id not in files]:
        raise InputError(f"CLIPScore needs every image, and {absent[0]!r} is not held ({len(absent)} in all)")
    scores = []
    for start in range(0, len(judged.image_ids), _READ):
        images = [read_rgb(photograph(files[image_id])) for image_id in judged.image_ids[start : start + _READ]]
        texts = [_CLIP_PROMPT + text for text in judged.candidates[start : start + _READ]]
        scores.append(metrics.clip_score(scorer.encode(images), scorer.encode_texts(texts)))
        progress("CLIPScore", start + len(images), len(judged.image_ids))
    return np.concatenate(scores)


def score_images(judged: Judged) -> pd.DataFrame:
    """Return one row an image: image_id, caption, bleu_1..4 (of that caption alone), rouge_l, cider_d."""
    candidates, references = _tokens(judged)
    each = metrics.bleu(metrics.bleu_counts(candidates, references))
    return pd.DataFrame(
        {
            "image_id": judged.image_ids,
            "caption": judged.candidates,
            **{f"bleu_{order}": each[:, order - 1] for order in metrics.ORDERS},
            "rouge_l": metrics.rouge_l(candidates, references),
            "cider_d": metrics.cider_d(candidates, references),
        }
    )


def score_corpus(judged: Judged, extra: Mapping[str, Vector] | None = None, seed: int = 0) -> dict[str, Estimate]:
    """Return the scores of the whole set, with 95 % bootstrap intervals over images where a score has them.

    BLEU is the corpus's (sums before ratios); ROUGE-L, CIDEr-D and `extra` are means over images; document frequencies
    of CIDEr-D stay those of the whole set. distinct-n and self-BLEU have no interval: drawing a caption twice would
    itself change them.
    """
    candidates, references = _tokens(judged)
    counts = metrics.bleu_counts(candidates, references)
    each = {
        "rouge_l": metrics.rouge_l(candidates, references),
        "cider_d": metrics.cider_d(candidates, references),
        **(extra or {}),
    }
    rows, nothing = np.arange(len(candidates)), np.zeros(len(candidates))

    def estimate(score: Callable[[Vector], Vector]) -> Estimate:
        return BlockBootstrap(seed=seed).estimate(lambda _t, _p, weight: score(weight), nothing, nothing, rows)

    scores = {f"bleu_{order}": estimate(partial(_corpus_bleu, counts, order)) for order in metrics.ORDERS}
    for name, values in each.items():
        scores[name] = estimate(partial(_mean, values))
    for order in (1, 2):
        scores[f"distinct_{order}"] = Estimate(metrics.distinct(candidates, order), np.nan, np.nan)
    if len(candidates) > 1:
        scores["self_bleu_4"] = Estimate(float(metrics.self_bleu(candidates).mean()), np.nan, np.nan)
    return scores


def meteor(judged: Judged) -> Estimate:
    """Return METEOR of the corpus, without an interval; `MissingExtraError` where Java or its program is missing."""
    return Estimate(metrics.meteor(*_tokens(judged)), np.nan, np.nan)


def shuffled(judged: Judged, seed: int = 0) -> Judged:
    """Deal the same captions to other images: what good language earns that says nothing of the image."""
    order = np.random.default_rng(seed).permutation(len(judged.candidates))
    # Along one random cycle every image gets another's caption.
    dealt = dict(zip(order, np.roll(order, 1), strict=True))
    candidates = tuple(judged.candidates[dealt[row]] for row in range(len(order)))
    return Judged(judged.image_ids, candidates, judged.references)


def _corpus_bleu(counts: Vector, order: int, weight: Vector) -> Vector:
    return np.asarray(metrics.bleu(weight @ counts)[..., order - 1])


def _mean(values: Vector, weight: Vector) -> Vector:
    return np.asarray(weight @ values / weight.sum(-1))


def _tokens(judged: Judged) -> tuple[list[list[str]], list[list[list[str]]]]:
    candidates = [metrics.tokenize(text) for text in judged.candidates]
    return candidates, [[metrics.tokenize(text) for text in group] for group in judged.references]


def _stem(image: str) -> str:
    stem, dot, suffix = image.rpartition(".")
    return stem if f"{dot}{suffix.lower()}" in SUFFIXES else image


def _records(path: Path) -> Sequence[Any]:
    if path.suffix.lower() in (*TABLES, *LINES):
        return [{"image": row.image, "captions": list(row.captions)} for row in read_caption_rows(path)]
    content = read_json(path)
    if isinstance(content, dict) and "images" in content and "annotations" not in content:
        return [{"image": row.image, "captions": list(row.captions)} for row in read_records(content, path)]
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return list(content["annotations"])
    if isinstance(content, dict):
        return [
            {"image": image, "captions" if isinstance(value, list) else "caption": value}
            for image, value in content.items()
        ]
    if not isinstance(content, list):
        raise InputError(f"{path} is not a list of captions")
    return content


def _from_records(records: Sequence[Any], path: Path) -> Captions:
    found: Captions = {}
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise InputError(f"{path}: record {number} is not {{image: name, caption: text}}: {str(record)[:80]}")
        image = next((record[key] for key in _IMAGE_KEYS if record.get(key) not in (None, "")), None)
        texts = record.get("captions", [record.get("caption")])
        if image is None:
            raise InputError(f"{path}: record {number} names no image (one of {', '.join(_IMAGE_KEYS)})")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}: record {number} ({image}) has no caption that is a text")
        found.setdefault(str(image), []).extend(texts)
    if not found:
        raise InputError(f"{path} holds no captions")
    return found
