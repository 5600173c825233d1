"""From an area's images to requests: which images, which prompt, which facts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chorograph.area.tiles import metres_per_pixel
from chorograph.captioning.prompts import Prompt
from chorograph.captioning.request import Request
from chorograph.captioning.template import image_classes, region_facts
from chorograph.ground.errors import ImageError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area

_TILE_PX = 256


def make_requests(
    area: Area, prompts: dict[str, Prompt], view: str, per_image: int, seed: int, ledger: Ledger
) -> list[Request]:
    """Return a request for each caption of each held image, in the order of the images; the others are counted."""
    images = area.images.drop_duplicates("image_id")
    if view != "all":
        images = images[images["view"] == view]
    ledger.drop("image known but not held", int(images["uri"].isna().sum()))
    images = images[images["uri"].notna()]
    ledger.drop("image of a view that the prompt is not for", int((~images["view"].isin(list(prompts))).sum()))
    images = images[images["view"].isin(list(prompts))]
    wants = any(prompt.wants_facts for prompt in prompts.values())
    known = dict(_known(area, images)) if wants else {}
    found = []
    for image_id, uri, its_view, held in images[["image_id", "uri", "view", "sha256"]].itertuples(
        index=False, name=None
    ):
        prompt = prompts[its_view]
        text = prompt.fill(known.get(image_id, {}))
        digest = held if isinstance(held, str) and held else _hash(area, uri)
        path = area.resolve(uri)
        found += [Request(image_id, path, digest, text, prompt.system, rank, seed) for rank in range(per_image)]
    return found


def _hash(area: Area, uri: str) -> str:
    try:
        return sha256_bytes(area.read_encoded(uri))
    except ImageError:
        return f"unread:{uri}"  # whoever reads it says why


def _known(area: Area, images: pd.DataFrame) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what is known of each image in words, by placeholder; never an indicator, which would be the label."""
    regions, classes = region_facts(area), image_classes(area)
    named = area.regions.drop(columns="geometry").set_index("region_id").to_dict("index") if area.has_regions else {}
    for image in images.to_dict("records"):
        own = named.get(image["region_id"], {})
        facts = regions.get(image["region_id"])
        poi = [kind for kind, _ in facts.poi.most_common(6)] if facts else []
        said = {
            "area": area.title,
            "region": own.get("name"),
            "group": own.get("group"),
            "captured": image["captured"],
            "ground_m": _across(image),
            "poi": ", ".join(poi),
            "classes": ", ".join(classes.get(image["image_id"], [])),
            "lon": _number(image["lon"]),
            "lat": _number(image["lat"]),
        }
        yield image["image_id"], {name: str(value) for name, value in said.items() if isinstance(value, str) and value}


def _across(image: Mapping[Hashable, Any]) -> str | None:
    """Return how many metres a tile shows across, rounded."""
    zoom, lat = image["zoom"], image["lat"]
    if not isinstance(zoom, int | float) or not isinstance(lat, int | float) or zoom != zoom or lat != lat:
        return None
    return f"{float(metres_per_pixel(lat, int(zoom))) * _TILE_PX:.0f}"


def _number(value: object) -> str | None:
    return f"{value:.4f}" if isinstance(value, float) and value == value else None
