"""Captioning through an endpoint: `chorograph caption` beside the bare client, ten thousand images.

    python benchmarks/captioning.py [--number 10000] [--concurrency 16] [--rounds 2]

A server of our own, in a process of its own, answers each request after a little while. The bare client is openai's
AsyncOpenAI with a semaphore: it reads each file, sends it and keeps the answer in a list. Ours reads the same files and
also counts attempts, holds a budget, and writes every answer to the book before it goes on. Sides take turns within the
run. Rates go by the processor time of the client's process, so that other work on the machine does not decide them; by
the clock they are printed too. Writes results/captioning.json.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESULTS = Path(__file__).with_name("results")
SIDES = ("ours", "bare")


def serve() -> None:
    """Answer on a port that is printed, until killed."""
    from aiohttp import web

    answer = json.dumps({
        "choices": [{"message": {"content": "Grey roofs beside a road."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
    })  # fmt: skip

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(0.005)
        return web.Response(text=answer, content_type="application/json")

    async def start() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(site._server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(start())


def build(folder: Path, number: int) -> None:
    """Write an area of many small images."""
    from chorograph.area.draft import AreaDraft

    rng = np.random.default_rng(0)
    with AreaDraft(folder, "many") as draft:
        ids = [f"i{row:06d}" for row in range(number)]
        held = [draft.write_image(name, rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for name in ids]
        uris, digests = zip(*held, strict=True)
        frame = pd.DataFrame({"image_id": ids, "uri": uris, "sha256": digests})
        draft.write("images", frame.assign(view="satellite", source="made", licence="CC0"))


def ours(folder: Path, url: str, concurrency: int) -> int:
    """Caption the area as the verb does, in plain words; returns the number of captions."""
    from chorograph.area.folder import Area
    from chorograph.captioning.run.area import caption_area
    from chorograph.captioning.settings import CaptionSettings
    from chorograph.ground.stage import Ledger

    asked = CaptionSettings(
        captioner=f"openai:tiny@{url}", per_image=1, concurrency=concurrency, structured=False, max_requests=10**9
    )
    return len(caption_area(Area.open(folder), asked, Ledger())[0])


def bare(folder: Path, url: str, concurrency: int) -> int:
    """Ask for the same captions with the client alone."""
    import openai

    from chorograph.captioning.prompts import read_prompt

    prompt = read_prompt("satellite-1")
    paths = sorted((folder / "images").rglob("*.jpg"))

    async def ask(client: Any, gate: asyncio.Semaphore, path: Path) -> str:
        async with gate:
            image = f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
            said: list[Any] = [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": [{"type": "text", "text": prompt.text},
                                             {"type": "image_url", "image_url": {"url": image}}]},
            ]  # fmt: skip
            answer = await client.chat.completions.create(model="tiny", messages=said, max_tokens=prompt.max_tokens)
            return str(answer.choices[0].message.content)

    async def run() -> list[str]:
        gate = asyncio.Semaphore(concurrency)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, gate, path) for path in paths))

    return len(asyncio.run(run()))


def measure(side: str, folder: Path, url: str, concurrency: int) -> dict[str, float]:
    """Run a side in a process of its own; returns images a second of its processor, and by the clock."""
    code = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--url", url]
    done = subprocess.run([*code, "--concurrency", str(concurrency)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def one_side(side: str, folder: Path, url: str, concurrency: int) -> None:
    import openai  # noqa: F401  # imported before the clock starts: both sides need it

    run = {"ours": ours, "bare": bare}[side]
    wall, cpu = time.perf_counter(), time.process_time()
    number = run(folder, url, concurrency)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"number": number, "per_cpu_s": number / cpu, "per_wall_s": number / wall}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", choices=(*SIDES, "serve"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url")
    args = parser.parse_args()
    if args.side == "serve":
        return serve()
    if args.side:
        return one_side(args.side, args.folder, args.url, args.concurrency)
    with tempfile.TemporaryDirectory() as temporary:
        server = subprocess.Popen([sys.executable, __file__, "--side", "serve"], stdout=subprocess.PIPE, text=True)
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            url = f"http://127.0.0.1:{port}/v1"
            found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            for number in range(args.rounds):
                for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                    folder = Path(temporary) / f"{side}-{number}"
                    build(folder, args.number)
                    found[side].append(measure(side, folder, url, args.concurrency))
                    if found[side][-1]["number"] != args.number:
                        raise SystemExit(f"{side} lost captions: {found[side][-1]}")
        finally:
            server.kill()
    rates = {side: {kind: statistics.median(one[kind] for one in several) for kind in ("per_cpu_s", "per_wall_s")}
             for side, several in found.items()}  # fmt: skip
    result = {
        "images": args.number,
        "concurrency": args.concurrency,
        "rounds": args.rounds,
        **{f"{side}, images a second of its processor": round(rates[side]["per_cpu_s"], 1) for side in SIDES},
        **{f"{side}, images a second": round(rates[side]["per_wall_s"], 1) for side in SIDES},
        "ours over bare, by processor": round(rates["ours"]["per_cpu_s"] / rates["bare"]["per_cpu_s"], 3),
        "ours over bare, by the clock": round(rates["ours"]["per_wall_s"] / rates["bare"]["per_wall_s"], 3),
    }
    print(json.dumps(result, indent=2))
    if args.number >= 10_000:
        (RESULTS / "captioning.json").write_text(json.dumps(result, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
