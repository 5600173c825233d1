"""Semantic localisation: the published per-pixel arithmetic beside ours, and the memory of large images.

`python benchmarks/localization.py` writes results/localization.json. The encoder is left out: similarities are made
up, the same for both sides. The published side is written anew from the description of its code, with OpenCV where
that code uses OpenCV; the time of cutting the image into JPEG files is not counted against it.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.metrics.localization import localization_scores
from chorograph.searching.heatmap import mean_similarity
from chorograph.searching.localize import encode_windows, find_peaks, probability_map
from chorograph.searching.windows import windows

RESULT = Path(__file__).parent / "results" / "localization.json"
SHAPE = (2000, 3000)
SIDES = (2500, 5000, 10000)


# The published arithmetic -------------------------------------------------------------------------------------------


def published_mean(at: NDArray[np.int64], similarities: NDArray[np.float64], shape: tuple[int, int]) -> Any:
    """Add each window's similarity to its pixels, then divide pixel by pixel."""
    heat, number = np.zeros(shape), np.zeros(shape)
    for (row, row_end, column, column_end), similarity in zip(at.tolist(), similarities.tolist(), strict=True):
        heat[row:row_end, column:column_end] += similarity
        number[row:row_end, column:column_end] += 1
    for i in range(shape[0]):
        for j in range(shape[1]):
            heat[i, j] = heat[i, j] / number[i, j]
    return heat


def published_map(heat: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Stretch to 0..255, and take the median of 251 px."""
    import cv2

    heat = heat - np.min(heat)
    return np.asarray(cv2.medianBlur(np.uint8(255 * (heat / np.max(heat))), 251))


def published_centres(probability: NDArray[np.float64]) -> list[list[int]]:
    """Smooth five times, keep the highest of 1000 px, and their middles in whole pixels."""
    import cv2
    from scipy import ndimage

    grey = np.asarray(probability * 255.0, dtype=np.uint8)
    for _ in range(5):
        grey = cv2.boxFilter(grey, ddepth=-1, ksize=(50, 50))
    highest = ndimage.maximum_filter(grey, size=1000)
    labels, count = ndimage.label(np.where(highest == grey, grey, 0) > 0, structure=np.ones((3, 3)))
    middles = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
    centres = sorted(([int(x), int(y)] for y, x in middles), key=lambda c: probability[c[1], c[0]], reverse=True)
    return [centre for centre in centres if probability[centre[1], centre[0]] >= 0.5]


def published_scores(probability: NDArray[np.float64], regions: Sequence[Any]) -> dict[str, float]:
    """Score a map, finding its centres twice, as published."""
    import cv2

    mask = np.zeros(probability.shape)
    cv2.fillPoly(mask, [np.array(region, np.int32) for region in regions], 1)
    inside, everywhere, area = np.sum(np.multiply(probability, mask)), np.sum(probability), np.sum(mask)
    rsu = 1 - np.exp(-0.707 * inside / (everywhere - inside + 1e-7) * (mask.size - area) / area)
    circles = []
    for region in regions:
        x, y = (int(np.mean(axis)) for axis in np.array(region, dtype=float).T)
        circles.append((x, y, int(1.5 * np.mean([np.linalg.norm(np.array(p) - [x, y]) for p in region]))))
    centres = published_centres(probability)
    shifts = []
    for x, y, r in circles:
        near = [d for d in (np.linalg.norm(np.array([x, y]) - c) for c in centres) if d <= r]
        shifts.append((np.mean(near) if near else r) / r)
    ras = (np.exp(3 * np.mean(shifts)) - 1) / (np.exp(3) - 1)
    centres, singles = published_centres(probability), []
    for x, y, r in circles:
        near = [c for c in centres if np.linalg.norm(np.array([x, y]) - c) <= r]
        if len(near) <= 1:
            singles.append(float(len(near)))
            continue
        spread = np.mean(np.linalg.norm(np.array(near) - np.average(near, axis=0), axis=1))
        singles.append(0.5 * (1 - spread / r) + np.exp(-0.5 * (len(near) + 2)))
    rda = np.mean(singles)
    scores = {"rsu": rsu, "rda": rda, "ras": ras, "rmi": 0.4 * rsu + 0.35 * (1 - ras) + 0.25 * rda}
    return {name: float(score) for name, score in scores.items()}


# The comparison -----------------------------------------------------------------------------------------------------


def made_up(shape: tuple[int, int], seed: int = 0) -> tuple[Any, Any, list[Any]]:
    """Return windows, similarities with two soft peaks and noise, and a region on each peak."""
    rng = np.random.default_rng(seed)
    at = windows(shape)
    middle = (at[:, ::2] + at[:, 1::2]) / 2
    peaks = np.array([[0.3, 0.25], [0.7, 0.75]]) * shape
    distance = np.linalg.norm(middle[:, None] - peaks, axis=2)
    similarities = 0.2 + 0.1 * np.exp(-((distance / 350) ** 2)).sum(axis=1) + 0.01 * rng.standard_normal(len(at))
    corners = np.array([[-200, -150], [210, -140], [190, 160], [-180, 150]])
    regions = [(corners + peak[::-1]).tolist() for peak in peaks]
    return at, similarities, regions


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(rounds: int = 5) -> dict[str, Any]:
    """Time both sides in turn on one query, and check that they agree."""
    at, similarities, regions = made_up(SHAPE)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        published_loop, heat = timed(lambda: published_mean(at, similarities, SHAPE))
        published_filter, published = timed(lambda heat=heat: published_map(heat))
        published_judge, theirs = timed(lambda published=published: published_scores(published / 255.0, regions))
        our_mean, mean = timed(lambda: mean_similarity(at, similarities, SHAPE))
        our_filter, ours = timed(lambda mean=mean: probability_map(mean, compat=True))
        our_judge, scores = timed(lambda ours=ours: localization_scores(ours, regions, compat=True))
        default, _ = timed(lambda mean=mean: probability_map(mean))
        for name, value in {
            "published map": published_loop + published_filter,
            "published division loop alone": published_loop,
            "published scores": published_judge,
            "map": our_mean + our_filter,
            "scores": our_judge,
            "map, not compat": our_mean + default,
        }.items():
            seconds.setdefault(name, []).append(value)
        difference = max(abs(theirs[name] - scores[name]) for name in theirs)
        if not np.array_equal(np.rint(255 * ours), published) or difference > 1e-9:
            raise SystemExit(f"the two sides disagree: {theirs} and {scores}")
    middle = {name: round(float(np.median(values)), 4) for name, values in seconds.items()}
    return {
        "image": "3,000 x 2,000 px",
        "windows": len(at),
        "seconds (median of rounds)": middle,
        "map: published / ours": round(middle["published map"] / middle["map"], 1),
        "map and scores: published / ours": round(
            (middle["published map"] + middle["published scores"]) / (middle["map"] + middle["scores"]), 1
        ),
        "maps equal": True,
        "largest difference of a mean similarity": float(np.abs(mean.pixels() - heat).max()),
        "largest difference of a score": difference,
    }


# Memory -------------------------------------------------------------------------------------------------------------


class MeanColour:
    """An encoder that costs nothing: the mean colour of an image, and three words."""

    name, dim, fingerprint = "mean-colour", 3, "0"

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        mean = np.array([image[::8, ::8].mean(axis=(0, 1)) for image in images]) - 127.5
        return (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
        return np.array([[word == text for word in ("red", "green", "blue")] for text in texts], dtype=np.float32)


def whole(side: int) -> dict[str, Any]:
    """Localise in a GeoTIFF of side x side px, files and scores included; return seconds and the process's peak."""
    import rasterio

    from chorograph.searching.large_image import open_large_image
    from chorograph.searching.output import write_heatmap, write_overlay, write_peaks

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tif"
        profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8", "tiled": True}
        place = {"crs": "EPSG:3857", "transform": rasterio.Affine(1, 0, 1000, 0, -1, 2000), "compress": "deflate"}
        across = np.arange(side) / side
        with rasterio.open(path, "w", **profile, **place) as dataset:
            for row in range(0, side, 256):
                down = np.arange(row, min(row + 256, side))[:, None] / side
                red = np.exp(-((down - 0.3) ** 2 + (across - 0.6) ** 2) / 0.01)
                pixels = np.stack([255 * red, 200 * (1 - red), np.full_like(red, 60)]).astype(np.uint8)
                dataset.write(pixels, window=((row, row + len(down)), (0, side)))
        base = _peak_bytes()
        start = time.perf_counter()
        with open_large_image(path) as image:
            at, vectors = encode_windows(MeanColour(), image)
            picture, shape, position = image.small(2048), image.shape, image.position
        similarity = mean_similarity(at, vectors @ MeanColour().encode_texts(["red"])[0], shape)
        probability = probability_map(similarity)
        peaks = find_peaks(probability, similarity, 0.75)
        write_heatmap(Path(folder), probability, position, {})
        write_overlay(Path(folder), picture, probability, peaks)
        write_peaks(Path(folder), peaks, position)
        localised, localised_peak = time.perf_counter() - start, _peak_bytes()
        square = np.array([[-0.1, -0.1], [0.1, -0.1], [0.1, 0.1], [-0.1, 0.1]]) * side + [0.6 * side, 0.3 * side]
        scores = localization_scores(probability, [square])
        del probability
        published = localization_scores(probability_map(similarity, compat=True), [square], compat=True)
    return {
        "side_px": side,
        "windows": len(at),
        "seconds, encoder of no cost included": round(localised, 1),
        "peak GiB before": round(base / 2**30, 3),
        "peak GiB of localize": round(localised_peak / 2**30, 3),
        "bytes a pixel": round((localised_peak - base) / side**2, 1),
        "peak GiB with scores of both arithmetics": round(_peak_bytes() / 2**30, 3),
        "rmi": round(scores["rmi"], 4),
        "rmi, published arithmetic": round(published["rmi"], 4),
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    if sys.argv[1:2] == ["--whole"]:
        print(json.dumps(whole(int(sys.argv[2]))))
        return
    sides = []
    for side in SIDES:
        done = subprocess.run([sys.executable, __file__, "--whole", str(side)], stdout=subprocess.PIPE, check=True)
        sides.append(json.loads(done.stdout))
        print(sides[-1])
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__},
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "one query": compare(),
        "memory": sides,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
