"""A small web on disk, and recipes for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from synthetic_web import SyntheticWeb, make_web


@pytest.fixture(scope="session")
def web() -> SyntheticWeb:
    return make_web(originals=40, each=5)


@pytest.fixture
def filed(web: SyntheticWeb, tmp_path: Path) -> Callable[..., list[str]]:
    """Write the web's sources as Parquet files; returns what `--in` takes."""

    def write(base: str = "http://web.example", *, images: bool = False, sources: list[str] | None = None) -> list[str]:
        given = []
        for source in sources or web.sources:
            path = tmp_path / "in" / f"{source}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(web.table(source, base, images=images), path, row_group_size=20)
            given.append(f"{source}={path}")
        return given

    return write


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write
