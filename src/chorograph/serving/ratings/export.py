"""Ratings out of the store: the contract's table, CSV, Label Studio's JSON; and what they say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.area.folder import Area
from chorograph.area.tables import to_arrow
from chorograph.ground.errors import UnknownNameError
from chorograph.metrics.agreement import krippendorff_alpha
from chorograph.serving.ratings.questions import QUESTIONS

FORMATS = ("csv", "parquet", "label-studio")


def summary(ratings: pd.DataFrame) -> dict[str, Any]:
    """Return for each question its mean, spread, number of ratings, and Krippendorff's alpha (ordinal), for JSON."""
    questions: dict[str, Any] = {}
    for question in QUESTIONS:
        rows = ratings[ratings["question"] == question.name]
        values = rows["value"].to_numpy(dtype=np.float64)
        alpha = krippendorff_alpha(by_rater(rows)) if len(rows) else float("nan")
        questions[question.name] = {
            "n": len(rows),
            "mean": float(values.mean()) if len(rows) else None,
            "sd": float(values.std(ddof=1)) if len(rows) > 1 else None,
            "alpha": alpha if np.isfinite(alpha) else None,
            "pairs_with_two_raters": int((rows.groupby(["image_id", "caption_id"]).size() > 1).sum()),
        }
    return {"questions": questions, "raters": int(ratings["rater"].nunique())}


def by_rater(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the marks of one question as (pairs, raters), NaN where a rater gave none."""
    table = rows.pivot_table(index=["image_id", "caption_id"], columns="rater", values="value", aggfunc="last")
    return table.to_numpy(dtype=np.float64)


def encode(ratings: pd.DataFrame, area: Area, kind: str) -> bytes:
    """Return ratings as a file of that kind; `UnknownNameError` for another kind."""
    if kind == "csv":
        return ratings.to_csv(index=False).encode()
    if kind == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(to_arrow("ratings", ratings), sink, compression="zstd")
        return bytes(sink.getvalue())
    if kind == "label-studio":
        return json.dumps(label_studio(ratings, area), ensure_ascii=False, indent=1).encode()
    raise UnknownNameError.of("format of ratings", kind, FORMATS)


def label_studio(ratings: pd.DataFrame, area: Area) -> list[dict[str, Any]]:
    """Return ratings as Label Studio imports them: a task a pair, an annotation a rater, a rating a question."""
    captions = area.captions.set_index("caption_id")["caption"]
    uris = area.images.set_index("image_id")["uri"]
    tasks = []
    for (image_id, caption_id), rows in ratings.groupby(["image_id", "caption_id"], sort=True):
        annotations = [_annotation(str(rater), own) for rater, own in rows.groupby("rater", sort=True)]
        data = {
            "image": str(uris.get(image_id, "")),
            "text": str(captions.get(caption_id, "")),
            "image_id": image_id,
            "caption_id": caption_id,
        }
        tasks.append({"data": data, "annotations": annotations})
    return tasks


def read_label_studio(tasks: list[dict[str, Any]]) -> pd.DataFrame:
    """Return what `label_studio` wrote as image_id, caption_id, rater, question, value."""
    return pd.DataFrame(
        [
            {
                "image_id": task["data"]["image_id"],
                "caption_id": task["data"]["caption_id"],
                "rater": annotation["completed_by"]["email"],
                "question": result["from_name"],
                "value": float(result["value"]["rating"]),
            }
            for task in tasks
            for annotation in task["annotations"]
            for result in annotation["result"]
        ],
        columns=["image_id", "caption_id", "rater", "question", "value"],
    )


def _annotation(rater: str, own: pd.DataFrame) -> dict[str, Any]:
    results = [
        {"from_name": question, "to_name": "image", "type": "rating", "value": {"rating": int(mark)}}
        for question, mark in zip(own["question"], own["value"], strict=True)
    ]
    return {"completed_by": {"email": rater}, "result": results}
