"""Krippendorff's alpha against his own worked example (2011, Computing Krippendorff's alpha, section D)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorograph.metrics.agreement import krippendorff_alpha

_ = np.nan
#: Four observers, twelve units.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_worked_example(level: str, published: float) -> None:
    assert krippendorff_alpha(EXAMPLE, level) == pytest.approx(published, abs=0.0005)  # type: ignore[arg-type]


def test_agreement_is_one_and_its_absence_no_number() -> None:
    assert krippendorff_alpha(np.array([[1.0, 1.0], [4.0, 4.0]])) == pytest.approx(1.0)
    assert np.isnan(krippendorff_alpha(np.array([[1.0, _], [_, 4.0]])))
    assert np.isnan(krippendorff_alpha(np.array([[3.0, 3.0], [3.0, 3.0]])))


@given(st.permutations(range(12)), st.permutations(range(4)))
def test_neither_order_of_units_nor_of_raters_matters(units: list[int], raters: list[int]) -> None:
    moved = EXAMPLE[np.ix_(units, raters)]
    assert krippendorff_alpha(moved) == pytest.approx(krippendorff_alpha(EXAMPLE))
