"""How well the relevance of a trained model tells pictures from above from pictures of something else.

`python benchmarks/curate_relevance.py IMAGES CHECKPOINT…` writes results/curate_relevance.json. IMAGES is a folder of
pictures from above (RSICD; public data, not part of the repository), CHECKPOINT a folder of `chorograph pretrain` (or
any encoder with a text tower). What is not from above is drawn (faces before a wall), as are other aerial pictures.
Images that a checkpoint was trained on are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from chorograph.area.images import read_rgb
from chorograph.curation.steps.detector import fit_detector
from chorograph.curation.steps.encoding import TEMPLATES, relevance
from chorograph.ground.files import sha256_bytes
from chorograph.models.encoders.registry import images_seen, load_image_text_encoder
from synthetic_web import draw_aerial, draw_portrait

RESULT = Path(__file__).parent / "results" / "curate_relevance.json"
NUMBER = 500


def auc(above: Any, other: Any) -> float:
    truth = np.repeat([1, 0], [len(above), len(other)])
    return round(float(roc_auc_score(truth, np.concatenate([above, other]))), 4)


def measure(folder: Path, name: str) -> dict[str, Any]:
    encoder = load_image_text_encoder(name)
    seen = images_seen(name)
    unseen = (data for path in sorted(folder.iterdir()) if sha256_bytes(data := path.read_bytes()) not in seen)
    real = [read_rgb(data) for _, data in zip(range(NUMBER), unseen, strict=False)]
    generator = np.random.default_rng(0)
    faces = [np.asarray(draw_portrait(generator)) for _ in range(NUMBER)]
    aerial = [np.asarray(draw_aerial(generator)) for _ in range(NUMBER)]
    texts = encoder.encode_texts(TEMPLATES)
    vectors = {"real": encoder.encode(real), "faces": encoder.encode(faces), "aerial": encoder.encode(aerial)}
    scores = {kind: relevance(found, texts) for kind, found in vectors.items()}
    _, fitted = fit_detector(vectors["real"], vectors["faces"], encoder.name, encoder.fingerprint)
    return {
        "images of IMAGES that it never saw": len(real),
        "relevance, mean": {kind: round(float(found.mean()), 3) for kind, found in scores.items()},
        "AUC of relevance, real against faces": auc(scores["real"], scores["faces"]),
        "AUC of relevance, drawn aerial against faces": auc(scores["aerial"], scores["faces"]),
        "faces below the lowest tenth of real": round(
            float((scores["faces"] < np.quantile(scores["real"], 0.1)).mean()), 3
        ),
        "detector, held-out accuracy": fitted["test_accuracy"],
    }


def main() -> None:
    folder, *names = sys.argv[1:]
    result = {Path(name).name: measure(Path(folder), name) for name in names}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
