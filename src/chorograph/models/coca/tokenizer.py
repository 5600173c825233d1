"""A word-level tokenizer learnt from an area's own captions: hundreds of tokens where BPE has 49,408."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json, write_json
from chorograph.ground.schema import check

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]", re.UNICODE)
_FORMAT = "chorograph-words-1"
_PAD, _UNKNOWN = 0, 1
#: No text has more ids.
_LONGEST = 65_536


class Tokenizer(Protocol):
    """What the text towers need of a tokenizer; open_clip's own answer to it too."""

    @property
    def context_length(self) -> int | None:
        """The number of ids of a text, padding included."""

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> Tensor:
        """Return token ids (n, context_length), each row a start, the tokens, an end, and zeros."""


@dataclass(frozen=True)
class WordTokenizer:
    """Lower-cased words and punctuation marks as tokens.

    Ids: 0 pads, 1 stands for any unknown word, then `words` in order, then the start and, highest of all, the end of a
    text: open_clip's towers find the end of a text by its highest id.
    """

    words: tuple[str, ...]
    context_length: int

    @classmethod
    def learn(
        cls, captions: Iterable[str], *, context_length: int | None = None, at_least: int = 2, most: int = 20_000
    ) -> WordTokenizer:
        """Learn the words of `captions`, most frequent first (ties by spelling): the same captions, the same ids.

        Words seen less than `at_least` times become unknown words, so that the unknown word is trained too. Without
        `context_length`, the longest caption fits, in at least 16 and at most 76 tokens.
        """
        split = [split_words(caption) for caption in captions]
        counts = Counter(word for words in split for word in words)
        kept = sorted((word for word, count in counts.items() if count >= at_least), key=lambda w: (-counts[w], w))
        if context_length is None:
            context_length = min(max((len(words) for words in split), default=0) + 2, 76)
            context_length = max(context_length, 16)
        return cls(tuple(kept[:most]), context_length)

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return len(self.words) + 4

    @property
    def sot_token_id(self) -> int:
        """The start of a text."""
        return len(self.words) + 2

    @property
    def eot_token_id(self) -> int:
        """The end of a text."""
        return len(self.words) + 3

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=2)}

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> Tensor:
        """Return int64 ids (n, context_length); a text that is too long loses its last words, never its end."""
        texts = [texts] if isinstance(texts, str) else texts
        length = context_length or self.context_length
        tokens = torch.full((len(texts), length), _PAD, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = [self._ids.get(word, _UNKNOWN) for word in split_words(text)][: length - 2]
            tokens[row, : len(ids) + 2] = torch.tensor([self.sot_token_id, *ids, self.eot_token_id])
        return tokens

    def unknown(self, texts: Iterable[str]) -> tuple[int, int]:
        """Return how many words of texts are none of its own, and how many there are."""
        words = [word for text in texts for word in split_words(text)]
        return sum(word not in self._ids for word in words), len(words)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids: words with spaces between, none before a punctuation mark."""
        text = ""
        for number in ids:
            if number in (_PAD, self.sot_token_id, self.eot_token_id):
                continue
            word = "[unknown]" if number == _UNKNOWN else self.words[number - 2]
            text += word if not text or word in ".,;:!?)" else f" {word}"
        return text

    def write(self, path: Path) -> None:
        """Write the tokenizer as JSON."""
        write_json(path, {"format": _FORMAT, "context_length": self.context_length, "words": list(self.words)})

    @classmethod
    def read(cls, path: Path) -> WordTokenizer:
        """Read a tokenizer; `InputError` where the file is missing, damaged or something else."""
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise InputError(f"{path} is not a word tokenizer ({_FORMAT})")
        check(content, {"words": [str], "context_length": int}, str(path))
        if not 3 <= content["context_length"] <= _LONGEST:
            raise InputError(
                f"{path}: context_length must lie between 3 and {_LONGEST}, not {content['context_length']}"
            )
        return cls(tuple(content["words"]), content["context_length"])


def split_words(text: str) -> list[str]:
    """Split a caption into lower-cased words and punctuation marks."""
    return _WORD.findall(text.lower())


#: Share of words that a model never saw from which on the user is warned.
_MANY = 0.2


def unknown_words(tokenizer: Tokenizer, texts: Iterable[str]) -> str | None:
    """Return a warning where many words of texts are unknown to a compact tokenizer; others take any text apart."""
    if not isinstance(tokenizer, WordTokenizer):
        return None
    unknown, number = tokenizer.unknown(texts)
    if not number or unknown / number < _MANY:
        return None
    return (
        f"{unknown:,} of {number:,} words ({unknown / number:.0%}) are unknown to the model's tokenizer of "
        f"{len(tokenizer.words):,} words, and all look alike to it; use a model with another tokenizer, or train one "
        "on such texts"
    )
