"""A region that the area does not have is predicted as if it were one of its unlabelled regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger
from chorograph.prediction.newcomers import Newcomer, NewcomerModel
from chorograph.prediction.run import predict_profile
from chorograph.prediction.settings import PredictionSettings
from chorograph.prediction.task import make_split
from chorograph.synthetic import SyntheticCityConfig, build_synthetic

NAME = "median_income"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[Area, Embeddings]:
    folder = tmp_path_factory.mktemp("newcomers") / "city"
    build_synthetic(SyntheticCityConfig(regions=80, tiles_per_region=2, street_views_per_region=0, seed=2), folder)
    area = Area.open(folder)
    images = area.images[area.images["uri"].notna()]
    vectors = np.array([area.read_image(uri).reshape(-1, 3).mean(0) for uri in images["uri"]], dtype=np.float32)
    ids, hashes = images["image_id"].to_numpy(object), images["sha256"].to_numpy(object)
    return area, Embeddings("colours", "1", ids, hashes, vectors)


def of_region(city: tuple[Area, Embeddings], region_id: str) -> Newcomer:
    """Return a region of the city as a newcomer."""
    area, embeddings = city
    own = area.images.loc[area.images["region_id"] == region_id, "image_id"]
    shape = area.regions.set_index("region_id").geometry[region_id]
    return Newcomer(shape, embeddings.vectors[np.isin(embeddings.image_ids, own)])


def settings(modalities: str, probe: str = "ridge", **others: object) -> PredictionSettings:
    return PredictionSettings(
        log=True, modalities=modalities, probe=probe, split="random", unlabelled=False, **others,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("probe", ["ridge", "gp"])
def test_an_unlabelled_region_sent_as_a_newcomer_gets_the_prediction_of_the_run(
    city: tuple[Area, Embeddings], probe: str
) -> None:
    area, embeddings = city
    asked = settings("image", probe)
    frame = predict_profile(area, embeddings, [NAME], asked, make_split(asked), Ledger())[NAME].frame
    model = NewcomerModel.fit(area, embeddings, [NAME], asked, make_split(asked))
    unlabelled = frame[frame["fold"].isna() & frame["predicted"].notna()].head(4)
    assert len(unlabelled) == 4
    for row in unlabelled.itertuples():
        told = model.predict(of_region(city, row.region_id))[0]
        assert (told.indicator, told.basis, told.level) == (NAME, "image", 0.9)
        assert [told.predicted, told.lower, told.upper] == pytest.approx([row.predicted, row.lower, row.upper])
        assert told.supported == row.supported


def test_place_and_surroundings_are_those_of_the_polygon(city: tuple[Area, Embeddings]) -> None:
    area, embeddings = city
    asked = settings("image,context,location,shape")
    frame = predict_profile(area, embeddings, [NAME], asked, make_split(asked), Ledger())[NAME].frame
    model = NewcomerModel.fit(area, embeddings, [NAME], asked, make_split(asked))
    row = next(frame[frame["fold"].isna() & frame["predicted"].notna()].itertuples())
    told = model.predict(of_region(city, row.region_id))[0]
    assert told.basis == "image+context+location+shape"
    # The region lies there twice now, so that its surroundings take after it a little more.
    assert told.predicted == pytest.approx(row.predicted, rel=0.05)
    assert told.lower < told.predicted < told.upper
    moved = shapely.affinity.translate(of_region(city, row.region_id).geometry, 3.0)
    assert not model.predict(Newcomer(moved, of_region(city, row.region_id).vectors))[0].supported


def test_what_is_not_known_is_left_out_or_refused(city: tuple[Area, Embeddings]) -> None:
    area, embeddings = city
    nothing = np.empty((0, 0), dtype=np.float32)
    shape = area.regions.geometry.iloc[0]
    pictured = settings("image")
    model = NewcomerModel.fit(area, embeddings, [NAME], pictured, make_split(pictured))
    with pytest.raises(InputError, match="pictures"):
        model.predict(Newcomer(shape, nothing))
    with pytest.raises(InputError, match="5 numbers"):
        model.predict(Newcomer(shape, np.ones((1, 5), dtype=np.float32)))
    placed = settings("image,location,poi")
    model = NewcomerModel.fit(area, embeddings, [NAME], placed, make_split(placed))
    assert model.predict(Newcomer(shape, nothing))[0].basis == "location"
    attending = settings("image", pooling="attention")
    with pytest.raises(InputError, match="attention"):
        NewcomerModel.fit(area, embeddings, [NAME], attending, make_split(attending))


def test_several_indicators_are_told_at_once(city: tuple[Area, Embeddings]) -> None:
    area, embeddings = city
    asked = settings("image")
    names = sorted(pd.unique(area.indicators["indicator"]))[:3]
    model = NewcomerModel.fit(area, embeddings, names, asked, make_split(asked))
    told = model.predict(of_region(city, str(area.regions["region_id"].iloc[0])))
    assert [one.indicator for one in told] == names
    assert all(np.isfinite([one.predicted, one.lower, one.upper]).all() for one in told)


def test_the_folder_is_not_written_to(city: tuple[Area, Embeddings]) -> None:
    before = sorted(path.name for path in Path(city[0].path).iterdir())
    asked = settings("location")
    NewcomerModel.fit(city[0], None, [NAME], asked, make_split(asked))
    assert sorted(path.name for path in Path(city[0].path).iterdir()) == before
