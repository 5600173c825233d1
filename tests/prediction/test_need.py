"""What is need is never guessed wrong: a word tells, or nothing is said."""

from __future__ import annotations

import pytest

from chorograph.prediction.need import LESS_IS_NEED, MORE_IS_NEED, need_of


@pytest.mark.parametrize(
    "name",
    [
        "poverty_male_percent", "Poverty rate", "unemployment", "UnemploymentRate", "crime_per_1000", "violent crime",
        "index of multiple deprivation", "deprived_households", "no_vehicle_households", "households without a car",
        "no internet access", "infant_mortality", "uninsured_share", "pm25", "overcrowded dwellings", "low income",
        "without_bachelor", "households lacking broadband", "flood risk", "rent_burden",
        "low_income_households", "lack of education", "vacancy rate", "homelessness", "gini",
    ],
)  # fmt: skip
def test_more_is_need(name: str) -> None:
    assert need_of(name) == "high"


@pytest.mark.parametrize(
    "name",
    [
        "median_income", "income", "GDP", "sale_price_median_usd", "sale_price_per_sqft_median_usd",
        "bachelor_or_higher", "education share", "employment_rate", "life expectancy", "HouseholdIncome",
        "tree canopy", "literacy", "wage", "home_value", "no_poverty", "broadband_access",
    ],
)  # fmt: skip
def test_less_is_need(name: str) -> None:
    assert need_of(name) == "low"


@pytest.mark.parametrize(
    "name",
    [
        "population", "population_density_km2", "median_age", "average_household_size", "n_sales", "carbon",
        "mean_travel_time_min", "night_light", "pop", "eco", "comments", "vehicles_per_household", "temperature",
        "income of poor households", "area", "", "y", "transport", "spoor",
    ],
)  # fmt: skip
def test_nothing_is_said_where_no_word_tells_or_words_disagree(name: str) -> None:
    assert need_of(name) == "none"


def test_no_word_stands_in_both_columns() -> None:
    assert not set(MORE_IS_NEED) & set(LESS_IS_NEED)
    assert all(need_of(word) == "high" for word in MORE_IS_NEED)
    assert all(need_of(word) == "low" for word in LESS_IS_NEED)
