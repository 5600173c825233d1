"""A thousand faults of ten kinds among the captions of the synthetic city: what each rule of refinement finds.

    python benchmarks/caption_faults.py                    # the table of the README
    python benchmarks/caption_faults.py --real FOLDER      # UrbanCLIP's released captions: what is dropped, by reason

The city's truth is known: shares of the ground, numbers of things. A second captioner says other sentences of the same
facts. `precision` and `recall` are those of a rule alone, on all sentences; a rule's recall is on the kind it is for.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chorograph.captioning.refining.known import Knowledge, Known
from chorograph.captioning.refining.lexicon import concept_names
from chorograph.captioning.refining.refine import images_of, into_sentences, others_of, refine
from chorograph.captioning.refining.rules import RULES, Surroundings, words_of
from chorograph.synthetic.city import SyntheticCity, SyntheticCityConfig, plan_city
from chorograph.synthetic.land import Use
from chorograph.synthetic.things import Thing
from chorograph.synthetic.words import Facts, tile_captions

#: Faults of each kind.
EACH = 100
#: The rule that each kind is for.
RULE_OF = {
    "refusal": "refusal", "talk about the image": "meta_talk", "scrap": "length", "no end": "length",
    "repeats itself": "repetition", "said of many images": "sameness", "land cover that is not there": "cover",
    "thing that is not there, or miscounted": "things", "place elsewhere": "place_name",
    "caption of another image": "agreement",
}  # fmt: skip
_HOMES = (Use.VILLA, Use.DETACHED, Use.TERRACE, Use.COURTYARD, Use.SLAB, Use.TOWER)
_HOUSES = (Thing.HOUSE, Thing.VILLA, Thing.ROW, Thing.SLAB, Thing.TOWER, Thing.COURT)
_OBJECTS = {
    "swimming pool": Thing.POOL, "lorry": Thing.TRUCK, "football pitch": Thing.PITCH, "tennis court": Thing.TENNIS,
    "running track": Thing.TRACK, "pond": Thing.POND, "playground": Thing.PLAYGROUND, "high-rise tower": Thing.TOWER,
    "solar panel": Thing.SOLAR,
}  # fmt: skip


def cover_of(facts: Facts) -> dict[str, float]:
    """Return the share of the ground of each land cover; what stands on it is there, however small."""
    share = facts.shares
    there = {
        "residential": (sum(share[use] for use in _HOMES), any(facts.things[thing] for thing in _HOUSES)),
        "industry": (share[Use.INDUSTRY], facts.things[Thing.HALL] > 0),
        "commerce": (share[Use.COMMERCE], facts.things[Thing.SHOP] > 0),
        "park": (share[Use.PARK], False),
        "sports": (share[Use.SPORTS], facts.things[Thing.PITCH] > 0),
        "farmland": (share[Use.FIELD], False),
        "forest": (share[Use.FOREST], False),
        "river": (share[Use.WATER], facts.river),
    }
    return {name: max(value, 0.02 if seen else 0.0) for name, (value, seen) in there.items()}


def objects_of(facts: Facts) -> dict[str, float]:
    """Return how many there are of each thing; 0 of those that the city does not know."""
    counts = {name: float(facts.things[thing]) for name, thing in _OBJECTS.items()}
    seen = {"railway": float(facts.rail), "main road": float(facts.arterial)}
    return {name: {**counts, **seen}.get(name, 0.0) for name in concept_names("object")}


def knowledge_of(city: SyntheticCity) -> Knowledge:
    """Return the truth of a planned city."""
    images = {image_id: Known(cover_of(facts), objects_of(facts)) for image_id, facts in _facts(city).items()}
    names = [*city.regions["name"], *city.regions["group"], city.title]
    return Knowledge(images, frozenset(tuple(words_of(name)) for name in names))


def second_captioner(city: SyntheticCity) -> pd.DataFrame:
    """Return other true sentences of the same facts."""
    rows = []
    for image_id, facts in _facts(city).items():
        rng = np.random.default_rng([99, *image_id.encode()])
        rows += [
            (f"{image_id}~{n}", image_id, n, text, "model:other") for n, text in enumerate(tile_captions(facts, rng))
        ]
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "rank", "caption", "origin"])


def plant(city: SyntheticCity, seed: int = 0) -> pd.DataFrame:
    """Return the city's captions of tiles with faults among them; `fault` is the kind, or empty."""
    facts = _facts(city)
    clean = city.captions[city.captions["image_id"].isin(facts)].assign(fault="")
    rng = np.random.default_rng(seed)
    said = clean.groupby("image_id")["caption"].agg(list).to_dict()
    rows: list[dict[str, Any]] = []
    for kind in RULE_OF:
        images = rng.choice(sorted(facts), EACH, replace=False).tolist()
        for number, image_id in enumerate(images):
            text = _fault(kind, number, image_id, facts, said, rng)
            rows.append({"caption_id": f"{kind}-{number}", "image_id": image_id, "rank": 9, "caption": text,
                         "origin": "template", "fault": kind})  # fmt: skip
    return pd.concat([clean, pd.DataFrame(rows)], ignore_index=True)


def _facts(city: SyntheticCity) -> dict[str, Facts]:
    return {image_id: Facts.of(scene) for image_id, scene in city.scenes.items()}


_REFUSALS = (
    "I'm sorry, but I can't help with that picture.", "I am unable to see any details here.",
    "As an AI language model, I do not have eyes.", "Sorry, I cannot assist with identifying this location.",
    "I cannot determine what is shown.", "Please provide a clearer picture.", "Unfortunately, no image was provided.",
    "I apologize for the confusion.", "It is not possible to describe this tile.", "My guidelines do not allow this.",
)  # fmt: skip
_TALK = (
    "Here is a detailed description of the scene.", "The image is captured in high resolution.",
    "The photo was taken on a clear day.", "This description covers the main features.",
    "Let me know what else to add.",
    "The overall scene has a calm mood.", "The view gives the viewer a sense of the layout.", "Caption: urban tile.",
    "The composition adds depth and visual interest.", "The picture shows a lot.",
)  # fmt: skip
_SCRAPS = ("houses", "roads.", "green", "a city", "many", "trees and", "urban", "roofs", "the", "grey roofs")
_EVERYWHERE = (
    "a city with many buildings, some streets and green space", "an urban area with roads and structures",
    "several buildings next to each other along a street", "a mix of built ground and vegetation",
    "a place with buildings, vehicles and open space",
)  # fmt: skip
_WRONG_COVER = {
    "desert": "a desert with sand dunes", "ocean": "a coastline with waves on a beach", "mountain": "a mountain range",
    "snow": "a snowy field", "airport": "an airport with a long runway", "forest": "a dense forest",
    "farmland": "open fields of crops", "industry": "an industrial area of factories", "river": "a wide river",
    "park": "a public park",
}  # fmt: skip
_PLACES = (
    "Beijing", "the Eiffel Tower", "Central Park", "Manhattan", "Guangzhou", "the Golden Gate", "Tiananmen Square",
    "Sydney Harbour", "Los Angeles", "Kensington",
)  # fmt: skip
_WITH_PLACES = ("{} lies at the edge of the picture", "houses along a street near {}", "a quarter in the north of {}")


def _fault(
    kind: str, n: int, image_id: str, facts: Mapping[str, Facts], said: Mapping[str, list[str]], rng: Any
) -> str:
    own = said[image_id][n % len(said[image_id])]
    truth = facts[image_id]
    match kind:
        case "refusal":
            return _REFUSALS[n % 10]
        case "talk about the image":
            return _TALK[n % 10]
        case "scrap":
            return _SCRAPS[n % 10]
        case "no end":
            return " and ".join([own, *(_any(said, rng) for _ in range(6))])
        case "repeats itself":
            piece = " ".join(own.split()[-4:])
            return f"{own}, {piece}, {piece}, {piece}" if n % 2 else f"{piece} {piece} {piece} {piece}"
        case "said of many images":
            return _EVERYWHERE[n % 5]
        case "land cover that is not there":
            absent = [name for name in _WRONG_COVER if cover_of(truth).get(name, 0.0) < 0.01]
            return f"an aerial view of {_WRONG_COVER[absent[n % len(absent)]]} with {_tail(own)}"
        case "thing that is not there, or miscounted":
            return _wrong_thing(truth, n)
        case "place elsewhere":
            return _WITH_PLACES[n % 3].format(_PLACES[n % 10])
    others = [other for other in facts if facts[other].main != truth.main]
    return said[others[int(rng.integers(len(others)))]][0]


def _wrong_thing(truth: Facts, n: int) -> str:
    counts = objects_of(truth)
    there = sorted(name for name, count in counts.items() if count >= 1 and name in _OBJECTS)
    if n % 3 == 0 and there:
        return f"a street without any {there[n % len(there)]}s"
    if n % 3 == 1 and there:
        name = there[n % len(there)]
        return f"streets with {int(counts[name]) * 4 + 7} {name}s beside the houses"
    absent = sorted(name for name, count in counts.items() if count == 0)
    return f"streets with three {absent[n % len(absent)]}s beside the road"


def _tail(caption: str) -> str:
    return caption.rpartition(" with ")[2]


def _any(said: Mapping[str, list[str]], rng: Any) -> str:
    images = sorted(said)
    return said[images[int(rng.integers(len(images)))]][0]


def surroundings_of(city: SyntheticCity, sentences: pd.DataFrame) -> Surroundings:
    """Return what the rules may look at: the city's truth, and the other captioner."""
    return Surroundings(
        knowledge=knowledge_of(city),
        gazetteer=_gazetteer(),
        images=sentences["image_id"].nunique(),
        images_of=images_of(sentences),
        others=others_of(second_captioner(city)),
    )


def _gazetteer() -> frozenset[str]:
    from chorograph.captioning.enriching.places import place_words

    return place_words()


def measure(captions: pd.DataFrame, around: Surroundings) -> Iterator[dict[str, Any]]:
    """Yield a row a kind of fault: its rule alone, and all rules together; then one on all."""
    sentences = into_sentences(captions)
    fault = sentences.set_index(["of", "place"])["fault"]
    together = refine(sentences, list(RULES), around).dropped
    all_dropped = set(zip(together["of"], together["place"], strict=True))
    for kind, rule in RULE_OF.items():
        dropped = refine(sentences, [rule], around).dropped
        found = fault.loc[list(zip(dropped["of"], dropped["place"], strict=True))]
        planted = fault[fault == kind]
        yield {
            "fault": kind,
            "rule": rule,
            "planted": len(planted),
            "recall": (found == kind).sum() / len(planted),
            "precision": (found != "").mean() if len(found) else float("nan"),
            "recall of all rules": sum(key in all_dropped for key in planted.index) / len(planted),
        }
    right = sum(fault.loc[key] != "" for key in all_dropped)
    yield {
        "fault": "all kinds",
        "rule": "all rules",
        "planted": int((fault != "").sum()),
        "recall": right / (fault != "").sum(),
        "precision": right / len(all_dropped),
        "recall of all rules": right / (fault != "").sum(),
    }


def read_released(folder: Path) -> pd.DataFrame:
    """Return UrbanCLIP's released captions, a row a sentence, with their city."""
    rows = []
    for path in sorted(folder.glob("*_captions.json.gz")):
        city = path.name.partition("_")[0]
        content = json.loads(gzip.decompress(path.read_bytes()))
        flat = [item for group in content for item in (group if isinstance(group, list) else [group])]
        rows += [(f"{city}-{n}", item["image"], n, item["caption"], f"released:{city}") for n, item in enumerate(flat)]
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "rank", "caption", "origin"])


def real(folder: Path) -> None:
    """Print what is dropped of the released captions, by rule and reason, with examples."""
    captions = read_released(folder)
    sentences = into_sentences(captions)
    own = Knowledge(names=frozenset({("beijing",), ("guangzhou",), ("shenzhen",), ("china",)}))
    around = Surroundings(knowledge=own, gazetteer=_gazetteer(), images=sentences["image_id"].nunique(),
                          images_of=images_of(sentences))  # fmt: skip
    refined = refine(sentences, list(RULES), around)
    print(f"{sentences['image_id'].nunique():,} images, {len(captions):,} captions, {len(sentences):,} sentences; "
          f"{len(refined.dropped):,} dropped; {len(set(sentences['image_id']) - set(refined.kept['image_id']))} images "
          "left without any")  # fmt: skip
    reasons = refined.dropped.assign(
        reason=[reason if rule != "place_name" else "names a place elsewhere"
                for rule, reason in zip(refined.dropped["rule"], refined.dropped["reason"], strict=True)]
    )  # fmt: skip
    for (rule, reason), group in reasons.groupby(["rule", "reason"]):
        print(f"| {rule} | {reason} | {len(group):,} |")
        for text in group["caption"].sample(min(4, len(group)), random_state=0):
            print(f"    {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder of UrbanCLIP's released captions")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.real:
        return real(args.real)
    city = plan_city(SyntheticCityConfig(seed=args.seed, street_views_per_region=0))
    captions = plant(city, args.seed)
    around = surroundings_of(city, into_sentences(captions))
    print("| fault | rule | planted | recall | precision | recall of all rules |\n|---|---|---:|---:|---:|---:|")
    for row in measure(captions, around):
        print(f"| {row['fault']} | `{row['rule']}` | {row['planted']:,} | {row['recall']:.2f} | "
              f"{row['precision']:.2f} | {row['recall of all rules']:.2f} |")  # fmt: skip
    return None


if __name__ == "__main__":
    main()
