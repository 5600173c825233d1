"""A new area in the making: whole or absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import simplejpeg
import tomli_w

from chorograph.area.check import check_area
from chorograph.area.folder import Area, Source, write_split_table, write_table
from chorograph.area.images import read_encoded
from chorograph.ground.errors import AreaError
from chorograph.ground.files import atomic_folder, sha256_bytes, slug, within

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass
class AreaDraft:
    """A new area in the making: written beside its place and moved there when the block ends well.

    Tables are checked as they are written, and against each other at the end, so that no broken or half-written area
    ever stands at `path`. With `replace` it takes the place of one that is there.
    """

    path: Path
    name: str
    title: str = ""
    sources: Sequence[Source] = ()
    synthetic: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    replace: bool = False

    def __enter__(self) -> Self:
        """Begin; `InputError` where something is at `path` already, unless it is to be replaced."""
        self._stack = ExitStack()
        self.folder = self._stack.enter_context(atomic_folder(self.path, replace=self.replace))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Check the whole and publish it; after an error, leave nothing behind."""
        if error is None:
            try:
                self._finish()
            except BaseException as problem:
                self._stack.__exit__(type(problem), problem, problem.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def write(self, table: str, frame: pd.DataFrame) -> None:
        """Check and write a table."""
        write_table(self.folder, table, frame)

    def write_split(self, name: str, frame: pd.DataFrame) -> None:
        """Check and write a given split."""
        write_split_table(self.folder, name, frame)

    def add_image(self, image_id: str, source: Path | bytes, suffix: str = ".jpg") -> tuple[str, str]:
        """Copy an encoded image into the draft as it is; returns its uri and the SHA-256 of its bytes."""
        if isinstance(source, bytes):
            data = source
        else:
            suffix = source.suffix.lower() or suffix
            data = read_encoded(source)
        digest = sha256_bytes(data)
        target = self.folder / "images" / f"{slug(image_id)}{suffix}"
        if target.exists():  # two ids that only differ in characters a file name cannot hold
            target = target.with_name(f"{target.stem}-{digest[:12]}{suffix}")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
        return str(target.relative_to(self.folder)), digest

    def remove_image(self, uri: str) -> None:
        """Take out an image that was just added."""
        within(self.folder, uri).unlink(missing_ok=True)

    def write_image(self, image_id: str, pixels: NDArray[np.uint8], quality: int = 90) -> tuple[str, str]:
        """Encode uint8 (height, width, 3) pixels as JPEG into the draft; returns uri and SHA-256."""
        return self.add_image(image_id, simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB"), ".jpg")

    def _finish(self) -> None:
        described = {
            "name": self.name,
            "title": self.title or self.name,
            "synthetic": self.synthetic,
            "facts": dict(self.facts),
            "sources": [asdict(source) for source in self.sources],
        }
        (self.folder / "area.toml").write_bytes(tomli_w.dumps(described).encode())
        if problems := check_area(Area.open(self.folder), open_images=False):
            raise AreaError(f"{self.path} was not written: " + "; ".join(problems[:3]))
