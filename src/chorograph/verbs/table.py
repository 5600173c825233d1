"""The verbs of the command line and of recipes: one table, so that both say the same with the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from chorograph.ground.errors import MissingExtraError, UnknownNameError
from chorograph.ground.stage import Outcome, Progress


@dataclass(frozen=True)
class Verb:
    """A verb: where its configuration and its stage are, and which settings stand without a name on the command line.

    Both are named, not imported, so that `chorograph --help` answers at once.
    """

    name: str
    summary: str
    config_path: str
    stage_path: str
    positional: tuple[str, ...]

    @property
    def config(self) -> type[Any]:
        """The frozen dataclass of its settings."""
        found: type[Any] = _import(self.config_path)
        return found

    @property
    def stage(self) -> Callable[[Any, Progress], Outcome]:
        """The function that runs it; `MissingExtraError` where its room needs an extra that is not installed."""
        try:
            found: Callable[[Any, Progress], Outcome] = _import(self.stage_path)
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("all", error) from error
        return found


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "area build",
            "Build an area from your own tiles, polygons and tables.",
            "chorograph.acquisition.config:BuildConfig",
            "chorograph.acquisition.stage:build",
            (),
        ),
        Verb(
            "area import",
            "Build an area from a published layout.",
            "chorograph.acquisition.config:ImportConfig",
            "chorograph.acquisition.stage:import_",
            ("layout", "src", "out"),
        ),
        Verb(
            "area pack",
            "Pack areas into one corpus of WebDataset tars.",
            "chorograph.acquisition.config:PackConfig",
            "chorograph.acquisition.stage:pack",
            ("areas",),
        ),
        Verb(
            "area synthetic",
            "Draw a synthetic city from a seed.",
            "chorograph.acquisition.config:SyntheticConfig",
            "chorograph.acquisition.stage:synthetic",
            ("out",),
        ),
        Verb(
            "area check",
            "Check every rule of an area folder.",
            "chorograph.acquisition.config:CheckConfig",
            "chorograph.acquisition.stage:check",
            ("area",),
        ),
        Verb(
            "area info",
            "Say what an area holds.",
            "chorograph.acquisition.config:CheckConfig",
            "chorograph.acquisition.stage:info",
            ("area",),
        ),
        Verb(
            "graph build",
            "Build a knowledge graph from an area's polygons, points, business areas and flows.",
            "chorograph.graph.config:GraphBuildConfig",
            "chorograph.graph.stage:build",
            ("area",),
        ),
        Verb(
            "graph info",
            "Say what an area's graph connects, and which relations say the same thing twice.",
            "chorograph.graph.config:GraphConfig",
            "chorograph.graph.stage:info",
            ("area",),
        ),
        Verb(
            "graph check",
            "Check every rule of an area's graph.",
            "chorograph.graph.config:GraphConfig",
            "chorograph.graph.stage:check",
            ("area",),
        ),
        Verb(
            "graph align",
            "Train an image tower against the graph by contrast (KnowCL).",
            "chorograph.pretraining.alignment.config:AlignConfig",
            "chorograph.pretraining.alignment.run:align_stage",
            ("area",),
        ),
        Verb(
            "graph embed",
            "Learn vectors of regions from the graph, with link-prediction scores on held-out facts.",
            "chorograph.pretraining.links.config:GraphEmbedConfig",
            "chorograph.pretraining.links.stage:embed_graph",
            ("area",),
        ),
        Verb(
            "caption",
            "Write captions from facts, without a language model.",
            "chorograph.captioning.config:CaptionConfig",
            "chorograph.captioning.stage:caption",
            ("area",),
        ),
        Verb(
            "pretrain",
            "Train CoCa or CLIP on an area's images and captions.",
            "chorograph.pretraining.config:PretrainConfig",
            "chorograph.pretraining.stage:pretrain",
            ("area",),
        ),
        Verb(
            "pretrain-views",
            "Train on tiles and the street views around them, fused into one vector a tile (UrbanVLP).",
            "chorograph.pretraining.views.config:ViewsConfig",
            "chorograph.pretraining.views.run:pretrain_views_stage",
            ("area",),
        ),
        Verb(
            "embed",
            "Encode an area's images, each content once.",
            "chorograph.embedding.config:EmbedConfig",
            "chorograph.embedding.stage:embed",
            ("area",),
        ),
        Verb(
            "predict",
            "Predict an indicator for every region, with intervals and baselines.",
            "chorograph.prediction.config:PredictConfig",
            "chorograph.prediction.stage:predict",
            ("area",),
        ),
        Verb(
            "evaluate zero-shot",
            "Classify images by the prompts of their classes.",
            "chorograph.evaluation.config:ZeroShotConfig",
            "chorograph.evaluation.stage:zero_shot",
            (),
        ),
        Verb(
            "evaluate retrieval",
            "Find images by their captions and captions by their images.",
            "chorograph.evaluation.config:RetrievalConfig",
            "chorograph.evaluation.stage:retrieval",
            (),
        ),
        Verb(
            "evaluate probe",
            "Classify images by a linear probe and nearest neighbours on frozen features.",
            "chorograph.evaluation.config:ProbeConfig",
            "chorograph.evaluation.stage:probe",
            (),
        ),
        Verb(
            "evaluate suite",
            "Run a published suite; its published results stand beside.",
            "chorograph.evaluation.config:SuiteConfig",
            "chorograph.evaluation.stage:suite",
            ("suite",),
        ),
        Verb(
            "evaluate localize",
            "Judge how well a model finds in large images what sentences say.",
            "chorograph.evaluation.localization_stage:LocalizationConfig",
            "chorograph.evaluation.localization_stage:evaluate_localize",
            (),
        ),
        Verb(
            "evaluate captions",
            "Judge captions, from a file or written by a CoCa, against human ones.",
            "chorograph.evaluation.captions_stage:CaptionsConfig",
            "chorograph.evaluation.captions_stage:evaluate_captions",
            (),
        ),
        Verb(
            "evaluate explain",
            "Say which tiles, areas of tiles and concept words moved a run's predictions, with sanity checks.",
            "chorograph.study.config:ExplainConfig",
            "chorograph.study.explain_stage:evaluate_explain",
            ("run",),
        ),
        Verb(
            "evaluate text",
            "Train with and without text, and set the predictions side by side.",
            "chorograph.study.config:TextConfig",
            "chorograph.study.text_stage:evaluate_text",
            ("area",),
        ),
        Verb(
            "localize",
            "Find in a large image what a sentence says: heat map, overlay, polygons.",
            "chorograph.searching.config:LocalizeConfig",
            "chorograph.searching.stage:localize",
            ("image", "text"),
        ),
        Verb(
            "evaluate robustness",
            "Corrupt the imagery at five strengths, and say what each encoder's predictions lose.",
            "chorograph.study.config:RobustnessConfig",
            "chorograph.study.robustness_stage:evaluate_robustness",
            ("areas",),
        ),
        Verb(
            "evaluate transfer",
            "Train on each area, test on each: the matrix of transfer.",
            "chorograph.study.config:TransferConfig",
            "chorograph.study.transfer_stage:evaluate_transfer",
            ("areas",),
        ),
        Verb(
            "curate",
            "Filter image-text pairs of Parquet files by a recipe: keywords, fetching, duplicates, relevance.",
            "chorograph.curation.config:CurateConfig",
            "chorograph.verbs.curate_stage:curate",
            ("recipe",),
        ),
        Verb(
            "curate fit-detector",
            "Fit a detector of a topic on images that show it and images that do not.",
            "chorograph.curation.config:FitDetectorConfig",
            "chorograph.verbs.curate_stage:fit_detector",
            ("positive", "negative"),
        ),
        Verb(
            "curate look",
            "Draw a contact sheet of a shard, an area or a folder.",
            "chorograph.curation.config:LookConfig",
            "chorograph.curation.stage:look",
            ("shard",),
        ),
        Verb(
            "curate decontaminate",
            "Take the images of test sets out of a corpus, and say which.",
            "chorograph.curation.config:DecontaminateConfig",
            "chorograph.curation.stage:decontaminate",
            ("corpus",),
        ),
        Verb(
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


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
