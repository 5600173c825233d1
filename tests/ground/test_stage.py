from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorograph.ground.errors import InputError, SettingError, UnknownNameError
from chorograph.ground.files import atomic_folder, atomic_path, read_json, slug, within, write_json
from chorograph.ground.registry import Registry
from chorograph.ground.settings import Range, above, at_least, between, configure, inside, plain, setting
from chorograph.ground.stage import Ledger, read_manifest, run_stage


def _stage(folder: Path, config: dict[str, object], calls: list[int], fail: bool = False) -> bool:
    def work(ledger: Ledger) -> None:
        calls.append(1)
        (folder / "out.txt").write_text("made")
        if fail:
            raise RuntimeError("interrupted")
        ledger.count("rows", 3)
        ledger.drop("too old", 2)
        ledger.outputs.append(folder / "out.txt")

    return run_stage(
        "try", manifest=folder / "manifest.json", config=config, inputs=[folder / "in.txt"], work=work
    ).skipped


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a")
    calls: list[int] = []
    assert not _stage(tmp_path, {"k": 1}, calls)
    assert _stage(tmp_path, {"k": 1}, calls)
    assert len(calls) == 1
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["counts"] == {"rows": 3}
    assert manifest["dropped"] == {"too old": 2}


@pytest.mark.parametrize("change", ["config", "input", "output gone", "output changed", "manifest damaged"])
def test_a_change_makes_it_run_again(tmp_path: Path, change: str) -> None:
    (tmp_path / "in.txt").write_text("a")
    calls: list[int] = []
    _stage(tmp_path, {"k": 1}, calls)
    match change:
        case "input":
            (tmp_path / "in.txt").write_text("b")
        case "output gone":
            (tmp_path / "out.txt").unlink()
        case "output changed":
            (tmp_path / "out.txt").write_text("edited")
        case "manifest damaged":
            (tmp_path / "manifest.json").write_text('{"stage":')
    assert not _stage(tmp_path, {"k": 2 if change == "config" else 1}, calls)
    assert len(calls) == 2


def test_an_interrupted_stage_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _stage(tmp_path, {}, [], fail=True)
    assert not (tmp_path / "manifest.json").exists()


def test_atomic_path_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "t.json"
    write_json(target, {"v": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"v": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_published_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_json(tmp_path / "t.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "t.json").stat().st_mode) == 0o644


def test_atomic_folder_fills_an_empty_one_and_refuses_a_full_one(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.mkdir()
    with atomic_folder(target) as temporary:
        (temporary / "x").write_text("x")
    assert (target / "x").read_text() == "x"
    with pytest.raises(InputError, match="not empty"), atomic_folder(target):
        pass


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "t.json", {"v": float("nan")})
    assert not (tmp_path / "t.json").exists()


@given(st.text(max_size=40))
def test_no_relative_path_leaves_its_folder(text: str) -> None:
    folder = Path("/srv/area").resolve()
    try:
        assert within(folder, text).is_relative_to(folder)
    except (InputError, ValueError):  # ValueError: a NUL byte
        assert True


@given(st.text(max_size=60))
def test_a_slug_is_a_plain_file_name(text: str) -> None:
    assert slug(text)
    assert not set(slug(text)) & set("/\\:\0")
    assert slug(text) not in (".", "..")


@dataclass(frozen=True)
class Settings:
    area: Path = setting(help="where")
    epochs: int = setting(3, help="how long")
    names: list[str] = setting([], help="which")
    rate: float | None = setting(None, help="how fast")
    mode: str = setting("a", help="how", choices=("a", "given:"))
    level: float = setting(0.9, help="how sure", within=inside(0, 1))
    steps: list[int] = setting([1], help="how far", within=at_least(1))


def test_configure_reads_plain_values() -> None:
    made = configure(Settings, {"area": "x/y", "epochs": "5", "names": "one", "rate": 1, "mode": "given:mine"})
    assert made == Settings(Path.cwd().resolve() / "x/y", 5, ["one"], 1.0, "given:mine")
    assert json.loads(json.dumps(plain(made)))["area"] == plain(Settings(Path("x/../x/y")))["area"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "area must be given"),
        ({"area": "x", "epoch": 3}, "did you mean 'epochs'"),
        ({"area": "x", "epochs": "many"}, "must be a number"),
        ({"area": "x", "epochs": 1.5}, "must be a number"),
        ({"area": "x", "mode": "b"}, "one of a, given:"),
        ({"area": "x", "level": 90}, "level must be above 0 and below 1, not 90.0; did you mean 0.9"),
        ({"area": "x", "level": 1}, "level must be above 0"),
        ({"area": "x", "level": "nan"}, "level must be above 0 and below 1, not nan"),
        ({"area": "x", "rate": "inf"}, "rate must be a finite number, not inf"),
        ({"area": "x", "steps": [3, 0]}, "steps must be 1 or more, not 0"),
    ],
)
def test_configure_names_the_mistake(values: dict[str, object], message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        configure(Settings, values, where="recipe")


@pytest.mark.parametrize(
    ("range_", "words", "within", "outside"),
    [
        (at_least(1), "1 or more", [1, 1e9], [0.999]),
        (above(0), "above 0", [1e-9], [0, -1]),
        (between(0, 1), "0 to 1", [0, 0.5, 1], [-1e-9, 1.1]),
        (inside(0, 1), "above 0 and below 1", [0.5], [0, 1]),
        (Range(0, 1, low_open=True), "above 0 and at most 1", [1], [0]),
        (Range(), "any number", [-1e300], [math.nan, math.inf, -math.inf]),
    ],
)
def test_ranges(range_: Range, words: str, within: list[float], outside: list[float]) -> None:
    assert str(range_) == words
    assert all(number in range_ for number in within)
    assert not any(number in range_ for number in [*outside, math.nan, math.inf])


def test_registry_offers_near_misses() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("colour", 1, "a summary")
    assert registry["colour"] == 1
    with pytest.raises(LookupError, match="did you mean 'colour'"):
        _ = registry["color"]
    with pytest.raises(ValueError, match="already"):
        registry.add("colour", 2, "again")


@pytest.mark.parametrize("values", [True, 1.5, "text", ["a"], {1: "x"}, {None: 1}])
def test_settings_that_are_no_table_are_named(values: object) -> None:
    with pytest.raises(SettingError, match="here must be a table of names and values"):
        configure(Settings, values, where="here")  # type: ignore[arg-type]


@pytest.mark.parametrize("named", ["x" * 300, "é" * 200, "/" + "a/" * 1500, "a\0b", 3, None, ["a"]])
def test_a_manifest_names_places_that_a_file_system_takes(tmp_path: Path, named: object) -> None:
    write_json(tmp_path / "manifest.json", {"config": {"area": named}})
    with pytest.raises(InputError, match=r"manifest\.json: config\.area and config\.out must be paths"):
        read_manifest(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", {"config": {"area": "/a/" + "x" * 255}})
    assert read_manifest(tmp_path / "manifest.json")["config"]
