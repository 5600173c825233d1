"""Which kinds a relation connects, for the relations that KnowCL's graphs know."""

from __future__ import annotations

#: relation: (kind of its head, kind of its tail); Liu et al. 2023, Knowledge-infused contrastive learning for urban
#: imagery-based socioeconomic prediction, section 3.
RELATIONS: dict[str, tuple[str, str]] = {
    "borderBy": ("region", "region"),
    "nearBy": ("region", "region"),
    "locateAt": ("poi", "region"),
    "flowTransition": ("region", "region"),
    "similarFunction": ("region", "region"),
    "coCheckin": ("poi", "poi"),
    "cateOf": ("poi", "category"),
    "provideService": ("business_area", "region"),
    "belongTo": ("poi", "business_area"),
    "competitive": ("poi", "poi"),
}
