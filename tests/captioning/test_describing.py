from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from chat_server import serving
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.captioning.describing.facts import Fact, say
from chorograph.captioning.describing.wording import Worded, among, numbers_in, objection
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import silent
from chorograph.synthetic.city import SyntheticCityConfig, build_synthetic
from chorograph.verbs import describe

#: Said of one image of every region; true of none.
_FALSE = "a lighthouse and a ferris wheel beside an airport in Atlantis, with 777 boats"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Area:
    config = SyntheticCityConfig(regions=240, tiles_per_region=2, street_views_per_region=0)
    area = build_synthetic(config, tmp_path_factory.mktemp("city") / "c")
    first = area.images.drop_duplicates("region_id")["image_id"]
    planted = pd.DataFrame({"image_id": first, "caption_id": "false-" + first, "caption": _FALSE, "rank": 9})
    area.write("captions", pd.concat([area.captions, planted.assign(origin="model:liar")], ignore_index=True))
    known = area.indicators
    missing = sorted(set(area.regions["region_id"]) - set(known["region_id"]))
    rows = [(region, name, 0, 1234.5 + n, 1000.25, 2000.75, 0.9, "image") for n, region in enumerate(missing)
            for name in known["indicator"].unique()]  # fmt: skip
    columns = ["region_id", "indicator", "fold", "predicted", "lower", "upper", "level", "basis"]
    (area.path / "predictions").mkdir()
    pd.DataFrame(rows, columns=columns).to_parquet(area.path / "predictions" / "main.parquet")
    return area


def run(area: Area, **more: Any) -> dict[str, Any]:
    return describe.run(describe.Settings(area=area.path, **more), silent).manifest


Tables = dict[str, pd.DataFrame]


def read_all(area: Area) -> Tables:
    names = ("regions", "images", "captions", "indicators", "poi_counts", "triples")
    read = {name: pd.read_parquet(area.path / f"{name}.parquet") for name in names}
    read["main"] = pd.read_parquet(area.path / "predictions" / "main.parquet")
    return read


def table_numbers(read: Tables, region: str, evidence: list[str]) -> Iterator[float]:
    """Yield the numbers behind evidence, looked up anew in the files: what the library's own reading is checked by."""
    images = set(read["images"].loc[read["images"]["region_id"] == region, "image_id"])
    captioned = read["captions"][read["captions"]["image_id"].isin(images)]
    for one in evidence:
        table, *parts = [unquote(part) for part in one.split(":")]
        match table:
            case "regions":
                assert not parts or parts[0] in set(read["regions"]["region_id"])
                yield float(len(read["regions"]))
            case "indicators" | "rank" | "neighbour":
                rows = read["indicators"][read["indicators"]["indicator"] == parts[0]].set_index("region_id")["value"]
                yield float(rows[parts[1] if table == "neighbour" else region])
                yield float((rows > rows[region]).sum() + 1)
                yield float(len(rows))
            case "predictions":
                rows = read[parts[0]]
                row = rows[(rows["region_id"] == region) & (rows["indicator"] == parts[1])].iloc[0]
                yield from (row["predicted"], row["lower"], row["upper"], 100 * row["level"])
            case "poi_counts":
                rows = read["poi_counts"][read["poi_counts"]["region_id"] == region].set_index("poi")["count"]
                yield float(rows[parts[0]]) if parts else float(rows.sum())
            case "triples":
                links = read["triples"][(read["triples"]["head"] == f"region:{region}")
                                        & (read["triples"]["relation"] == parts[0])]  # fmt: skip
                assert len(links)
                yield float(len(links))
                yield float(len(links) - 4)
            case "captions":
                assert parts[0] in set(captioned["caption_id"])
                yield from (float(n) for n in range(1, captioned["image_id"].nunique() + 1))
            case _:
                raise AssertionError(f"no such evidence: {one}")


def check_all(area: Area) -> int:
    """Assert that no sentence has a number that its evidence has not; returns how many numbers were looked up."""
    seen, read = 0, read_all(area)
    names = " ".join([*area.regions["name"], area.title])
    for row in area.read("descriptions").itertuples():
        numbers = list(table_numbers(read, row.region_id, row.evidence.split()))
        text = re.sub(r"\bR\d+\b", "", row.sentence.replace(area.title, ""))
        for token in re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text):
            value = float(token.replace(",", ""))
            close = any(abs(value - number) <= max(0.0051 * abs(number), 1e-9) for number in numbers)
            assert close or token in names, f"{row.region_id}: {token} in {row.sentence!r} is none of {numbers}"
            seen += 1
    return seen


def test_all_regions_of_the_city_are_described_by_their_tables_alone(built: Area) -> None:
    done = run(built)
    said = built.read("descriptions")
    assert said["region_id"].nunique() == 240 == done["counts"]["regions described"]
    assert (said.groupby("region_id").size() >= 5).all()
    assert check_all(built) > 3000
    everything = " ".join(said["sentence"]).lower()
    assert not re.search(r"\b(lighthouse|ferris wheel|airport|atlantis|ship|boats?)\b", everything)
    assert "the captions of its images agree on" in everything
    assert "which nobody has measured here, is estimated at" in everything
    assert check_area(built, open_images=False) == []


def test_one_region_is_described_and_the_others_stay(built: Area) -> None:
    run(built)
    before = built.read("descriptions")
    done = run(built, region=["R001"])
    assert list(done["facts"]["descriptions"]) == ["R001"]
    assert "one of 240 regions" in done["facts"]["descriptions"]["R001"]
    after = built.read("descriptions").sort_values(["region_id", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(after, before.sort_values(["region_id", "rank"], ignore_index=True))
    with pytest.raises(UnknownNameError, match="did you mean"):
        run(built, region=["R01"])
    with pytest.raises(InputError, match="it holds: main"):
        run(built, predictions="other")


def test_a_models_wording_stands_only_where_its_evidence_bears_it(built: Area) -> None:
    def words(body: dict[str, Any]) -> str:
        lines = re.findall(r"^\[(.*?)\] (.*)$", body["messages"][1]["content"], re.MULTILINE)
        ids = [line[0].split() for line in lines]
        first = lines[0][1].split(" lies ")[0].split(" (")[0]
        told = [
            (f"{first} is one of 240 regions.", ids[0]),
            ("It has 123,456 lighthouses.", ids[0]),
            ("It lies by Atlantis.", ids[0]),
            ("It is a pleasant quarter with an airport.", ids[0]),
            ("Everybody likes it.", []),
            ("It is rich.", ["indicators:wealth"]),
            (lines[1][1], ids[1]),
        ]
        return json.dumps({"sentences": [{"sentence": said, "evidence": of} for said, of in told]})

    regions = built.regions["region_id"].tolist()[:12]
    with serving() as server:
        server.words = words
        done = run(built, region=regions, writer=f"openai:tiny@{server.url}")
        assert server.requests == 12
        (built.path / "descriptions.manifest.json").unlink()
        run(built, region=regions, writer=f"openai:tiny@{server.url}")
        assert server.requests == 12  # what was answered is not asked again
    assert done["dropped"] == {
        "sentence with a number that is in no table": 12,
        "sentence with a name that its evidence does not hold": 12,
        "sentence with a thing that its evidence does not hold": 12,
        "sentence with no evidence": 12,
        "sentence with evidence that does not exist": 12,
    }
    said = built.read("descriptions")
    mine = said[said["region_id"].isin(regions)]
    assert mine["origin"].str.startswith("model:openai:tiny@").all()
    assert mine.groupby("region_id").size().tolist() == [2] * 12
    assert check_all(built) > 3000


def test_where_no_sentence_stands_the_facts_do(built: Area) -> None:
    with serving() as server:
        server.words = lambda body: json.dumps({"sentences": [{"sentence": "Fine.", "evidence": []}]})
        done = run(built, region=["R002"], writer=f"openai:tiny@{server.url}")
    assert done["dropped"]["wording: no sentence stands; the facts do"] == 1
    said = built.read("descriptions")
    assert set(said.loc[said["region_id"] == "R002", "origin"]) == {"facts"}


@pytest.mark.parametrize(
    ("text", "numbers", "fine"),
    [
        ("38,200", [38_188.0], True), ("38,200", [38_260.0], False), ("0.52", [0.5201], True), ("0.52", [0.53], False),
        ("90", [90.0], True), ("90", [89.4], False), ("three", [3.0], True), ("three", [4.0], False),
        ("12", [12.2], True),
        ("1.2e-05", [1.21e-5], True), ("−4", [-4.0], True),
    ],
)  # fmt: skip
def test_numbers_are_compared_to_the_digits_that_are_written(text: str, numbers: list[float], fine: bool) -> None:
    assert among(text, numbers) == fine


def test_what_is_written_is_among_what_was_meant() -> None:
    for value in (0.0, 1.0, 12.3456, 999.9, 1234.5, 38_188.0, 1_234_567.0, 0.0123456, 1.23e-7, -45.678):
        assert among(say(value), [value]), say(value)
    assert numbers_in("R012 has 3 of 4 and two more", "R012") == ["3", "4", "two"]
    assert numbers_in("R013 has none", "R012") == ["R013"]


def test_objections() -> None:
    facts = {"a": Fact("Alder Bank has 3 parks.", ("a",), (3.0,))}
    told = {
        "Alder Bank has three parks.": None,
        "Alder Bank has 4 parks.": "a number that is in no table",
        "Elm Bank has 3 parks.": "a name that its evidence does not hold",
        "Alder Bank has no parks.": "a thing that its evidence does not hold",
    }
    assert {said: objection(Worded(said, ("a",)), facts) for said in told} == told
