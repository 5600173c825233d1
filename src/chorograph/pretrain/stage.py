"""`pretrain` as a stage."""

from __future__ import annotations

from chorograph.area.config import plain
from chorograph.area.stage import Ledger, Outcome, Progress, run_stage
from chorograph.pretrain.config import PretrainConfig


def pretrain(config: PretrainConfig, progress: Progress) -> Outcome:
    """Run `pretrain`: a checkpoint folder with its manifest."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)

    def work(ledger: Ledger) -> None:
        from chorograph.pretrain.run import pretrain as run

        result = run(area, config, ledger=ledger, progress=progress)
        ledger.facts["last epoch"] = result.last
        ledger.outputs += [result.folder / name for name in ("model.safetensors", "config.json", "history.jsonl")]

    inputs = [area.table_path(name) for name in ("images", "captions", "regions")]
    if config.init is not None:
        inputs.append(config.init)
    if (split := area.path / "splits" / f"{config.holdout}.parquet").is_file():
        inputs.append(split)
    return run_stage("pretrain", manifest=config.out / "manifest.json", config=plain(config), inputs=inputs, work=work)
