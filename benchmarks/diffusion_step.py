"""A step of `pretrain --objective diffusion` beside diffusers' plain loop: the same network, batch and optimiser.

    python benchmarks/diffusion_step.py --device cuda [--size full] [--batch-size 8] [--rounds 10]

The network is that of Stable Diffusion 2.1 (`full`, 866 million parameters, latents of 64 x 64), or one of a few
thousand (`tiny`). Weights are random: their values do not change the time. Both sides are given latents, noise and
words' hidden states, and take forward pass, loss, backward pass and AdamW in turn within the run, in bfloat16 autocast
on CUDA. Writes results/diffusion_step.json (or diffusion_step_cuda.json).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

RESULTS = Path(__file__).with_name("results")


def network(size: str) -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    if size == "full":
        return UNet2DConditionModel(
            sample_size=64, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=16, attention_head_dim=2,
        norm_num_groups=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=("full", "tiny"), default="tiny")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()

    from chorograph.pretraining.loop.objective import Objective
    from chorograph.pretraining.loop.optimiser import make_optimiser
    from chorograph.pretraining.loop.step import Step
    from chorograph.pretraining.objectives.diffusion import Denoiser

    device = torch.device(asked.device)
    unet = network(asked.size).to(device).train()
    side, width = int(unet.config.sample_size), int(unet.config.cross_attention_dim)
    shape = (asked.batch_size, 4, side, side)
    noisy, wanted = (torch.randn(shape, device=device) for _ in range(2))
    times = torch.randint(0, 1000, (asked.batch_size,), device=device)
    words = torch.randn(asked.batch_size, 77, width, device=device)
    weight = torch.ones(asked.batch_size, device=device)
    optimiser = make_optimiser(unet.parameters(), 1e-5, 0.01, device)
    precision = torch.bfloat16 if device.type == "cuda" else None

    objective: Any = Objective()
    objective.module, objective.weights, objective.contrasts = Denoiser(unet), {"denoising": 1.0}, False
    objective.amounts = lambda portion: {"denoising": len(portion[0])}
    step = Step(objective, objective.module, precision=precision)
    batch: Any = SimpleNamespace(place=(0, 0))

    def ours() -> float:
        return step.backward(batch, [(noisy, times, words, {}, wanted, weight)])["loss"]

    def theirs() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision is not None):
            found = unet(noisy, times, encoder_hidden_states=words).sample
        loss = torch.nn.functional.mse_loss(found.float(), wanted)
        loss.backward()
        return float(loss.detach())

    seconds: dict[str, list[float]] = {"ours": [], "diffusers": []}
    losses: dict[str, float] = {}
    for number in range(asked.rounds + 1):
        for name, side_ in (("ours", ours), ("diffusers", theirs)):
            start = time.perf_counter()
            optimiser.zero_grad(set_to_none=True)
            loss = side_()
            losses.setdefault(name, loss)
            if number:
                optimiser.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round makes ready
                seconds[name].append(time.perf_counter() - start)
    found: dict[str, Any] = {
        "machine": torch.cuda.get_device_name()
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "batch_size": asked.batch_size,
        "first_loss": losses,
        "seconds": {name: [round(value, 4) for value in taken] for name, taken in seconds.items()},
        "images_per_s": {name: round(asked.batch_size / min(taken), 2) for name, taken in seconds.items()},
        "ratio": round(min(seconds["diffusers"]) / min(seconds["ours"]), 3),
    }
    if device.type == "cuda":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    RESULTS.mkdir(exist_ok=True)
    name = "diffusion_step_cuda" if device.type == "cuda" else "diffusion_step"
    if asked.size == "tiny":
        name += "_tiny"
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
