"""`pretrain` as a stage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.pretraining.config import PretrainConfig, is_shards


def pretrain(config: PretrainConfig, progress: Progress) -> Outcome:
    """Run `pretrain`: a checkpoint folder with its manifest.

    Under `torchrun` the first process keeps the manifest and tells the others whether there is anything to do.
    """
    if "WORLD_SIZE" not in os.environ:
        return _staged(config, lambda ledger: _work(config, progress, ledger))
    from chorograph.pretraining.loop.world import join_world
    from chorograph.pretraining.run import device_of

    with join_world(device_of(config.device)) as world:
        if not world.first:
            ledger = Ledger()
            if world.told(None):
                _work(config, progress, ledger)
            return Outcome({"stage": "pretrain", "facts": {"process": world.rank}}, skipped=False)

        def work(ledger: Ledger) -> None:
            world.told(True)
            _work(config, progress, ledger)

        outcome = _staged(config, work)
        if outcome.skipped:
            world.told(False)
        return outcome


def _staged(config: PretrainConfig, work: Callable[[Ledger], None]) -> Outcome:
    return run_stage(
        "pretrain", manifest=config.out / "manifest.json", config=plain(config), inputs=_inputs(config), work=work
    )


def _work(config: PretrainConfig, progress: Progress, ledger: Ledger) -> None:
    from chorograph.pretraining.run import pretrain as run

    result = run(config.area, config, ledger=ledger, progress=progress)
    ledger.outputs += [result.folder / name for name in ("model.safetensors", "config.json", "history.jsonl")]


def _inputs(config: PretrainConfig) -> list[Path]:
    from chorograph.area.folder import Area
    from chorograph.shards.pairs import expand_shards

    inputs = [] if config.init is None else [config.init]
    if is_shards(config.area):
        return inputs + expand_shards([config.area])
    area = Area.open(config.area)
    inputs += [area.table_path(name) for name in ("images", "captions", "regions")]
    if config.graph is not None:
        inputs += [area.table_path(name) for name in ("triples", "entities")]
        inputs.append(area.embeddings_path(config.graph).with_suffix(".safetensors"))
    if (split := area.path / "splits" / f"{config.holdout}.parquet").is_file():
        inputs.append(split)
    return inputs
