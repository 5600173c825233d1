"""The captioners by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from chorograph.captioning.prompts import Prompt
from chorograph.captioning.request import Captioner
from chorograph.captioning.settings import CaptionSettings
from chorograph.ground.registry import Registry

if TYPE_CHECKING:
    from chorograph.area.folder import Area


class Make(Protocol):
    """Makes a captioner."""

    def __call__(self, argument: str, settings: CaptionSettings, prompt: Prompt, area: Area) -> Captioner:
        """Return the captioner of `NAME:argument`; the prompt says what the settings leave open."""


CAPTIONERS: Registry[Make] = Registry("captioner")


def captioner(settings: CaptionSettings, prompt: Prompt, area: Area) -> Captioner:
    """Return the captioner that the settings name; `UnknownNameError` with near misses where there is none."""
    name, _, argument = settings.captioner.partition(":")
    return CAPTIONERS[name](argument, settings, prompt, area)


CAPTIONERS.add(
    "template",
    "chorograph.captioning.template:template_captioner",
    "facts (points of interest, the graph, classes) put into sentences; no language model",
)
CAPTIONERS.add("coca", "chorograph.captioning.local:coca_captioner", "coca:FOLDER, a CoCa that was trained here")
CAPTIONERS.add(
    "hf",
    "chorograph.captioning.local:hf_captioner",
    "hf:NAME or hf:FOLDER, any image-text-to-text model of Hugging Face; hf:FOLDER+ADAPTER, a BLIP-2 adapted here",
)
CAPTIONERS.add(
    "openai",
    "chorograph.captioning.endpoint:endpoint_captioner",
    "openai:MODEL@URL, any endpoint that speaks OpenAI's protocol (vLLM, Ollama)",
)
