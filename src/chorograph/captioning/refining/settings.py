"""How captions are refined."""

from __future__ import annotations

from dataclasses import dataclass

from chorograph.ground.settings import at_least, between, setting

#: The rules by name, in the order in which they are asked.
RULE_NAMES = (
    "refusal", "meta_talk", "length", "repetition", "sameness", "place_name", "cover", "things", "poi", "agreement",
    "clip_score", "perception", "rating",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RefineSettings:
    """Which captions, by which rules, and the numbers that they hold sentences to."""

    origin: list[str] = setting([], help="whose captions are refined, as `origin` has it; default: all but people's")
    rules: list[str] = setting(
        list(RULE_NAMES), help="the rules that are asked, in this order; default: all", choices=RULE_NAMES
    )
    least_words: int = setting(3, help="fewer words are a scrap", within=at_least(1))
    most_words: int = setting(60, help="more words are a sentence without an end", within=at_least(1))
    most_images: int = setting(
        5, help="the most images that may bear the same sentence, or --most-share of them", within=at_least(1)
    )
    most_share: float = setting(0.005, help="see --most-images", within=between(0, 1))
    against: str | None = setting(
        None, help="another captioner, by the origin of its captions, that must see the things a sentence names"
    )
    least_agreement: float = setting(
        0.5, help="with --against, the least share of a sentence's things that it must see", within=between(0, 1)
    )
    clip: str | None = setting(None, help="encoder of images and text for CLIPScore: a checkpoint, open_clip:NAME/TAG")
    clip_score: float | None = setting(
        None, help="the least CLIPScore; published ones of ViT-B/32 lie about 0.6 to 0.8", within=between(0, 2.5)
    )
    perception: float | None = setting(
        None, help="the least perception score of a street view's sentence; needs --clip", within=between(0, 1)
    )
    least_rating: float | None = setting(
        None, help="the least mean mark that people gave a caption, of 1 to 5", within=between(1, 5)
    )
    raters: int = setting(1, help="people who must have marked a caption before it can fall", within=at_least(1))
    device: str = setting("auto", help="torch device of the encoder: auto, cpu, cuda")
