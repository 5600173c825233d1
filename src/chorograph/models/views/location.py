"""A place as numbers: equal earth and random Fourier features at three scales (GeoCLIP, Vivanco et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Savric, Patterson and Jenny 2019, The Equal Earth map projection.
_A = (1.340264, -0.081106, 0.000893, 0.003796)
#: GeoCLIP's scale, after which longitudes span -1 to 1.
_SCALE = 66.50336 / 180
#: Standard deviations of the random frequencies.
SIGMAS = (1.0, 16.0, 256.0)


def equal_earth(places: Tensor) -> Tensor:
    """Return (..., 2) x and y of (..., 2) latitude and longitude in degrees; x is within -1 and 1."""
    lat, lon = torch.deg2rad(places).unbind(-1)
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(lat))
    a1, a2, a3, a4 = _A
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * math.sqrt(3) * lon * torch.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=-1) * _SCALE


class FourierFeatures(nn.Module):
    """[cos 2 pi B v, sin 2 pi B v] with fixed B (features, 2) drawn from a normal distribution of width `sigma`."""

    def __init__(self, sigma: float, features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.register_buffer("frequencies", sigma * torch.randn(features, 2, generator=generator))

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., 2 features) of points (..., 2)."""
        frequencies: Tensor = self.frequencies  # type: ignore[assignment]
        angle = 2 * math.pi * points @ frequencies.T
        return torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)


class LocationEncoder(nn.Module):
    """The sum of one small network a scale, each on its Fourier features of the equal-earth point."""

    def __init__(self, dim: int = 512, hidden: int = 1024, features: int = 256, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.branches = nn.ModuleList(
            nn.Sequential(
                FourierFeatures(sigma, features, generator),
                nn.Linear(2 * features, hidden),
                nn.ReLU(),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Linear(hidden, dim),
            )
            for sigma in SIGMAS
        )

    def forward(self, places: Tensor) -> Tensor:
        """Return (..., dim) of (..., 2) latitude and longitude in degrees."""
        points = equal_earth(places)
        return torch.stack([branch(points) for branch in self.branches]).sum(0)
