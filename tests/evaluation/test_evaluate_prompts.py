from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chorograph.evaluation.prompts import PROMPTS, class_weights, fill, load_prompts, published_name, spaced_name
from chorograph.ground.errors import InputError, UnknownNameError


def test_the_105_templates() -> None:
    """The templates of RS5M's inference.py: 35 for each of three nouns."""
    templates = PROMPTS["georsclip"]
    assert len(templates) == len(set(templates)) == 105
    for noun in ("remote sensing image", "aerial image", "satellite image"):
        assert sum(noun in template for template in templates) == 35
    assert templates[0] == "a remote sensing image of many {}."
    assert templates[-1] == "a satellite image of a cool {}."
    for known in (
        "an aerial image of the hard to see {}.", "a low resolution aerial image of the {}.",
        "a jpeg corrupted satellite image of a {}.", "an aerial image of the large {}.",
        "a good satellite image of the {}.",
    ):  # fmt: skip
        assert known in templates
    assert not any("a aerial" in template for template in templates)


def test_class_weights_of_a_worked_example() -> None:
    """Worked by hand: the published code averages vectors as they are (compat), ours unit vectors."""
    embeddings = np.array([[[3, 0], [0, 1]]], dtype=np.float32)
    assert class_weights(embeddings, compat=True)[0] == pytest.approx([0.948683, 0.316228], abs=1e-6)
    assert class_weights(embeddings, compat=False)[0] == pytest.approx([0.707107, 0.707107], abs=1e-6)


@pytest.mark.parametrize(
    ("folder", "published", "spaced"),
    [
        ("AnnualCrop", "annualcrop", "annual crop"),
        ("baseball_diamond", "baseball diamond", "baseball diamond"),
        ("Sea/Lake", "sea lake", "sea lake"),
        ("Permanent_Crop", "permanent crop", "permanent crop"),
        ("Dense Residential", "dense residential", "dense residential"),
    ],
)
def test_class_names(folder: str, published: str, spaced: str) -> None:
    assert published_name(folder) == published
    assert spaced_name(folder) == spaced


def test_prompts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a photo of {}.\n\n{} from above\n")
    assert fill(load_prompts(str(path)), ["a", "b"]) == [
        "a photo of a.",
        "a from above",
        "a photo of b.",
        "b from above",
    ]
    path.write_text("a photo of {}.\nno place\n")
    with pytest.raises(InputError, match=r"mine\.txt, line 2"):
        load_prompts(str(path))
    path.write_text("\n")
    with pytest.raises(InputError, match="no templates"):
        load_prompts(str(path))
    with pytest.raises(UnknownNameError, match="did you mean 'georsclip'"):
        load_prompts("georslip")
