"""`embed` as a stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chorograph.embedding.config import EmbedConfig
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage


def embed(config: EmbedConfig, progress: Progress) -> Outcome:
    """Run `embed`: the manifest lies beside the vectors, as `SLUG.manifest.json`."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import BF16, resolve

    area = Area.open(config.area)
    name = resolve(config.model)
    captions = config.of == "captions"

    def work(ledger: Ledger) -> None:
        from chorograph.embedding.run import embed_images
        from chorograph.embedding.texts import embed_captions

        run = embed_captions if captions else embed_images
        run(area, name, ledger, view=config.view, device=config.device, seed=config.seed, progress=progress)

    folders = [Path(part.removesuffix(BF16)) for part in name.split("+")]
    inputs = [area.table_path("images"), *(path for path in folders if path.is_dir())]
    if captions:
        inputs.append(area.table_path("captions"))
    street = not captions and config.view == "street"
    stored = f"text:{name}" if captions else f"street:{name}" if street else name
    manifest = area.embeddings_path(stored).with_suffix(".manifest.json")
    return run_stage("embed", manifest=manifest, config=plain(replace(config, model=name)), inputs=inputs, work=work)
