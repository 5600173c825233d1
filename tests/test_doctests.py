"""The library explains itself: every public name has a docstring, and the examples in them run."""

from __future__ import annotations

import doctest
import inspect
from types import ModuleType

import pytest

import chorograph
import chorograph.api
import chorograph.area.embeddings
import chorograph.area.folder

MODULES = (chorograph, chorograph.api, chorograph.area.embeddings, chorograph.area.folder)
EXAMPLES = [
    (module, test)
    for module in MODULES
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__)
    if test.examples
]
#: Names that need no example: a line says what an error or a way to hold regions out is.
NEEDS_A_LINE = [
    name
    for name in dir(chorograph)
    if inspect.isclass(named := getattr(chorograph, name)) and (issubclass(named, Exception) or hasattr(named, "folds"))
]


@pytest.mark.parametrize(("module", "test"), EXAMPLES, ids=[test.name for _, test in EXAMPLES])
def test_the_examples_of_docstrings_run(module: ModuleType, test: doctest.DocTest) -> None:
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test)
    assert tried and not failed


@pytest.mark.parametrize("name", sorted(set(dir(chorograph)) - {"__version__"}))
def test_every_public_name_explains_itself(name: str) -> None:
    text = inspect.getdoc(getattr(chorograph, name)) or ""
    assert text.splitlines()[:1] and text.splitlines()[0].endswith((".", ":", ";")), f"{name} needs a first line"
    if name not in NEEDS_A_LINE:
        assert ">>> " in text, f"{name} needs an example"


@pytest.mark.parametrize("name", ["embed", "predict", "pretrain", "report", "synthetic_city"])
def test_functions_name_their_arguments_results_and_errors(name: str) -> None:
    function = getattr(chorograph, name)
    text = inspect.getdoc(function) or ""
    for part in ("Args:", "Returns:", "Raises:", "Example:"):
        assert part in text, f"{name} has no {part}"
    for argument in inspect.signature(function).parameters:
        assert f"\n    {argument}: " in text, f"{name} does not explain {argument}"
