"""Captions by models that run here: a CoCa, or any image-text-to-text model of Hugging Face."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.area.images import read_rgb
from chorograph.captioning.prompts import Prompt
from chorograph.captioning.request import Answer, Record, Request
from chorograph.captioning.settings import CaptionSettings
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.stage import fingerprint
from chorograph.models.devices import device_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chorograph.area.folder import Area

#: Images that are read and written about together.
_BATCH = 16
#: What a model writes of some images: (images, requests) -> text and mean log-probability, or None, of each.
Write = Callable[[list["NDArray[np.uint8]"], Sequence[Request]], list[tuple[str, float | None]]]


@dataclass(frozen=True)
class LocalCaptioner:
    """Reads images a batch at a time and lets a model write."""

    name: str
    identity: str
    load: Callable[[], Write] = field(repr=False)
    looks: bool = True

    @property
    def origin(self) -> str:
        """Whose captions they are."""
        return f"model:{self.name}"

    def write(self, requests: Sequence[Request], record: Record) -> None:
        """Answer every request; an image that cannot be read is answered by why."""
        write = self.load()
        for start in range(0, len(requests), _BATCH):
            read, held = [], []
            for request in requests[start : start + _BATCH]:
                try:
                    read.append(read_rgb(request.path))
                    held.append(request)
                except ImageError as error:
                    record.answered(request, Answer(reason=f"image {error.reason}"))
            for request, (text, score) in zip(held, write(read, held) if held else [], strict=True):
                said = Answer(text, score=score) if text.strip() else Answer(reason="caption without a word")
                record.answered(request, said)


def coca_captioner(argument: str, settings: CaptionSettings, prompt: Prompt, area: Area) -> LocalCaptioner:
    """Return the captioner of a CoCa: a checkpoint folder, or whatever `embed` takes."""
    from chorograph.models.coca.decoding import Decoding

    drawn = settings.decoding if settings.decoding != "auto" else "greedy"
    decoding = Decoding.of(drawn, top_p=settings.top_p, temperature=settings.temperature, beams=settings.beams,
                           max_length=settings.max_tokens)  # fmt: skip

    def load() -> Write:
        from chorograph.models.coca.decoding import generate
        from chorograph.models.encoders.open_clip import OpenClipEncoder
        from chorograph.models.encoders.registry import load_encoder

        encoder = load_encoder(argument, device_of(settings.device))
        if not isinstance(encoder, OpenClipEncoder):
            raise InputError(f"{argument} has no decoder; captions need a CoCa")

        def write(images: list[NDArray[np.uint8]], requests: Sequence[Request]) -> list[tuple[str, float | None]]:
            seeds = [request.own_seed for request in requests]
            return [(text, None) for text in generate(encoder.loaded, images, decoding=decoding, seeds=seeds)]

        return write

    return LocalCaptioner(settings.captioner, _identity(argument, decoding.plain()), load)


def hf_captioner(argument: str, settings: CaptionSettings, prompt: Prompt, area: Area) -> LocalCaptioner:
    """Return the captioner of a model of Hugging Face: by folder, or by a name, which is then downloaded."""
    from chorograph.models.captioners.drawing import Drawing

    drawing = Drawing.of(
        settings.decoding,
        top_p=settings.top_p if settings.top_p is not None else prompt.top_p,
        temperature=settings.temperature if settings.temperature is not None else prompt.temperature,
        beams=settings.beams,
        max_tokens=settings.max_tokens or prompt.max_tokens,
    )

    def load() -> Write:
        from chorograph.models.captioners.chat import load_writer

        write_texts = load_writer(argument, device_of(settings.device), drawing)

        def write(images: list[NDArray[np.uint8]], requests: Sequence[Request]) -> list[tuple[str, float | None]]:
            prompts = [(request.system, request.prompt) for request in requests]
            return write_texts(images, prompts, [request.own_seed for request in requests])

        return write

    return LocalCaptioner(settings.captioner, _identity(argument, drawing.plain()), load)


def _identity(argument: str, decoding: dict[str, Any]) -> str:
    """Return what names the words of a model: the content of its folders, and how it draws."""
    content = [fingerprint(Path(part)) if Path(part).exists() else part for part in argument.split("+")]
    return hashlib.sha256(json.dumps([content, decoding], sort_keys=True).encode()).hexdigest()[:16]
