"""Our CoCa training step against open_clip's own: forward, loss, backward and AdamW on the same weights and batch.

    flock LOCK env OMP_NUM_THREADS=2 python benchmarks/coca_step.py
    python benchmarks/coca_step.py --device cuda --model coca_ViT-L-14 --batch-size 128 --warm-up 5 --rounds 20

open_clip's side is its classes, its `CoCaLoss` and `torch.optim.AdamW` as its training script makes them (its
`text_projection`, which it leaves uninitialised, is drawn as ours). Captions have 18 words. Two processes, ours and
open_clip's, take one step in turn, in float32 and then with bfloat16 autocast, so that whatever else the machine does
slows both; rates are of the fastest step of each, with all steps beside them. Memory is the peak of a step (resident
memory of the process; on CUDA, of the allocator) above weights, gradients and optimiser state and, on a CPU, above what
the process held before there was a model. Loss and gradients of the first step are compared in float32. Writes
benchmarks/results/coca_step.json (or coca_step_cuda.json).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

RESULTS = Path(__file__).parent / "results"
WORDS = (
    *("several", "many", "green", "red", "white", "grey", "large", "small", "dense", "sparse", "straight", "curved"),
    *("buildings", "trees", "roads", "houses", "cars", "planes", "ships", "ponds", "fields", "bridges", "railway"),
    *("beside", "near", "around", "between", "along", "with", "river"),
)
#: Dense bfloat16 FLOP/s by the name that torch gives the chip, as its maker states them.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}


def config_of(name: str) -> dict[str, Any]:
    """The configuration of an architecture; `tiny` is coca_ViT-B-32 with little in it, to try this script."""
    from chorograph.models.coca.towers import architecture

    config = architecture("coca_ViT-B-32" if name == "tiny" else name)
    if name == "tiny":
        config["vision_cfg"] |= {"image_size": 64, "layers": 1, "width": 64}
        config["text_cfg"] |= {"layers": 1}
        config["multimodal_cfg"] |= {"layers": 1}
    return config


def batch(number: int, config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Images and the token ids of captions of 18 words, at full length; those of a small vocabulary wrap around."""
    import open_clip

    generator = torch.Generator().manual_seed(0)
    side, text = config["vision_cfg"]["image_size"], config["text_cfg"]
    images = torch.randn(number, 3, side, side, generator=generator)
    drawn = torch.randint(0, len(WORDS), (number, 18), generator=generator).tolist()
    captions = [" ".join(WORDS[word] for word in row) for row in drawn]
    tokens = open_clip.get_tokenizer("coca_ViT-B-32")(captions)[:, : text["context_length"]]
    return images, torch.where(tokens > 0, (tokens - 1) % (text["vocab_size"] - 1) + 1, 0)


def peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of resident memory begins anew


def serve(asked: argparse.Namespace) -> None:
    """Make ready, then take one step for each precision that a line of the standard input names."""
    from open_clip.loss import CoCaLoss

    from chorograph.models.coca.towers import build, trim
    from chorograph.pretraining.loop.optimiser import make_optimiser
    from chorograph.pretraining.loop.parallel import blocks
    from chorograph.pretraining.loop.step import Step
    from chorograph.pretraining.objectives.pairs import PAIRINGS, PairObjective

    ours, device = asked.side == "ours", torch.device(asked.device)
    images, tokens = (tensor.to(device) for tensor in batch(asked.batch_size, config_of(asked.model)))
    before = 0 if asked.device == "cuda" else peak_bytes(asked.device)
    model: Any = build(config_of(asked.model), 0, lean=ours).to(device).train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if ours:
        optimiser = make_optimiser(model.parameters(), 1e-5, 0.05, device)
        loaded: Any = SimpleNamespace(model=model, architecture=asked.model)
        objective = PairObjective(PAIRINGS["coca"], loaded)
        anywhere: Any = SimpleNamespace(place=(0, 0))
        if asked.compile:
            for block in blocks(model):
                block.compile(dynamic=True)
    else:
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05)
        loss_of = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=1.0)

    def backward(precision: str) -> float:
        dtype = torch.bfloat16 if precision == "bf16" else None
        if ours:
            step = Step(objective, objective.module, precision=dtype)
            return step.backward(anywhere, [(images, trim(model, tokens))])["loss"]
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype is not None):
            losses = loss_of(**model(images, tokens), output_dict=True)
            loss = sum(losses.values())
        loss.backward()
        return float(loss.detach())

    first = backward("fp32")
    names = ("visual.conv1.weight", "text.token_embedding.weight", "text_decoder.text_projection", "logit_scale",
             "text_decoder.cross_attn.0.ln_1_kv.weight", "visual.attn_pool.query")  # fmt: skip
    answer: dict[str, Any] = {
        "loss": first,
        "gradients": {name: model.get_parameter(name).grad.double().norm().item() for name in names},
        "parameters": parameters,
        "real_length": int((tokens != 0).sum(1).max()),
        "device": torch.cuda.get_device_name()
        if asked.device == "cuda"
        else platform.processor() or platform.machine(),
    }
    optimiser.step()
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        forget_peak(asked.device)
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        backward(line.strip())
        optimiser.step()
        if asked.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        above = peak_bytes(asked.device) - before - 16 * parameters
        print(json.dumps({"seconds": seconds, "above_bytes": above}), flush=True)


def flops_a_pair(name: str, length: int) -> float:
    """Return the multiply-add FLOPs (two each) that a step needs for a pair without padding, forward and backward.

    Products of weights and activations, and attention; three times the forward ones. Nothing is counted that is
    computed in vain or twice.
    """
    config = config_of(name)
    vision, text, dim = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    width, patches = vision["width"], (224 // vision["patch_size"]) ** 2
    tokens, queries = patches + 1, 256

    def block(wide: int, rows: int) -> float:
        return rows * 12 * wide**2 + 2 * rows * rows * wide

    image = patches * 3 * vision["patch_size"] ** 2 * width + vision["layers"] * block(width, tokens)
    pool = 2 * tokens * width * dim + 2 * queries * tokens * dim + queries * dim * dim + dim * dim
    wide, written = text["width"], length - 1
    texts = text["layers"] * block(wide, length + 1)
    cross = 2 * queries * wide**2 + written * 10 * wide**2 + 2 * written * queries * wide
    decoder = config["multimodal_cfg"]["layers"] * (block(wide, written) + cross)
    return 2 * 3 * (image + pool + texts + decoder + written * wide * text["vocab_size"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="coca_ViT-B-32")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="steps of each kind that are timed")
    parser.add_argument("--warm-up", type=int, default=0, help="rounds before those")
    parser.add_argument("--compile", action="store_true", help="compile our blocks")
    parser.add_argument("--side", choices=("ours", "open_clip"), help="(internal) be one of the two processes")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.side:
        serve(asked)
        return
    seconds: dict[str, list[float]] = {}
    above: dict[str, int] = {}
    with ExitStack() as stack:
        processes, first = {}, {}
        for side in ("open_clip", "ours"):
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            processes[side], first[side] = process, json.loads(process.stdout.readline())
        for number in range(-asked.warm_up, asked.rounds):
            for precision in ("fp32", "bf16"):
                for side, process in processes.items():
                    process.stdin.write(f"{precision}\n")
                    told = json.loads(process.stdout.readline())
                    if number >= 0:
                        name = side if precision == "fp32" else f"{side}_bf16"
                        seconds.setdefault(name, []).append(round(told["seconds"], 3))
                        above[name] = max(above.get(name, 0), told["above_bytes"])
        for process in processes.values():
            process.stdin.close()
    pairs = asked.batch_size
    best = {name: round(pairs / min(found), 3) for name, found in seconds.items()}
    one, other = first["ours"], first["open_clip"]
    peer = "open_clip_bf16" if asked.device == "cuda" else "open_clip"
    found: dict[str, Any] = {
        "model": asked.model,
        "parameters": one["parameters"],
        "batch_size": pairs,
        "longest_caption_tokens": one["real_length"],
        "samples_per_s": best,
        "seconds_a_step": seconds,
        "ratio_fp32": round(best["ours"] / best["open_clip"], 2),
        "ratio_bf16_to_their_fp32": round(best["ours_bf16"] / best["open_clip"], 2),
        "ratio_bf16_to_their_bf16": round(best["ours_bf16"] / best["open_clip_bf16"], 2),
        "ratio": round(best["ours_bf16"] / best[peer], 2),
        "memory_above_weights_gradients_optimiser_mib": {name: round(value / 2**20) for name, value in above.items()},
        "memory_ratio_fp32": round(above["ours"] / above["open_clip"], 3),
        "memory_ratio_bf16": round(above["ours_bf16"] / above["open_clip_bf16"], 3),
        "loss": {"ours": one["loss"], "open_clip": other["loss"]},
        "loss_relative_difference": abs(one["loss"] / other["loss"] - 1),
        "gradient_norm_relative_difference": max(
            abs(one["gradients"][name] / other["gradients"][name] - 1) for name in one["gradients"]
        ),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "machine": one["device"],
        "torch": torch.__version__,
    }
    if asked.device == "cuda":
        peak = next((value for name, value in PEAKS.items() if name in one["device"]), None)
        needed = flops_a_pair(asked.model, one["real_length"])
        found["flops_a_pair"] = needed
        found["share_of_peak_bf16"] = round(best["ours_bf16"] * needed / peak, 3) if peak else None
    RESULTS.mkdir(exist_ok=True)
    default = RESULTS / ("coca_step_cuda.json" if asked.device == "cuda" else "coca_step.json")
    (asked.out or default).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
