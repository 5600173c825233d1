"""`area add KIND`: an area grows step by step, a kind of data at a time.

A new kind is a file beside and a line here.
"""

from __future__ import annotations

from chorograph.verbs.area.add import captions, embeddings, graph, imagery, indicators, places, raster, streetviews

KINDS = (
    imagery.VERB,
    indicators.VERB,
    raster.VERB,
    places.VERB,
    streetviews.VERB,
    captions.VERB,
    graph.VERB,
    embeddings.VERB,
)
