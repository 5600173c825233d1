"""The floors of the house: imports go down only, and importing the library is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "chorograph"

FLOORS = {
    0: {"area", "shards", "metrics"},
    1: {"acquire", "curate", "graph"},
    2: {"models"},
    3: {"pretrain", "embed", "caption", "predict", "search", "generate"},
    4: {"evaluate"},
    5: {"report", "serve"},
    6: {"cli", "recipe"},
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# Rooms of one floor that may know each other, and why.
NEIGHBOURS = {
    ("metrics", "area"),  # errors
    ("shards", "area"),  # errors, safe images
    ("acquire", "graph"),  # files of facts are read in one place
    ("area", "shards"),  # an image whose uri is SHARD.tar#KEY, read when asked for
    ("predict", "embed"),  # vectors at rest are what predict reads
    ("cli", "recipe"),  # both doors share the table of verbs
}
HEAVY = {"torch", "pandas", "geopandas", "sklearn", "bokeh", "pyarrow", "open_clip"}


def _imports(path: Path) -> list[str]:
    """Return every chorograph room that a file imports at run time, in functions too."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            if node.module == "chorograph":
                names += [f"chorograph.{alias.name}" for alias in node.names]
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.split(".")[1] for name in names if name.startswith("chorograph.")]


def _rooms() -> list[Path]:
    return sorted(path for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists())


@pytest.mark.parametrize("room", _rooms(), ids=lambda path: path.name)
def test_imports_go_down(room: Path) -> None:
    for file in sorted(room.rglob("*.py")):
        for other in _imports(file):
            if other == room.name or (room.name, other) in NEIGHBOURS:
                continue
            assert FLOOR_OF[other] < FLOOR_OF[room.name], f"{file.relative_to(SOURCE)} reaches up to {other}"


def test_every_room_has_a_floor() -> None:
    assert {room.name for room in _rooms()} <= set(FLOOR_OF)


def test_no_torch_below_models() -> None:
    for floor in (0, 1):
        for room in FLOORS[floor]:
            for file in (SOURCE / room).rglob("*.py"):
                assert "import torch" not in file.read_text(), file


@pytest.mark.parametrize("statement", ["import chorograph", "import chorograph.cli.app"])
def test_import_is_light(statement: str) -> None:
    code = f"{statement}; import sys; print(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
