"""Flat within the rounding of single precision is flat."""

from __future__ import annotations

import numpy as np

from chorograph.searching.heatmap import CellMap, probability

EDGES = np.array([0, 10, 20])


def test_noise_of_single_precision_is_no_peak() -> None:
    noise = 0.31 + np.array([[0.0, 2e-5], [1e-6, 4e-5]])
    assert (probability(CellMap(EDGES, EDGES, noise)).values == 0).all()


def test_what_differs_is_stretched() -> None:
    values = 0.31 + np.array([[0.0, 1e-3], [5e-4, 2e-3]])
    assert np.allclose(probability(CellMap(EDGES, EDGES, values)).values, [[0, 0.5], [0.25, 1]])
