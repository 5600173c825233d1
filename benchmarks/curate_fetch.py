"""A thousand images from a local server that answers slowly and misbehaves in every way: all accounted for by class.

`python benchmarks/curate_fetch.py` writes results/curate_fetch.json.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from collections import Counter
from pathlib import Path

from bad_server import KINDS, bad_server, small_image
from chorograph.curation.steps.fetch import Fetch
from chorograph.ground.fetching.fetcher import Fetched, fetch_all

RESULT = Path(__file__).parent / "results" / "curate_fetch.json"
TOTAL = 1000
BAD = 20


def main() -> None:
    bad = [kind for kind, reason in KINDS.items() if reason is not None]
    wanted = [(kind, number) for kind in (*bad, "flaky", "redirect") for number in range(BAD)]
    wanted += [("slow", number) for number in range(TOTAL - len(wanted))]
    rules = Fetch(
        connections=64, per_host=64, host_pause_s=0, connect_s=2, idle_s=2, try_s=4, sample_s=12, tries=2, wait_s=0.2,
        max_bytes=2_000_000, allow=("127.0.0.2/32",),
    )  # fmt: skip
    found: dict[int, Fetched] = {}
    with bad_server(slow_s=0.5) as server:
        urls = [server.url(kind, number) for kind, number in wanted]
        begun = time.perf_counter()
        fetch_all(urls, rules, found.__setitem__, rules.wanted)
        seconds = time.perf_counter() - begun
        asked = sum(server.asked.values())
    wrong = [
        (kind, found[place].reason)
        for place, (kind, number) in enumerate(wanted)
        if found[place].reason != KINDS[kind] or (KINDS[kind] is None and found[place].data != small_image(number))
    ]
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "samples": len(wanted),
        "answers delayed by, seconds": 0.5,
        "seconds": round(seconds, 1),
        "requests": asked,
        "peak GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "accounted for": len(found),
        "in the wrong class": Counter(f"{kind} as {reason}" for kind, reason in wrong),
        "by class": dict(Counter(fetched.reason or "fetched" for fetched in found.values()).most_common()),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
