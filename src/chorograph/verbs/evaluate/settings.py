"""The settings that the judges of models share, what their inputs are, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.files import write_json
from chorograph.ground.settings import SEEDS, plain, setting
from chorograph.ground.stage import Ledger, Outcome, run_stage


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Settings that every judge has."""

    data: Path = setting(help="the data set, in the layout that it is published in, or an area")
    out: Path = setting(help="folder for scores.json and manifest")
    seen: list[Path] = setting(
        [],
        help="an area or folder of images that training saw; a checkpoint's own training images are always looked for",
    )
    seed: int = setting(0, help="decides the bootstrap, and whatever is drawn", within=SEEDS)
    device: str = setting("cpu", help="torch device of the models: cpu, cuda")


@dataclass(frozen=True, kw_only=True)
class PartSettings:
    """Which part of one data set is judged."""

    split: str | None = setting(None, help="only the images of this given split of an area")
    role: str = setting("test", help="which part, where the data is parted", choices=("test", "val", "train"))

    def part(self) -> str:
        """Return the part in words."""
        return f"role {self.role}" + (f" of split {self.split}" if self.split else ", where the data is parted")


@dataclass(frozen=True, kw_only=True)
class ModelSettings(EvaluateSettings):
    """Settings of the judges of a model on a data set of images."""

    model: str = setting(help="encoder: open_clip:NAME/TAG, open_clip:NAME/weights file, a checkpoint folder")
    skip_bad: bool = setting(False, help="go on past images that cannot be read, and count them by reason")


def model_inputs(model: str) -> list[Path]:
    """Return the files and checkpoint folders that a model's name speaks of."""
    found: list[Path] = []
    for part in model.split("+"):
        found += [path for path in (Path(part), Path(part.partition("/")[2])) if part and path.is_file()]
        found += [path for path in (Path(part),) if (path / "config.json").is_file()]
    return found


def data_inputs(data: Path, split: str | None = None) -> list[Path]:
    """Return the tables of an area, which name its images by hash; other data as it is."""
    from chorograph.area.named_files import named_file

    if not (data / "area.toml").is_file():
        return [data]
    tables = [data / f"{name}.parquet" for name in ("images", "captions", "triples")]
    return tables + ([named_file(data / "splits", split)] if split else [])


def run_evaluation(
    name: str, settings: EvaluateSettings, inputs: list[Path], work: Callable[[Ledger], None]
) -> Outcome:
    """Run the stage `name`; its manifest lies in the folder `settings.out`."""
    manifest = settings.out / "manifest.json"
    return run_stage(name, manifest=manifest, config=plain(settings), inputs=inputs, work=work)


def finish(out: Path, result: dict[str, Any], table: dict[str, Any], ledger: Ledger) -> None:
    """Write `scores.json`, and give the ledger the table that a terminal shows."""
    write_json(out / "scores.json", result)
    ledger.outputs.append(out / "scores.json")
    ledger.facts["table"] = table
