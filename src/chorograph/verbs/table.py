"""The verbs of the command line and of recipes: one table, so that both say the same with the same words."""

from __future__ import annotations

from chorograph.ground.errors import UnknownNameError
from chorograph.verbs import (
    area,
    caption,
    curate,
    embed,
    evaluate,
    graph,
    localize,
    predict,
    publish,
    ratings,
    report,
    search,
    serve,
)
from chorograph.verbs.verb import Verb, elsewhere

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        area.new.VERB,
        *area.add.KINDS,
        area.build.VERB,
        area.import_.VERB,
        area.pack.VERB,
        area.synthetic.VERB,
        area.check.VERB,
        area.info.VERB,
        area.describe.VERB,
        graph.build.VERB,
        graph.info.VERB,
        graph.check.VERB,
        elsewhere(
            "graph align",
            "Train an image tower against the graph by contrast (KnowCL).",
            "chorograph.pretraining.alignment.config:AlignConfig",
            "chorograph.pretraining.alignment.run:align_stage",
            ("area",),
        ),
        elsewhere(
            "graph embed",
            "Learn vectors of regions from the graph, with link-prediction scores on held-out facts.",
            "chorograph.pretraining.links.config:GraphEmbedConfig",
            "chorograph.pretraining.links.stage:embed_graph",
            ("area",),
        ),
        caption.VERB,
        elsewhere(
            "pretrain",
            "Train CoCa or CLIP on an area's images and captions.",
            "chorograph.pretraining.config:PretrainConfig",
            "chorograph.pretraining.stage:pretrain",
            ("area",),
        ),
        elsewhere(
            "pretrain-views",
            "Train on tiles and the street views around them, fused into one vector a tile (UrbanVLP).",
            "chorograph.pretraining.views.config:ViewsConfig",
            "chorograph.pretraining.views.run:pretrain_views_stage",
            ("area",),
        ),
        embed.VERB,
        predict.VERB,
        evaluate.zero_shot.VERB,
        evaluate.retrieval.VERB,
        evaluate.probe.VERB,
        evaluate.suite.VERB,
        evaluate.localize.VERB,
        evaluate.captions.VERB,
        evaluate.explain.VERB,
        evaluate.text.VERB,
        localize.VERB,
        evaluate.robustness.VERB,
        evaluate.transfer.VERB,
        curate.run.VERB,
        curate.fit_detector.VERB,
        curate.look.VERB,
        curate.decontaminate.VERB,
        report.VERB,
        search.VERB,
        serve.VERB,
        publish.VERB,
        ratings.export.VERB,
    )
}


def get_verb(name: str) -> Verb:
    """Return the verb of that name; `UnknownNameError` with near misses otherwise."""
    if name not in VERBS:
        raise UnknownNameError.of("verb", name, VERBS)
    return VERBS[name]
