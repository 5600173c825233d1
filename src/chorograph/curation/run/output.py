"""What a run leaves: the corpus with its shards, `dropped.parquet`, `statistics.json`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.curation.packs import read_packed
from chorograph.curation.rows import SCHEMA
from chorograph.curation.run.plan import Output, Plan
from chorograph.curation.run.run import Result
from chorograph.curation.steps.captions import words
from chorograph.ground.errors import ImageError
from chorograph.ground.files import atomic_path, slug
from chorograph.ground.image_formats import extension_of
from chorograph.ground.stage import Progress, silent
from chorograph.shards.write import ShardWriter

#: What `dropped.parquet` holds.
_DROPPED = ("key", "source", "url", "caption", "step", "reason", "score", "kept")


def role(content: str, val_share: float) -> str:
    """Return train or val for a SHA-256: the same bytes are always on the same side, in whatever run."""
    return "val" if int(content[:13], 16) / 16**13 < val_share else "train"


def write_corpus(out: Path, plan: Plan, result: Result, progress: Progress = silent) -> dict[str, int]:
    """Write what stayed as a corpus at `out`: tables, split and shards, all or nothing; returns counts.

    A corpus that is there is replaced once the new one is whole.

    Partition by partition, by key inside: the same result gives the same bytes, whichever engine made it and however
    often it was interrupted. An image has its caption beside it in the shard and in `captions.parquet`.
    """
    output = plan.output
    images: list[pd.DataFrame] = []
    captions: list[pd.DataFrame] = []
    written = nowhere = 0
    total = result.funnel.rows()[-1]["remain"]
    described = [Source(name, licence="each image's own") for name in sorted(result.funnel.read)]
    name = output.name or out.parent.name
    with AreaDraft(out, name, plan.title, described, replace=True) as draft, ExitStack() as stack:
        writers: dict[str, ShardWriter] = {}
        for done, table in zip(result.phases[-1], result.survivors(), strict=True):
            packs = result.packs / done.partition.identity
            of_images: list[dict[str, Any]] = []
            of_captions: list[dict[str, Any]] = []
            for row in table.to_pylist():
                image_id, uri = f"{row['key']:016x}", None
                side = role(row["sha256"] or image_id, output.val_share)
                if row["pack"] is not None:
                    name = f"{slug(output.name or row['source'])}-{side}"
                    if name not in writers:
                        pattern = f"{name}-{{:04d}}.tar"
                        writer = ShardWriter(draft.folder / "shards", pattern, max_samples=output.samples_per_shard)
                        writers[name] = stack.enter_context(writer)
                    uri = f"shards/{writers[name].write(image_id, _members(row, read_packed(packs, row), output))}"
                licence = row["licence"] or "unstated"
                lon, lat = place_of(row["lon"], row["lat"])
                nowhere += lon is None and (row["lon"], row["lat"]) != (None, None)
                of_images.append(
                    {
                        "image_id": image_id, "view": output.view, "uri": uri, "url": row["url"], "lon": lon,
                        "lat": lat, "captured": row["captured"], "source": row["source"], "licence": licence,
                        "sha256": row["sha256"], "role": side,
                    }
                )  # fmt: skip
                if row["caption"] and row["caption"].strip():
                    of_captions.append(
                        {
                            "caption_id": f"{image_id}-0", "image_id": image_id, "rank": 0, "caption": row["caption"],
                            "origin": "web", "score": row["relevance"],
                        }
                    )  # fmt: skip
                written += 1
                if written % 1000 == 0:
                    progress("writing the corpus, rows", written, total)
            images.append(pd.DataFrame(of_images, columns=[*_IMAGES, "role"]))
            captions.append(pd.DataFrame(of_captions, columns=_CAPTIONS))
        stack.close()
        frame = _together(images)
        draft.write("images", frame.drop(columns="role"))
        said = _together(captions)
        draft.write("captions", said)
        if len(frame):
            draft.write_split("train_val", frame[["image_id", "role"]])
    return {
        "images": len(frame),
        "captions": len(said),
        "images with bytes": int(frame["uri"].notna().sum()),
        "val": int((frame["role"] == "val").sum()),
        **({"images whose place was none, left empty": nowhere} if nowhere else {}),
    }


def place_of(lon: float | None, lat: float | None) -> tuple[float | None, float | None]:
    """Return a place in degrees, or nothing where one of the two is missing, not finite or out of range."""
    inside = lon is not None and lat is not None and abs(lon) <= 180 and abs(lat) <= 90
    return (lon, lat) if inside else (None, None)


_IMAGES = ("image_id", "view", "uri", "url", "lon", "lat", "captured", "source", "licence", "sha256")
_CAPTIONS = ("caption_id", "image_id", "rank", "caption", "origin", "score")


def _together(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Join frames, the empty ones left out: they have no types."""
    held = [frame for frame in frames if len(frame)]
    return pd.concat(held, ignore_index=True) if held else frames[0]


def write_dropped(path: Path, result: Result) -> int:
    """Write what was dropped row by row, with step, reason, score and the row that stayed; returns how many."""
    schema = pa.schema([SCHEMA.field(name) for name in _DROPPED])
    rows = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for table in result.dropped():
            writer.write_table(table.select(_DROPPED))
            rows += table.num_rows
    return rows


def statistics(plan: Plan, result: Result) -> dict[str, Any]:
    """Return the funnel by source, reasons by step, and what the captions and images that stayed are like."""
    lengths: list[int] = []
    sides: list[np.ndarray[Any, Any]] = []
    for table in result.survivors():
        lengths += [len(words(caption)) for caption in table["caption"].to_pylist() if caption]
        sized = table.filter(pc.is_valid(table["width"]))
        sides.append(np.stack([sized["width"].to_numpy(), sized["height"].to_numpy()], axis=1))
    size = np.concatenate(sides) if sides else np.empty((0, 2))
    bins = [0, 128, 256, 512, 1024, np.inf]
    widths: Any = np.histogram(size[:, 0], bins)[0] if len(size) else []
    return {
        "title": plan.title,
        "plan": plan.lines(),
        "recipe": plan.resolved,
        "steps": list(result.funnel.steps),
        "funnel": result.funnel.rows(),
        "reasons": result.funnel.reasons(),
        "captions": {
            "number": len(lengths),
            "words_mean": round(float(np.mean(lengths)), 2) if lengths else None,
            "words_max": max(lengths, default=None),
        },
        "images": {
            "number": len(size),
            "width_mean": round(float(size[:, 0].mean()), 2) if len(size) else None,
            "height_mean": round(float(size[:, 1].mean()), 2) if len(size) else None,
            "width_bins": dict(
                zip(("0-128", "128-256", "256-512", "512-1024", "1024+"), map(int, widths), strict=False)
            ),
        },
    }


def _members(row: dict[str, Any], data: bytes, output: Output) -> dict[str, Any]:
    extension = extension_of(data)
    if extension is None:  # what enters the packs is asked for its beginning, so that nothing is kept in vain
        raise ImageError("format not supported", f"{row['key']:016x}")
    name = f"{row['key']:016x}.{extension}"
    if output.rs5m_keys:
        return {"img_name": name, "img_content": data, "caption": row["caption"] or ""}
    about = {column: row[column] for column in _ABOUT if row[column] is not None}
    return {extension: data, "txt": row["caption"] or "", "json": about}


_ABOUT = ("url", "source", "licence", "lon", "lat", "captured", "sha256", "width", "height", "relevance", "detector")
