"""docs/how-to/curate.md says what the steps and their settings are: every one of them, with its default."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chorograph.curation.run.plan import ROW_STEPS, TABLE_STEPS, Columns, read_plan

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "curate.md").read_text()


@pytest.mark.parametrize("step", [*ROW_STEPS.values(), *TABLE_STEPS.values()], ids=lambda step: str(step.name))
def test_every_setting_stands_in_its_row(step: Any) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{step.name}` |"))
    said = dict(re.findall(r"`(\w+)`(?: \(([^):]*))?", row.split("|")[3]))
    assert list(said) == [field.name for field in dataclasses.fields(step)]
    for field in dataclasses.fields(step):
        if isinstance(field.default, int | float):
            assert said[field.name].replace(",", "") == f"{field.default:g}" or said[field.name] in (
                f"{field.default:,}", str(field.default).lower(),
            ), field.name  # fmt: skip


def test_the_example_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "example.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.S)[0])
    plan = read_plan(tmp_path / "example.yaml")
    assert plan.output.name == "aerial" and len(plan.phases) == 2
    assert set(yaml.safe_load((tmp_path / "example.yaml").read_text())["columns"]) <= {
        field.name for field in dataclasses.fields(Columns)
    }
