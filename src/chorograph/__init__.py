"""chorograph profiles urban regions from satellite and street imagery, text and an urban knowledge graph.

Importing it is light: tables, torch and plots load where they are used.

Example:
    >>> import tempfile
    >>> import chorograph as cg
    >>> area = cg.synthetic_city(tempfile.mkdtemp() + "/city", regions=60, tiles_per_region=1, seed=1)
    >>> embeddings = cg.embed(area, "colour")
    >>> profile = cg.predict(area, embeddings, indicator="median_income", log=True, block_m=1500, probe="ridge")
    >>> profile.indicators
    ('median_income',)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorograph.api import (
        Area,
        AreaError,
        ChorographError,
        Clusters,
        DistanceMatched,
        Embeddings,
        Given,
        InputError,
        LeakError,
        LeaveGroupOut,
        MissingExtraError,
        Profile,
        RandomFolds,
        SpatialBlocks,
        UnknownNameError,
        embed,
        predict,
        pretrain,
        report,
        synthetic_city,
    )

    __version__: str

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
    "__version__",
    "embed",
    "predict",
    "pretrain",
    "report",
    "synthetic_city",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("chorograph")
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("chorograph.api"), name)
    raise AttributeError(f"module 'chorograph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
