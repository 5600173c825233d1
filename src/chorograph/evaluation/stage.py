"""`evaluate zero-shot`, `retrieval`, `probe` and `suite` as stages: scores.json and its manifest in one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chorograph.area.named_files import named_file
from chorograph.evaluation.config import ProbeConfig, RetrievalConfig, SuiteConfig, ZeroShotConfig
from chorograph.ground.files import write_json
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage


def zero_shot(config: ZeroShotConfig, progress: Progress) -> Outcome:
    """Run `evaluate zero-shot`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import account, table
        from chorograph.evaluation.examples.encoding import encode_examples
        from chorograph.evaluation.examples.layouts import of_role, read_classified
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.prompts import load_prompts
        from chorograph.evaluation.suites.zero_shot import evaluate_zero_shot
        from chorograph.models.encoders.registry import load_image_text_encoder

        templates = load_prompts(config.prompts)
        examples = read_classified(config.data, ledger, split=config.split)
        classes = sorted({str(example.kind) for example in examples})
        chosen = of_role(examples, config.role)
        encoder = load_image_text_encoder(config.model, config.device)
        encoded = encode_examples(encoder, chosen, ledger, skip_bad=config.skip_bad, progress=progress)
        rows = evaluate_zero_shot(encoder, encoded, classes, templates, seed=config.seed, progress=progress)
        seen = read_seen(config.seen, config.model, ledger, progress)
        facts = {"part": _part(config), "classes": classes, "prompts": config.prompts, "templates": list(templates)}
        result = account("zero-shot", encoder, encoded, config.data, rows, ledger, seen=seen, **facts)
        _finish(config.out, result, table(rows), ledger)

    prompts = [path for path in (Path(config.prompts),) if path.is_file()]
    return _stage("evaluate zero-shot", config, work, prompts)


def retrieval(config: RetrievalConfig, progress: Progress) -> Outcome:
    """Run `evaluate retrieval`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import account, table
        from chorograph.evaluation.examples.encoding import encode_examples
        from chorograph.evaluation.examples.layouts import of_role, read_captioned
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.suites.retrieval import evaluate_retrieval
        from chorograph.models.encoders.registry import load_image_text_encoder

        examples = of_role(read_captioned(config.data, ledger, split=config.split), config.role)
        encoder = load_image_text_encoder(config.model, config.device)
        encoded = encode_examples(encoder, examples, ledger, skip_bad=config.skip_bad, progress=progress)
        shared = config.duplicates == "shared"
        rows = evaluate_retrieval(
            encoder, encoded, ledger, shared=shared, decoder=config.decoder, seed=config.seed, progress=progress
        )
        seen = read_seen(config.seen, config.model, ledger, progress)
        facts = {"part": _part(config), "duplicates": config.duplicates}
        result = account("retrieval", encoder, encoded, config.data, rows, ledger, seen=seen, **facts)
        _finish(config.out, result, table(rows), ledger)

    return _stage("evaluate retrieval", config, work)


def probe(config: ProbeConfig, progress: Progress) -> Outcome:
    """Run `evaluate probe`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import account, table
        from chorograph.evaluation.examples.encoding import encode_examples, fit_encoder
        from chorograph.evaluation.examples.layouts import read_classified
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.suites.probe import evaluate_probe, part
        from chorograph.models.encoders.registry import load_encoder

        examples = read_classified(config.data, ledger, split=config.split)
        classes = sorted({str(example.kind) for example in examples})
        train, test, how = part(examples, config.role, config.test_share, config.seed)
        encoder = load_encoder(config.model, config.device)
        fit_encoder(encoder, [examples[row] for row in train], config.seed)
        trained, tested = (
            encode_examples(
                encoder, [examples[row] for row in rows], ledger, skip_bad=config.skip_bad, progress=progress
            )
            for rows in (train, test)
        )
        rows = evaluate_probe(trained, tested, classes, ledger, seed=config.seed)
        seen = read_seen(config.seen, config.model, ledger, progress)
        facts = {"part": how, "classes": classes, "inverse_penalty": ledger.facts["inverse penalty"]}
        result = account("probe", encoder, tested, config.data, rows, ledger, seen=seen, **facts)
        _finish(config.out, result, table(rows), ledger)

    return _stage("evaluate probe", config, work)


def suite(config: SuiteConfig, progress: Progress) -> Outcome:
    """Run `evaluate suite`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.published import find_published, published, wrong_architecture
        from chorograph.evaluation.suites.suite import run_suite
        from chorograph.ground.errors import InputError
        from chorograph.models.encoders.registry import load_image_text_encoder

        against = find_published(config.against, config.model)
        if warning := wrong_architecture(against, config.model):
            ledger.warnings.append(warning)
        encoder = load_image_text_encoder(config.model, config.device)
        seen = read_seen(config.seen, config.model, ledger, progress)
        done = run_suite(
            encoder,
            config.data,
            against,
            ledger,
            seen=seen,
            skip_bad=config.skip_bad,
            seed=config.seed,
            progress=progress,
        )
        if not done.results:
            raise InputError(
                f"{config.data} holds none of the data sets of the suite; docs/weights.md shows the layout"
            )
        ledger.facts["absent"] = ", ".join(done.absent) or "none"
        columns = ["data set", "score", "measured", "95 % interval", against.name, "difference"]
        shown = {"columns": columns, "rows": done.table}
        result = {
            "task": f"suite {config.suite}",
            "model": encoder.name,
            "against": {"name": against.name, "source": against.source},
            "absent": list(done.absent),
            "table": shown,
            "published": [
                {"name": row.name, "source": row.source, "scores": {" ".join(key): v for key, v in row.scores.items()}}
                for row in published()
            ],
            "results": done.results,
        }
        _finish(config.out, result, shown, ledger)

    return _stage(f"evaluate suite {config.suite}", config, work)


def _part(config: Any) -> str:
    return f"role {config.role}" + (f" of split {config.split}" if config.split else ", where the data is parted")


def _finish(out: Path, result: dict[str, Any], table: dict[str, Any], ledger: Ledger) -> None:
    write_json(out / "scores.json", result)
    ledger.outputs.append(out / "scores.json")
    ledger.facts["table"] = table


def _stage(name: str, config: Any, work: Callable[[Ledger], None], more: list[Path] | None = None) -> Outcome:
    """Run a stage whose inputs are the data, what training saw, and the model's files."""
    inputs = [*_data_inputs(config.data, getattr(config, "split", None)), *config.seen, *(more or [])]
    for part in config.model.split("+"):
        inputs += [path for path in (Path(part), Path(part.partition("/")[2])) if part and path.is_file()]
        inputs += [path for path in (Path(part),) if (path / "config.json").is_file()]
    return run_stage(name, manifest=config.out / "manifest.json", config=plain(config), inputs=inputs, work=work)


def _data_inputs(data: Path, split: str | None) -> list[Path]:
    """Return the tables of an area, which name its images by hash; other data as it is."""
    if not (data / "area.toml").is_file():
        return [data]
    tables = [data / f"{name}.parquet" for name in ("images", "captions", "triples")]
    return tables + ([named_file(data / "splits", split)] if split else [])
