from __future__ import annotations

import pytest

from chorograph.evaluation.published import find_published, published, wrong_architecture
from chorograph.ground.errors import UnknownNameError


def test_mean_recalls_are_the_means_of_their_six() -> None:
    whole = 0
    for row in published():
        for data in ("RSICD", "RSITMD"):
            values = [value for (name, _), value in row.scores.items() if name == data]
            if len(values) == 7:
                assert sum(values[:6]) / 6 == pytest.approx(values[6], abs=0.011), (row.name, data)
                whole += 1
    assert whole > 30


def test_rmi_is_made_of_the_other_three() -> None:
    """The formula of the published semantic localisation: Rmi = 0.4 Rsu + 0.35 (1 - Ras) + 0.25 Rda."""
    whole = 0
    for row in published():
        found = {score: value for (name, score), value in row.scores.items() if name == "AIR-SLT"}
        if len(found) == 4:
            rmi = 0.4 * found["rsu"] + 0.35 * (1 - found["ras"]) + 0.25 * found["rda"]
            assert rmi == pytest.approx(found["rmi"], abs=1.1e-4), row.name
            whole += 1
    assert whole > 20


def test_names_and_sources() -> None:
    rows = published()
    assert len({row.name for row in rows}) == len(rows) > 40
    assert all(row.source and row.scores for row in rows)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("open_clip:ViT-B-32-quickgelu//weights/RS5M_ViT-B-32.pt", "GeoRSCLIP ViT-B/32, released"),
        ("open_clip:ViT-H-14/RS5M_ViT-H-14.pt", "GeoRSCLIP ViT-H/14, released"),
        ("open_clip:ViT-B-32-quickgelu/RS5M_ViT-B-32_RET-2.pt", "GeoRSCLIP ViT-B/32, RET-2"),
        ("open_clip:ViT-B-32-quickgelu/openai", "CLIP ViT-B/32"),
        ("open_clip:ViT-L-14-quickgelu/openai", "GeoRSCLIP ViT-B/32, released"),
        ("my-checkpoint", "GeoRSCLIP ViT-B/32, released"),
    ],
)
def test_the_row_beside_a_model(model: str, name: str) -> None:
    assert find_published("auto", model).name == name
    assert find_published("RemoteCLIP", model).scores["RSICD", "mean_recall"] == 35.26


def test_an_unknown_row_has_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="RemoteCLIP"):
        find_published("RemoteClip", "x")


def test_the_wrong_activation_is_warned_of() -> None:
    row = find_published("auto", "RS5M_ViT-B-32.pt")
    warning = wrong_architecture(row, "open_clip:ViT-B-32//weights/RS5M_ViT-B-32.pt")
    assert warning is not None
    assert "trained as ViT-B-32-quickgelu, not ViT-B-32" in warning
    assert wrong_architecture(row, "open_clip:ViT-B-32-quickgelu//weights/RS5M_ViT-B-32.pt") is None
    assert wrong_architecture(row, "open_clip:ViT-B-32/RemoteCLIP-ViT-B-32.pt") is None
