"""The sentences of the report: how good it is, whether it beats the baselines, how it was validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chorograph.prediction.judging.scores import Scores
from chorograph.reporting.numbers import NBSP, Quantity, percent, plain
from chorograph.reporting.run import Run, short_unit


@dataclass(frozen=True)
class Verdict:
    """Whether the model beats the best baseline, in a word for the colour and in a sentence."""

    tone: Literal["good", "unclear", "bad"]
    text: str


def indicator_title(scores: Scores) -> str:
    """Return the title that the area gives the indicator, or one from its name and what it was divided by.

    `sale_price_median_usd` in USD becomes `Sale price median`.
    """
    if scores.title:
        return scores.title
    words = scores.indicator.replace("_", " ").split()
    if len(words) > 1 and words[-1].lower() == scores.unit.lower() and len(words[-2]) > 1:
        words.pop()
    text = " ".join(words) or scores.indicator
    title = text[0].upper() + text[1:]
    # The unit of a share names what it is a share of.
    return f"{title} per {scores.per.replace('_', ' ')}" if scores.per and short_unit(scores) else title


def headline(scores: Scores, quantity: Quantity) -> str:
    """Say in one sentence how good the predictions are."""
    model = scores.model
    r2, own = model.fitted["r2"], model.own["r2"]
    seen = "regions it has not seen" + (", although it has seen their neighbours" if scores.leaky else "")
    parts = []
    if r2 is None:
        parts.append(f"The variation explained in {seen} could not be computed")
    elif r2.value <= 0:
        parts.append(f"The model explains none of the variation in {seen} (R² {plain(r2.value, 2)})")
    else:
        scale = ""
        if scores.log:
            also = f"; {percent(max(own.value, 0.0))} in {scores.unit or 'its own unit'} itself" if own else ""
            scale = f" (on the logarithmic scale it was fitted on{also})"
        parts.append(f"The model explains {percent(r2.value)} of the variation in {seen}{scale}")
    if mae := model.own["mae"]:
        parts.append(f"the typical error is {quantity.text(mae.value)} (mean absolute error)")
    if model.coverage:
        parts.append(
            f"the {percent(scores.level)} intervals contained {percent(model.coverage.value)} of the held-out truths"
        )
    return "; ".join(parts) + "."


def verdict(scores: Scores, quantity: Quantity) -> Verdict:
    """Compare the model's R2 with the best baseline's, plainly."""
    model, best = scores.model, scores.best_baseline
    r2 = model.fitted["r2"]
    if best is None or r2 is None:
        return Verdict("unclear", "There is no baseline to compare with: a score alone says little.")
    rival = best.r2
    against = f"R² {plain(r2.value, 2)} against {plain(rival, 2)} for {best.name}"
    if r2.value <= rival:
        return Verdict(
            "bad", f"Does not beat the best baseline: {against}. Use that baseline, or read the maps with this in mind."
        )
    within = r2.bounded and r2.lower <= rival
    if within:
        text = (
            f"Ahead of the best baseline, but not by more than chance could give: {against}, which lies inside the "
            f"model's own 95{NBSP}% interval."
        )
    else:
        where = f", which lies below the model's 95{NBSP}% interval" if r2.bounded else ""
        text = f"Beats the best baseline: {against}{where}."
    mae, rival_mae = model.own["mae"], best.own["mae"]
    if mae and rival_mae and mae.value > rival_mae.value:
        text += (
            f" By mean absolute error the baseline is ahead ({quantity.text(rival_mae.value)} against "
            f"{quantity.text(mae.value)})."
        )
    if (ceiling := scores.attainable) and (top := ceiling.fitted["r2"]):
        text += f" The best attainable R² here is {plain(top.value, 2)}: the rest of the truth is noise."
    return Verdict("unclear" if within else "good", text)


def split_text(split: Mapping[str, Any]) -> str:
    """Say how regions were held out."""
    name = str(split.get("name", "unknown"))
    folds = split.get("folds")
    fold_text = f" {folds} folds take turns: each is predicted by a model fitted on the others." if folds else ""
    if name == "spatial_block":
        text = "Regions were held out in whole square blocks of the map"
        if block := split.get("block_m"):
            text += f", {distance(float(block))} a side"
        text += ", so that a region is not predicted from the region next door."
        buffer = float(split.get("buffer_m") or 0)
        text += (
            f" Regions nearer than {distance(buffer)} to a held-out one were kept out of training too."
            if buffer
            else " No buffer was kept: regions at a block's edge still have neighbours in training."
        )
        return text + fold_text
    if name == "leave_group_out":
        return "Whole groups of regions (such as cities) were held out in turn: predictions are for unseen groups." + (
            fold_text
        )
    if name.startswith("given"):
        return f"A split given with the data was used ({name.removeprefix('given:')}); its test regions are scored."
    if name == "random":
        return (
            "Regions were held out at random. Neighbouring regions resemble each other, so a model can score well by "
            "remembering the region next door: these scores are too good for places without labels." + fold_text
        )
    return f"Split: {name}." + fold_text


def interval_text(run: Run) -> str:
    """Say what the intervals promise and what they kept."""
    scores = run.scores
    text = (
        f"Each interval is meant to contain the truth in {percent(scores.level)} of regions like those held out. Its "
        "width comes from errors on held-out regions (conformal prediction), not from the model's own belief."
    )
    coverage = scores.model.coverage
    if coverage is None:
        return text + " How often they did was not measured."
    text += f" Measured on held-out regions they contained {percent(coverage.value, 1)}"
    if coverage.bounded:
        text += f" (95{NBSP}% block-bootstrap interval {percent(coverage.lower)} to {percent(coverage.upper)})"
        if coverage.upper < scores.level:
            text += ": too few, so read them as too narrow"
        elif coverage.lower > scores.level:
            text += ": more than promised, so they are wider than needed"
    return text + (
        ". The promise is for regions on the whole, not for each one, and it weakens for places unlike the labelled "
        "ones."
    )


def distance(metres: float) -> str:
    """Write a length in metres or kilometres."""
    if metres >= 1000:
        return f"{plain(metres / 1000, 1).removesuffix('.0')}{NBSP}km"
    return f"{plain(metres, 0)}{NBSP}m"
