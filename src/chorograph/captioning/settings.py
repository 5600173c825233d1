"""How captions are written: the settings that all captioners share."""

from __future__ import annotations

from dataclasses import dataclass

from chorograph.ground.settings import SEEDS, above, at_least, between, setting

DECODINGS = ("auto", "greedy", "top_p", "open_clip", "beam")


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """Who writes, what is asked, how words are drawn, and what it may cost."""

    captioner: str = setting(
        "template",
        help="who writes: template (facts into sentences), coca:FOLDER, hf:NAME or FOLDER (or FOLDER+ADAPTER of a "
        "BLIP-2), openai:MODEL@URL",
    )
    per_image: int = setting(2, help="captions an image", within=at_least(1))
    view: str = setting("all", help="which images", choices=("all", "satellite", "street"))
    prompt: str = setting(
        "auto", help="what a model is asked: satellite-1, street-1, facts-1, toolkit-1, a TOML file; auto: by the view"
    )
    decoding: str = setting(
        "auto",
        help="how a local model draws words: greedy, top_p, open_clip (its own top-p settings), beam; auto: as its "
        "prompt says, else greedy",
        choices=DECODINGS,
    )
    top_p: float | None = setting(None, help="probability that the words drawn from hold", within=between(0, 1))
    temperature: float | None = setting(None, help="how freely words are drawn; 0: not at all", within=at_least(0))
    beams: int = setting(6, help="captions that a beam search keeps", within=at_least(1))
    max_tokens: int | None = setting(None, help="most tokens of a caption; default: the prompt's", within=at_least(1))
    seed: int = setting(0, help="decides the wording", within=SEEDS)
    device: str = setting("auto", help="torch device of a local model: auto, cpu, cuda")
    concurrency: int = setting(16, help="requests that are under way at an endpoint together", within=at_least(1))
    timeout_s: float = setting(120.0, help="seconds that an endpoint has for an answer", within=above(0))
    retries: int = setting(4, help="further attempts where the trouble may pass", within=at_least(0))
    wait_s: float = setting(
        0.5, help="seconds before the second attempt, twice as long before each further one", within=at_least(0)
    )
    max_requests: int | None = setting(
        None, help="most requests to the endpoint, failed ones and those of earlier runs included", within=at_least(0)
    )
    max_total_tokens: int | None = setting(
        None, help="most tokens spent at the endpoint, likewise; in and out together", within=at_least(0)
    )
    structured: bool = setting(True, help="ask an endpoint for JSON of a schema, where it knows how")
