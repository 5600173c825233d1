"""`caption` as a stage."""

from __future__ import annotations

import pandas as pd

from chorograph.captioning.config import CaptionConfig
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage


def caption(config: CaptionConfig, progress: Progress) -> Outcome:
    """Run `caption`: template captions replace earlier template captions; those by others stay."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)

    def work(ledger: Ledger) -> None:
        from chorograph.captioning.template import template_captions

        written = template_captions(area, config.per_image, config.seed, ledger)
        kept = area.captions[area.captions["origin"] != "template"]
        ledger.count("captions", len(written))
        ledger.count("captions by others, kept", len(kept))
        ledger.outputs.append(area.write("captions", pd.concat([kept, written], ignore_index=True)))

    inputs = [area.table_path(name) for name in ("images", "poi_counts", "triples", "entities")]
    manifest = area.path / "captions.manifest.json"
    return run_stage("caption", manifest=manifest, config=plain(config), inputs=inputs, work=work)
