"""What a captioner is asked and answers, and what a captioner is: one protocol for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """A caption that is wanted: of the image at `path` (a file, or `SHARD.tar#KEY`), by a prompt that is written out.

    `image` is the SHA-256 of its bytes. `rank` tells several captions of an image apart; `seed` decides their wording.
    """

    image_id: str
    path: Path
    image: str
    prompt: str = ""
    system: str = ""
    rank: int = 0
    seed: int = 0

    def key(self, identity: str) -> str:
        """Return what the answer of a captioner of that identity is kept by: nothing else decides its words."""
        said = "\0".join([identity, self.image, self.system, self.prompt, str(self.rank), str(self.seed)])
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    @property
    def own_seed(self) -> int:
        """A seed of this request alone: other requests, and their order, do not change what is drawn for it."""
        said = f"{self.seed}\0{self.rank}\0{self.image}\0{self.prompt}"
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:4])


@dataclass(frozen=True)
class Answer:
    """A caption, or the reason why there is none.

    `passing`: the trouble may be gone next time, so the request is tried again by the next run. Tokens are those of
    all attempts together, as the server counted them.
    """

    text: str = ""
    reason: str = ""
    passing: bool = False
    score: float | None = None
    attempts: int = 1
    tokens: int = 0


class Record(Protocol):
    """Keeps answers while a captioner writes, so that what was answered once is never asked again."""

    def answered(self, request: Request, answer: Answer) -> None:
        """Keep an answer."""

    def sent(self, request: Request) -> None:
        """Note, before it leaves, that an attempt costs a request."""

    def ended(self, request: Request, kind: str, tokens: int) -> None:
        """Note how an attempt ended, and the tokens that it cost."""

    def spent(self, reserve: int) -> tuple[int, int]:
        """Return requests and tokens of all runs; an attempt that never ended counts as `reserve` tokens."""


class Captioner(Protocol):
    """Writes captions of images."""

    @property
    def origin(self) -> str:
        """Whose captions they are: `template`, `model:NAME`."""

    @property
    def identity(self) -> str:
        """Changes whenever the words would (weights, decoding): with image and prompt, the key of the cache."""

    @property
    def looks(self) -> bool:
        """Whether it looks at images; one that writes from facts is asked of images that are not held too."""

    def write(self, requests: Sequence[Request], record: Record) -> None:
        """Answer every request, in any order, each as soon as it is known."""
