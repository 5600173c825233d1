from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chorograph.area.folder import Area
from chorograph.ground.errors import UnknownNameError
from chorograph.ground.stage import silent
from chorograph.study.corruptions import CORRUPTIONS, SETS, STRENGTHS, add_noise, corrupt, of_set
from chorograph.study.settings import CORRUPTION_NAMES
from chorograph.synthetic import SyntheticCityConfig, build_synthetic
from chorograph.verbs.evaluate.robustness import Settings, run


def picture(seed: int = 0, height: int = 48, width: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    image = picture(0, 256, 256) if name == "blur" else picture()
    before = image.copy()
    for strength in STRENGTHS:
        one, same = (corrupt(image, name, strength, 3, "tile") for _ in range(2))
        assert one.dtype == np.uint8
        assert one.shape == image.shape
        assert np.array_equal(one, same)
        assert not np.array_equal(one, image)
    assert np.array_equal(image, before)
    if name in ("cloud", "noise"):
        assert not np.array_equal(corrupt(image, name, 1, 3, "tile"), corrupt(image, name, 1, 4, "tile"))
        assert not np.array_equal(corrupt(image, name, 1, 3, "tile"), corrupt(image, name, 1, 3, "other"))


def test_noise_never_wraps() -> None:
    image = np.concatenate([np.zeros((64, 32, 3), np.uint8), np.full((64, 32, 3), 255, np.uint8)], axis=1)
    noisy = add_noise(image, 1.0, np.random.default_rng(0))
    assert np.abs(noisy.astype(int) - image.astype(int)).max() <= 10
    for strength in STRENGTHS:
        for name in ("cloud", "noise", "brightness", "blur", "jpeg"):
            worse = corrupt(np.zeros((32, 32, 3), np.uint8), name, strength, 0, "a")
            assert worse.max() < 255 or name == "noise"


@pytest.mark.parametrize("name", ["cloud", "noise", "blur", "brightness", "jpeg"])
def test_more_strength_is_more_change(name: str) -> None:
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    image = np.stack([128 + 100 * np.sin(x / 5), 128 + 100 * np.cos(y / 7), x + y], axis=-1).astype(np.uint8)
    change = [np.abs(corrupt(image, name, s, 0, "a").astype(int) - image.astype(int)).mean() for s in STRENGTHS]
    assert change == sorted(change)
    assert change[-1] > 1.5 * change[0]


def test_clouds_cover_about_what_is_asked() -> None:
    dark = np.zeros((128, 128, 3), np.uint8)
    covered = [(corrupt(dark, "cloud", s, 0, "a") > 122).mean() for s in STRENGTHS]
    assert np.allclose(covered, (0.15, 0.3, 0.45, 0.6, 0.75), atol=0.02)


def test_flips_are_five_different_ones() -> None:
    found = {corrupt(picture(), "flip", strength, 0, "a").tobytes() for strength in STRENGTHS}
    assert len(found) == 5


def test_feature_sets() -> None:
    assert np.array_equal(of_set(picture(), "original", 0, "a"), picture())
    halves = [of_set(np.zeros((32, 32, 3), np.uint8), "combined", 0, str(n)).mean() > 30 for n in range(200)]
    assert 70 < sum(halves) < 130  # half of them cloudy


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("robust") / "area"
    build_synthetic(SyntheticCityConfig(regions=40, tiles_per_region=2, street_views_per_region=0, seed=0), path)
    return path


def test_the_matrix_and_the_drops(city: Path, tmp_path: Path) -> None:
    indicator = str(Area.open(city).indicators["indicator"].iloc[0])
    config = Settings(
        areas=[city],
        indicator=indicator,
        out=tmp_path / "out",
        model=["colour", "rcf:32"],
        corruptions="noise,brightness",
        split="random",
    )
    outcome = run(config, silent)
    drops, matrix = (pd.read_csv(config.out / name) for name in ("robustness.csv", "matrix.csv"))
    assert len(drops) == 2 * (1 + 2 * 5)
    assert len(matrix) == 2 * len(SETS)
    # On original imagery the matrix is the plain run.
    clean = drops[drops["strength"] == 0].set_index("model")[["r2", "rmse", "mae"]]
    plain = matrix[matrix["features"] == "original"].set_index("model")[["r2", "rmse", "mae"]]
    assert clean.equals(plain)
    worst = drops[(drops["corruption"] == "brightness") & (drops["strength"] == 5)]
    assert worst["r2_drop"].max() > 0.1
    assert "| noise |" in (config.out / "robustness.md").read_text()
    assert any("leaky" in warning for warning in outcome.manifest["warnings"])
    again = run(
        Settings(
            areas=[city], indicator=indicator, out=tmp_path / "b", model=["colour"], corruptions="noise", split="random"
        ),
        silent,
    )
    assert again.manifest["facts"]["rows"]["colour, clean"] == outcome.manifest["facts"]["rows"]["colour, clean"]
    noisy = pd.read_csv(tmp_path / "b" / "robustness.csv")
    same = drops[(drops["model"] == "colour") & drops["corruption"].isin(["none", "noise"])]
    assert np.allclose(noisy["r2"], same["r2"])


def test_names(city: Path, tmp_path: Path) -> None:
    assert tuple(CORRUPTIONS) == CORRUPTION_NAMES
    with pytest.raises(UnknownNameError, match="did you mean 'noise'"):
        run(Settings(areas=[city], indicator="x", out=tmp_path / "o", corruptions="noize"), silent)
