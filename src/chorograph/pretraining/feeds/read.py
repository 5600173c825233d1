"""The pairs of a run: read from all its places, held out, and drawn as they are asked for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chorograph.area.folder import Area
from chorograph.ground.stage import Ledger, Progress, fingerprint
from chorograph.models.preprocessing import Preprocessing
from chorograph.pretraining.config import PretrainConfig, is_shards
from chorograph.pretraining.feeds.corpus import Corpus, is_made_up, join, parse_place
from chorograph.pretraining.feeds.feed import Draw
from chorograph.pretraining.feeds.pairs import Pairs
from chorograph.shards.pairs import expand_shards

#: What each corpus counts, and all of them together.
_COUNTED = ("images trained on", "images held out", "captions trained on")


@dataclass(frozen=True)
class Data:
    """Pairs to train on and those held out, chosen `how`; `draw` says how rows are drawn; `seen` are hashes."""

    corpora: Sequence[Corpus]
    pairs: Pairs
    held: Pairs
    how: str
    draw: Draw | None
    seen: list[str]

    @property
    def title(self) -> str:
        """What the pairs are of."""
        return ", ".join(corpus.title for corpus in self.corpora)

    @property
    def synthetic(self) -> bool:
        """Whether any of it is made up."""
        return any(corpus.synthetic for corpus in self.corpora)

    @property
    def licences(self) -> str:
        """Where it all comes from, a line a source, as a card tells it."""
        sources = [source for corpus in self.corpora for source in corpus.sources]
        said = "\n".join(f"- {s.name}: licence {s.licence}. {s.attribution}".rstrip() for s in sources)
        return said or "- no source is named"


def open_corpora(place: Area | Path, config: PretrainConfig, ledger: Ledger) -> list[Corpus]:
    """Open the places of a run."""
    also = [Corpus.open(path, ledger, weight) for path, weight in map(parse_place, config.also)]
    return [Corpus.open(place, ledger, origins=config.captions), *also]


def read_pairs(
    config: PretrainConfig,
    preprocessing: Preprocessing,
    ledger: Ledger,
    progress: Progress,
    corpora: Sequence[Corpus] | None = None,
) -> Data:
    """Read all corpora, those of the settings by default; with `val` all is trained on, and that place is held out."""
    corpora = open_corpora(config.area, config, ledger) if corpora is None else corpora
    parts, kept, seen, hows, counts = [], [], [], [], Counter[str]()
    for corpus in corpora:
        holdout = "0" if config.val is not None else config.holdout
        pairs, held, how = corpus.pairs(preprocessing, config, ledger, progress, holdout=holdout)
        parts.append(pairs)
        kept.append(held)
        seen += corpus.hashes(pairs)
        hows.append(how)
        counts.update({name: ledger.counts[name] for name in _COUNTED})
    ledger.counts.update(counts)
    if config.val is not None:
        apart = Ledger()
        held, _, _ = Corpus.open(config.val, apart).pairs(preprocessing, config, apart, progress, holdout="0")
        ledger.dropped.update({f"{reason}, in validation": number for reason, number in apart.dropped.items()})
        ledger.count("images held out", len(held))
        kept, hows = [held], [f"all of {config.val}"]
    pairs = join(parts)
    if config.shuffle_captions:
        pairs = pairs.shuffled(config.seed)
    draw = None
    if config.replacement or config.samples or any(corpus.weight != 1 for corpus in corpora):
        weights = np.concatenate([np.full(len(part), c.weight) for part, c in zip(parts, corpora, strict=True)])
        draw = Draw(weights / weights.sum(), config.samples or len(pairs))
    return Data(corpora, pairs, join(kept), "; ".join(dict.fromkeys(hows)), draw, seen)


def pair_inputs(config: PretrainConfig) -> list[Path]:
    """Return the files that a checkpoint is learnt from."""
    inputs = [] if config.init is None else [config.init]
    places = [config.area, *(place for place, _ in map(parse_place, config.also))]
    for place in [*places, *([] if config.val is None else [config.val])]:
        if is_made_up(place):
            continue
        if is_shards(place):
            inputs += expand_shards([place])
            continue
        area = Area.open(place)
        inputs += [area.table_path(name) for name in ("images", "captions", "regions")]
        if (split := area.path / "splits" / f"{config.holdout}.parquet").is_file():
            inputs.append(split)
    if config.graph is not None:
        area = Area.open(config.area)
        inputs += [area.table_path(name) for name in ("triples", "entities")]
        inputs.append(area.embeddings_path(config.graph).with_suffix(".safetensors"))
    return inputs


def pairs_digest(data: Data, config: PretrainConfig) -> str:
    """Return what changes when the images, their order or their captions do, or the content of any file of theirs."""
    digest = hashlib.sha256()
    for path in pair_inputs(config):
        digest.update(f"{fingerprint(path)}\n".encode())
    for part in (data.pairs, data.held):
        for image_id in part.image_ids:
            digest.update(f"{image_id}\n".encode())
        if isinstance(part.captions, tuple):
            digest.update(repr(part.captions).encode())
        digest.update(b"\0")
    return digest.hexdigest()
