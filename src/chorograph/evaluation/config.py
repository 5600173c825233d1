"""What the verbs of `evaluate` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting

#: The suites that `evaluate suite` knows.
SUITES = ("georsclip",)


@dataclass(frozen=True, kw_only=True)
class _EvaluateConfig:
    """Settings that every evaluation of a model on images has."""

    model: str = setting(help="encoder: open_clip:NAME/TAG, open_clip:NAME/weights file, a checkpoint folder")
    data: Path = setting(help="the data set, in the layout that it is published in, or an area")
    out: Path = setting(help="folder for scores.json and manifest")
    seen: list[Path] = setting(
        [],
        help="an area or folder of images that training saw; a checkpoint's own training images are always looked for",
    )
    skip_bad: bool = setting(False, help="go on past images that cannot be read, and count them by reason")
    seed: int = setting(0, help="decides the bootstrap, and whatever is drawn")
    device: str = setting("cpu", help="torch device of the model: cpu, cuda")


@dataclass(frozen=True, kw_only=True)
class _PartConfig(_EvaluateConfig):
    """Settings of an evaluation of one data set."""

    split: str | None = setting(None, help="only the images of this given split of an area")
    role: str = setting("test", help="which part, where the data is parted", choices=("test", "val", "train"))


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig(_PartConfig):
    """Settings of `chorograph evaluate zero-shot`."""

    prompts: str = setting(
        "georsclip", help="prompt set: georsclip, satellite, name, or a text file, one template a line"
    )


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(_PartConfig):
    """Settings of `chorograph evaluate retrieval`."""

    duplicates: str = setting(
        "shared",
        help="equal captions and images: shared (a caption is right for all its images), or separate, as published",
        choices=("shared", "separate"),
    )
    decoder: bool = setting(
        False, help="of a CoCa: score pairs also by contrast and the decoder's likelihood of the caption together"
    )


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(_PartConfig):
    """Settings of `chorograph evaluate probe`."""

    test_share: float = setting(0.2, help="share of each class that is tested, where the data is not parted")


@dataclass(frozen=True, kw_only=True)
class SuiteConfig(_EvaluateConfig):
    """Settings of `chorograph evaluate suite`."""

    suite: str = setting(help="which suite: georsclip", choices=SUITES)
    against: str = setting("auto", help="the published row beside it (`list published`); auto: by weights file or tag")
