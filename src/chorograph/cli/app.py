"""Commands made from the table of verbs: an option for each field of a verb's configuration."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import MISSING
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from chorograph.cli.listing import KINDS
from chorograph.cli.show import Bar, show_error, show_json, show_outcome, show_recipe
from chorograph.ground.errors import ChorographError, SettingError, UnknownNameError
from chorograph.ground.settings import configure, describe
from chorograph.ground.stage import Outcome
from chorograph.recipe.config import DemoConfig, RunConfig
from chorograph.verbs.table import VERBS
from chorograph.verbs.verb import Verb

app = typer.Typer(
    name="chorograph",
    help="Profile urban regions from satellite and street imagery, text and an urban knowledge graph.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain text: quick, and brackets in a help text are no markup.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_GROUPS = {
    name: typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)
    for name, text in (
        ("area", "Begin, fill, build, import, check and describe areas."),
        ("area add", "Add to an area what it lacks, a kind of data at a time."),
        ("graph", "Build, check, describe and embed the knowledge graph of an area."),
        ("captions", "Refine captions that are there, bring them back, rank them, make them from metadata."),
        ("ratings", "What people said of captions."),
        ("evaluate", "Judge a model: zero-shot, retrieval, probe, localisation, captions, published suites."),
    )
}


class _Command(TyperCommand):
    """A command that says where an argument stands to who gives it as an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse `--out FOLDER` where `FOLDER` alone is wanted."""
        places = [str(one.name).rstrip("_") for one in self.params if one.param_type_name == "argument"]
        for word in args:
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag[2:].replace("-", "_") in places:
                wanted = " ".join(place.upper() for place in places)
                ctx.fail(f"{flag} is no option here; give its value alone: {ctx.command_path} {wanted}")
        return super().parse_args(ctx, args)


class _OrRun(TyperGroup):
    """A group that is also a verb: what does not begin with a command's name goes to its command `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` in front of a recipe's name or an option."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["run", *args])


_GROUPS["curate"] = typer.Typer(
    help="Filter web-scale image-text pairs to a clean corpus.", cls=_OrRun, rich_markup_mode=None
)
for _name, _group in _GROUPS.items():
    _above, _, _own = _name.rpartition(" ")
    _GROUPS.get(_above, app).add_typer(_group, name=_own)

_JSON = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]


def _command(config: type[Any], positional: tuple[str, ...], body: Callable[[Any, bool], None]) -> Callable[..., None]:
    """Return a function whose signature typer reads: the fields of `config`, then `--json`."""

    def command(**values: Any) -> None:
        as_json = values.pop("json")
        with _guard(as_json):
            given = {name: value for name, value in values.items() if value is not None}
            body(configure(config, given, where="options"), as_json)

    hints = typing.get_type_hints(config)
    parameters = []
    # Positional arguments must come first in a signature.
    fields = {field.name: field for field in dataclasses.fields(config)}
    for name in (*positional, *(name for name in fields if name not in positional)):
        field, hint = fields[name], hints[name]
        text = describe(field)
        flag, option = f"--{name.rstrip('_').replace('_', '-')}", typer.Option
        said: Any
        if name in positional:
            said = typer.Argument(help=text, show_default=False)
        elif hint is bool and field.default is True:
            said = option(f"{flag}/--no-{flag.removeprefix('--')}", help=text)
        else:
            said = option(flag, help=text)
        annotation: Any = Annotated[hint, said]
        default: Any = inspect.Parameter.empty
        if field.default is not MISSING:
            default = field.default
        elif field.default_factory is not MISSING:
            default = field.default_factory()
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    parameters.append(inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_JSON))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


class _guard:  # noqa: N801  # reads as a statement: `with _guard(...)`
    """Turn what a user can mend into one message and exit code 1 (2 for wrong settings); let bugs show themselves."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Report an error and choose the exit code."""
        if error is None or isinstance(error, typer.Exit):
            return
        if isinstance(error, KeyboardInterrupt):
            message = "interrupted; nothing half-written was left, run the same command to go on"
        elif isinstance(error, ChorographError):
            message = str(error)
        elif isinstance(error, MemoryError):
            message = f"memory ran out{f' ({error})' if str(error) else ''}; nothing half-written was left"
        elif isinstance(error, OSError):
            message = f"{error.filename or 'a file'}: {error.strerror or error}; nothing half-written was left"
        else:
            return
        show_error(message, type(error).__name__, self.as_json)
        wrong_use = isinstance(error, UnknownNameError | SettingError) or message.startswith("options: ")
        raise typer.Exit(2 if wrong_use else 1) from error


def _add(verb: Verb, group: typer.Typer, name: str) -> None:
    """Register a verb. Its configuration is imported now (light), its stage only when it runs."""

    def body(config: Any, as_json: bool) -> None:
        with Bar() as progress:
            outcome = verb(config, progress)
        show_outcome(verb.name, outcome, as_json)

    # The bell is click's mark of a paragraph that is not wrapped.
    example = f"\b\nExample:\n  {verb.example}" if verb.example else None
    group.command(name, cls=_Command, help=verb.summary, epilog=example)(_command(verb.settings, verb.positional, body))


for _verb in VERBS.values():
    _above, _, _own = _verb.name.rpartition(" ")
    _add(_verb, _GROUPS.get(_verb.name, _GROUPS.get(_above, app)), "run" if _verb.name in _GROUPS else _own)


def _run(config: RunConfig, as_json: bool) -> None:
    from chorograph.ground.recipe_file import find_recipe, read_arguments
    from chorograph.recipe.run import read_recipe, run_recipe

    recipe = read_recipe(find_recipe(config.recipe), read_arguments(config.set), config.out)
    with Bar() as progress:

        def announce(name: str, outcome: Outcome) -> None:
            progress.clear()
            if not as_json:
                show_outcome(name, outcome, False)

        result = run_recipe(recipe, config.out, progress, announce)
    show_recipe(recipe.title, result, as_json)


app.command("run", help="Run a recipe: stages in order, from a YAML file.")(_command(RunConfig, ("recipe",), _run))
app.command("demo", help="Draw a synthetic city, pretrain on it, predict an indicator, make the report.")(
    _command(DemoConfig, (), lambda config, as_json: _run(RunConfig("synthetic", config.out), as_json))
)


@app.command("list", help=f"List what can be called by name: {', '.join(KINDS)}.")
def list_(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS))],
    json: _JSON = False,
) -> None:
    """List the names of one kind, with a line on each."""
    with _guard(json):
        from chorograph.cli.listing import listing

        rows = listing(kind)
        if json:
            show_json({"kind": kind, "entries": rows})
        else:
            for row in rows:
                typer.echo(f"{row['name']:28} {row['summary']}" + (f" [{row['paper']}]" if row.get("paper") else ""))


@app.command("reference", help="Print the settings of every verb as Markdown: what docs/reference/verbs.md holds.")
def reference_() -> None:
    """Print the reference."""
    from chorograph.cli.listing import reference

    typer.echo(reference(), nl=False)


@app.command("doctor", help="Say what this installation can do: versions, extras, devices, browser.")
def doctor(json: _JSON = False) -> None:
    """Print versions and what is missing."""
    from chorograph.cli.listing import diagnosis

    facts = diagnosis()
    if json:
        show_json(facts)
    else:
        for name, value in facts.items():
            typer.echo(f"{name:22} {value}")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("chorograph"))
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Profile urban regions from satellite and street imagery, text and an urban knowledge graph."""
    # Where a pipe is closed early (`| head`), Python would print a traceback at exit.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
