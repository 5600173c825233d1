"""How right the funnel's steps are, where the truth is known: a drawn web, real images with planted copies, ratings.

`python benchmarks/curate_truth.py [DATA]` writes results/curate_truth.json. DATA is a folder with rsicd, king-county
and rs5m (public data, not part of the repository); without it, only the drawn web is judged.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.stats import spearmanr

from bad_server import bad_server
from chorograph.area.folder import Area
from chorograph.area.images import perceptual_hash, read_rgb
from chorograph.curation.steps.captions import CaptionRules, caption_fault, caption_score, repetition, words
from chorograph.curation.steps.duplicates import EmbeddingDuplicates, HashDuplicates, pack_vector
from chorograph.curation.steps.validity import inspect_image, orientations
from chorograph.ground.stage import silent
from chorograph.models.encoders.registry import load_encoder
from chorograph.verbs.curate import fit_detector
from chorograph.verbs.curate.run import Settings, curate_with
from synthetic_web import draw_aerial, draw_portrait, make_web, precision_and_recall

RESULT = Path(__file__).parent / "results" / "curate_truth.json"
MODEL = "efficientnet-lite0"
RECIPE = """
columns: {{lon: lon, lat: lat, captured: captured}}
steps:
- keywords
- captions: {{languages: [en]}}
- url_duplicates
- fetch: {{allow: [127.0.0.2/32], host_pause_s: 0, per_host: 32, wait_s: 0.1}}
- valid_images: {{turned: true}}
- byte_duplicates
- hash_duplicates: {{distance: 6, turned: true}}
- encode: {{model: {model}}}
- embedding_duplicates: {{similarity: 0.99}}
- detector: {{head: '{head}', least: 0.5}}
"""


def drawn_web(place: Path) -> dict[str, Any]:
    """Run the whole funnel over a drawn web; precision and recall of each step, and what became of each kind."""
    web = make_web(originals=400, each=40)
    generator = np.random.default_rng(12345)
    for name, draw in (("aerial", draw_aerial), ("other", draw_portrait)):
        (place / name).mkdir()
        for number in range(100):
            draw(generator).save(place / name / f"{number}.jpg", quality=85)
    fitted = fit_detector.Settings(positive=place / "aerial", negative=place / "other", out=place / "head", model=MODEL)
    facts = fit_detector.fit_with(fitted, silent, load_encoder).manifest["facts"]
    with bad_server(pictures=web.pictures()) as server:
        given = []
        for source in web.sources:
            pq.write_table(web.table(source, server.base), place / f"{source}.parquet", row_group_size=200)
            given.append(f"{source}={place / source}.parquet")
        (place / "recipe.yaml").write_text(RECIPE.format(model=MODEL, head=place / "head"))
        config = Settings(recipe=str(place / "recipe.yaml"), in_=given, out=place / "out", partition_rows=400)
        curate_with(config, silent, load_encoder, lambda line: None)
        corpus = Area.open(place / "out" / "corpus")
        kept = corpus.images.merge(corpus.captions, on="image_id")
        dropped = pd.read_parquet(place / "out" / "dropped.parquet")
        for frame in (kept, dropped):
            frame["url"] = frame["url"].str.removeprefix(server.base)
    scores = precision_and_recall(web, dropped, kept).round(4)
    named = web.rows[web.rows["kind"] != "same row"][["source", "url", "caption", "kind"]]
    left = kept.merge(named, on=["source", "url", "caption"])["kind"].value_counts()
    planted = web.rows["kind"].value_counts()
    return {
        "rows": len(web.rows),
        "detector, held-out accuracy": round(facts["test_accuracy"], 4),
        "steps": scores.to_dict("records"),
        "left of planted": {kind: f"{left.get(kind, 0)} of {number}" for kind, number in planted.items()},
    }


# Real images with planted copies --------------------------------------------------------------------------------------


def _coded(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _crop(share: float) -> Callable[[Image.Image], bytes]:
    def crop(image: Image.Image) -> bytes:
        edge = round((1 - share) / 2 * image.width)
        return _coded(image.crop((edge, edge, image.width - edge, image.height - edge)))

    return crop


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "recompressed to quality 40": lambda image: _coded(image, 40),
    "half the size": lambda image: _coded(image.resize((image.width // 2, image.height // 2))),
    "cropped to 95 %": _crop(0.95),
    "cropped to 80 %": _crop(0.8),
    "turned 90 degrees": lambda image: _coded(image.transpose(Image.Transpose.ROTATE_90)),
    "turned 5 degrees": lambda image: _coded(image.rotate(5, Image.Resampling.BILINEAR, fillcolor=(0, 0, 0))),
}


def planted(files: Sequence[Path], number: int = 400) -> dict[str, Any]:
    """Plant copies of each kind of `number` of the images; say what each way of looking finds, and what it takes."""
    originals = [file.read_bytes() for file in files]
    chosen = np.random.default_rng(0).choice(len(files), number, replace=False)
    pictures = [Image.open(io.BytesIO(originals[i])).convert("RGB") for i in chosen]
    copies = {kind: [make(picture) for picture in pictures] for kind, make in COPIES.items()}
    hashes = hashed(originals)
    copied = {kind: hashed(coded) for kind, coded in copies.items()}
    eight = np.array([orientations(inspect_image(data).small[None])[0] for data in copies["turned 90 degrees"]])
    result: dict[str, Any] = {"images": len(files), "copies of each kind": number}
    for distance in (4, 6, 8, 10):
        taken = HashDuplicates(distance=distance).decide(undated(len(files), phash=pa.array(hashes)))
        found: dict[str, Any] = {"originals dropped as each other's copies": len(taken.rows)}
        for kind, values in copied.items():
            found[kind] = share(np.bitwise_count(hashes[chosen] ^ values) <= distance)
        nearest = np.bitwise_count(eight ^ hashes[chosen][:, None]).min(axis=1)
        found["turned 90 degrees, where turned: true"] = share(nearest <= distance)
        result[f"hashes within {distance} bits"] = found
    vectors = encoded(originals[:1500])
    few = [place for place, i in enumerate(chosen) if i < len(vectors)][:150]
    base = vectors[chosen[few]]
    similar = {kind: (base * encoded([coded[place] for place in few])).sum(axis=1) for kind, coded in copies.items()}
    packed = pa.array([pack_vector(vector) for vector in vectors])
    for similarity in (0.9, 0.95, 0.97, 0.98, 0.99):
        taken = EmbeddingDuplicates(similarity=similarity).decide(undated(len(vectors), vector=packed))
        found = {f"originals of {len(vectors)} dropped as each other's copies": len(taken.rows)}
        found |= {kind: share(values >= similarity) for kind, values in similar.items()}
        result[f"{MODEL}, cosine {similarity}"] = found
    return result


def hashed(images: Sequence[bytes]) -> Any:
    return np.array([perceptual_hash(read_rgb(data)) for data in images], dtype=np.uint64)


def encoded(images: Sequence[bytes]) -> Any:
    encoder = load_encoder(MODEL)
    batches = [images[start : start + 64] for start in range(0, len(images), 64)]
    vectors = np.concatenate([encoder.encode([read_rgb(data) for data in batch]) for batch in batches])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def undated(rows: int, **columns: pa.Array) -> pa.Table:
    """Return what a step of duplicates is given, without places and days."""
    empty = {"lon": pa.nulls(rows, pa.float64()), "lat": pa.nulls(rows, pa.float64())}
    keys = pa.array(np.arange(1, rows + 1, dtype=np.uint64))
    return pa.table(
        {"key": keys, "source": pa.array(["a"] * rows), **empty, "captured": pa.nulls(rows, pa.string()), **columns}
    )


def share(found: Any) -> float:
    return round(float(np.mean(found)), 3)


# Captions and people --------------------------------------------------------------------------------------------------


def captions(folder: Path) -> dict[str, Any]:
    """Put RS3's captions through the rules, and our scores beside what people said of some of them."""
    with (folder / "rs3_dump.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["caption"] for row in csv.DictReader(file)]
    faults = Counter(fault.reason for text in texts if (fault := caption_fault(text, CaptionRules(languages=("en",)))))
    rated = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("ratings_*.csv"))])
    rated["set"] = rated["image_path"].str.extract(r"static/([a-z]+)_", expand=False)
    ours = {
        "caption_score": rated["description"].map(caption_score),
        "repetition": rated["description"].map(repetition),
        "words": rated["description"].map(lambda text: len(words(text))),
    }
    correlation = {}
    for question in ("relevance_detail", "hallucination", "fluency"):
        answered = rated[question].notna().to_numpy()
        for name, score in ours.items():
            rho, p = spearmanr(score[answered], rated.loc[answered, question])
            correlation[f"{name}, {question}"] = [round(float(rho), 3), float(f"{p:.1g}")]
    within = {}
    for name, group in rated.groupby("set"):
        rho, p = spearmanr(group["description"].map(caption_score), group["relevance_detail"])
        within[f"caption_score, relevance_detail, {name} ({len(group)})"] = [round(float(rho), 3), float(f"{p:.1g}")]
    return {
        "captions": len(texts),
        "kept": len(texts) - faults.total(),
        "dropped": dict(faults.most_common()),
        "ratings": len(rated),
        "rank correlation (rho, p)": correlation,
        "within a set": within,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        result: dict[str, Any] = {"drawn web": drawn_web(Path(place))}
    if len(sys.argv) > 1:
        data = Path(sys.argv[1])
        for name, pattern in (("rsicd", "rsicd/images/*"), ("king-county", "king-county/tiles/*.jpg")):
            result[f"planted in {name}"] = planted(sorted(data.glob(pattern))[:3000])
        result["rs5m captions"] = captions(data / "rs5m")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
