"""Captions and vectors by a plan on Ray are those of the loop: the verbs themselves, on a Ray of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_endpoint import make_area, write

from chat_server import serving
from chorograph.area.embeddings import Embeddings
from chorograph.embedding.run import embed_images
from chorograph.ground.stage import Ledger

pytest.importorskip("ray", reason="needs chorograph[curate]")

#: A process of its own: Daft takes one engine a process. Ray is started once for both verbs.
DRIVER = """
import json, sys
from pathlib import Path
from chorograph.area.folder import Area
from chorograph.curation.run.engine import engine
from chorograph.ground.stage import silent
from chorograph.verbs import caption, embed
area, url = Path(sys.argv[1]), sys.argv[2]
with engine("ray"):
    print("Ray is up", flush=True)
    embed.run(embed.Settings(area=area, model="colour", engine="ray"), silent)
    asked = caption.Settings(
        area=area, captioner=f"openai:tiny@{url}", per_image=1, wait_s=0.01, concurrency=4, engine="ray"
    )
    print(json.dumps(caption.run(asked, silent).manifest["counts"]), flush=True)
"""


@pytest.mark.slow
def test_the_plan_on_ray_captions_and_encodes_as_the_loop_does(tmp_path: Path) -> None:
    loop, planned = make_area(tmp_path / "loop"), make_area(tmp_path / "plan")
    before = embed_images(loop, "colour", Ledger())
    with serving() as server:
        write(loop, server)
        server.told.clear()
        command = [sys.executable, "-c", DRIVER, str(planned.path), server.url]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired as expired:
            if b"Ray is up" in (expired.stdout or b""):
                raise
            pytest.skip("Ray does not start on this machine")
        if "Ray does not start here" in done.stderr:
            pytest.skip(f"Ray does not start on this machine: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
        assert set(server.told.values()) == {1}  # nothing is asked twice
    assert json.loads(done.stdout.splitlines()[-1])["captions"] == 24
    after = Embeddings.read(planned.embeddings_path("colour"))
    np.testing.assert_array_equal(after.image_ids, before.image_ids)
    np.testing.assert_allclose(after.vectors, before.vectors, atol=1e-5)
    pd.testing.assert_frame_equal(planned.captions, loop.captions)
