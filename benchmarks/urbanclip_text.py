"""Does text help to predict carbon, population and GDP of a tile, and where? On UrbanCLIP's released data.

    python benchmarks/urbanclip_text.py PATH/TO/urbanclip

For each city with captions: the mean of the 8 nearest training tiles (location), ridge on the tile's captions
(TF-IDF, SVD), and both, stacked. Everything is fitted on the training tiles of each fold only; the stack learns from
inner folds of the same kind as the outer ones, or it would trust neighbours that held-out tiles do not have. What
captions add is the stack's R2 less that of the same stack without captions (location, rescaled), because rescaling
alone already mends a mean of far neighbours. Prints Markdown and writes JSON; what it means is told in
docs/explanation/text-and-place.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import KDTree
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from chorograph.acquisition.coordinates.baidu_tiles import tile_of_region
from chorograph.acquisition.layouts.urbanclip import import_urbanclip
from chorograph.area.folder import Area
from chorograph.area.splits import Folds, Given, LeaveGroupOut, RandomFolds, Split, inner_points, to_sphere
from chorograph.ground.files import sha256_file, write_json
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import BlockBootstrap, Estimate, r2
from chorograph.prediction.probes.ridge import RidgePath

RESULT = Path(__file__).with_name("results") / "urbanclip_text.json"
BLOCK_TILES, NEIGHBOURS, COMPONENTS = 8, 8, 100
#: 12 to 20 % of each city's released GDP values are this one number, of a source constant over whole districts.
GDP_TIE = 10_000.0
#: Upper ends of the classes of distance to the nearest training tile, in km.
DISTANCES_KM = (1.0, 2.0, 3.0, 5.0, np.inf)
METHODS = ("location", "location, rescaled", "captions", "both")


def tile_blocks(regions: Any) -> np.ndarray:
    """Return the number of the block of 8 x 8 tiles, aligned to the tile grid, that each tile lies in."""
    tiles = np.array([tile_of_region(region_id)[1:] for region_id in regions["region_id"]])
    blocks = pd.Series(list(map(tuple, tiles // BLOCK_TILES))).astype(str) + regions["group"].to_numpy()
    return np.asarray(pd.factorize(blocks)[0])


@dataclass(frozen=True)
class TileBlocks:
    """Five folds of whole blocks of tiles; training keeps `buffer_m` away from what is tested."""

    buffer_m: float = 0.0
    name: str = "tile_blocks"
    leaky: bool = False

    def folds(self, area: Area, regions: Any, duplicates: np.ndarray) -> Folds:
        blocks, fold = tile_blocks(regions), np.empty(len(regions), dtype=np.int64)
        for number, (_, tested) in enumerate(GroupKFold(5).split(blocks, groups=blocks)):
            fold[tested] = number
        free = np.zeros(len(regions), dtype=bool)
        return Folds(fold, blocks, (free,) * 5).away_from(*inner_points(regions), self.buffer_m)


@dataclass(frozen=True)
class Plan:
    """A row of the table: how labels are prepared, how tiles are held out, and how the stack's inner folds are."""

    name: str
    outer: Split
    inner: Split
    released_labels: bool = False


PLANS = (
    Plan("released: 80/20, seed 42", Given("yan2024_random"), RandomFolds(), released_labels=True),
    Plan("random, 5 folds", RandomFolds(), RandomFolds()),
    Plan("blocks of 8 x 8 tiles", TileBlocks(), TileBlocks()),
    Plan("blocks, 3 km buffer", TileBlocks(3000.0), TileBlocks(3000.0)),
    Plan("leave city out", LeaveGroupOut(), LeaveGroupOut()),
)


def read_tiles(area: Area) -> Any:
    """Return the captioned and labelled tiles: region_id, group, geometry, text, and the three values as published."""
    values = area.indicators.pivot_table(index="region_id", columns="indicator", values="value")
    captions = area.captions.sort_values(["image_id", "rank"]).groupby("image_id")["caption"].agg(" ".join)
    tiles = area.regions.merge(values, on="region_id").merge(
        captions.rename("text"), left_on="region_id", right_index=True
    )
    return tiles.sort_values("region_id").reset_index(drop=True)


def labels(tiles: Any, released: bool) -> dict[str, np.ndarray]:
    """Return ln of each indicator, NaN where it cannot be used.

    As released, a tile with a zero in any column is dropped; corrected, only from the indicator that is zero. The
    release then squeezes each column to width 1 with the extremes of all rows, test rows too; R2 does not see that.
    """
    names = ("carbon", "population", "gdp")
    whole = (tiles[list(names)] > 0).all(axis=1)
    usable = {name: (whole if released else tiles[name] > 0) for name in names}
    found = {name: np.log(tiles[name].where(usable[name])).to_numpy() for name in names}
    if not released:
        found["gdp, ties out"] = np.where(tiles["gdp"] == GDP_TIE, np.nan, found["gdp"])
    return found


def text_features(texts: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return (n, 100) features of all captions, learnt from those of the training tiles."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=5, sublinear_tf=True), TruncatedSVD(COMPONENTS, random_state=0)
    )
    model.fit(texts[train])
    return np.asarray(model.transform(texts))


def simple(X: np.ndarray, places: np.ndarray, y: np.ndarray, fit: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (rows, 2): predictions from location alone and from captions alone."""
    near = KNeighborsRegressor(NEIGHBOURS).fit(places[fit], y[fit]).predict(places[rows])
    return np.column_stack([near, RidgePath().fit(X[fit], y[fit]).predict(X[rows])])


def by_each_method(
    X: np.ndarray, places: np.ndarray, y: np.ndarray, fit: np.ndarray, rows: np.ndarray, inner: Folds
) -> np.ndarray:
    """Return (rows, 4): predictions by `METHODS`; `inner` parts the rows of `fit`."""
    held = np.full((len(y), 2), np.nan)
    for _, train, test in inner:
        held[fit[test]] = simple(X, places, y, fit[train], fit[test])
    near, both = (LinearRegression(positive=True).fit(held[fit, :width], y[fit]) for width in (1, 2))
    apart = simple(X, places, y, fit, rows)
    return np.column_stack([apart[:, 0], near.predict(apart[:, :1]), apart[:, 1], both.predict(apart)])


def run(plan: Plan, area: Area, tiles: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return predictions (n, 4) by indicator, and the distance in km from each tile to the nearest training tile."""
    places, texts = to_sphere(*inner_points(tiles)), tiles["text"].to_numpy()
    alone = np.full(len(tiles), -1)
    predicted = {name: np.full((len(tiles), len(METHODS)), np.nan) for name in labels(tiles, plan.released_labels)}
    distance = np.full(len(tiles), np.nan)
    for _, train, test in plan.outer.folds(area, tiles, alone):
        X = text_features(texts, train)
        distance[test] = KDTree(places[train]).query(places[test])[0] / 1000
        for name, y in labels(tiles, plan.released_labels).items():
            fit, rows = np.flatnonzero(train & np.isfinite(y)), np.flatnonzero(test & np.isfinite(y))
            inner = plan.inner.folds(area, tiles.iloc[fit].reset_index(drop=True), alone[fit])
            predicted[name][rows] = by_each_method(X, places, y, fit, rows, inner)
    return predicted, distance


def judge(y: np.ndarray, predicted: np.ndarray, blocks: np.ndarray) -> dict[str, Any]:
    """Return R2 of each method and what captions add to location, each with its block-bootstrap interval."""
    bootstrap = BlockBootstrap()
    scores: dict[str, Estimate] = {
        method: bootstrap.estimate(r2, y, predicted[:, column], blocks) for column, method in enumerate(METHODS)
    }
    scores["captions add"] = bootstrap.estimate(
        lambda target, both, weight: r2(target, both, weight) - r2(target, predicted[:, 1], weight),
        y, predicted[:, 3], blocks,
    )  # fmt: skip
    return {"n": len(y), **{name: score.as_list() for name, score in scores.items()}}


def measure(area: Area) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of the table, and how much of location's squared error captions remove by distance."""
    tiles = read_tiles(area)
    rows, errors = [], []
    for plan in PLANS:
        across = isinstance(plan.outer, LeaveGroupOut)
        for part in [tiles] if across else [city for _, city in tiles.groupby("group")]:
            part = part.reset_index(drop=True)
            predicted, distance = run(plan, area, part)
            blocks = tile_blocks(part)
            for name, y in labels(part, plan.released_labels).items():
                scored = np.isfinite(predicted[name]).all(1)
                for city in part["group"].unique():
                    of = scored & (part["group"] == city).to_numpy()
                    found = judge(y[of], predicted[name][of], blocks[of])
                    rows.append({"split": plan.name, "city": city, "indicator": name, **found})
                squared = (predicted[name] - y[:, None])[scored] ** 2
                errors.append(
                    pd.DataFrame(squared, columns=METHODS).assign(
                        split=plan.name,
                        indicator=name,
                        km=distance[scored],
                        block=(part["group"] + blocks.astype(str))[scored],
                    )
                )
    return rows, list(by_distance(pd.concat(errors)))


def by_distance(errors: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield 1 - SSE(both) / SSE(location, rescaled) by indicator and class of distance, over the blocked splits."""
    errors = errors[errors["split"].str.startswith("blocks")]
    errors = errors.assign(nearer_than_km=pd.cut(errors["km"], [0, *DISTANCES_KM], labels=DISTANCES_KM))
    for (indicator, km), group in errors.groupby(["indicator", "nearer_than_km"], observed=True):
        removed = BlockBootstrap().estimate(
            lambda both, near, weight: 1 - (weight @ both) / (weight @ near),
            group["both"].to_numpy(), group["location, rescaled"].to_numpy(), pd.factorize(group["block"])[0],
        )  # fmt: skip
        yield {
            "indicator": indicator,
            "nearer_than_km": float(km) if np.isfinite(km) else None,
            "n": len(group),
            "removed": removed.as_list(),
        }


def markdown(rows: list[dict[str, Any]], where: list[dict[str, Any]]) -> str:
    """Return both tables; the JSON has an interval for every number, and GDP without its ties."""

    def interval(score: list[float]) -> str:
        return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*score)

    def cell(row: dict[str, Any]) -> str:
        values = " · ".join(f"{row[method][0]:.2f}" for method in METHODS[1:])
        return f"{values}; {interval(row['captions add'])}"

    table = pd.DataFrame(rows).set_index(["split", "city"])
    names = ["carbon", "population", "gdp"]
    lines = [f"| held out | city | {' | '.join(names)} |", "|---" * 5 + "|"]
    for split, city in dict.fromkeys(table.index):
        found = {row["indicator"]: row for row in table.loc[[(split, city)]].to_dict("records")}
        lines.append(f"| {split} | {city} | {' | '.join(cell(found[name]) for name in names)} |")
    classes = list(dict.fromkeys(item["nearer_than_km"] for item in where))
    heads = [f"under {km:g} km" if km else "farther" for km in classes]
    lines += ["", f"| share of squared error | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for name in names:
        cells = [interval(item["removed"]) for item in where if item["indicator"] == name]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with *_captions.json.gz and integrated_satellite_data.csv")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the JSON goes")
    arguments = parser.parse_args()
    started, ledger = time.perf_counter(), Ledger()
    with TemporaryDirectory() as folder:
        import_urbanclip(arguments.source, Path(folder) / "area", ledger)
        rows, where = measure(Area.open(Path(folder) / "area"))
    files = sorted([*arguments.source.glob("*_captions.json.gz"), arguments.source / "integrated_satellite_data.csv"])
    write_json(
        arguments.out,
        {
            "command": "python benchmarks/urbanclip_text.py PATH/TO/urbanclip",
            "inputs": {path.name: sha256_file(path) for path in files},
            "counts": ledger.counts,
            "rows": rows,
            "squared_error_removed_by_distance": where,
            "wall_s": round(time.perf_counter() - started, 1),
        },
    )
    print(markdown(rows, where))


if __name__ == "__main__":
    main()
