"""Predicting regions that a client sends: the model of a run, fitted again when first asked for, beside the answers."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, InputError, UnknownNameError
from chorograph.ground.files import read_json
from chorograph.ground.settings import configure
from chorograph.ground.stage import fingerprint
from chorograph.models.encoders.protocols import ImageEncoder
from chorograph.models.encoders.registry import resolve
from chorograph.prediction.newcomers import Estimate, Newcomer, NewcomerModel
from chorograph.prediction.settings import PredictionSettings
from chorograph.prediction.task import make_split
from chorograph.serving.catalogue.cards import number
from chorograph.serving.catalogue.finder import open_encoder
from chorograph.serving.catalogue.layers import title_of
from chorograph.serving.catalogue.served import ServedArea

#: Corners that a sent polygon may have.
MOST_CORNERS = 10_000


class NotFittedYetError(ChorographError):
    """The model is being fitted; a client asks again."""


@dataclasses.dataclass(frozen=True)
class Predictor:
    """The fitted model of a run, the encoder of its vectors where it has any, and what a reader should know."""

    run: str
    model: NewcomerModel
    encoder: ImageEncoder | None
    note: str

    @classmethod
    def of(cls, area: Area, folder: Path, device: str) -> Predictor:
        """Fit the model of the run in `folder` again; `InputError` where its manifest does not say how."""
        manifest = read_json(folder / "manifest.json")
        config: Mapping[str, Any] = manifest.get("config", {})
        settings = settings_of(config, folder)
        indicators = config.get("indicator") or sorted(area.indicators["indicator"].unique())
        asked = resolve(str(config.get("embeddings", "none")))
        path = area.embeddings_path(asked)
        embeddings = Embeddings.read(path) if asked != "none" and path.is_file() else None
        names = [indicators] if isinstance(indicators, str) else [str(name) for name in indicators]
        model = NewcomerModel.fit(area, embeddings, names, settings, make_split(settings))
        encoder = None if embeddings is None else open_encoder(area, embeddings.model, device)
        return cls(
            folder.name, model, encoder, _note(manifest.get("inputs", {}), str(config.get("area", "")), area.path)
        )

    def predict(self, geometry: Any, pictures: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
        """Return what the run says of a polygon with pictures, ready for JSON; `InputError` with the reason."""
        if pictures and self.encoder is None:
            raise InputError(f"the run {self.run} looks at no imagery: send the polygon alone")
        vectors = self.encoder.encode(list(pictures)) if self.encoder and pictures else np.empty((0, 0), np.float32)
        told = self.model.predict(Newcomer(geometry, np.asarray(vectors, dtype=np.float32)))
        return [_told(one) for one in told]


def _told(one: Estimate) -> dict[str, Any]:
    told = dataclasses.asdict(one) | {"title": one.title or title_of(one.indicator, unit=one.unit)}
    return told | {name: number(told[name]) for name in ("predicted", "lower", "upper")}


class Predictors:
    """The predictors of an area, by run; each is fitted once, in a thread of its own."""

    def __init__(self, served: ServedArea, device: str = "cpu") -> None:
        self._served, self._device = served, device
        self._lock = threading.Lock()
        self._fitting: dict[Path, Future[Predictor]] = {}

    def get(self, run: str | None, wait_s: float) -> Predictor:
        """Return the predictor of a run, of the one that predicts most indicators where none is named.

        Raises `NotFittedYetError` where it is not fitted after `wait_s`, `UnknownNameError` for an unknown run.
        """
        folder = self._folder(run)
        with self._lock:
            future = self._fitting.get(folder)
            # What failed may succeed once a file is put right.
            if future is None or (future.done() and future.exception() is not None):
                future = self._fitting[folder] = Future()
                threading.Thread(target=self._fit, args=(folder, future), daemon=True).start()
        try:
            return future.result(wait_s)
        except NotYet:
            raise NotFittedYetError(f"the model of the run {folder.name} is being fitted; ask again") from None

    def _fit(self, folder: Path, future: Future[Predictor]) -> None:
        try:
            future.set_result(Predictor.of(self._served.area, folder, self._device))
        except Exception as error:
            future.set_exception(error)

    def _folder(self, run: str | None) -> Path:
        runs: dict[str, Path] = {}
        count: dict[str, int] = {}
        for layer in self._served.layers.values():
            for one in layer.runs:
                if one.folder is not None:
                    runs[one.run] = one.folder
                    count[one.run] = count.get(one.run, 0) + 1
        if not runs:
            raise InputError(f"{self._served.area.title} has no run that a model could be taken from")
        if run is not None and run not in runs:
            raise UnknownNameError.of("run", run, runs)
        return runs[run or max(count, key=lambda name: count[name])]


def settings_of(config: Mapping[str, Any], folder: Path) -> PredictionSettings:
    """Return the settings of a run from its manifest; `InputError` where they are not those of `predict`."""
    fields = {field.name for field in dataclasses.fields(PredictionSettings)}
    if not fields <= set(config):
        raise InputError(f"{folder / 'manifest.json'} does not say how its model was fitted; run `predict` again")
    held = {name: config[name] for name in fields if config[name] is not None}
    return configure(PredictionSettings, held, where=str(folder / "manifest.json"))


def read_polygon(text: str) -> Any:
    """Return the polygon in GeoJSON, a geometry or a feature; `InputError` for what is no valid one in degrees."""
    import json

    try:
        content = json.loads(text)
        if isinstance(content, dict) and content.get("type") == "Feature":
            content = content.get("geometry")
        shape = shapely.from_geojson(json.dumps(content))
    except (ValueError, TypeError, RecursionError, shapely.errors.GEOSException):
        raise InputError("the region is no GeoJSON geometry or feature") from None
    if shape is None or shape.geom_type not in ("Polygon", "MultiPolygon") or shape.is_empty:
        raise InputError("the region is a Polygon or MultiPolygon in GeoJSON")
    if shapely.get_num_coordinates(shape) > MOST_CORNERS:
        raise InputError(f"the region has more than {MOST_CORNERS:,} corners; simplify it")
    west, south, east, north = shape.bounds
    if not (west >= -180 and south >= -90 and east <= 180 and north <= 90):
        raise InputError("the region's coordinates are longitude, latitude in degrees")
    if not shape.is_valid:
        raise InputError(f"the region is no valid polygon: {shapely.is_valid_reason(shape)[:200]}")
    return shape


def overlapped(served: ServedArea, shape: Any) -> list[str]:
    """Return the ids of the area's regions that a polygon shares ground with: the model may have seen their labels."""
    rows = np.sort(served.tree.query(shape, predicate="intersects"))
    shared = shapely.area(shapely.intersection(served.shapes[rows], shape)) > 0
    return [str(served.index[row]) for row in rows[shared][:100]]


def _note(inputs: Mapping[str, str], before: str, area: Path) -> str:
    """Say which inputs of a run are others now; an area that was moved since is looked for where it is."""

    def now(path: str) -> Path:
        return area / Path(path).relative_to(before) if Path(path).is_relative_to(before) else Path(path)

    changed = [Path(path).name for path, held in inputs.items() if fingerprint(now(path)) != held]
    if not changed:
        return ""
    return f"changed since the run, so that the model fitted now may differ from it: {', '.join(changed)}"
