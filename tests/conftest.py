"""Fixtures for all tests: the public test data where it lies beside the checkout, and small made areas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no fault of an example.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")
_REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return the folder of a public data set by name; the test is skipped where a clone does not have it."""

    def find(name: str) -> Path:
        if not (_REAL / name).exists():
            pytest.skip(f"the public test data {name!r} is not beside this checkout")
        return _REAL / name

    return find
