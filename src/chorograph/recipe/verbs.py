"""The verbs of the command line and of recipes: one table, so that both say the same with the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from chorograph.area.errors import MissingExtraError, UnknownNameError
from chorograph.area.stage import Outcome, Progress


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
            "chorograph.acquire.config:BuildConfig",
            "chorograph.acquire.stage:build",
            (),
        ),
        Verb(
            "area import",
            "Build an area from a published layout.",
            "chorograph.acquire.config:ImportConfig",
            "chorograph.acquire.stage:import_",
            ("layout", "src", "out"),
        ),
        Verb(
            "area pack",
            "Pack areas into one corpus of WebDataset tars.",
            "chorograph.acquire.config:PackConfig",
            "chorograph.acquire.stage:pack",
            ("areas",),
        ),
        Verb(
            "area synthetic",
            "Draw a synthetic city from a seed.",
            "chorograph.acquire.config:SyntheticConfig",
            "chorograph.acquire.stage:synthetic",
            ("out",),
        ),
        Verb(
            "area check",
            "Check every rule of an area folder.",
            "chorograph.acquire.config:CheckConfig",
            "chorograph.acquire.stage:check",
            ("area",),
        ),
        Verb(
            "area info",
            "Say what an area holds.",
            "chorograph.acquire.config:CheckConfig",
            "chorograph.acquire.stage:info",
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
            "chorograph.pretrain.graph_config:AlignConfig",
            "chorograph.pretrain.graph:align_stage",
            ("area",),
        ),
        Verb(
            "graph embed",
            "Learn vectors of regions from the graph, with link-prediction scores on held-out facts.",
            "chorograph.embed.graph_config:GraphEmbedConfig",
            "chorograph.embed.graph_stage:embed_graph",
            ("area",),
        ),
        Verb(
            "caption",
            "Write captions from facts, without a language model.",
            "chorograph.caption.config:CaptionConfig",
            "chorograph.caption.stage:caption",
            ("area",),
        ),
        Verb(
            "pretrain",
            "Train CoCa or CLIP on an area's images and captions.",
            "chorograph.pretrain.config:PretrainConfig",
            "chorograph.pretrain.stage:pretrain",
            ("area",),
        ),
        Verb(
            "pretrain-views",
            "Train on tiles and the street views around them, fused into one vector a tile (UrbanVLP).",
            "chorograph.pretrain.views_config:ViewsConfig",
            "chorograph.pretrain.views:pretrain_views_stage",
            ("area",),
        ),
        Verb(
            "embed",
            "Encode an area's images, each content once.",
            "chorograph.embed.config:EmbedConfig",
            "chorograph.embed.stage:embed",
            ("area",),
        ),
        Verb(
            "predict",
            "Predict an indicator for every region, with intervals and baselines.",
            "chorograph.predict.config:PredictConfig",
            "chorograph.predict.stage:predict",
            ("area",),
        ),
        Verb(
            "evaluate zero-shot",
            "Classify images by the prompts of their classes.",
            "chorograph.evaluate.config:ZeroShotConfig",
            "chorograph.evaluate.stage:zero_shot",
            (),
        ),
        Verb(
            "evaluate retrieval",
            "Find images by their captions and captions by their images.",
            "chorograph.evaluate.config:RetrievalConfig",
            "chorograph.evaluate.stage:retrieval",
            (),
        ),
        Verb(
            "evaluate probe",
            "Classify images by a linear probe and nearest neighbours on frozen features.",
            "chorograph.evaluate.config:ProbeConfig",
            "chorograph.evaluate.stage:probe",
            (),
        ),
        Verb(
            "evaluate suite",
            "Run a published suite; its published results stand beside.",
            "chorograph.evaluate.config:SuiteConfig",
            "chorograph.evaluate.stage:suite",
            ("suite",),
        ),
        Verb(
            "evaluate localize",
            "Judge how well a model finds in large images what sentences say.",
            "chorograph.evaluate.localization_stage:LocalizationConfig",
            "chorograph.evaluate.localization_stage:evaluate_localize",
            (),
        ),
        Verb(
            "evaluate captions",
            "Judge captions, from a file or written by a CoCa, against human ones.",
            "chorograph.evaluate.captions_stage:CaptionsConfig",
            "chorograph.evaluate.captions_stage:evaluate_captions",
            (),
        ),
        Verb(
            "evaluate explain",
            "Say which tiles, areas of tiles and concept words moved a run's predictions, with sanity checks.",
            "chorograph.evaluate.config:ExplainConfig",
            "chorograph.evaluate.explain:evaluate_explain",
            ("run",),
        ),
        Verb(
            "evaluate text",
            "Train with and without text, and set the predictions side by side.",
            "chorograph.evaluate.config:TextConfig",
            "chorograph.evaluate.text:evaluate_text",
            ("area",),
        ),
        Verb(
            "localize",
            "Find in a large image what a sentence says: heat map, overlay, polygons.",
            "chorograph.search.config:LocalizeConfig",
            "chorograph.search.stage:localize",
            ("image", "text"),
        ),
        Verb(
            "evaluate robustness",
            "Corrupt the imagery at five strengths, and say what each encoder's predictions lose.",
            "chorograph.evaluate.config:RobustnessConfig",
            "chorograph.evaluate.robustness:evaluate_robustness",
            ("areas",),
        ),
        Verb(
            "evaluate transfer",
            "Train on each area, test on each: the matrix of transfer.",
            "chorograph.evaluate.config:TransferConfig",
            "chorograph.evaluate.transfer:evaluate_transfer",
            ("areas",),
        ),
        Verb(
            "curate",
            "Filter image-text pairs of Parquet files by a recipe: keywords, fetching, duplicates, relevance.",
            "chorograph.curate.config:CurateConfig",
            "chorograph.recipe.curate:curate",
            ("recipe",),
        ),
        Verb(
            "curate fit-detector",
            "Fit a detector of a topic on images that show it and images that do not.",
            "chorograph.curate.config:FitDetectorConfig",
            "chorograph.recipe.curate:fit_detector",
            ("positive", "negative"),
        ),
        Verb(
            "curate look",
            "Draw a contact sheet of a shard, an area or a folder.",
            "chorograph.curate.config:LookConfig",
            "chorograph.curate.stage:look",
            ("shard",),
        ),
        Verb(
            "curate decontaminate",
            "Take the images of test sets out of a corpus, and say which.",
            "chorograph.curate.config:DecontaminateConfig",
            "chorograph.curate.stage:decontaminate",
            ("corpus",),
        ),
        Verb(
            "report",
            "Draw a run as one HTML page that needs no network.",
            "chorograph.report.config:ReportConfig",
            "chorograph.report.stage:report",
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
