"""Parquet files as pandas and Spark write them: dictionaries, columns without a value, days in every type."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chorograph.curation.rows import Context, Drop, Row
from chorograph.curation.run.engine import engine
from chorograph.curation.run.guard import apply_guarded
from chorograph.curation.run.output import place_of
from chorograph.curation.run.partitions import find_partitions
from chorograph.curation.run.plan import Columns
from chorograph.curation.run.queries import day_of, read_input
from chorograph.ground.errors import InputError

BASE = {"caption": ["a road", "a river"], "url": ["http://a.example/1", "http://a.example/2"]}
DAY = dt.date(2020, 1, 2)
LATE = dt.datetime(2020, 1, 2, 3, 4, 5)  # UTC; the day before in New York


def write(path: Path, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(BASE | more), path)
    return path


def read(given: str | Path, **named: str) -> dict[str, list[Any]]:
    columns = Columns(**named)
    with engine("native"):
        found: dict[str, list[Any]] = {}
        for partition in find_partitions([f"s={given}"], columns, 1000):
            for name, values in read_input(partition, columns).to_pydict().items():
                found[name] = found.get(name, []) + values
    return found


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["laion", "laion"]).dictionary_encode(),
        pa.array(["laion", "laion"], pa.large_string()).dictionary_encode(),
        pa.Array.from_pandas(pd.Series(pd.Categorical(["laion", "laion"]))),
    ],
    ids=["dictionary", "large", "category"],
)
def test_text_in_a_dictionary_is_text(column: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", source=column)
    assert read(file, source="source")["source"] == ["laion", "laion"]
    assert read(write(tmp_path / "b.parquet", caption=column))["caption"] == ["laion", "laion"]


def test_a_column_without_a_value_is_nulls_in_one_file_or_all(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    pd.DataFrame(BASE | {"licence": "cc", "lon": 1}).to_parquet(tmp_path / "parts" / "0.parquet")
    pd.DataFrame(BASE | {"licence": None, "lon": None}).to_parquet(tmp_path / "parts" / "1.parquet")
    pd.DataFrame(BASE | {"licence": None, "lon": 2.5}).to_parquet(tmp_path / "parts" / "2.parquet")
    found = read(tmp_path / "parts", licence="licence", lon="lon")
    assert found["licence"] == ["cc", "cc", None, None, None, None]
    assert [value for value in found["lon"] if value is not None] == [1.0, 1.0, 2.5, 2.5]
    assert read(tmp_path / "parts" / "1.parquet", licence="licence")["licence"] == [None, None]


@pytest.mark.parametrize(
    "days",
    [
        pa.array([DAY] * 2),
        pa.array([DAY] * 2, pa.date64()),
        pa.array([LATE] * 2, pa.timestamp("ns")),
        pa.array([LATE] * 2, pa.timestamp("ms")),
        pa.array([LATE] * 2, pa.timestamp("us", "America/New_York")),
        pa.array(["2020-01-02"] * 2),
        pa.array(["2020-01-02T03:04:05Z", "2020-01-02 03:04"]),
        pa.array(["2020-01-02"] * 2).dictionary_encode(),
    ],
    ids=lambda days: str(days.type),
)
def test_every_way_to_write_a_day_is_one_day(days: Any, tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.parquet", when=days), captured="when")["captured"] == ["2020-01-02"] * 2


def test_what_is_no_day_stays(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", when=["2020", "3/4/2020"])
    assert read(file, captured="when")["captured"] == ["2020", "3/4/2020"]


def test_another_type_is_refused_with_a_remedy(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", caption=[1, 2])
    with pytest.raises(InputError, match=r"a\.parquet: column 'caption' .* holds int64, not text; write it anew"):
        read(file)


def test_a_star_may_stand_in_any_part(tmp_path: Path) -> None:
    for day in ("2020-01", "2020-02"):
        write(tmp_path / f"day={day}" / "part-0.parquet")
    assert len(read(f"{tmp_path}/day=*/part-*.parquet")["caption"]) == 4
    assert len(read(f"{tmp_path}/day=*")["caption"]) == 4
    with pytest.raises(InputError, match="neither a Parquet file nor a folder"):
        read(f"{tmp_path}/week=*/part-*.parquet")


class _Fussy:
    name = "fussy"

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad

    def apply(self, rows: list[Row], context: Context) -> list[Drop | None]:
        if any(row["key"] in self.bad for row in rows):
            raise RuntimeError("codec")
        return [None] * len(rows)

    def describe(self) -> str:
        return ""


def test_a_step_that_fails_at_a_row_costs_that_row() -> None:
    rows = [{"key": number} for number in range(6)]
    found = apply_guarded(_Fussy({2, 4}), rows, Context("nowhere"))
    assert np.flatnonzero([drop is not None for drop in found]).tolist() == [2, 4]
    assert found[2] == Drop("the step fails at it (RuntimeError)")


def test_a_step_that_fails_at_every_row_is_at_fault_itself() -> None:
    with pytest.raises(RuntimeError, match="codec"):
        apply_guarded(_Fussy(set(range(6))), [{"key": number} for number in range(6)], Context("nowhere"))


def test_every_way_to_write_a_day_in_words_is_one_day() -> None:
    same = ["2020-01-02", " 2020/01/02 ", "20200102", "2020:01:02 23:30:00", "2020-01-01T23:30:00-08:00"]
    assert {day_of(text) for text in [*same, "Thu, 02 Jan 2020 23:30:00 GMT"]} == {"2020-01-02"}
    assert [day_of(text) for text in ("2020-05", "02.01.2020", "2020-13-45", " ", None)] == [
        "2020-05", "02.01.2020", "2020-13-45", None, None,
    ]  # fmt: skip


def test_a_column_that_some_files_lack_is_empty_there(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "0.parquet", licence=["cc", "cc"], image=[b"1", b"2"])
    write(tmp_path / "parts" / "1.parquet")
    pq.write_table(pa.table({"caption": pa.array([], pa.float32())}), tmp_path / "parts" / "2.parquet")
    found = read(tmp_path / "parts", licence="licence", image="image")
    assert found["licence"] == ["cc", "cc", None, None]
    assert found["image"] == [b"1", b"2", None, None]
    with pytest.raises(InputError, match="has no column 'lon'"):
        read(tmp_path / "parts", lon="lon")


def test_fields_of_structs_are_named_with_a_dot(tmp_path: Path) -> None:
    images = [{"bytes": b"1", "path": "a.jpg"}, {"bytes": b"2", "path": None}]
    file = write(tmp_path / "a.parquet", image=images, about=[{"text": {"en": "a road"}}, None])
    found = read(file, caption="about.text.en", image="image.bytes")
    assert (found["caption"], found["image"]) == (["a road", None], [b"1", b"2"])
    with pytest.raises(InputError, match=r"a field of it: image\.bytes"):
        read(file, image="image")


def test_hidden_files_are_told_and_folders_named_like_a_column(tmp_path: Path) -> None:
    write(tmp_path / "p" / "lang=en" / "0.parquet")
    for name in ("._0.parquet", "_temporary/0.parquet"):
        (tmp_path / "p" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"x")
    told: list[str] = []
    assert sum(p.rows for p in find_partitions([str(tmp_path / "p")], Columns(), 1000, told.append)) == 2
    assert len(told) == 2
    with pytest.raises(InputError, match="a name of folders: give each as an --in"):
        find_partitions([str(tmp_path / "p")], Columns(source="lang"), 1000)


def test_files_that_are_no_parquet_or_name_a_column_twice(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="it is a Git LFS pointer"):
        read(tmp_path / "a.parquet")
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["caption", "caption"])
    pq.write_table(twice, tmp_path / "b.parquet")
    with pytest.raises(InputError, match="two columns called 'caption'"):
        read(tmp_path / "b.parquet")


def test_a_place_is_in_degrees_or_none() -> None:
    assert place_of(-180.0, 90.0) == (-180.0, 90.0)
    for lon, lat in ((float("inf"), 1.0), (float("nan"), 1.0), (50.0, 110.0), (None, 1.0), (1.0, None)):
        assert place_of(lon, lat) == (None, None)
