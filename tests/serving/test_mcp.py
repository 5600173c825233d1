"""The MCP server, asked by the library's own client in memory."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chorograph.serving.catalogue.finder import Finder
from chorograph.serving.catalogue.served import Catalogue, ServedArea

pytest.importorskip("mcp", reason="mcp is not installed")


def _apart(asked: Any) -> Any:
    """Return an answer, asked for in a thread of its own: a browser in this process has a loop running already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked).result()


def ask(served: ServedArea, tool: str, **arguments: Any) -> Any:
    from chorograph.serving.mcp import create_mcp

    server = create_mcp(Catalogue([served]), {served.slug: Finder(served)})
    answer: Any = _apart(server.call_tool(tool, arguments))
    return json.loads(json.dumps(answer, default=lambda value: getattr(value, "text", None) or vars(value)))


def test_tools_are_listed_and_none_writes(served: ServedArea) -> None:
    from chorograph.serving.mcp import create_mcp

    server = create_mcp(Catalogue([served]), {served.slug: Finder(served)})
    tools = _apart(server.list_tools())
    assert {tool.name for tool in tools} == {"list_areas", "search", "similar", "describe", "rank"}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search", {"area": "city", "words": "railway"}),
        ("similar", {"area": "city", "region_id": "R01"}),
        ("rank", {"area": "city", "indicator_id": "median_income", "k": 3}),
        ("describe", {"area": "city", "region_id": "R01"}),
    ],
)
def test_answers_cite_region_ids_and_intervals(served: ServedArea, tool: str, arguments: dict[str, Any]) -> None:
    said = json.dumps(ask(served, tool, **arguments))
    assert "lower" in said
    assert "upper" in said
    assert re.search(r"R\d\d", said)
