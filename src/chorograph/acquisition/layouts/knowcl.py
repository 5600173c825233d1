"""KnowCL's published layout (Liu et al. 2023): a knowledge graph, imagery by region, and indicators.

A folder with `*_0715.txt` or one other `.txt` of facts, `*region2allinfo.json` (region: pop, edu, crime, ...), an index
`*region_img_name.csv` (column imagename, a region a row) with `*train*.csv`, `*val*.csv`, `*test*.csv` (column
csvindex, its row numbers), `satellite_image/zl15_224/REGION.png`, `streetview_image/Region/REGION/FILE` with
`region_5_10_poi_image_filename.json` (region: files), and `*TuckER64.npz` (E_pretrain, R_pretrain).

What a region is, the index or the indicators say; the published loader takes every entity that contains "360" for one,
which catches points of interest too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from chorograph.acquisition.holding import hold
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.area.vector_tables import VectorTable
from chorograph.graph.reading import as_text, read_facts
from chorograph.graph.schema import RELATIONS
from chorograph.ground.csv_rows import read_cells
from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular, naming_damage, read_json, within
from chorograph.ground.stage import Ledger, Progress, silent

_SOURCE = Source("KnowCL", licence="unstated", attribution="Liu et al. 2023; imagery by its own providers")
_UNITS = {"pop": ("population", "people"), "edu": ("education", "unstated"), "crime": ("crime", "incidents")}
#: PANORAMA&LATITUDE&LONGITUDE&DIRECTION
_STREET = re.compile(r"[^&]+&(?P<lat>-?[\d.]+)&(?P<lon>-?[\d.]+)&.*")


def import_knowcl(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build an area with the graph, satellite and street images, indicators and the published split."""
    facts_path = _one(source, ["*_0715.txt", "*.txt"], "facts (*_0715.txt)")
    facts = read_facts(facts_path)
    info = read_json(_one(source, ["*region2allinfo.json"], "*region2allinfo.json"), {str: {str: object}})
    if not info:
        raise InputError(f"{source}: region2allinfo.json is not a table of regions")
    index_path = _maybe(source, ["*region_img_name.csv"])
    index = _column(index_path, "imagename") if index_path else sorted(map(str, info))
    regions = sorted({*index, *map(str, info)}, key=_number)
    entities = _entities(facts, set(regions), facts_path)
    absent = sorted(set(regions) - set(entities["region_id"].dropna()))
    if absent:
        ledger.warnings.append(f"{len(absent)} regions are in no fact, for example {absent[0]}")
    held = set(facts["relation"].cat.categories)
    declared = {name: kinds for name, kinds in RELATIONS.items() if name in held}
    with AreaDraft(out, out.name, "KnowCL", [_SOURCE], facts={"relations": declared}) as draft:
        frame = gpd.GeoDataFrame({"region_id": regions, "geometry": [None] * len(regions)}, crs=4326)
        draft.write("regions", frame)
        draft.write("entities", entities)
        draft.write("triples", as_text(facts))
        draft.write("indicators", _indicators(info, ledger))
        images = _images(draft, source, regions, ledger, skip_bad=skip_bad, progress=progress)
        if len(images):
            draft.write("images", images)
        if index_path is not None and (split := _split(source, index, index_path)) is not None:
            draft.write_split("published", split)
        if (vectors := _maybe(source, ["*TuckER64.npz", "*TuckER*.npz"])) is not None:
            _keep_vectors(draft, vectors, entities, ledger)
    if (simclr := _maybe(source, ["*checkpoint_100.tar"])) is not None:
        ledger.facts["tower"] = f"start from it with `chorograph graph align --tower resnet18 --init {simclr}`"
    ledger.count("regions", len(regions))
    ledger.count("facts", len(facts))
    ledger.count("entities", len(entities))


def _entities(facts: pd.DataFrame, regions: set[str], path: Path) -> pd.DataFrame:
    """Return the entities; their kinds follow from the relations they stand in."""
    unknown = [name for name in facts["relation"].cat.categories if name not in RELATIONS]
    if unknown:
        row = int(np.flatnonzero(facts["relation"] == unknown[0])[0])
        raise InputError(
            f"{path}: line {row + 1}: {unknown[0]!r} is no relation of KnowCL's graphs ({', '.join(RELATIONS)})"
        )
    said: list[pd.DataFrame] = []
    for column, place in (("head", 0), ("tail", 1)):
        kind_at: dict[str, str] = {name: pair[place] for name, pair in RELATIONS.items()}
        kinds = facts["relation"].astype(str).map(kind_at)
        said.append(pd.DataFrame({"name": facts[column].astype(str), "kind": kinds, "column": column}))
    ends = pd.concat(said)
    # What an entity stands for most often is what it is; a line that says otherwise is the mistake.
    most = ends.value_counts(["name", "kind"]).reset_index().drop_duplicates("name").set_index("name")["kind"]
    kind_of: dict[str, str] = {
        **{str(name): str(kind) for name, kind in most.items()},
        **dict.fromkeys(regions, "region"),
    }
    wrong = ends[ends["name"].map(kind_of) != ends["kind"]].sort_index(kind="stable")
    if len(wrong):
        line, first = int(wrong.index[0]), wrong.iloc[0]
        relation = str(facts["relation"].iloc[line])
        raise InputError(
            f"{path}: line {line + 1}: {relation} connects {' to '.join(RELATIONS[relation])}, but its "
            f"{first['column']} {first['name']!r} is a {kind_of[str(first['name'])]} ({len(wrong)} such lines)"
        )
    used = {*facts["head"].cat.categories, *facts["tail"].cat.categories}
    names = sorted(name for name in kind_of if name in used)
    return pd.DataFrame(
        {
            "entity": names,
            "kind": [kind_of[name] for name in names],
            "region_id": [name if name in regions else None for name in names],
        }
    )


def _indicators(info: dict[str, Any], ledger: Ledger) -> pd.DataFrame:
    rows = []
    for region, values in info.items():
        for published, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                ledger.drop(f"{published} is not a number")
                continue
            name, unit = _UNITS.get(published, (published, "unstated"))
            rows.append({"region_id": str(region), "indicator": name, "value": float(value), "unit": unit})
    if not rows:
        raise InputError("region2allinfo.json holds no number")
    return pd.DataFrame(rows).assign(source=_SOURCE.name)


def _images(
    draft: AreaDraft, source: Path, regions: list[str], ledger: Ledger, *, skip_bad: bool, progress: Progress
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    known = set(regions)
    satellites = sorted(source.rglob("satellite_image/*/*.png")) + sorted(source.rglob("satellite_image/*/*.jpg"))
    for path in satellites:
        if path.stem not in known:
            ledger.drop("satellite image of an unknown region")
            continue
        uri, digest = hold(draft, path.stem, path, ledger, skip_bad=skip_bad)
        row = {"image_id": path.stem, "region_id": path.stem, "view": "satellite", "uri": uri, "sha256": digest}
        rows.append({**row, "lon": None, "lat": None})
        progress("reading satellite images", len(rows), len(satellites))
    listed = _maybe(source, ["*poi_image_filename.json"])
    chosen = read_json(listed, {str: [str]}) if listed is not None else {}
    folders = {path.parent.name: path.parent for path in source.rglob("streetview_image/Region/*/*")}
    for number, (region, names) in enumerate(sorted(chosen.items()), start=1):
        if region not in known:
            ledger.drop("street views of an unknown region", len(names))
            continue
        for name in names:
            match = _STREET.fullmatch(Path(str(name)).stem)
            image_id = f"{region}/{Path(str(name)).stem}"
            file = within(folders.get(region, source), str(name))
            uri, digest = hold(draft, image_id, file, ledger, skip_bad=skip_bad, where=str(listed))
            place = {"lon": float(match["lon"]), "lat": float(match["lat"])} if match else {"lon": None, "lat": None}
            row = {"image_id": image_id, "region_id": region, "view": "street", "uri": uri, "sha256": digest}
            rows.append({**row, **place})
        progress("reading street views", number, len(chosen))
    ledger.count("images", len(rows))
    return pd.DataFrame(rows).assign(source=_SOURCE.name, licence="its provider's terms") if rows else pd.DataFrame()


def _split(source: Path, index: list[str], index_path: Path) -> pd.DataFrame | None:
    """Return the published 6:2:2 split, where its three files are there; row numbers of the index become regions."""
    role_of: dict[int, str] = {}
    for role in ("train", "val", "test"):
        path = next((p for p in sorted(source.rglob(f"*{role}*.csv")) if p != index_path), None)
        if path is None:
            return None
        for line, text in enumerate(_column(path, "csvindex"), start=2):
            if not text.isdigit() or int(text) >= len(index):
                raise InputError(f"{path}, line {line}: csvindex {text!r} is no row of {index_path.name}")
            if int(text) in role_of:
                raise InputError(f"{path}, line {line}: row {text} is in {role_of[int(text)]} already")
            role_of[int(text)] = role
    return pd.DataFrame({"region_id": [index[row] for row in role_of], "role": list(role_of.values())})


def _keep_vectors(draft: AreaDraft, path: Path, entities: pd.DataFrame, ledger: Ledger) -> None:
    """File the published vectors of regions; their rows are in the order of the published loader.

    Regions first, by their number, then everything else by name. A file with another number of rows is left out, and
    counted: its rows cannot be told apart.
    """
    check_regular(path)
    with naming_damage(path, "the published .npz", "get it again"), np.load(path, allow_pickle=False) as content:
        vectors = np.asarray(content["E_pretrain"], dtype=np.float32)
    is_region = entities["region_id"].notna()
    order = [*sorted(entities.loc[is_region, "entity"], key=_number), *sorted(entities.loc[~is_region, "entity"])]
    if vectors.ndim != 2 or len(vectors) != len(order) or not np.isfinite(vectors).all():
        ledger.drop(f"published vectors: shape {vectors.shape} for {len(order)} entities")
        return
    regions = int(is_region.sum())
    columns = {"region_id": np.array(order[:regions], dtype=object)}
    table = VectorTable("TuckER-published", columns, vectors[:regions], {"note": "as published; transductive"})
    table.write(draft.folder / "embeddings" / "TuckER-published.parquet")
    ledger.count("published vectors", regions)


def _one(source: Path, patterns: list[str], what: str) -> Path:
    found = _maybe(source, patterns)
    if found is None:
        raise InputError(f"{source} holds no {what}")
    return found


def _maybe(source: Path, patterns: list[str]) -> Path | None:
    """Return the first file, at any depth, of the first pattern that matches one."""
    return next((path for pattern in patterns for path in sorted(source.rglob(pattern))), None)


def _column(path: Path, name: str) -> list[str]:
    frame = read_cells(path)
    if name not in frame.columns:
        raise InputError(f"{path} has no column {name!r}")
    return [Path(value).stem if value.endswith((".png", ".jpg")) else value for value in frame[name]]


def _number(region: str) -> tuple[int, int, str]:
    return (0, int(region), region) if region.isdigit() else (1, 0, region)
