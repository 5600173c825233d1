"""The verbs of the command line and of recipes: one table, so that both say the same with the same words."""

from __future__ import annotations

from chorograph.ground.errors import UnknownNameError
from chorograph.verbs.area import build, check, import_, info, pack, synthetic
from chorograph.verbs.curate import decontaminate, fit_detector, look
from chorograph.verbs.curate import run as curate
from chorograph.verbs.verb import Verb, elsewhere

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        build.VERB,
        import_.VERB,
        pack.VERB,
        synthetic.VERB,
        check.VERB,
        info.VERB,
        elsewhere(
            "graph build",
            "Build a knowledge graph from an area's polygons, points, business areas and flows.",
            "chorograph.graph.config:GraphBuildConfig",
            "chorograph.graph.stage:build",
            ("area",),
        ),
        elsewhere(
            "graph info",
            "Say what an area's graph connects, and which relations say the same thing twice.",
            "chorograph.graph.config:GraphConfig",
            "chorograph.graph.stage:info",
            ("area",),
        ),
        elsewhere(
            "graph check",
            "Check every rule of an area's graph.",
            "chorograph.graph.config:GraphConfig",
            "chorograph.graph.stage:check",
            ("area",),
        ),
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
        elsewhere(
            "caption",
            "Write captions from facts, without a language model.",
            "chorograph.captioning.config:CaptionConfig",
            "chorograph.captioning.stage:caption",
            ("area",),
        ),
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
        elsewhere(
            "embed",
            "Encode an area's images, each content once.",
            "chorograph.embedding.config:EmbedConfig",
            "chorograph.embedding.stage:embed",
            ("area",),
        ),
        elsewhere(
            "predict",
            "Predict an indicator for every region, with intervals and baselines.",
            "chorograph.prediction.config:PredictConfig",
            "chorograph.prediction.stage:predict",
            ("area",),
        ),
        elsewhere(
            "evaluate zero-shot",
            "Classify images by the prompts of their classes.",
            "chorograph.evaluation.config:ZeroShotConfig",
            "chorograph.evaluation.stage:zero_shot",
            (),
        ),
        elsewhere(
            "evaluate retrieval",
            "Find images by their captions and captions by their images.",
            "chorograph.evaluation.config:RetrievalConfig",
            "chorograph.evaluation.stage:retrieval",
            (),
        ),
        elsewhere(
            "evaluate probe",
            "Classify images by a linear probe and nearest neighbours on frozen features.",
            "chorograph.evaluation.config:ProbeConfig",
            "chorograph.evaluation.stage:probe",
            (),
        ),
        elsewhere(
            "evaluate suite",
            "Run a published suite; its published results stand beside.",
            "chorograph.evaluation.config:SuiteConfig",
            "chorograph.evaluation.stage:suite",
            ("suite",),
        ),
        elsewhere(
            "evaluate localize",
            "Judge how well a model finds in large images what sentences say.",
            "chorograph.evaluation.localization_stage:LocalizationConfig",
            "chorograph.evaluation.localization_stage:evaluate_localize",
            (),
        ),
        elsewhere(
            "evaluate captions",
            "Judge captions, from a file or written by a CoCa, against human ones.",
            "chorograph.evaluation.captions_stage:CaptionsConfig",
            "chorograph.evaluation.captions_stage:evaluate_captions",
            (),
        ),
        elsewhere(
            "evaluate explain",
            "Say which tiles, areas of tiles and concept words moved a run's predictions, with sanity checks.",
            "chorograph.study.config:ExplainConfig",
            "chorograph.study.explain_stage:evaluate_explain",
            ("run",),
        ),
        elsewhere(
            "evaluate text",
            "Train with and without text, and set the predictions side by side.",
            "chorograph.study.config:TextConfig",
            "chorograph.study.text_stage:evaluate_text",
            ("area",),
        ),
        elsewhere(
            "localize",
            "Find in a large image what a sentence says: heat map, overlay, polygons.",
            "chorograph.searching.config:LocalizeConfig",
            "chorograph.searching.stage:localize",
            ("image", "text"),
        ),
        elsewhere(
            "evaluate robustness",
            "Corrupt the imagery at five strengths, and say what each encoder's predictions lose.",
            "chorograph.study.config:RobustnessConfig",
            "chorograph.study.robustness_stage:evaluate_robustness",
            ("areas",),
        ),
        elsewhere(
            "evaluate transfer",
            "Train on each area, test on each: the matrix of transfer.",
            "chorograph.study.config:TransferConfig",
            "chorograph.study.transfer_stage:evaluate_transfer",
            ("areas",),
        ),
        curate.VERB,
        fit_detector.VERB,
        look.VERB,
        decontaminate.VERB,
        elsewhere(
            "report",
            "Draw a run as one HTML page that needs no network.",
            "chorograph.reporting.config:ReportConfig",
            "chorograph.reporting.stage:report",
            ("run",),
        ),
    )
}


def get_verb(name: str) -> Verb:
    """Return the verb of that name; `UnknownNameError` with near misses otherwise."""
    if name not in VERBS:
        raise UnknownNameError.of("verb", name, VERBS)
    return VERBS[name]
