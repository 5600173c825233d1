"""The published indicator heads: two-layer perceptrons on frozen image features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.errors import MissingExtraError


class _Perceptron(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """What the heads share: AdamW at a constant rate on z-scored labels, the best epoch by a held-out part."""

    epochs: int
    lr: float
    weight_decay: float
    validation: float
    seed: int

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,), of which the share `validation` chooses the epoch."""
        torch = torch_module()
        features, target = validate_data(self, X, y, dtype=np.float32, y_numeric=True, ensure_min_samples=2)
        rows, target = torch.tensor(features), np.asarray(target, dtype=np.float64)
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(rows), generator=generator)
        held = order[: max(1, int(len(rows) * self.validation))]
        kept = order[len(held) :]
        self.mean_, self.std_ = float(target[kept].mean()), float(target[kept].std()) or 1.0
        z = torch.as_tensor((target - self.mean_) / self.std_, dtype=torch.float32)
        # The layers draw their weights and dropout from torch's global generator: a forked one leaves the user's alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = self._network(torch.nn, rows.shape[1])
            self._train(torch, rows, z, kept, held, generator)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return predictions (n,) for X (n, d)."""
        check_is_fitted(self)
        torch = torch_module()
        rows = torch.tensor(validate_data(self, X, dtype=np.float32, reset=False))
        with torch.inference_mode():
            z = self.network_(rows)[:, 0]
        return z.double().numpy() * self.std_ + self.mean_  # type: ignore[no-any-return]

    def _network(self, nn: Any, width: int) -> Any:
        raise NotImplementedError

    def _schedule(self, rows: int) -> tuple[int, int]:
        """Return the size of a batch, and how many epochs may pass without a better one."""
        raise NotImplementedError

    def _train(self, torch: Any, rows: Any, z: Any, kept: Any, held: Any, generator: Any) -> None:
        mse_loss = torch.nn.functional.mse_loss
        batch_size, patience = self._schedule(len(kept))
        parameters = self.network_.parameters()
        # Fused: a step of two rows is mostly the optimiser's, and half of it is calls.
        optimiser = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)
        best: dict[str, Any] = {}
        self.validation_loss_: list[float] = []
        for epoch in range(self.epochs):
            self.network_.train()
            for batch in kept[torch.randperm(len(kept), generator=generator)].split(batch_size):
                loss = mse_loss(self.network_(rows[batch])[:, 0], z[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            self.network_.eval()
            with torch.inference_mode():
                self.validation_loss_.append(float(mse_loss(self.network_(rows[held])[:, 0], z[held])))
            if self.validation_loss_[-1] <= min(self.validation_loss_):
                self.best_epoch_ = epoch
                best = {name: value.clone() for name, value in self.network_.state_dict().items()}
            if epoch - self.best_epoch_ > patience:
                break
        self.network_.load_state_dict(best)
        # How many epochs were run: the name is scikit-learn's.
        self.n_iter_ = len(self.validation_loss_)


class UrbanClipMlp(_Perceptron):
    """Linear(d -> 256), ReLU, Dropout(0.01), Linear(256 -> 1); AdamW at constant rate, mean squared error.

    The published protocol (Yan et al. 2024, released code): learning rate 3e-4, weight decay 0.01, 100 epochs; one
    fifth of the training rows chooses the best epoch; labels are z-scored with the fitted rows' mean and standard
    deviation. Features are encoded once, not once an epoch.

    Needs the `models` extra. Fitted: `network_`, `best_epoch_`, `validation_loss_` (one an epoch).
    """

    def __init__(
        self,
        hidden: int = 256,
        dropout: float = 0.01,
        lr: float = 3e-4,
        weight_decay: float = 0.01,
        epochs: int = 100,
        batch_size: int = 2,
        validation: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.seed = seed

    def _network(self, nn: Any, width: int) -> Any:
        return nn.Sequential(
            nn.Linear(width, self.hidden), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, 1)
        )

    def _schedule(self, rows: int) -> tuple[int, int]:
        return self.batch_size, self.epochs


class KnowClMlp(_Perceptron):
    """Linear(d -> 512), Dropout, ReLU, Linear(512 -> 1), Xavier-uniform weights, biases 0; full-batch AdamW.

    The published protocol (Liu et al. 2023, released code), at the rate, dropout and weight decay that its README runs
    population from satellite images with; up to 1,000 epochs, the best by the R2 of a held-out part, stopped after 300
    without a better one. That part is a fifth of the training rows here: the published one is a fixed set of regions.
    Published labels are ln(1 + y); here the run decides (`--log`), and labels are z-scored, which R2 does not see.

    Needs the `models` extra. Fitted: `network_`, `best_epoch_`, `validation_loss_` (one an epoch).
    """

    def __init__(
        self,
        hidden: int = 512,
        dropout: float = 0.3,
        lr: float = 1e-3,
        weight_decay: float = 1.0,
        epochs: int = 1000,
        patience: int = 300,
        validation: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.seed = seed

    def _network(self, nn: Any, width: int) -> Any:
        layers = (nn.Linear(width, self.hidden), nn.Linear(self.hidden, 1))
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(layers[0], nn.Dropout(self.dropout), nn.ReLU(), layers[1])

    def _schedule(self, rows: int) -> tuple[int, int]:
        return rows, self.patience


def torch_module() -> Any:
    """Return torch; `MissingExtraError` where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError.of("models", error) from error
    return torch
