"""`captions …`: captions that are there are refined, brought back, ranked, and made from metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.captioning.refining.settings import RULE_NAMES, RefineSettings
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class RefineVerb(RefineSettings):
    """Settings of `chorograph captions refine`."""

    area: Path = setting(help="the area folder")


def refine(settings: RefineVerb, progress: Progress) -> Outcome:
    """Refine captions: those kept take the place of the originals, which are set aside."""
    from chorograph.area.folder import Area
    from chorograph.captioning.refining.run import refine_area
    from chorograph.models.devices import device_of
    from chorograph.models.encoders.registry import load_image_text_encoder

    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        encoder = load_image_text_encoder(settings.clip, device_of(settings.device)) if settings.clip else None
        refine_area(area, settings, ledger, encoder=encoder, progress=progress)

    tables = ("images", "image_facts", "poi_counts", "entities", "regions", "ratings")
    return run_stage(
        "captions refine",
        manifest=area.path / "captions_refined.manifest.json",
        # The table that is refined is also what is written: what counts is how it was before.
        config={**plain(settings), "captions": _digest(area)},
        inputs=[settings.area / f"{name}.parquet" for name in tables],
        work=work,
        shared=[area.table_path("captions")],
    )


def _digest(area: Area, origin: str | None = None) -> str:
    """Return what changes when captions change that were not made by the stages here: of an origin, or all."""
    from chorograph.area.captions.by_origin import unrefined
    from chorograph.ground.files import sha256_bytes

    before = unrefined(area).sort_values("caption_id")
    before = before if origin is None else before[before["origin"] == origin]
    return sha256_bytes(before[["caption_id", "image_id", "rank", "caption", "origin"]].to_csv(index=False).encode())


@dataclass(frozen=True, kw_only=True)
class RestoreSettings:
    """Settings of `chorograph captions restore`."""

    area: Path = setting(help="the area folder")
    rules: list[str] = setting(
        [], help="bring back what these rules dropped; default: all captions as they were before", choices=RULE_NAMES
    )


def restore(settings: RestoreSettings, progress: Progress) -> Outcome:
    """Bring back what refinement dropped."""
    from chorograph.area.folder import Area
    from chorograph.captioning.refining import store

    area = Area.open(settings.area)
    again = store.can_restore(area, settings.rules)

    def work(ledger: Ledger) -> None:
        number, file = store.restore(area, settings.rules)
        ledger.count("captions brought back", number)
        ledger.outputs.append(file)

    manifest = area.path / "captions_restored.manifest.json"
    if again:  # each is asked for on purpose
        manifest.unlink(missing_ok=True)
    (area.path / "captions_refined.manifest.json").unlink(missing_ok=True)
    captions = area.table_path("captions")
    outcome = run_stage(
        "captions restore", manifest=manifest, config=plain(settings), inputs=[], work=work, shared=[captions]
    )
    if again:
        store.forget(area, settings.rules)
    return outcome


@dataclass(frozen=True, kw_only=True)
class ChooseSettings:
    """Settings of `chorograph captions choose`."""

    area: Path = setting(help="the area folder")
    origin: str = setting(help="whose captions are the candidates, as `origin` has it; 20 an image, as published")
    encoders: list[str] = setting(
        help="two encoders of images and text: the first keeps 10 candidates, the second ranks 5 of them"
    )
    device: str = setting("auto", help="torch device of the encoders: auto, cpu, cuda")


def choose(settings: ChooseSettings, progress: Progress) -> Outcome:
    """Choose among candidate captions; the chosen ones lie beside the candidates."""
    from chorograph.area.folder import Area
    from chorograph.captioning.enriching.choosing import TOP, TURNED, choose_area
    from chorograph.ground.errors import InputError, SettingError
    from chorograph.models.devices import device_of
    from chorograph.models.encoders.registry import load_image_text_encoder

    if len(settings.encoders) != 2:
        raise SettingError("options: --encoders is given twice, once for each encoder")
    area = Area.open(settings.area)
    origin = settings.origin

    def work(ledger: Ledger) -> None:
        if not (area.captions["origin"] == origin).any():
            raise InputError(f"{area.path} holds no captions of origin {origin!r}")
        first, second = (load_image_text_encoder(name, device_of(settings.device)) for name in settings.encoders)
        _add(area, choose_area(area, origin, first, second, ledger, progress), [TOP + origin, TURNED + origin], ledger)

    return run_stage(
        "captions choose",
        manifest=area.path / "captions_chosen.manifest.json",
        config={**plain(settings), "captions": _digest(area, origin)},
        inputs=[settings.area / "images.parquet", *(Path(name) for name in settings.encoders if Path(name).exists())],
        work=work,
        shared=[area.table_path("captions")],
    )


@dataclass(frozen=True, kw_only=True)
class MetaSettings:
    """Settings of `chorograph captions meta`."""

    area: Path = setting(help="the area folder")


def meta(settings: MetaSettings, progress: Progress) -> Outcome:
    """Write captions from metadata, and say where in the world images and captions lie."""
    from chorograph.area.folder import Area
    from chorograph.captioning.enriching.places import land_points
    from chorograph.captioning.enriching.run import META as META_ORIGIN
    from chorograph.captioning.enriching.run import geo_statistics, meta_captions
    from chorograph.reporting.world import write_world

    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        _add(area, meta_captions(area, ledger, progress), [META_ORIGIN], ledger)
        found = geo_statistics(area)
        ledger.facts.update(found)
        page = area.path / "captions_world.html"
        ledger.outputs.append(write_world(page, found["images by UTM zone"], *land_points(), area.title))

    tables = ("images", "image_facts", "triples", "entities")
    return run_stage(
        "captions meta",
        manifest=area.path / "captions_meta.manifest.json",
        config={**plain(settings), "captions": _digest(area, "human")},
        inputs=[settings.area / f"{name}.parquet" for name in tables],
        work=work,
        shared=[area.table_path("captions")],
    )


def _add(area: Area, written: pd.DataFrame, origins: list[str], ledger: Ledger) -> None:
    """Put captions beside those of other origins."""
    import pandas as pd

    kept = area.captions[~area.captions["origin"].isin(origins)]
    frames = [frame for frame in (kept, written) if len(frame)] or [written]
    ledger.count("captions", len(written))
    ledger.count("captions of other origins, kept", len(kept))
    ledger.outputs.append(area.write("captions", pd.concat(frames, ignore_index=True)))


REFINE = Verb(
    "captions refine",
    "Drop the sentences of captions that rules object to, each with its reason; nothing is destroyed.",
    RefineVerb,
    refine,
    ("area",),
    "chorograph captions refine my-area --against model:other",
)
RESTORE = Verb(
    "captions restore",
    "Bring back captions as they were before, or what some rules dropped.",
    RestoreSettings,
    restore,
    ("area",),
    "chorograph captions restore my-area --rules place_name",
)
CHOOSE = Verb(
    "captions choose",
    "Rank candidate captions by two encoders, 20 to 10 to 5, and choose one that turning the image changes least.",
    ChooseSettings,
    choose,
    ("area",),
    "chorograph captions choose my-area --origin model:hf:blip2 --encoders coca --encoders open_clip:RN50/openai",
)
META = Verb(
    "captions meta",
    "Write captions from metadata: class, place, season, UTM zone, date; and count images and names by place.",
    MetaSettings,
    meta,
    ("area",),
    "chorograph captions meta my-corpus",
)
