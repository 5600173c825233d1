"""The one table of image formats: what is fetched, kept, packed and opened is read off here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageFormat:
    """A format: Pillow's name, its extensions (the first is written), and what its files hold from which byte on."""

    name: str
    extensions: tuple[str, ...]
    signatures: tuple[tuple[int, bytes], ...]

    def fits(self, data: bytes) -> bool:
        """Whether bytes begin like this format."""
        return any(data[at : at + len(mark)] == mark for at, mark in self.signatures)


#: A portable map begins with its kind and white space.
_MAPS = tuple((0, b"P%d%c" % (kind, space)) for kind in range(1, 7) for space in b"\n\r\t ")
FORMATS = (
    ImageFormat("JPEG", ("jpg", "jpeg", "jpe", "jfif"), ((0, b"\xff\xd8\xff"),)),
    ImageFormat("PNG", ("png",), ((0, b"\x89PNG\r\n\x1a\n"),)),
    ImageFormat("WEBP", ("webp",), ((8, b"WEBP"),)),
    ImageFormat("TIFF", ("tif", "tiff"), ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"))),
    ImageFormat("GIF", ("gif",), ((0, b"GIF8"),)),
    ImageFormat("BMP", ("bmp",), ((0, b"BM"),)),
    ImageFormat("AVIF", ("avif",), ((4, b"ftypavif"), (4, b"ftypavis"), (4, b"ftypmif1"))),
    ImageFormat("JPEG2000", ("jp2", "j2k"), ((0, b"\0\0\0\x0cjP  \r\n\x87\n"), (0, b"\xff\x4f\xff\x51"))),
    ImageFormat("ICO", ("ico",), ((0, b"\0\0\1\0"),)),
    ImageFormat("PPM", ("ppm", "pgm", "pbm", "pnm"), _MAPS),
)
#: Every extension of the table, lower case, without a dot.
EXTENSIONS = tuple(extension for known in FORMATS for extension in known.extensions)
#: The same with their dots, as paths end.
SUFFIXES = frozenset(f".{extension}" for extension in EXTENSIONS)


def extension_of(data: bytes) -> str | None:
    """Return the extension that bytes are written with, or None for what the table has not."""
    known = format_of(data)
    return None if known is None else known.extensions[0]


def format_of(data: bytes) -> ImageFormat | None:
    """Return the format that bytes begin like, or None."""
    return next((known for known in FORMATS if known.fits(data)), None)


#: Folders and files of systems and programs that are not hidden, in lower case.
_LITTER = frozenset(
    {
        "__macosx", "__pycache__", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
        "system volume information", "_gsdata_", "thumbs.db", "desktop.ini", "node_modules", "venv", "wandb", "cvs",
    }
)  # fmt: skip


def is_litter(path: Path) -> bool:
    """Whether a file or folder is a system's or program's own: hidden, of a Mac, `lost+found`."""
    return path.name.startswith((".", "~$")) or path.name.lower() in _LITTER


def find_image_files(folder: Path, drop: Callable[[str], None]) -> list[Path]:
    """Return the files below a folder that are named like images, sorted; litter among them is told to `drop`."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            continue
        inside = path.relative_to(folder)
        if any(is_litter(part) for part in (inside, *inside.parents) if part.name):
            drop("hidden file or folder, or one of the system")
        else:
            found.append(path)
    return found
