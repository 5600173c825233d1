"""A sentence and a large image, from windows to files: heat map, overlay, peaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.encoders.protocols import ImageTextEncoder
from chorograph.searching.heatmap import mean_similarity
from chorograph.searching.large_image import open_large_image
from chorograph.searching.localize import encode_windows, find_peaks, probability_map
from chorograph.searching.output import write_heatmap, write_overlay, write_peaks
from chorograph.searching.windows import STEPS, check_steps, windows

#: The overlay's longer side is at most this many pixels.
_OVERLAY_PX = 2048


def find_in_image(
    path: Path,
    text: str,
    encoder: ImageTextEncoder,
    out: Path,
    ledger: Ledger,
    *,
    steps: Sequence[int] = STEPS,
    level: float = 0.75,
    compat: bool = False,
    tags: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write where in the image at `path` is what `text` says: heat map, overlay and peaks into the folder `out`.

    `steps`: sides of the windows, in pixels. `level`: a peak is a part of the map at this share of its maximum or
    above, in (0, 1]. `compat`: the published arithmetic. `tags` are filed in the heat map. Raises `InputError` for
    steps that no image could be cut by, `ImageError` for an image that does not open.
    """
    check_steps(steps)
    with open_large_image(path) as image:
        at, vectors = encode_windows(encoder, image, steps=steps, compat=compat, progress=progress)
        picture, shape, position = image.small(_OVERLAY_PX), image.shape, image.position
    similarities = vectors @ encoder.encode_texts([text])[0]
    similarity = mean_similarity(at, similarities, shape)
    probability = probability_map(similarity, steps=steps, compat=compat)
    # A part much smaller than the smallest window is a trace of the windows' edges, not a thing seen.
    peaks = find_peaks(probability, similarity, level, smallest_px=min(steps) ** 2 // 16)
    ledger.count("windows", len(at))
    ledger.drop("window without data", len(windows(shape, steps)) - len(at))
    ledger.count("peaks", len(peaks))
    ledger.facts["height, width"] = list(shape)
    ledger.facts["similarity of windows"] = [
        round(float(value), 4) for value in (similarities.min(), similarities.max())
    ]
    ledger.facts["model fingerprint"] = encoder.fingerprint
    if not peaks:
        ledger.warnings.append("the map is flat: no place fits the sentence better than another")
    if min(shape) < min(steps):
        ledger.warnings.append(f"the image is smaller than the smallest window of {min(steps)} px")
    if position is None and path.suffix.lower() in (".tif", ".tiff"):
        ledger.warnings.append("the TIFF says no position: peaks are in pixels")
    ledger.outputs += [
        write_heatmap(out, probability, position, dict(tags or {})),
        write_overlay(out, picture, probability, peaks),
        write_peaks(out, peaks, position),
    ]
