"""What a verb is: its settings, its call, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chorograph.ground.extras import naming_the_extra
from chorograph.ground.stage import Outcome, Progress

Run = Callable[[Any, Progress], Outcome]


@dataclass(frozen=True)
class Verb:
    """A verb of the command line and of recipes.

    `settings` is the frozen dataclass of what it can be asked, `run` takes one of them; `positional` names the settings
    that stand without their name on the command line. Importing a verb is light: `run` imports what it needs.
    """

    name: str
    summary: str
    settings: type[Any]
    run: Run
    positional: tuple[str, ...] = ()
    example: str = ""

    def __call__(self, settings: Any, progress: Progress) -> Outcome:
        """Run the verb; `MissingExtraError` names the extra where a module of one is not installed."""
        with naming_the_extra():
            return self.run(settings, progress)
