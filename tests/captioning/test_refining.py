from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from caption_faults import RULE_OF, measure, plant, surroundings_of
from chorograph.area.captions.by_origin import captions_by
from chorograph.area.check import check_area
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.captioning.refining.known import Knowledge, Known, read_knowledge
from chorograph.captioning.refining.lexicon import claims, mentions, seen_by
from chorograph.captioning.refining.names import false_discovery_rate, place_names
from chorograph.captioning.refining.refine import diversity, into_sentences
from chorograph.captioning.refining.rules import RULES, Limits, Sentence, Surroundings, perception_score
from chorograph.captioning.refining.sentences import split_sentences
from chorograph.captioning.refining.settings import RULE_NAMES
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.stage import silent
from chorograph.synthetic.city import SyntheticCityConfig, build_synthetic, plan_city
from chorograph.verbs import captions


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A. B. C.D.", ["A.", "B.", "C.", "D."]),
        ("Roads are visible.There are several cars.", ["Roads are visible.", "There are several cars."]),
        ("About 3.5 km of road, e.g. a lane. Next", ["About 3.5 km of road, e.g. a lane.", "Next"]),
        ("Houses in the U.S. South look alike", ["Houses in the U.S. South look alike"]),
        ("1. A park\n- **Two** roads!", ["A park", "Two roads!"]),
        ("Is it a road? Yes!!", ["Is it a road?", "Yes!!"]),
        ("...", []),
        ("", []),
    ],
)
def test_sentences_are_told_apart(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_mentions_know_denial_number_and_the_longest_word() -> None:
    found = mentions("Three tennis courts and no swimming pools beside blocks of flats, 12 large red trucks")
    assert [(one.concept, one.denied, one.count) for one in found] == [
        ("tennis court", False, 3),
        ("swimming pool", True, None),
        ("residential", False, None),
        ("lorry", False, 12),
    ]
    assert claims("a retail park beside factories", "cover") == {"commerce", "industry"}
    assert claims("houses with gardens", "cover") == {"residential"}


def test_names_are_found_and_set_against_the_areas_own() -> None:
    own = Knowledge(names=frozenset({("alder", "bank"), ("old", "town")}))
    said = ["A lane near Central Park.", "Beijing is large.", "Houses of Alder Bank", "Trees stand here."]
    assert [place_names(text, {"beijing"}) for text in said] == [
        [("Central", "Park")], [("Beijing",)], [("Houses", "of", "Alder", "Bank")], [],
    ]  # fmt: skip
    assert false_discovery_rate(said, own, {"beijing"}) == (2, 3)


_KNOWN = Knowledge({"i": Known({"park": 0.4}, {"pond": 2.0, "lorry": 0.0}, {"school": 0, "cafe": 30}, "street")})


@pytest.mark.parametrize(
    ("rule", "text", "kept"),
    [
        ("refusal", "I'm sorry, but I cannot see it.", False),
        ("refusal", "A house that one cannot see from the street.", True),
        ("meta_talk", "The image provides a glimpse into city life.", False),
        ("meta_talk", "A glimpse of a river between two towers.", True),
        ("length", "two roads", False),
        ("length", "two wide roads", True),
        ("repetition", "a road and a road and a road and a road and a road", False),
        ("repetition", "a road, a house, a school and a tree beside a river", True),
        ("cover", "a park beside a desert", False),
        ("cover", "a park without a forest", True),
        ("things", "two ponds", True),
        ("things", "nine ponds", False),
        ("things", "no ponds at all", False),
        ("things", "a lorry in a yard", False),
        ("poi", "a school beside a cafe", False),
        ("poi", "a cafe", True),
        ("place_name", "a lane in Manhattan", False),
        ("place_name", "a lane in the North", True),
    ],
)  # fmt: skip
def test_each_rule_on_its_own(rule: str, text: str, kept: bool) -> None:
    assert (RULES[rule](Sentence(text, "i"), Surroundings(knowledge=_KNOWN)) is None) == kept


def test_rules_that_look_further() -> None:
    around = Surroundings(
        limits=Limits(clip_score=0.5, perception=0.6),
        knowledge=_KNOWN,
        images=10,
        images_of={"much the same": 6, "rare": 2},
        others={"i": ("a pond in a park",)},
        scores={("i", "near"): 0.9, ("i", "far"): 0.2, ("i", "two ponds"): 1.5, ("i", "a bridge"): 1.5},
        low={("i", "c1"): "true"},
    )
    told = {(rule, text): RULES[rule](Sentence(text, "i", "c1"), around) for rule, text in [
        ("sameness", "Much the same."), ("sameness", "Rare"), ("agreement", "a tennis court"), ("agreement", "a pond"),
        ("agreement", "something"), ("clip_score", "near"), ("clip_score", "far"), ("perception", "two ponds"),
        ("perception", "a bridge"), ("rating", "anything")]}  # fmt: skip
    assert [why is not None for why in told.values()] == [
        True, False, True, False, False, False, True, False, True, True,
    ]  # fmt: skip
    assert perception_score(1.25, "a pond and a bridge", {"pond": 1.0}) == 0.5
    assert perception_score(1.25, "nothing of note", {"pond": 1.0}) == 0.5
    assert tuple(RULES) == RULE_NAMES


def test_diversity_is_that_of_its_definitions() -> None:
    assert diversity(["a b", "a c"]) == {"distinct-1": 0.75, "distinct-2": 1.0, "self-BLEU": pytest.approx(0, abs=1e-3)}
    assert diversity(["one two three four five"] * 3)["self-BLEU"] == pytest.approx(1, abs=1e-3)
    assert diversity(["alone"]) == {}


def test_planted_faults_are_found_and_clean_captions_stay() -> None:
    city = plan_city(SyntheticCityConfig(regions=60, tiles_per_region=3, street_views_per_region=0, seed=3))
    planted = plant(city, 3)
    rows = {row["fault"]: row for row in measure(planted, surroundings_of(city, into_sentences(planted)))}
    assert set(RULE_OF) < set(rows)
    assert rows["all kinds"]["planted"] >= 1000
    assert rows["all kinds"]["recall"] >= 0.9
    assert rows["all kinds"]["precision"] >= 0.9
    assert all(row["recall"] >= 0.85 for kind, row in rows.items() if kind != "caption of another image")


@pytest.fixture
def city(tmp_path: Path) -> Area:
    area = build_synthetic(
        SyntheticCityConfig(regions=8, tiles_per_region=1, street_views_per_region=1), tmp_path / "c"
    )
    said = area.captions
    extra = said.iloc[:4].assign(
        caption=["I'm sorry, I cannot.", "Roofs of grey houses.Trees in Beijing Park.", "Fine roads here.", "roofs"],
        caption_id=["x1", "x2", "x3", "x4"], origin="model:m", rank=0,
    )  # fmt: skip
    area.write("captions", pd.concat([said, extra], ignore_index=True))
    return area


def refine(area: Area, **more: Any) -> dict[str, Any]:
    return captions.refine(captions.RefineVerb(area=area.path, **more), silent).manifest


def test_what_is_dropped_is_kept_with_its_reason_and_comes_back(city: Area) -> None:
    before = city.captions
    done = refine(city, origin=["model:m"])
    assert done["counts"]["sentences"] == 5
    assert done["counts"]["sentences kept"] == 2
    assert sum(done["dropped"].values()) == 3
    assert done["facts"]["before"]["of them not the area's own"] == 1
    kept = city.captions[city.captions["origin"] == "refined:model:m"]
    assert kept["caption"].tolist() == ["Roofs of grey houses.", "Fine roads here."]
    dropped = city.read("captions_dropped").set_index("caption")["rule"].to_dict()
    assert dropped == {"I'm sorry, I cannot.": "refusal", "Trees in Beijing Park.": "place_name", "roofs": "length"}
    assert check_area(city, open_images=False) == []
    assert captions.refine(captions.RefineVerb(area=city.path, origin=["model:m"]), silent).skipped
    # Refined anew by other rules, from what was before.
    assert refine(city, origin=["model:m"], rules=["length"])["counts"]["sentences kept"] == 4
    assert refine(city, origin=["model:m"])["counts"]["sentences kept"] == 2
    assert set(captions_by(city, ["model:m"])["caption_id"]) == {"x1", "x2", "x3", "x4"}
    assert set(captions_by(city, ["refined"])["origin"]) == {"refined:model:m"}
    with pytest.raises(InputError, match="it holds: "):
        captions_by(city, ["model:other"])
    captions.restore(captions.RestoreSettings(area=city.path, rules=["place_name"]), silent)
    assert "Trees in Beijing Park." in set(city.captions["caption"])
    captions.restore(captions.RestoreSettings(area=city.path), silent)
    pd.testing.assert_frame_equal(
        city.captions.sort_values("caption_id", ignore_index=True), before.sort_values("caption_id", ignore_index=True)
    )
    assert captions.restore(captions.RestoreSettings(area=city.path), silent).skipped
    (city.path / "captions_restored.manifest.json").unlink()
    with pytest.raises(InputError, match="no captions that were refined"):
        captions.restore(captions.RestoreSettings(area=city.path), silent)


@pytest.mark.parametrize("rules", [[], ["place_name"]])
def test_a_killed_restoring_can_be_done_again(city: Area, monkeypatch: pytest.MonkeyPatch, rules: list[str]) -> None:
    """Killed when captions are back and nothing else is written, the same command counts the same rows."""
    refine(city, origin=["model:m"])
    settings = captions.RestoreSettings(area=city.path, rules=rules)

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("chorograph.ground.stage.write_json", killed)
        captions.restore(settings, silent)
    done = captions.restore(settings, silent)
    assert done.manifest["counts"] == {"captions brought back": 1 if rules else 4}
    assert city.captions["caption_id"].is_unique
    assert captions.restore(settings, silent).skipped


def test_peoples_captions_are_left_alone_unless_named_and_gates_ask_for_an_encoder(city: Area) -> None:
    city.write("captions", city.captions.assign(origin="human"))
    with pytest.raises(InputError, match="no captions to refine"):
        refine(city)
    with pytest.raises(SettingError, match="--clip"):
        refine(city, origin=["human"], clip_score=0.5)
    with pytest.raises(InputError, match="of origin 'nobody'"):
        refine(city, origin=["nobody"])


def test_people_and_an_encoder_drop_captions_too(city: Area) -> None:
    from chorograph.captioning.refining.run import refine_area
    from chorograph.captioning.refining.settings import RefineSettings
    from chorograph.ground.stage import Ledger

    class Encoder:
        name = fingerprint = "made"
        dim = 2

        def encode(self, images: Any) -> Any:
            return np.tile(np.float32([1, 0]), (len(images), 1))

        def encode_texts(self, texts: Any, *, unit: bool = True) -> Any:
            return np.array([[1, 0] if "Fine" in text else [0.1, 1] for text in texts], dtype=np.float32)

    row = city.captions[city.captions["caption_id"] == "x3"].iloc[0]
    rating = {"image_id": row["image_id"], "caption_id": "x3", "rater": "a", "question": "true"}
    rating |= {"value": 1.0, "at": "now"}
    city.write("ratings", pd.DataFrame([rating]))
    ledger = Ledger()
    asked = RefineSettings(origin=["model:m"], clip_score=1.0, least_rating=3.0, rules=["clip_score", "rating"])
    refine_area(city, asked, ledger, encoder=Encoder())  # type: ignore[arg-type]
    assert ledger.dropped == {"rating: rated low: true": 1, "clip_score: CLIPScore below 1": 4}


def test_kinds_of_housing_are_told_apart_by_the_other_captioner_alone() -> None:
    assert seen_by("a street of row houses and a park", ["terraced houses"]) == 0.5
    assert seen_by("a street of row houses", ["a villa quarter with many houses with gardens"]) == 0
    assert seen_by("a street of row houses", ["some houses"]) == 1  # a general word agrees with any kind
    assert seen_by("some houses", ["a villa quarter"]) == 1
    assert seen_by("trees and cars", ["a villa quarter"]) is None
    assert claims("a street of row houses", "cover") == claims("villas", "cover") == {"residential"}


def test_what_nobody_counted_is_not_known_to_be_absent(tmp_path: Path) -> None:
    images = pd.DataFrame({"image_id": ["a", "b", "c"], "view": "satellite", "source": "made", "licence": "CC0"})
    facts = [("a", "object", "ship", 2.0), ("b", "object", "crane", 1.0)]
    with AreaDraft(tmp_path / "area", "harbour") as draft:
        draft.write("images", images)
        draft.write("image_facts", pd.DataFrame(facts, columns=["image_id", "kind", "name", "value"]))
    around = Surroundings(knowledge=read_knowledge(Area.open(tmp_path / "area")))
    things = RULES["things"]
    assert things(Sentence("a crane", "a"), around) == "says crane, and there is none"
    assert things(Sentence("two ships", "a"), around) is None
    assert things(Sentence("a train on its track", "a"), around) is None  # whoever counted did not look for trains
    assert things(Sentence("a crane", "c"), around) is None
