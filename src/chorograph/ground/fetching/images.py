"""What a fetched image is asked before it is kept: whether it begins like one, and how large it says it is."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from chorograph.ground.image_formats import FORMATS, format_of


def image_fault(data: bytes, max_pixels: int) -> str | None:
    """Return why bytes are not kept as an image, or None; pixels stay undecoded.

    What is damaged further on is found, and counted, where images are decoded.
    """
    if format_of(data) is None:
        return "wrong type"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = Image.open(io.BytesIO(data), formats=[known.name for known in FORMATS]).size
    except Image.DecompressionBombError:
        return "too many pixels"
    except Exception:
        # Each reader of a header has its own exceptions (struct.error, KeyError, …).
        return None
    return "too many pixels" if width * height > max_pixels else None
