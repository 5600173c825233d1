"""The verbs of the command line and of recipes: one table, so that both say the same with the same words."""

from __future__ import annotations

from chorograph.ground.errors import UnknownNameError
from chorograph.verbs import (
    area,
    caption,
    captions,
    curate,
    describe,
    embed,
    evaluate,
    export,
    generate,
    graph,
    localize,
    predict,
    pretrain,
    pretrain_views,
    publish,
    ratings,
    report,
    search,
    serve,
)
from chorograph.verbs.verb import Verb

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
        area.filter.VERB,
        graph.build.VERB,
        graph.info.VERB,
        graph.check.VERB,
        graph.align.VERB,
        graph.embed.VERB,
        caption.VERB,
        captions.REFINE,
        captions.RESTORE,
        captions.CHOOSE,
        captions.META,
        describe.VERB,
        pretrain.VERB,
        pretrain_views.VERB,
        export.VERB,
        generate.VERB,
        embed.VERB,
        predict.VERB,
        evaluate.zero_shot.VERB,
        evaluate.retrieval.VERB,
        evaluate.probe.VERB,
        evaluate.generated.VERB,
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
