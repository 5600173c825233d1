"""Attention pooling: which of a region's tiles tell its indicator is learnt, inside the training rows.

To use it, replace the image block by the regions' row numbers and wrap the probe:

    fused, make_probe = with_attention(fused, make_probe, Tiles.of(images, image_ids, vectors, region_ids), seed=0)

after which `cross_fit(fused, target, folds, make_probe)` pools anew in every fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.arrays import Indices, Matrix
from chorograph.prediction.crossfit import Fused, ProbeMaker
from chorograph.prediction.probes.mlp import torch_module

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Tiles:
    """The image vectors of n regions: `vectors` (m, d), `image_ids` (m,), and `region` (m,), the row of each's region.

    Rows are those of the table of regions; tiles stand in the order of their regions.
    """

    image_ids: NDArray[np.object_]
    vectors: NDArray[np.float32]
    region: Indices
    regions: int

    @classmethod
    def of(
        cls,
        images: pd.DataFrame,
        image_ids: NDArray[np.object_],
        vectors: NDArray[np.float32],
        region_ids: pd.Series[str],
    ) -> Self:
        """Take what `modalities.image_features` takes; images of no region are left out, as they are there."""
        region_of = images.set_index("image_id")["region_id"].reindex(pd.Index(image_ids))
        rows = pd.Index(region_ids).get_indexer(pd.Index(region_of))
        order = np.argsort(rows, kind="stable")[int((rows < 0).sum()) :]
        return cls(image_ids[order], vectors[order], rows[order].astype(np.int64), len(region_ids))

    def block(self) -> Matrix:
        """Return the regions' row numbers as a modality, (n, 1), NaN where a region has no tile."""
        numbers = np.full((self.regions, 1), np.nan)
        numbers[self.region, 0] = self.region
        return numbers

    def of_rows(self, rows: Indices) -> tuple[Indices, Indices]:
        """Return which tiles belong to the regions `rows`, and the position in `rows` of each one's region."""
        position = np.full(self.regions, -1, dtype=np.int64)
        position[rows] = np.arange(len(rows))
        tiles = np.flatnonzero(position[self.region] >= 0)
        return tiles, position[self.region[tiles]]

    def __sklearn_clone__(self) -> Self:
        """Return itself: scikit-learn's `clone` would copy all vectors, which nobody changes."""
        return self


class AttentionPooling(BaseEstimator):  # type: ignore[misc]
    """Gated attention over a region's tiles (Ilse, Tomczak, Welling 2018, eqs. 8 and 9).

    A tile h weighs softmax of w'(tanh(V h) * sigmoid(U h)) among the tiles of its region; the weighted mean of h
    predicts the label linearly. h holds the first `components` principal components of the training regions' tiles.
    The training regions are parted in `folds`: network k learns from all parts but the k-th, which says when to stop.
    The weights of part k's regions come from network k, which did not learn from their labels, so that a probe fitted
    on the pooled vectors sees the same kind of pooling in training as in use; other regions get the mean weights of
    all networks. Fitted: `networks_`, `best_epoch_` of each, `part_` (the part of each training region), `rows_`.
    """

    def __init__(
        self,
        tiles: Tiles,
        components: int = 32,
        hidden: int = 16,
        lr: float = 3e-2,
        weight_decay: float = 1e-2,
        epochs: int = 300,
        patience: int = 30,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.tiles = tiles
        self.components = components
        self.hidden = hidden
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.patience = patience
        self.folds = folds
        self.seed = seed

    def fit(self, rows: Indices, y: ArrayLike) -> Self:
        """Fit on the regions at `rows` (n,) of the table, with labels y (n,)."""
        torch = torch_module()
        target = np.asarray(y, dtype=np.float64)
        self.rows_ = np.asarray(rows, dtype=np.int64)
        parts = KFold(min(self.folds, len(target)), shuffle=True, random_state=self.seed)
        self.part_ = np.empty(len(target), dtype=np.int64)
        for number, (_, held) in enumerate(parts.split(target)):
            self.part_[held] = number
        tiles, position = self.tiles.of_rows(self.rows_)
        self._reduce(self.tiles.vectors[tiles])
        z = torch.as_tensor((target - target.mean()) / (target.std() or 1.0), dtype=torch.float32)
        held = torch.as_tensor(self.part_ == np.arange(self.part_.max() + 1)[:, None])
        self._train(torch, *self._tensors(torch, tiles, position), z, held)
        return self

    def fitted_weights(self) -> tuple[Indices, Matrix]:
        """Return the training regions' tiles (row numbers of `tiles`) and their weights, as a probe may be fitted on.

        The weights of a region's tiles sum to one.
        """
        tiles, position = self.tiles.of_rows(self.rows_)
        each = self._weights(tiles, position)
        return tiles, each[self.part_[position], np.arange(len(tiles))]

    def weights(self, rows: Indices) -> tuple[Indices, Matrix]:
        """Return the tiles of the regions at `rows`, which had no part in the fit, and their mean weights."""
        tiles, position = self.tiles.of_rows(np.asarray(rows, dtype=np.int64))
        return tiles, self._weights(tiles, position).mean(0)

    def pool(self, rows: Indices, tiles: Indices, weights: Matrix) -> Matrix:
        """Return the weighted means of the tiles' vectors, (n, d), in the order of `rows`."""
        position = np.full(self.tiles.regions, -1, dtype=np.int64)
        position[rows] = np.arange(len(rows))
        pooled = np.zeros((len(rows), self.tiles.vectors.shape[1]))
        np.add.at(pooled, position[self.tiles.region[tiles]], weights[:, None] * self.tiles.vectors[tiles])
        return pooled

    def _reduce(self, vectors: NDArray[np.float32]) -> None:
        wide = vectors.astype(np.float64)
        self.centre_, spread = wide.mean(0), wide.std(0)
        scale = np.where(spread > 1e-12, spread, 1.0)
        standardised = (wide - self.centre_) / scale
        _, axes = np.linalg.eigh(standardised.T @ standardised)
        axes = axes[:, ::-1][:, : self.components]
        # One number for all components: the leading ones stay the larger.
        self.axes_ = axes / scale[:, None] / (float((standardised @ axes).std()) or 1.0)

    def _tensors(self, torch: Any, tiles: Indices, position: Indices) -> tuple[Tensor, Tensor]:
        reduced = (self.tiles.vectors[tiles] - self.centre_) @ self.axes_
        return torch.as_tensor(reduced, dtype=torch.float32), torch.as_tensor(position)

    def _weights(self, tiles: Indices, position: Indices) -> Matrix:
        """Return the weights that each network gives, (networks, tiles)."""
        torch = torch_module()
        h, region = self._tensors(torch, tiles, position)
        with torch.inference_mode():
            given = _attention(torch, self.networks_, h, region, int(position.max(initial=-1)) + 1)
        return np.asarray(given.double().numpy())

    def _train(self, torch: Any, h: Tensor, region: Tensor, z: Tensor, held: Tensor) -> None:
        """Train all networks side by side; each is kept as it was when it predicted its part (`held`) best."""
        generator = torch.Generator().manual_seed(self.seed)
        number, width = len(held), h.shape[1]
        networks = {
            "V": torch.randn(number, width, self.hidden, generator=generator) / width**0.5,
            "U": torch.randn(number, width, self.hidden, generator=generator) / width**0.5,
            # Zero weighs all tiles alike: training starts at the mean.
            "w": torch.zeros(number, self.hidden, 1),
            "head": torch.zeros(number, width, 1),
            "bias": torch.zeros(number, 1),
        }
        for value in networks.values():
            value.requires_grad_(True)
        optimiser = torch.optim.AdamW(networks.values(), lr=self.lr, weight_decay=self.weight_decay)
        self.networks_: dict[str, Tensor] = {name: value.detach().clone() for name, value in networks.items()}
        self.best_epoch_ = np.zeros(number, dtype=np.int64)
        best = np.full(number, np.inf)
        for epoch in range(self.epochs):
            error = (_predicted(torch, networks, h, region, len(z)) - z) ** 2
            loss = np.asarray((error.detach() * held).sum(1) / held.sum(1))
            running = epoch - self.best_epoch_ <= self.patience
            if not running.any():
                break
            better = running & (loss < best)
            best[better], self.best_epoch_[better] = loss[better], epoch
            for name, value in networks.items():
                self.networks_[name][better] = value.detach()[better]
            optimiser.zero_grad()
            # Networks share no parameter: the gradient of the sum is that of each one's own mean.
            torch.autograd.backward(((error * ~held).sum(1) / (~held).sum(1)).sum())
            optimiser.step()


class AttentionProbe(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A probe that sees, in place of its `column` of region numbers, the vectors of attention-pooled tiles.

    `base` is fitted on the pooled vectors side by side with all other columns, in the order that they had. Fitted:
    `pooling_`, `base_`.
    """

    def __init__(self, base: Any, pooling: AttentionPooling, column: int) -> None:
        self.base = base
        self.pooling = pooling
        self.column = column

    @property
    def gives_std(self) -> bool:
        """Whether `predict` knows how uncertain it is: as the base does."""
        return bool(getattr(self.base, "gives_std", False))

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d), one column of which holds row numbers of regions, and y (n,)."""
        features, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=3)
        rows = features[:, self.column].astype(np.int64)
        self.pooling_ = clone(self.pooling).fit(rows, target)
        pooled = self.pooling_.pool(rows, *self.pooling_.fitted_weights())
        self.base_ = clone(self.base).fit(self._widened(features, pooled), target)
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions (n,), and with `return_std` the standard deviations that the base gives."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        rows = features[:, self.column].astype(np.int64)
        widened = self._widened(features, self.pooling_.pool(rows, *self.pooling_.weights(rows)))
        return self.base_.predict(widened, return_std=True) if return_std else self.base_.predict(widened)

    def _widened(self, X: Matrix, pooled: Matrix) -> Matrix:
        return np.hstack([X[:, : self.column], pooled, X[:, self.column + 1 :]])


def with_attention(fused: Fused, make_probe: ProbeMaker, tiles: Tiles, *, seed: int) -> tuple[Fused, ProbeMaker]:
    """Return features and maker of probes that pool `image` by attention; both unchanged where there is no `image`.

    The image block becomes row numbers, so it is present where it was; the maker's columns are those of the pooled
    vectors, so that the probe inside has the groups it would have had with mean pooling.
    """
    if "image" not in fused.blocks:
        return fused, make_probe

    def make(columns: Mapping[str, slice], rows: int) -> Any:
        if "image" not in columns:
            return make_probe(columns, rows)
        base = make_probe(_widened_columns(columns, tiles.vectors.shape[1]), rows)
        return AttentionProbe(base, AttentionPooling(tiles, seed=seed), columns["image"].start)

    return Fused({**fused.blocks, "image": tiles.block()}), make


def tile_weights(tiles: Tiles, target: NDArray[np.float64], *, seed: int) -> pd.DataFrame:
    """Return how much each tile weighs in its region's vector: [image_id, row, weight], for the map of explanations.

    Fitted on all labelled regions (`target` (n,), NaN where unlabelled); a labelled region's weights come from the
    network that did not learn from its label. They sum to one in each region; times the number of its tiles, one is
    what mean pooling gives.
    """
    has_tiles = np.isin(np.arange(tiles.regions), tiles.region)
    labelled = np.isfinite(target) & has_tiles
    pooling = AttentionPooling(tiles, seed=seed).fit(np.flatnonzero(labelled), target[labelled])
    weight = np.empty(len(tiles.region))
    for found, weights in (pooling.fitted_weights(), pooling.weights(np.flatnonzero(has_tiles & ~labelled))):
        weight[found] = weights
    return pd.DataFrame({"image_id": tiles.image_ids, "row": tiles.region, "weight": weight})


def _widened_columns(columns: Mapping[str, slice], width: int) -> dict[str, slice]:
    def moved() -> Iterator[tuple[str, slice]]:
        start = 0
        for name, part in columns.items():
            stop = start + (width if name == "image" else part.stop - part.start)
            yield name, slice(start, stop)
            start = stop

    return dict(moved())


def _attention(torch: Any, networks: Mapping[str, Tensor], h: Tensor, region: Tensor, number: int) -> Tensor:
    """Return the weight of each tile among those of its region, (networks, tiles); they sum to one in a region."""
    gated = torch.tanh(h @ networks["V"]) * torch.sigmoid(h @ networks["U"])
    score = (gated @ networks["w"])[..., 0]
    # The largest is taken off first, so that no exponential overflows.
    power = torch.exp(score - _largest(torch, score.detach(), region, number)[:, region])
    weight: Tensor = power / _sums(torch, power, region, number)[:, region]
    return weight


def _predicted(torch: Any, networks: Mapping[str, Tensor], h: Tensor, region: Tensor, number: int) -> Tensor:
    """Return the standardised label that each network predicts for each region, (networks, regions)."""
    weight = _attention(torch, networks, h, region, number)
    # The head is linear: the weighted mean of its values is its value at the weighted mean.
    return _sums(torch, weight * (h @ networks["head"])[..., 0], region, number) + networks["bias"]


def _sums(torch: Any, values: Tensor, region: Tensor, number: int) -> Tensor:
    sums: Tensor = torch.zeros(len(values), number).index_add(1, region, values)
    return sums


def _largest(torch: Any, values: Tensor, region: Tensor, number: int) -> Tensor:
    low = torch.full((len(values), number), -torch.inf)
    largest: Tensor = low.scatter_reduce(1, region.expand_as(values), values, "amax")
    return largest
