"""The rules of the funnel, each by itself: against published values, brute force, and what we know by construction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.curation.run.funnel import Funnel
from chorograph.curation.steps.captions import (
    CaptionRules,
    boilerplate,
    caption_fault,
    caption_score,
    language,
    repetition,
)
from chorograph.curation.steps.duplicates import (
    ByteDuplicates,
    EmbeddingDuplicates,
    HashDuplicates,
    Priority,
    UrlDuplicates,
    normalised_url,
    pack_vector,
    turned_pairs,
)
from chorograph.curation.steps.encoding import TEMPLATES, relevance
from chorograph.curation.steps.keywords import REMOTE_SENSING, RS5M_PATTERNS, SENSORS, Keywords, keyword_regex
from chorograph.curation.steps.quantiles import Quantiles
from chorograph.ground.errors import InputError

# Keywords -------------------------------------------------------------------------------------------------------------


def test_there_are_27_and_15_published_patterns() -> None:
    assert (len(REMOTE_SENSING), len(SENSORS), len(set(RS5M_PATTERNS))) == (27, 15, 42)


@pytest.mark.parametrize(
    ("caption", "kept"),
    [
        ("Aerial imagery of a farm", True),
        ("AERIAL PHOTOS", True),
        ("Sentinel-2 scene", True),
        ("usgs map", True),
        ("a satellite dish", False),
        ("space shuttle launch", False),
        ("sentinel 2", False),
        (None, False),
    ],
)
def test_keywords_keep_what_the_published_filter_keeps(caption: str | None, kept: bool) -> None:
    assert Keywords().keeps(caption) is kept


def test_a_pattern_is_plain_text() -> None:
    assert re.search(keyword_regex(["a.b (c)"]), "see A.B (C) there")
    assert not re.search(keyword_regex(["a.b"]), "axb")
    with pytest.raises(InputError, match="at least one pattern"):
        keyword_regex([])


# Captions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("aerial view of the harbour in winter", None),
        ("aerial view", "too short"),
        (" ".join(f"word{i}" for i in range(300)), "too long"),
        ("aerial view aerial view aerial view aerial view aerial view", "repetitive"),
        ("Luftbild der Stadt und des Hafens mit dem Fluss", "language de"),
        ("Вид с воздуха на город", "language cyrillic"),
        ("城市 的 航拍 照片 鸟瞰", "language cjk"),
        ("Aerial photo of the coast, stock photo, royalty free", "boilerplate"),
        ("IMG_2034.jpg of it", None),
        ("click here to see the aerial photo", "boilerplate"),
        (None, "no caption"),
    ],
)
def test_caption_rules(caption: str | None, reason: str | None) -> None:
    fault = caption_fault(caption, CaptionRules(languages=("en",)))
    assert (fault.reason if fault else None) == reason


def test_a_caption_without_telling_words_has_the_benefit_of_the_doubt() -> None:
    assert language("Landsat 8 Oslo 2017") == "?"
    assert caption_fault("Landsat 8 Oslo 2017", CaptionRules(languages=("en",))) is None


def test_repetition_runs_from_none_to_a_loop() -> None:
    assert repetition("a river beside the old town and its harbour") == 0
    assert repetition("tree " * 30) > 0.95
    assert repetition("the red roof and the red roof and the red roof") > 0.4


def test_a_caption_that_says_more_scores_higher() -> None:
    said = "an aerial view of the old harbour with three piers and a white ferry beside the quay"
    assert caption_score(said) > caption_score("aerial view") > caption_score("view view view view")
    assert caption_score(said + ", stock photo") == pytest.approx(caption_score(said) / 2, rel=0.1)
    assert boilerplate("DSC_0042.JPG") and boilerplate("www.example.com") and not boilerplate("a stock yard by a road")


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_a_caption_rule(caption: str) -> None:
    fault = caption_fault(caption, CaptionRules(languages=("en",)))
    assert fault is None or fault.reason
    assert 0 <= caption_score(caption) <= 1
    assert 0 <= repetition(caption) <= 1


# Duplicates -----------------------------------------------------------------------------------------------------------


def table(sources: list[str], **columns: object) -> pa.Table:
    number = len(sources)
    types = {
        "phash": pa.uint64(),
        "turned": pa.binary(),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "captured": pa.string(),
    }
    filled = {name: pa.array(columns.get(name, [None] * number), type=kind) for name, kind in types.items()}
    extra = {name: pa.array(values) for name, values in columns.items() if name not in types}
    keys = pa.array(columns.get("key", range(1, number + 1)), type=pa.uint64())
    return pa.table({"source": pa.array(sources), **filled, **extra, "key": keys})


def kept_sources(sources: list[str], order: list[int] | None = None, seed: int = 0) -> list[str]:
    order = list(range(len(sources))) if order is None else order
    step = ByteDuplicates(Priority(seed=seed))
    made = table([sources[i] for i in order], sha256=["x"] * len(sources), key=[i + 10 for i in order])
    out = set(step.decide(made).rows.tolist())
    return [sources[i] for place, i in enumerate(order) if place not in out]


def test_priority_is_the_published_one() -> None:
    assert kept_sources(["laioncoco", "cc3m"]) == ["cc3m"]
    assert kept_sources(["laioncoco", "laion2b", "wit"]) == ["laion2b"]
    assert kept_sources(["wit", "coyo700m", "laioncoco"]) == ["coyo700m"]
    assert len(kept_sources(["laioncoco"] * 4)) == 1


@given(st.permutations(list(range(6))), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_priority_does_not_depend_on_the_order_of_rows(order: list[int], seed: int) -> None:
    sources = ["wit", "cc3m", "sbu", "vg", "laioncoco", "redcaps"]
    assert kept_sources(sources, order, seed) == kept_sources(sources, None, seed)


def test_urls_that_differ_in_nothing_that_matters_are_one() -> None:
    same = ["HTTP://Example.org:80/a.jpg#top", "http://example.org/a.jpg", " http://example.org/a.jpg"]
    assert len({normalised_url(url) for url in same}) == 1
    assert normalised_url("http://example.org/A.jpg") != normalised_url("http://example.org/a.jpg")
    assert normalised_url("http://[broken") == "http://[broken"
    decision = UrlDuplicates().decide(table(["a", "laioncoco", "b"], url=[same[0], same[1], None]))
    assert decision.rows.tolist() == [1]
    assert decision.kept is not None and decision.kept.tolist() == [1]


def near_hashes() -> list[int]:
    base = 0xF0F0_1234_5678_9ABC
    return [base, base ^ 0b1111, base ^ 0b1111_1111, 0x0F0F_FFFF_0000_AAAA]


def test_hash_duplicates_within_a_distance() -> None:
    # The first and the third are 8 bits apart, and only near through the second.
    decision = HashDuplicates(distance=4).decide(table(["laion2b", "wit", "wit", "wit"], phash=near_hashes()))
    assert (decision.rows.tolist(), decision.scores.tolist()) == ([1], [4.0])
    chained = HashDuplicates(distance=4, component=True).decide(
        table(["laion2b", "wit", "wit", "wit"], phash=near_hashes())
    )
    assert chained.rows.tolist() == [1, 2]


@given(st.lists(st.integers(1, 2**12), min_size=2, max_size=12), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_turned_pairs_are_those_of_brute_force(values: list[int], distance: int) -> None:
    generator = np.random.default_rng(0)
    base = np.unique(np.array(values, dtype=np.uint64))
    # Eight hashes an image, crowded so that equal and near ones meet.
    turned = np.column_stack([base, *[base ^ generator.integers(0, 8, len(base), dtype=np.uint64) for _ in range(7)]])
    wanted = {
        (min(i, j), max(i, j))
        for i in range(len(base)) for j in range(len(base))
        if i != j and np.bitwise_count(turned[i, 0] ^ turned[j]).min() <= distance
    }  # fmt: skip
    assert {tuple(pair) for pair in turned_pairs(turned, distance).tolist()} >= wanted


def test_an_index_beside_spares_work_and_changes_nothing(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    hashes = generator.integers(1, 2**10, 300, dtype=np.uint64)  # crowded on purpose
    step = HashDuplicates(distance=2)
    for rows in (100, 300, 200):
        made = table(["wit"] * rows, phash=hashes[:rows])
        plain, indexed = step.decide(made), step.decide(made, tmp_path)
        assert plain.rows.tolist() == indexed.rows.tolist()
        assert plain.kept is not None and indexed.kept is not None and plain.kept.tolist() == indexed.kept.tolist()


def test_images_without_contrast_are_like_nothing() -> None:
    assert len(HashDuplicates().decide(table(["a"] * 3, phash=[0, 0, None])).rows) == 0


@pytest.mark.parametrize("component", [False, True])
def test_the_same_place_on_another_day_is_no_duplicate(component: bool) -> None:
    step = HashDuplicates(component=component)
    place = {"lon": [10.0] * 4, "lat": [60.0] * 4, "phash": [77] * 4}
    days = ["2019-05-01", "2020-05-01T10:00:00", "2019-05-01T09:00", None]
    rows = step.decide(table(["laion2b", "laion2b", "wit", "wit"], captured=days, **place)).rows.tolist()
    assert rows == [2, 3]  # the same day again, and one that does not say
    other = step.decide(table(["a", "b"], captured=["2019-05-01"] * 2, lon=[10.0, 10.1], lat=[60.0] * 2, phash=[7, 7]))
    assert len(other.rows) == 0  # another place that looks the same
    blind = HashDuplicates(component=component, footprint=False)
    assert len(blind.decide(table(["a"] * 4, captured=days, **place)).rows) == 3


def test_embedding_duplicates_by_cosine() -> None:
    vectors = np.array([[1, 0, 0], [2, 0.1, 0], [0, 1, 0]], dtype=np.float32)
    made = table(["wit", "laioncoco", "wit"], vector=[pack_vector(vector) for vector in vectors])
    decision = EmbeddingDuplicates(similarity=0.95).decide(made)
    assert decision.rows.tolist() == [1]
    assert decision.scores[0] == pytest.approx(0.9988, abs=1e-3)


# Quantiles and relevance ----------------------------------------------------------------------------------------------


def test_quantiles_keep_72_percent_of_independent_scores() -> None:
    generator = np.random.default_rng(0)
    made = table(["a"] * 10_000, relevance=generator.random(10_000), detector=generator.random(10_000))
    decision = Quantiles(0.9, 0.8).decide(made)
    assert abs(10_000 - len(decision.rows) - 7_200) <= 150
    assert set(decision.reasons) == {"relevance below its quantile", "detector below its quantile"}
    with pytest.raises(InputError, match="put the step `detector` before"):
        Quantiles().decide(table(["a"], relevance=[0.5], detector=pa.array([None], pa.float64())))
    assert len(Quantiles(relevance=1, detector=1).decide(made).rows) == 0


def test_relevance_is_the_cosine_with_the_mean_of_unit_texts() -> None:
    scores = relevance(np.array([[2.0, 0.0], [1.0, 1.0]], np.float32), np.array([[3.0, 0.0], [0.0, 1.0]], np.float32))
    assert scores.tolist() == pytest.approx([np.sqrt(0.5), 1.0])


def test_there_are_33_templates_11_a_noun() -> None:
    assert len(set(TEMPLATES)) == 33
    for noun in ("remote sensing", "aerial", "satellite"):
        assert sum(f"{noun} image" in text for text in TEMPLATES) == 11
    assert {"an aerial image.", "a blurry satellite image."} <= set(TEMPLATES)


# The funnel -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PublishedRow:
    """A row of RS5M's table of PUB11 (Zhang et al. 2024, appendix B; every row closes)."""

    source: str
    keywords: int
    downloaded: int
    invalid: int
    duplicate: int
    outlier: int
    remain: int

    @property
    def after_duplicates(self) -> int:
        """What stood before the relevance filters."""
        return self.downloaded - self.invalid - self.duplicate

    @property
    def closes(self) -> bool:
        """Whether what remains is what was downloaded less what was removed."""
        return self.after_duplicates - self.outlier == self.remain


PUBLISHED = (
    PublishedRow("laion2b", 1_980_978, 1_737_584, 102, 343_017, 333_686, 1_060_779),
    PublishedRow("coyo700m", 680_089, 566_076, 28, 245_650, 94_329, 226_069),
    PublishedRow("laioncoco", 3_014_283, 2_549_738, 80, 417_689, 527_941, 1_604_028),
    PublishedRow("laion400m", 286_102, 241_324, 25, 141_658, 23_860, 75_781),
    PublishedRow("wit", 98_540, 93_754, 0, 74_081, 9_299, 10_374),
    PublishedRow("yfcc15m", 27_166, 25_020, 0, 265, 15_126, 9_629),
    PublishedRow("cc12m", 18_892, 16_234, 0, 1_870, 4_330, 10_034),
    PublishedRow("redcaps", 2_842, 2_686, 0, 228, 972, 1_486),
    PublishedRow("cc3m", 12_563, 11_718, 1, 328, 1_817, 9_572),
    PublishedRow("sbu", 102, 91, 0, 4, 36, 51),
    PublishedRow("vg", 26, 26, 0, 0, 20, 6),
)
PUBLISHED_TOTAL = PublishedRow("total", 6_121_583, 5_244_251, 236, 1_224_790, 1_011_416, 3_007_809)


def test_the_eleven_published_rows_and_their_total_close() -> None:
    assert len(PUBLISHED) == 11
    assert all(row.closes for row in (*PUBLISHED, PUBLISHED_TOTAL))
    for name in ("keywords", "downloaded", "invalid", "duplicate", "outlier", "remain"):
        assert sum(getattr(row, name) for row in PUBLISHED) == getattr(PUBLISHED_TOTAL, name)
    assert PUBLISHED_TOTAL.after_duplicates == 4_019_225


def test_our_funnel_does_the_published_arithmetic() -> None:
    funnel = Funnel(("fetch", "valid_images", "duplicates", "outliers"))
    for row in PUBLISHED:
        missing = row.keywords - row.downloaded
        taken = zip(funnel.steps, (missing, row.invalid, row.duplicate, row.outlier), strict=True)
        funnel.add({row.source: row.keywords}, [(row.source, step, "published", n) for step, n in taken])
    remain = {row["source"]: row["remain"] for row in funnel.rows()}
    assert remain == {row.source: row.remain for row in (*PUBLISHED, PUBLISHED_TOTAL)}
    assert funnel.reasons()["valid_images"] == {"published": 236}
