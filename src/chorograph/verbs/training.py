"""What the verbs that train have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage


def train_stage(
    name: str,
    settings: Any,
    manifest: Path,
    inputs: list[Path],
    train: Callable[[Ledger, Progress], list[Path]],
    progress: Progress,
    *,
    objective: str | None = None,
) -> Outcome:
    """Run `train`, which returns the files it wrote, as a stage; under `torchrun` in every process.

    The first process keeps the manifest and tells the others whether there is anything to do. `objective` is given
    where `name` is an old name: that of `pretrain --objective`, which is told.
    """

    def work(ledger: Ledger) -> None:
        if objective is not None:
            now = f"`chorograph pretrain AREA --objective {objective}`"
            ledger.warnings.append(f"`chorograph {name}` is an old name, which goes with the next release: {now}")
        ledger.outputs += train(ledger, progress)

    def staged(work: Callable[[Ledger], None]) -> Outcome:
        return run_stage(name, manifest=manifest, config=plain(settings), inputs=inputs, work=work)

    if "WORLD_SIZE" not in os.environ:
        return staged(work)
    from chorograph.models.devices import device_of
    from chorograph.pretraining.loop.world import join_world

    with join_world(device_of(settings.device)) as world:
        if not world.first:
            if world.told(None):
                work(Ledger())
            return Outcome({"stage": name, "facts": {"process": world.rank}}, skipped=False)

        def first(ledger: Ledger) -> None:
            world.told(True)
            work(ledger)

        outcome = staged(first)
        if outcome.skipped:
            world.told(False)
        return outcome
