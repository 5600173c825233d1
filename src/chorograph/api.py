"""What `import chorograph as cg` offers: the library for people who script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.scikit_split import ScikitSplit
from chorograph.area.splits import Clusters, DistanceMatched, Given, LeaveGroupOut, RandomFolds, SpatialBlocks, Split
from chorograph.ground.errors import (
    AreaError,
    ChorographError,
    InputError,
    LeakError,
    MissingExtraError,
    UnknownNameError,
)
from chorograph.ground.files import write_json
from chorograph.ground.settings import configure, plain
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.prediction import profile as prediction_profile

if TYPE_CHECKING:
    from chorograph.pretraining.config import PretrainConfig
    from chorograph.reporting.picture import Picture

__all__ = [
    "Area",
    "AreaError",
    "ChorographError",
    "Clusters",
    "DistanceMatched",
    "Embeddings",
    "Given",
    "InputError",
    "LeakError",
    "LeaveGroupOut",
    "MissingExtraError",
    "Profile",
    "RandomFolds",
    "SpatialBlocks",
    "UnknownNameError",
    "embed",
    "predict",
    "pretrain",
    "report",
    "synthetic_city",
]


class Estimator(Protocol):
    """A scikit-learn regressor."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit on X (n, width) and y (n,)."""

    def predict(self, X: Any) -> Any:
        """Return predictions (n,) for X (n, width)."""


class Splitter(Protocol):
    """A scikit-learn splitter, such as `GroupKFold`."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        """Yield (training rows, tested rows)."""


@dataclass(frozen=True, repr=False)
class Profile(prediction_profile.Profile):
    """The indicators of every region of an area, which can draw itself.

    Example:
        >>> import tempfile
        >>> import chorograph as cg
        >>> area = cg.synthetic_city(tempfile.mkdtemp() + "/city", regions=60, tiles_per_region=1, seed=1)
        >>> profile = cg.predict(area, None, indicator="median_income", log=True, block_m=1500, probe="ridge")
        >>> len(profile.frame), sorted(profile.scores["kind"].unique())
        (60, ['attainable', 'baseline', 'model'])
    """

    def report(self, path: Path | str) -> Path:
        """Draw the profile as one HTML page that needs no network; returns where."""
        return report(self, path)

    def map(self, indicator: str | None = None) -> Picture:
        """Draw a map of an indicator's predictions (the first by default), which a notebook shows; `.save` writes SVG.

        Raises:
            UnknownNameError: nobody predicted the indicator.
            InputError: the regions have no geometry.
        """
        from chorograph.reporting.picture import draw_map

        chosen = self[indicator or self.indicators[0]]
        return draw_map(chosen.frame, chosen.scores)

    def plot(self, indicator: str | None = None) -> Picture:
        """Draw a map, as `map` does: the name that pandas has for it."""
        return self.map(indicator)


def embed(
    area: Area | Path | str,
    model: str = "default",
    *,
    view: str = "satellite",
    device: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> Embeddings:
    """Encode the held images of an area; vectors made before, of unchanged images, are not made again.

    Args:
        area: an area, or its folder.
        model: default, colour, rcf:K, open_clip:NAME/TAG, a checkpoint folder, or several joined by `+`.
        view: which images: satellite or street.
        device: torch device: auto, cpu, cuda.
        seed: decides which images an encoder is fitted on, where it is fitted.
        progress: told how far it is.

    Returns:
        Vectors (images, width) float32, which are also written to `embeddings/` in the area.

    Raises:
        UnknownNameError: nobody knows the model.
        MissingExtraError: the model needs torch, which is not installed.
        InputError: no image can be read.

    Example:
        >>> import tempfile
        >>> import chorograph as cg
        >>> area = cg.synthetic_city(tempfile.mkdtemp() + "/city", regions=60, tiles_per_region=1, seed=1)
        >>> cg.embed(area, "colour").to_frame().shape[0] == len(area.images.query("view == 'satellite'"))
        True
    """
    from chorograph.embedding.run import embed_images

    return embed_images(_area(area), model, Ledger(), view=view, device=device, seed=seed, progress=progress)


def predict(
    area: Area | Path | str,
    embeddings: Embeddings | NDArray[np.floating[Any]] | str | None = "default",
    *,
    indicator: str | Sequence[str] | None = None,
    log: bool = False,
    scale: str | None = None,
    plus: float = 0.0,
    per: str | None = None,
    year: int | None = None,
    split: Split | Splitter | str = "spatial_block",
    block_m: float = 6000.0,
    buffer_m: float = 0.0,
    folds: int = 5,
    modalities: str | Sequence[str] = "standard",
    pooling: str = "mean",
    texts: str | None = None,
    probe: Estimator | str = "auto",
    fusion: str = "concat",
    kriging: bool = False,
    level: float = 0.9,
    interval: str = "cross",
    shift_weights: bool = False,
    neediest: str | None = None,
    unlabelled: bool = True,
    repeats: int = 1,
    allow_leaks: bool = False,
    ablate: bool = False,
    suggest: int = 0,
    seed: int = 0,
    out: Path | str | None = None,
    progress: Progress = silent,
) -> Profile:
    """Predict indicators for every region of an area, scored on held-out regions beside baselines.

    Args:
        area: an area, or its folder.
        embeddings: image vectors from `embed`; the name of a model whose vectors the area holds (an area without
            images needs none); an array with a row for each of `area.regions`; or None to go without imagery.
        indicator: what to predict, one name or several; None: every indicator that the area has.
        log: fit the natural logarithm, as `scale="log"`; results are in the indicator's own unit.
        scale: linear, log, log1p or logit (shares); None: as the area describes the indicator, else a guess, told.
        plus: with `log`, is added first.
        per: an indicator to divide by first, to predict a share or rate.
        year: the year to use, where an indicator has several.
        split: spatial_block, cluster, distance_matched, leave_group_out, given:NAME, random; a split such as
            `SpatialBlocks`; or any scikit-learn splitter, which is given the regions' positions in km as X and their
            `group` as groups.
        block_m: side of a spatial block, in metres, where `split` is a name.
        buffer_m: training keeps this far from tested regions, in metres, where `split` is a name.
        folds: number of folds, where `split` is a name.
        modalities: names, in a list or with commas between; standard: image, context, location.
        pooling: how image vectors become a region's: mean, mean+std, attention.
        texts: a model whose caption vectors the area holds.
        probe: a name (`chorograph list probes`), or any scikit-learn regressor, cloned for each fit.
        fusion: concat, late or attention.
        kriging: krige what the probe leaves unexplained.
        level: nominal coverage of the intervals.
        interval: cross, split or quantile.
        shift_weights: weigh residuals for regions that look unlike the labelled ones.
        neediest: which end of the indicator is need: low or high; None: as the area describes it, else by the
            words of its name.
        unlabelled: also score in folds that test as far from labels as the unlabelled regions lie.
        repeats: deal the folds this many times.
        allow_leaks: go on where the answer could have been known.
        ablate: also score every subset of the modalities.
        suggest: name this many unlabelled regions to survey next.
        seed: decides folds, bootstrap and fits.
        out: a run folder to write, as `chorograph predict --out` does.
        progress: told how far it is.

    Returns:
        A profile: `.frame` (long), `.wide`, `.scores`, `profile["income"]`, `.region(id)`, `.report(path)`.

    Raises:
        UnknownNameError: nobody knows an indicator, modality, probe or setting.
        InputError: labels, folds or features do not suffice.
        LeakError: the answer could have been known.

    Example:
        >>> import tempfile
        >>> from sklearn.linear_model import RidgeCV
        >>> import chorograph as cg
        >>> area = cg.synthetic_city(tempfile.mkdtemp() + "/city", regions=60, tiles_per_region=1, seed=1)
        >>> embeddings = cg.embed(area, "colour")
        >>> blocks = cg.SpatialBlocks(block_m=1500)
        >>> profile = cg.predict(area, embeddings, indicator="median_income", log=True, split=blocks, probe=RidgeCV())
        >>> profile.scores["kind"].iloc[0]
        'model'
    """
    from chorograph.prediction.run import predict_profile
    from chorograph.prediction.settings import PredictionSettings
    from chorograph.prediction.task import make_split

    area = _area(area)
    settings = configure(
        PredictionSettings,
        {
            "log": log,
            "scale": scale,
            "plus": plus,
            "per": per,
            "year": year,
            "split": split if isinstance(split, str) else "spatial_block",
            "block_m": block_m,
            "buffer_m": buffer_m,
            "folds": folds,
            "modalities": modalities if isinstance(modalities, str) else ",".join(modalities),
            "pooling": pooling,
            "texts": texts,
            "probe": probe if isinstance(probe, str) else "gp",
            "fusion": fusion,
            "kriging": kriging,
            "level": level,
            "interval": interval,
            "shift_weights": shift_weights,
            "neediest": neediest,
            "unlabelled": unlabelled,
            "repeats": repeats,
            "allow_leaks": allow_leaks,
            "ablate": ablate,
            "suggest": suggest,
            "seed": seed,
        },
        where="predict",
    )
    ledger = Ledger()
    found = predict_profile(
        area,
        _vectors(area, embeddings),
        [indicator] if isinstance(indicator, str) else indicator or [],
        settings,
        make_split(settings) if isinstance(split, str) else _as_split(split),
        ledger,
        progress,
        estimator=None if isinstance(probe, str) else probe,
    )
    if out is not None:
        found.write(Path(out))
        asked = {**plain(settings), "area": str(area.path.resolve()), "indicator": list(found.indicators)}
        _write_manifest(Path(out), asked, ledger)
    return Profile(found.area, found.predictions, found.left_out)


def pretrain(
    area: Area | Path | str, out: Path | str, settings: PretrainConfig | None = None, *, progress: Progress = silent
) -> Any:
    """Train towers on the images and captions of an area or of shards, and write a checkpoint folder to `out`.

    Args:
        area: an area, its folder, or WebDataset tars.
        out: the checkpoint folder.
        settings: how to train; None: CoCa's small model with its defaults.
        progress: told how far it is.

    Returns:
        What the run came to: the model, its losses by epoch, and counts. The checkpoint folder is an encoder by its
        path, as in `embed(area, "model")`.

    Raises:
        InputError: no image has a caption, or settings do not go together.
        MissingExtraError: torch is not installed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import chorograph as cg
        >>> from chorograph.pretraining.config import PretrainConfig
        >>> folder = Path(tempfile.mkdtemp())
        >>> area = cg.synthetic_city(folder / "city", regions=40, tiles_per_region=1, seed=1)
        >>> out = folder / "model"
        >>> settings = PretrainConfig(area=area.path, out=out, objective="clip", model="clip-small", epochs=1)
        >>> result = cg.pretrain(area, out, settings)
        >>> (out / "history.jsonl").is_file()
        True
    """
    from chorograph.pretraining.config import PretrainConfig
    from chorograph.pretraining.run import pretrain as run

    place = area.path if isinstance(area, Area) else Path(area)
    asked = {} if settings is None else plain(settings)
    config = configure(PretrainConfig, {**asked, "area": place, "out": Path(out)}, where="pretrain")
    return run(place, config, progress=progress)


def report(run: prediction_profile.Profile | Path | str, out: Path | str) -> Path:
    """Draw a run as one HTML page that needs no network.

    Args:
        run: what `predict` returned, or a run folder.
        out: the HTML file.

    Returns:
        The file.

    Raises:
        InputError: a run folder lacks a file, or holds a damaged one.

    Example:
        >>> import tempfile
        >>> import chorograph as cg
        >>> folder = tempfile.mkdtemp()
        >>> area = cg.synthetic_city(folder + "/city", regions=60, tiles_per_region=1, seed=1)
        >>> profile = cg.predict(area, None, indicator="median_income", log=True, block_m=1500, probe="ridge")
        >>> cg.report(profile, folder + "/report.html").name
        'report.html'
    """
    from chorograph.reporting.report import write_report

    if isinstance(run, Path | str):
        return write_report(Path(run), Path(out))
    with TemporaryDirectory() as folder:
        run.write(Path(folder))
        _write_manifest(Path(folder), {"area": str(run.area.path.resolve())}, Ledger())
        return write_report(Path(folder), Path(out))


def synthetic_city(
    out: Path | str,
    *,
    regions: int = 240,
    tiles_per_region: int = 5,
    street_views_per_region: int = 2,
    seed: int = 0,
    progress: Progress = silent,
) -> Area:
    """Draw a city from a seed, with tiles, captions, street views, a graph and indicators whose truth is known.

    Args:
        out: the area folder to make; must not exist yet.
        regions: number of regions.
        tiles_per_region: satellite tiles a region.
        street_views_per_region: street-level views a region.
        seed: decides everything about the city.
        progress: told how far it is.

    Returns:
        The area at `out`.

    Raises:
        InputError: something else is at `out`.

    Example:
        >>> import tempfile
        >>> import chorograph as cg
        >>> area = cg.synthetic_city(tempfile.mkdtemp() + "/city", regions=40, tiles_per_region=1, seed=1)
        >>> len(area.regions), sorted(area.indicators["indicator"].unique())
        (40, ['carbon', 'median_income', 'population', 'population_density'])
    """
    from chorograph.synthetic.city import SyntheticCityConfig, build_synthetic

    city = SyntheticCityConfig(
        regions=regions,
        tiles_per_region=tiles_per_region,
        street_views_per_region=street_views_per_region,
        seed=seed,
    )
    return build_synthetic(city, Path(out), progress=progress)


def _area(area: Area | Path | str) -> Area:
    return area if isinstance(area, Area) else Area.open(area)


def _vectors(area: Area, given: Embeddings | NDArray[Any] | str | None) -> Embeddings | NDArray[Any] | None:
    from chorograph.models.encoders.registry import resolve
    from chorograph.prediction.features import uses_imagery

    if not isinstance(given, str):
        return given
    return Embeddings.read(area.embeddings_path(resolve(given))) if uses_imagery(area, given) else None


def _as_split(given: Split | Splitter) -> Split:
    return cast(Split, given) if hasattr(given, "folds") else ScikitSplit(given)


def _write_manifest(folder: Path, config: dict[str, Any], ledger: Ledger) -> None:
    """Leave beside a run's files what a report reads of it."""
    write_json(folder / "manifest.json", {"stage": "predict", "config": config, **asdict(ledger), "outputs": {}})
