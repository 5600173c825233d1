"""A read-only MCP server: the same answers as the API, for language models, citing region ids and intervals."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer

from chorograph.serving.catalogue.cards import card, indicator
from chorograph.serving.catalogue.conditions import allowed_rows
from chorograph.serving.catalogue.finder import Finder, Found
from chorograph.serving.catalogue.layers import Layer
from chorograph.serving.catalogue.served import Catalogue, ServedArea

_INSTRUCTIONS = (
    "Answers about urban regions. Cite the region ids that an answer names. A predicted value is an estimate: give its "
    "interval with it, and say where `supported` is false (the region is unlike any that the model was trained on)."
)
_MOST = 50


def create_mcp(catalogue: Catalogue, finders: dict[str, Finder]) -> MCPServer:
    """Return the server; nothing that it offers writes."""
    server = MCPServer("chorograph", instructions=_INSTRUCTIONS)

    @server.tool()
    def list_areas() -> list[dict[str, Any]]:
        """List the areas with their indicators, units, and how well each was predicted (R2 on held-out regions)."""
        return [served.summary() for served in catalogue]

    @server.tool()
    def search(area: str, words: str, k: int = 10, where: list[str] | None = None) -> dict[str, Any]:
        """Find regions by what the place looks like, in words; `where` holds INDICATOR:LOW..HIGH conditions."""
        served = catalogue[area]
        return _found(served, finders[area].by_words(words, _few(k), allowed_rows(served, None, where)))

    @server.tool()
    def similar(area: str, region_id: str, k: int = 10) -> dict[str, Any]:
        """Find the regions that look most like one."""
        return _found(catalogue[area], finders[area].by_region(region_id, _few(k)))

    @server.tool()
    def describe(area: str, region_id: str) -> dict[str, Any]:
        """Tell all that is known of a region: indicators with intervals, captions, neighbours, sources."""
        served = catalogue[area]
        return card(served, served.row(region_id))

    @server.tool()
    def rank(area: str, indicator_id: str, k: int = 10, lowest: bool = False) -> list[dict[str, Any]]:
        """Return the regions with the highest (or lowest) value of an indicator: predicted if it was, else observed."""
        served = catalogue[area]
        layer = served.layer(indicator_id)
        run = layer.run()
        values = layer.observed if run is None else run.predicted
        order = (values if lowest else -values).argsort(kind="stable")
        rows = [int(row) for row in order if values[row] == values[row]][: _few(k)]
        return [_region(served, row, [layer]) for row in rows]

    return server


def _few(k: int) -> int:
    return min(max(k, 1), _MOST)


def _found(served: ServedArea, found: Found) -> dict[str, Any]:
    layers = list(served.layers.values())
    hits = [
        {"score": round(hit.score, 4), "texts": list(hit.texts), **_region(served, served.row(hit.region_id), layers)}
        for hit in found.hits
    ]
    return {"by": found.by, "note": found.note, "hits": hits}


def _region(served: ServedArea, row: int, layers: list[Layer]) -> dict[str, Any]:
    kept = ("id", "unit", "observed", "predicted", "lower", "upper", "level", "supported")
    values = [indicator(layer, layer.run(), row) for layer in layers]
    return {
        "region_id": str(served.index[row]),
        "name": str(served.names[row]),
        "indicators": [{name: entry[name] for name in kept if name in entry} for entry in values],
    }
