"""`localize` as a stage."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.searching.config import LocalizeConfig

#: The overlay's longer side is at most this many pixels.
_OVERLAY_PX = 2048


def localize(config: LocalizeConfig, progress: Progress) -> Outcome:
    """Run `localize`: heat map, overlay, peaks and manifest into `config.out`."""
    _check(config)

    def work(ledger: Ledger) -> None:
        from chorograph.models.encoders.registry import load_image_text_encoder
        from chorograph.searching.heatmap import mean_similarity
        from chorograph.searching.large_image import open_large_image
        from chorograph.searching.localize import encode_windows, find_peaks, probability_map
        from chorograph.searching.output import write_heatmap, write_overlay, write_peaks
        from chorograph.searching.windows import check_steps, windows

        check_steps(config.steps)
        encoder = load_image_text_encoder(config.model, config.device)
        with open_large_image(config.image) as image:
            at, vectors = encode_windows(encoder, image, steps=config.steps, compat=config.compat, progress=progress)
            picture, shape, position = image.small(_OVERLAY_PX), image.shape, image.position
        similarities = vectors @ encoder.encode_texts([config.text])[0]
        similarity = mean_similarity(at, similarities, shape)
        probability = probability_map(similarity, steps=config.steps, compat=config.compat)
        # A part much smaller than the smallest window is a trace of the windows' edges, not a thing seen.
        peaks = find_peaks(probability, similarity, config.level, smallest_px=min(config.steps) ** 2 // 16)
        ledger.count("windows", len(at))
        ledger.drop("window without data", len(windows(shape, config.steps)) - len(at))
        ledger.count("peaks", len(peaks))
        ledger.facts["height, width"] = list(shape)
        ledger.facts["similarity of windows"] = [
            round(float(value), 4) for value in (similarities.min(), similarities.max())
        ]
        ledger.facts["model fingerprint"] = encoder.fingerprint
        if not peaks:
            ledger.warnings.append("the map is flat: no place fits the sentence better than another")
        if min(shape) < min(config.steps):
            ledger.warnings.append(f"the image is smaller than the smallest window of {min(config.steps)} px")
        if position is None and config.image.suffix.lower() in (".tif", ".tiff"):
            ledger.warnings.append("the TIFF says no position: peaks are in pixels")
        tags = {"sentence": config.text, "model": config.model, "compat": str(config.compat)}
        ledger.outputs += [
            write_heatmap(config.out, probability, position, tags),
            write_overlay(config.out, picture, probability, peaks),
            write_peaks(config.out, peaks, position),
        ]

    inputs = [config.image, *([Path(config.model)] if Path(config.model).is_dir() else [])]
    asked = {**plain(config), "image": str(config.image.resolve()), "out": str(config.out.resolve())}
    return run_stage("localize", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work)


def _check(config: LocalizeConfig) -> None:
    """Raise `InputError` for a setting that no image could satisfy."""
    if not config.text.strip():
        raise InputError("say what to look for, in a sentence; the text is empty")
    if not 0 < config.level <= 1:
        raise InputError(f"level is above 0 and at most 1, not {config.level}")
