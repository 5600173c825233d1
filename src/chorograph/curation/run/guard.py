"""A step that fails at a row costs that row, not the run."""

from __future__ import annotations

from collections.abc import Sequence

from chorograph.curation.rows import Context, Drop, Row, RowStep
from chorograph.ground.errors import ChorographError

#: How the reason of a row begins that a step cannot take.
_FAILED = "the step fails at it"


def apply_guarded(step: RowStep, rows: Sequence[Row], context: Context) -> list[Drop | None]:
    """Apply a step; where it fails, row by row, so that a row at which it fails alone is dropped and not the run.

    Raised is what the user can mend (an error of ours, a full disk), and what every row alone fails with too: then the
    step is at fault.
    """
    try:
        return step.apply(rows, context)
    except (ChorographError, OSError):
        raise
    except Exception as error:
        if len(rows) == 1:
            raise
        failed = error
    drops: list[Drop | None] = []
    for row in rows:
        try:
            drops += step.apply([row], context)
        except (ChorographError, OSError):
            raise
        except Exception as error:
            drops.append(Drop(f"{_FAILED} ({type(error).__name__})"))
    if all(drop is not None and drop.reason.startswith(_FAILED) for drop in drops):
        raise failed
    return drops
