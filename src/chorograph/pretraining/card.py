"""The model card of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chorograph.models.coca.towers import is_coca
from chorograph.models.encoders.open_clip import ImageTextModel
from chorograph.pretraining.feeds.read import Data


def card(data: Data, loaded: ImageTextModel, facts: dict[str, Any], history: Sequence[dict[str, Any]]) -> str:
    """Return the model card: what it is, what it saw, how well it does, what it is not for."""
    last = history[-1]
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    kind = "CoCa" if is_coca(loaded.model) else "CLIP"
    scores = "\n".join(
        f"| {name} | {value:.4f} |"
        for name, value in last.items()
        if name.startswith(("train_", "val_", "image_to", "text_to", "mean_")) and isinstance(value, float)
    )
    made_up = "The area is **synthetic**: nothing here says anything about a real place.\n\n" if data.synthetic else ""
    settings = facts["settings"]
    beside = f" beside the knowledge graph ({settings['graph']})" if settings["graph"] else ""
    shuffled = "**A control**: captions were shuffled over the images.\n\n" if settings["shuffle_captions"] else ""
    return f"""# {loaded.architecture} on {data.title}

A {kind} ({loaded.architecture}, {parameters:,} parameters), objective {facts["objective"]}{beside},
trained by chorograph {facts["versions"]["chorograph"]} on {facts["counts"]["images trained on"]:,} images with
{facts["counts"]["captions trained on"]:,} captions for {settings["epochs"]} epochs
(learning rate {settings["lr"]:g}, batch {settings["batch_size"]}, seed {facts["seed"]}).

{shuffled}{made_up}## Data

{data.licences}

Held out: {facts["held_out"]}. Everything else of the area was seen, images and captions of regions whose indicators are
predicted later among it; no indicator was.

## Last epoch

| | |
|---|---|
{scores}

Losses are means over samples; the contrastive one depends on the batch size. Recalls are over
{facts["counts"]["images held out"]:,} held-out images and all their captions.

## Use

`chorograph embed AREA --model THIS_FOLDER`. The vector of an image is its pooled contrastive feature, of unit length.

Not for other sensors, resolutions or places than those it saw, and not for judging single households or people.
"""
