from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.utils.estimator_checks import check_estimator

from chorograph.area.splits import Folds
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.prediction.crossfit import Fused, cross_fit, cross_fit_many
from chorograph.prediction.probes.baselines import BASELINES, Baseline
from chorograph.prediction.probes.boosting import ComponentBoosting
from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.kriging import Kriged
from chorograph.prediction.probes.mlp import KnowClMlp, UrbanClipMlp
from chorograph.prediction.probes.names import PROBES
from chorograph.prediction.probes.processes.exact import GaussianProcess
from chorograph.prediction.probes.processes.scaling import MOST_FOR_EXACT, ScalingProcess
from chorograph.prediction.probes.processes.sparse import SparseGaussianProcess
from chorograph.prediction.probes.registry import make_probe_maker, said_of_size
from chorograph.prediction.probes.ridge import RidgePath

BLOCK_M = 2000.0
#: `auto` is not kriged: it weighs place for itself.
ALL = [(name, kriging) for name in PROBES.names() for kriging in (False, True) if (name, kriging) != ("auto", True)]
# A stack kriged is a hundred fits a fold, a head kriged six trainings: their parts are tested on their own.
QUICK = [(name, kriging) for name, kriging in ALL if not (kriging and name in ("stack", "mlp", "knowcl-mlp"))]


def _data(number: int = 110, width: int = 8, seed: int = 0) -> tuple[Fused, np.ndarray]:
    """Regions in a square of 12 km; the label is linear in the image block, with a smooth field on top."""
    rng = np.random.default_rng(seed)
    image, place = rng.normal(size=(number, width)), np.c_[rng.uniform(0, 12, (number, 2)), np.zeros(number)]
    target = 2 * image[:, 0] - image[:, 1] + np.sin(place[:, 0] / 2) + rng.normal(0, 0.3, number)
    return Fused({"image": image, "location": place}), target


def _folds(fused: Fused, seed: int = 0) -> Folds:
    """Three folds of squares of 2 km."""
    squares = np.unique(np.floor(fused.blocks["location"][:, :2] / 2), axis=0, return_inverse=True)[1].reshape(-1)
    fold = np.random.default_rng(seed).integers(0, 3, squares.max() + 1)[squares]
    nothing = np.zeros(len(fold), dtype=bool)
    return Folds(fold, squares, (nothing,) * 3)


def _r2(target: np.ndarray, predicted: np.ndarray) -> float:
    return 1 - float(((target - predicted) ** 2).mean() / target.var())


def _maker(name: str, kriging: bool = False) -> Any:
    make = make_probe_maker(name, seed=0, kriging=kriging, block_m=BLOCK_M)
    if name != "mlp":
        return make
    # As many steps as are needed here, not a hundred epochs of pairs.
    return lambda columns, rows: make(columns, rows).set_params(urbanclipmlp__epochs=30, urbanclipmlp__lr=3e-3)


@pytest.mark.parametrize(("name", "kriging"), QUICK)
def test_every_probe_finds_what_is_there_and_never_sees_a_tested_label(name: str, kriging: bool) -> None:
    fused, target = _data()
    folds = _folds(fused)
    before = cross_fit(fused, target, folds, _maker(name, kriging)).predicted
    assert _r2(target, before) > 0.6
    changed = np.where(folds.fold == 2, target + 100.0, target)
    after = cross_fit(fused, changed, folds, _maker(name, kriging)).predicted
    assert np.allclose(before[folds.fold == 2], after[folds.fold == 2])


@pytest.mark.parametrize(("name", "kriging"), QUICK)
@pytest.mark.parametrize("spatial", [True, False])
def test_permuted_labels_give_nothing(name: str, kriging: bool, spatial: bool) -> None:
    fused, target = _data()
    target = np.random.default_rng(1).permutation(target)
    folds = _folds(fused)
    if not spatial:
        folds = Folds(np.random.default_rng(2).integers(0, 3, len(target)), folds.groups, folds.banned)
    assert _r2(target, cross_fit(fused, target, folds, _maker(name, kriging)).predicted) <= 0.05


@pytest.mark.parametrize(
    "estimator",
    [
        RidgePath(),
        GaussianProcess(),
        ScalingProcess(),
        SparseGaussianProcess(),
        ComponentBoosting(trees=20),
        UrbanClipMlp(epochs=3, batch_size=32),
        KnowClMlp(epochs=30),
        Kriged(RidgePath()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learns_contract(estimator: Any) -> None:
    # A short training is no good fit, and this check asks for one.
    short = {"check_regressors_train": "few epochs"} if "Mlp" in type(estimator).__name__ else {}
    results = check_estimator(estimator, expected_failed_checks=short, on_skip=None)
    assert not [result["check_name"] for result in results if result["status"] == "failed"]


@pytest.mark.parametrize(("name", "kriging"), ALL)
def test_probes_are_cloned_with_their_parameters(name: str, kriging: bool) -> None:
    make = make_probe_maker(name, seed=0, kriging=kriging, block_m=BLOCK_M)
    probe = make({"image": slice(0, 8), "location": slice(8, 11)}, 100)
    assert repr(clone(probe)) == repr(probe)
    assert clone(probe).get_params().keys() == probe.get_params().keys()


def test_unknown_probes_and_many_rows_are_told() -> None:
    with pytest.raises(UnknownNameError, match="boosting"):
        make_probe_maker("bosting", seed=0)
    with pytest.raises(InputError, match="weighs modalities"):
        make_probe_maker("auto", seed=0, kriging=True)
    assert "inducing rows" in str(said_of_size("gp", MOST_FOR_EXACT + 1))
    assert said_of_size("gp", MOST_FOR_EXACT) is None
    assert said_of_size("ridge", 10**6) is None


def test_a_process_scales_by_itself() -> None:
    fused, target = _data(60)
    X = np.hstack(list(fused.blocks.values()))
    exact, sparse = (
        ScalingProcess(fused.columns(("image", "location")), most=most).fit(X, target) for most in (60, 59)
    )
    assert isinstance(exact.process_, GaussianProcess)
    assert isinstance(sparse.process_, SparseGaussianProcess)
    assert _r2(exact.predict(X), sparse.predict(X)) > 0.98
    with pytest.raises(InputError, match="--suggest"):
        sparse.posterior(X)


# Ridge of many rows and many targets --------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "width"), [(60, 7), (40, 90), (9000, 5)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ridge_of_many_targets_is_ridge_of_each(rows: int, width: int, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(rows, width)).astype(dtype)
    Y = X[:, :3] * [1, 0.1, 0] + rng.normal(size=(rows, 3))
    together = RidgePath().fit(X, Y)
    predicted = together.predict(X)
    for column in range(3):
        alone = RidgePath().fit(X, Y[:, column])
        assert alone.penalty_ == together.penalty_[column]
        assert np.allclose(alone.predict(X), predicted[:, column])
        assert np.allclose(alone.loo_error_, together.loo_error_[:, column])


@pytest.mark.parametrize(("rows", "width"), [(300, 20), (20, 300)])
def test_both_forms_of_ridge_equal_scikit_learn(rows: int, width: int) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, width))
    y = X[:, 0] + rng.normal(size=rows)
    penalties = (1e-3, 1.0, 30.0, 1e4)
    ours = RidgePath(penalties).fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    theirs = RidgeCV(penalties, store_cv_results=True).fit(Z, y)  # holds squared leave-one-out errors
    assert np.allclose(ours.loo_error_, theirs.cv_results_.mean(0), rtol=1e-5)
    fixed = Ridge(ours.penalty_).fit(Z, y)
    assert np.allclose(ours.predict(X), fixed.predict(Z), atol=1e-8)
    assert np.allclose(ours.coef_, fixed.coef_ / X.std(0), atol=1e-8)


@pytest.mark.parametrize("name", ["ridge", "boosting", "gp"])
def test_many_targets_at_once_equal_one_by_one(name: str) -> None:
    fused, target = _data(80)
    image = fused.blocks["image"].copy()
    image[:6] = np.nan
    fused = Fused({"image": image, "location": fused.blocks["location"]})
    part = np.where(np.arange(80) % 9 == 0, np.nan, target)
    targets = {"a": target, "part": part, "b": target[::-1].copy()}
    asked: list[int] = []

    def folds_of(labelled: np.ndarray) -> Folds:
        asked.append(int(labelled.sum()))
        fold = (np.arange(int(labelled.sum())) // 7) % 5
        return Folds(fold, fold, (np.zeros(len(fold), dtype=bool),) * 5)

    found = cross_fit_many(fused, targets, folds_of, _maker(name))
    assert list(found) == ["a", "part", "b"]
    assert asked == [80, int(np.isfinite(part).sum())]
    for key, values in targets.items():
        alone = cross_fit(fused, values, folds_of(np.isfinite(values)), _maker(name))
        assert np.allclose(found[key].predicted, alone.predicted)
        assert found[key].scale.shape == alone.scale.shape
        assert (found[key].basis == alone.basis).all()


# Inner folds and the stack ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_m", [BLOCK_M, 40_000.0, None])
def test_inner_folds_predict_every_row_once_and_share_no_block(block_m: float | None) -> None:
    fused, target = _data(100)
    X = fused.stacked(("image", "location"), np.ones(100, dtype=bool))
    inner = InnerFolds(slice(8, 11), block_m)
    parts = list(inner.split(X, target))
    assert np.array_equal(np.sort(np.concatenate([tested for _, tested in parts])), np.arange(100))
    assert all(not set(train) & set(tested) for train, tested in parts)
    if block_m == BLOCK_M:
        # Squares of the same side: rows much nearer than it, on both sides, stand at the border of two squares.
        place = X[:, 8:10]
        near = np.linalg.norm(place[:, None] - place[None], axis=2) < 0.5
        shared = sum(int(near[np.ix_(train, tested)].sum()) for train, tested in parts)
        plain = sum(int(near[np.ix_(*rows)].sum()) for rows in InnerFolds().split(X))
        assert shared < 0.6 * plain


def test_inner_folds_with_few_rows() -> None:
    X = np.zeros((3, 3))
    assert len(list(InnerFolds(slice(0, 3), 1000.0).split(X))) == 3
    assert InnerFolds(number=4).get_n_splits() == 4


def test_a_stack_trusts_its_best_member_and_weighs_none_negatively() -> None:
    fused, target = _data()
    rows = np.ones(len(target), dtype=bool)
    columns = fused.columns(("image", "location"))
    X = fused.stacked(("image", "location"), rows)
    stack = _maker("stack")(columns, len(target)).fit(X, target)
    weights = dict(zip(stack.named_estimators_, stack.final_estimator_.coef_, strict=True))
    assert min(weights.values()) >= 0
    assert 0.8 < sum(weights.values()) < 1.2
    inner = InnerFolds(columns["location"], BLOCK_M)
    error: dict[str, float] = {}
    for name, member in stack.named_estimators.items():
        error[name] = float(((cross_val_predict(member, X, target, cv=inner) - target) ** 2).mean())
    assert max(weights, key=weights.__getitem__) == min(error, key=error.__getitem__)
    mean, std = stack.predict(X, return_std=True)
    assert np.array_equal(mean, stack.predict(X))
    assert (std > 0).all()


# The published heads ------------------------------------------------------------------------------------------------


def test_knowcl_head_is_the_published_one() -> None:
    torch = pytest.importorskip("torch")
    X = np.random.default_rng(0).normal(size=(60, 512)).astype(np.float32)
    head = KnowClMlp(epochs=2).fit(X, X[:, 0])
    kinds = [type(layer).__name__ for layer in head.network_]
    assert kinds == ["Linear", "Dropout", "ReLU", "Linear"]
    assert sum(p.numel() for p in head.network_.parameters()) == 512 * 512 + 512 + 512 + 1
    fresh = head._network(torch.nn, 512)
    assert float(fresh[0].weight.detach().abs().max()) <= (6 / (512 + 512)) ** 0.5
    assert not fresh[0].bias.any()
    assert not fresh[3].bias.any()


@pytest.mark.parametrize("maker", [lambda: KnowClMlp(patience=5), lambda: UrbanClipMlp(epochs=5)])
def test_heads_keep_their_best_epoch(maker: Callable[[], Any]) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6))
    y = rng.normal(size=80)
    head = maker().fit(X, y)
    assert head.best_epoch_ == int(np.argmin(head.validation_loss_))
    assert head.n_iter_ < 1000
    assert np.array_equal(head.predict(X), clone(head).fit(X, y).predict(X))


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_baselines_do_not_depend_on_the_unit(baseline: Baseline) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6))
    y = X[:, 0] + 0.1 * rng.normal(size=80)
    expected = baseline.estimator(60, 0).fit(X[:60], y[:60]).predict(X[60:])
    unit = 2.0**-30  # a power of two: no rounding decides between splits that are equally good
    small = baseline.estimator(60, 0).fit(X[:60], y[:60] * unit).predict(X[60:])
    assert small / unit == pytest.approx(expected, abs=1e-9)
