"""What a file really is, by how it begins: an input of the wrong sort is called by its name, with the way out."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from chorograph.ground.image_formats import format_of

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
    (b"ARROW1", "an Arrow (Feather) table"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z): unpack it"),
    (b"Rar!\x1a\x07", "an archive (rar): unpack it"),
    (b"GGUF", "a GGUF model (llama.cpp): get the PyTorch weights"),
)
#: Likewise, known by how their names end.
_ENDINGS = {
    ".csv": "a table (CSV)", ".tsv": "a table (TSV)", ".xlsx": "a spreadsheet", ".xls": "a spreadsheet",
    ".onnx": "an ONNX model: save a PyTorch state_dict as safetensors",
    ".msgpack": "Flax weights (msgpack): save a PyTorch state_dict as safetensors",
    ".tflite": "a TensorFlow Lite model: save a PyTorch state_dict as safetensors",
    ".index.json": "the index of weights that are parted into several files: save them as one, model.safetensors",
    ".tfrecord": "a TFRecord: write pairs as WebDataset tars", ".mds": "a shard of MosaicML: write WebDataset tars",
}  # fmt: skip
#: How much of a text is shown.
_SHOWN = 60
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")


def head_of(path: Path) -> bytes:
    """Return what a file begins with; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def sort_of(path: Path) -> str | None:
    """Return what a file is, with a remedy where there is one: "gzipped: unpack it"; None where it is not known."""
    head = head_of(path)
    if not head and (not path.is_file() or path.stat().st_size):
        return None  # who reads it next says why it cannot be
    if not head:
        return "empty (0 bytes): get it again"
    if head[8:10] == b'{"':
        return None  # safetensors: their first bytes are a length, which may look like anything
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGES):
        return "a web page (HTML or XML), not the file: download it anew, signed in where that is asked for"
    if found := next((said for mark, said in _SORTS if head.startswith(mark)), None):
        return found.replace("pointer,", f"pointer of {path.stat().st_size} bytes,")
    if head.startswith(b"PK\x03\x04"):
        return _sort_of_zip(path)
    if found := next((said for ending, said in _ENDINGS.items() if path.name.lower().endswith(ending)), None):
        return found
    if head[4:8] == b"TFL3" or re.match(rb"\x08[\x01-\x1f]\x12.[\x20-\x7e]{2}", head):
        return _ENDINGS[".tflite" if head[4:8] == b"TFL3" else ".onnx"]
    if (known := format_of(head)) is not None:
        return f"an image ({known.name})"
    return _sort_of_text(head)


#: Files by which the folder of a model is known, whose it is, and what to do.
_FOLDERS = {
    "area.toml": "an area",
    "model_index.json": "a pipeline of diffusers",
    "adapter_config.json": "an adapter of peft: name the model that it stands on, or merge the two",
    "open_clip_config.json": "a model of open_clip: name its weights, --model open_clip:NAME/FILE, or of `pretrain` "
    "--model NAME --init FILE",
    ".metadata": "a distributed one: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE",
    "latest": "a checkpoint of DeepSpeed: python zero_to_fp32.py makes one file of it",
    "model.safetensors.index.json": "a model of Hugging Face's in several files",
}


def sort_of_folder(folder: Path) -> str | None:
    """Return what a folder is, where it is one that people take for a checkpoint; None where it is not known."""
    found = next((said for name, said in _FOLDERS.items() if (folder / name).is_file()), None)
    if found is not None or not (folder / "config.json").is_file():
        return found
    with (folder / "config.json").open("rb") as file:
        head = file.read(_HEAD)
    named = {name: re.search(rb'"%s"\s*:\s*"([^"]*)"' % name, head) for name in (b"model_type", b"architecture")}
    owners = {b"model_type": "Hugging Face's transformers", b"architecture": "timm"}
    return next((f"a model of {owners[name]} ({said[1].decode()})" for name, said in named.items() if said), None)


def _sort_of_text(head: bytes) -> str | None:
    """Return what sort of text a file begins with, and how; None where it is no text."""
    text = head.decode("utf-8-sig", "ignore").strip()
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return None
    return f"{'JSON text' if text[0] in '{[' else 'text'} that begins {text[:_SHOWN].partition(chr(10))[0]!r}"


def _sort_of_zip(path: Path) -> str | None:
    """Return what a zip file holds; None for PyTorch's own form of weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a zip file that is damaged or cut off: get it again"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "a program of torch.export: save its state_dict as safetensors"
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        return "TorchScript: export its state_dict (torch.save(torch.jit.load(FILE).state_dict(), NEW))"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if any(name.startswith("xl/") for name in names):
        return "a spreadsheet"
    return "an archive (zip): unpack it"
