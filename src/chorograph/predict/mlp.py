"""The UrbanCLIP indicator head: a two-layer perceptron on frozen image features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from chorograph.area.errors import MissingExtraError


class UrbanClipMlp(RegressorMixin, BaseEstimator):  # type: ignore[misc]
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

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,)."""
        torch = _torch()
        rows = torch.as_tensor(np.asarray(X, dtype=np.float32))
        target = np.asarray(y, dtype=np.float64)
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(rows), generator=generator)
        held = order[: max(1, int(len(rows) * self.validation))]
        kept = order[len(held) :]
        self.mean_, self.std_ = float(target[kept].mean()), float(target[kept].std()) or 1.0
        z = torch.as_tensor((target - self.mean_) / self.std_, dtype=torch.float32)
        # The layers draw their weights and dropout from torch's global generator: a forked one leaves the user's alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._train(torch, rows, z, kept, held, generator)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return predictions (n,) for X (n, d)."""
        torch = _torch()
        with torch.inference_mode():
            z = self.network_(torch.as_tensor(np.asarray(X, dtype=np.float32)))[:, 0]
        return z.double().numpy() * self.std_ + self.mean_  # type: ignore[no-any-return]

    def _train(self, torch: Any, rows: Any, z: Any, kept: Any, held: Any, generator: Any) -> None:
        nn = torch.nn
        self.network_ = nn.Sequential(
            nn.Linear(rows.shape[1], self.hidden), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, 1)
        )
        optimiser = torch.optim.AdamW(self.network_.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        best: dict[str, Any] = {}
        self.validation_loss_: list[float] = []
        for epoch in range(self.epochs):
            self.network_.train()
            for batch in kept[torch.randperm(len(kept), generator=generator)].split(self.batch_size):
                loss = nn.functional.mse_loss(self.network_(rows[batch])[:, 0], z[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            self.network_.eval()
            with torch.inference_mode():
                self.validation_loss_.append(float(nn.functional.mse_loss(self.network_(rows[held])[:, 0], z[held])))
            if self.validation_loss_[-1] <= min(self.validation_loss_):
                self.best_epoch_ = epoch
                best = {name: value.clone() for name, value in self.network_.state_dict().items()}
        self.network_.load_state_dict(best)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError.of("models", error) from error
    return torch
