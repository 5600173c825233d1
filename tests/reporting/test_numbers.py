from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorograph.reporting.numbers import Quantity, log_ticks, percent, plain, robust_range, tick_labels, ticks


def test_everyday_numbers_have_separators_and_no_exponent() -> None:
    assert plain(1234567.0, 0) == "1,234,567"
    assert plain(-0.0004, 2) == "0.00"
    assert plain(-1234.5, 1) == "−1,234.5"
    assert plain(3.0, 1, signed=True) == "+3.0"
    assert percent(0.8349) == "83\u00a0%"


@pytest.mark.parametrize(
    ("low", "high", "value", "text"),
    [
        (100_000, 900_000, 412_345.6, "412,000\u00a0USD"),
        (1.4, 3.2, 2.3071, "2.31\u00a0USD"),
        (0.0, 0.6, 0.4444, "0.444\u00a0USD"),
    ],
)
def test_predictions_carry_three_digits_of_the_spread(low: float, high: float, value: float, text: str) -> None:
    assert Quantity.of(np.linspace(low, high, 200), "USD").text(value) == text


def test_a_measured_value_keeps_its_units_and_an_open_interval_says_so() -> None:
    quantity = Quantity("USD", -3)
    assert quantity.exact(412_345.0) == "412,345\u00a0USD"
    assert quantity.interval(float("nan"), 3.0) == "not available"


def test_one_outlier_does_not_own_the_colours() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1e9, np.nan]])
    low, high = robust_range(values)
    assert 0 <= low < high < 1.01


@given(st.floats(-1e7, 1e7), st.floats(1e-3, 1e7))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)


@given(st.floats(1e-3, 1e6), st.floats(1.2, 1e8))
def test_log_ticks_are_few_and_inside(low: float, factor: float) -> None:
    found = log_ticks(low, low * factor)
    assert 2 <= len(found) <= 6
    assert found == sorted(found)
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in found)


def test_tick_labels_have_only_the_decimals_they_need() -> None:
    assert tick_labels([0.0, 0.25, 0.5]) == {0.0: "0.00", 0.25: "0.25", 0.5: "0.50"}
    assert tick_labels([1000.0, 2000.0]) == {1000.0: "1,000", 2000.0: "2,000"}


def test_small_units_keep_their_digits() -> None:
    quantity = Quantity.of(np.linspace(1e-9, 9e-9, 50), "kg")
    assert quantity.text(5.1226e-9) == "5.12×10⁻⁹\u00a0kg"
    assert quantity.number(-5.1226e-9) == "−5.12×10⁻⁹"
    assert quantity.number(0.0) == "0"
    assert Quantity.of(np.linspace(1e-3, 9e-3, 50), "").number(0.0051226) == "0.00512"
    labels = tick_labels(ticks(1e-9, 9e-9))
    assert len(set(labels.values())) == len(labels) > 2
