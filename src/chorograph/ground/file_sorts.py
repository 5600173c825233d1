"""What a file really is, by how it begins: an input of the wrong sort is called by its name, with the way out."""

from __future__ import annotations

import zipfile
from pathlib import Path

_HEAD = 512
#: What files begin with, what they then are, and what to do.
_SORTS = (
    (b"version https://git-lfs.github.com/", "a Git LFS pointer, not the file: run `git lfs pull` where it came from"),
    (b"\x1f\x8b", "gzipped: unpack it (gunzip)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it (unzstd)"),
    (b"BZh", "compressed with bzip2: unpack it (bunzip2)"),
    (b"\xfd7zXZ\0", "compressed with xz: unpack it (unxz)"),
    (b"PAR1", "a Parquet table"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, h5py): save a PyTorch state_dict as safetensors"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3\0", "an SQLite database (a GeoPackage is one)"),
    (b"%PDF", "a PDF"),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
_TABLES = {".csv": "a table (CSV)", ".tsv": "a table (TSV)", ".xlsx": "a spreadsheet", ".xls": "a spreadsheet"}


def sort_of(path: Path) -> str | None:
    """Return what a file is, with a remedy where there is one: "gzipped: unpack it"; None where it is not known."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        size = path.stat().st_size
    except OSError:
        return None  # who reads it next says why it cannot be
    if not size:
        return "empty (0 bytes): get it again"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGES):
        return "a web page (HTML or XML), not the file: download it anew, signed in where that is asked for"
    if found := next((said for mark, said in _SORTS if head.startswith(mark)), None):
        return found.replace("pointer,", f"pointer of {size} bytes,")
    if head.startswith(b"PK\x03\x04"):
        return _sort_of_zip(path)
    if path.suffix.lower() in _TABLES:
        return _TABLES[path.suffix.lower()]
    return "JSON text" if start[:1] in (b"{", b"[") and path.suffix.lower() in (".json", ".jsonl") else None


def _sort_of_zip(path: Path) -> str | None:
    """Return what a zip file holds; None for PyTorch's own form of weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a zip file that is damaged or cut off: get it again"
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        return "TorchScript: export its state_dict (torch.save(torch.jit.load(FILE).state_dict(), NEW))"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if any(name.startswith("xl/") for name in names):
        return "a spreadsheet"
    return "an archive (zip): unpack it"
