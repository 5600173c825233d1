"""`predict` as a stage."""

from __future__ import annotations

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.prediction.config import PredictConfig


def predict(config: PredictConfig, progress: Progress) -> Outcome:
    """Run `predict` into the run folder `config.out`."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import resolve

    if config.out is None:
        raise InputError("say where the predictions go: --out FOLDER")
    out = config.out
    area = Area.open(config.area)
    vectors = None if config.embeddings == "none" else area.embeddings_path(resolve(config.embeddings))
    said = None if config.texts is None else area.embeddings_path(f"text:{resolve(config.texts)}")

    def work(ledger: Ledger) -> None:
        from chorograph.area.embeddings import Embeddings
        from chorograph.prediction.run import make_split, run_predict

        embeddings = Embeddings.read(vectors) if vectors is not None else None
        result = run_predict(area, embeddings, config, make_split(config), ledger, progress)
        ledger.outputs += result.write(out)
        ledger.facts["rows"] = {row["name"]: row["fitted"]["r2"][0] for row in result.scores["rows"]}
        if config.save is not None:
            ledger.outputs.append(result.save(config.save))

    tables = ("regions", "images", "indicators", "poi_counts", "triples", "entities")
    inputs = [area.table_path(name) for name in tables]
    inputs += [path for path in (vectors, said) if path is not None]
    named = [name.strip() for name in config.modalities.split(",")]
    inputs += [area.embeddings_path(name.removeprefix("graph:")) for name in named if name.startswith("graph:")]
    if "street" in named and vectors is not None:
        inputs.append(area.embeddings_path(f"street:{resolve(config.embeddings)}"))
    if config.split.startswith("given:"):
        inputs.append(area.path / "splits" / f"{config.split.removeprefix('given:')}.parquet")
    asked = {**plain(config), "area": str(area.path.resolve()), "out": str(out.resolve())}
    return run_stage("predict", manifest=out / "manifest.json", config=asked, inputs=inputs, work=work)
