from __future__ import annotations

import pytest

from text_spoilt import won_back


@pytest.mark.slow
def test_refinement_wins_back_a_good_part_of_what_spoiling_costs() -> None:
    mean = won_back(120, 3, 0.3, 0)["mean"]
    assert mean["spoilt"] < mean["clean"]
    assert mean["won back"] >= 0.3  # of few regions; `benchmarks/text_spoilt.py` tells what 240 give
