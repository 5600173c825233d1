from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_endpoint import make_area, write

from chat_server import serving
from chorograph.area.folder import Area
from chorograph.captioning.run import plan
from chorograph.captioning.run.book import AnswerBook
from chorograph.embedding import plan as embedding_plan
from chorograph.embedding.run import embed_images
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.stage import Ledger


def test_the_plan_captions_as_the_loop_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.answer_by_plan, "__kwdefaults__", {**plan.answer_by_plan.__kwdefaults__, "partition": 10})
    loop, planned = make_area(tmp_path / "loop"), make_area(tmp_path / "plan")
    with serving() as server:
        write(loop, server)
        server.told.clear()
        done = write(planned, server, engine="native")
        assert set(server.told.values()) == {1}
        assert done.manifest["counts"]["captions"] == 24
        pd.testing.assert_frame_equal(planned.captions, loop.captions)
        assert write(planned, server).skipped  # the engine decides no word
        with pytest.raises(SettingError, match="--engine"):
            write(planned, server, engine="native", max_requests=3, per_image=2)


def test_a_partition_that_was_answered_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.answer_by_plan, "__kwdefaults__", {**plan.answer_by_plan.__kwdefaults__, "partition": 10})
    area = make_area(tmp_path / "a")
    answered = AnswerBook.answered
    seen: list[str] = []

    def die(self: AnswerBook, request: Any, answer: Any) -> None:
        if len(seen) == 12:
            raise KeyboardInterrupt
        seen.append(request.image_id)
        answered(self, request, answer)

    with serving() as server:
        monkeypatch.setattr(AnswerBook, "answered", die)
        with pytest.raises(KeyboardInterrupt):
            write(area, server, engine="native")
        monkeypatch.setattr(AnswerBook, "answered", answered)
        done = write(area, server, engine="native")
    assert done.manifest["counts"]["requests answered before"] == 12
    assert done.manifest["counts"]["captions"] == 24


def test_the_plan_encodes_as_the_loop_does_and_takes_up_finished_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = embedding_plan.encode_by_plan.__kwdefaults__
    monkeypatch.setattr(embedding_plan.encode_by_plan, "__kwdefaults__", {**defaults, "partition": 10})
    loop, planned = make_area(tmp_path / "loop"), make_area(tmp_path / "plan")
    (planned.path / str(planned.images["uri"].iloc[3])).write_bytes(b"no image")
    before = embed_images(loop, "rcf:8", Ledger())
    query, asked = embedding_plan._query, []

    def fail(load: Any, identity: str, paths: Any) -> Any:
        asked.append(len(paths))
        if len(asked) == 2:
            raise InputError("the worker died")
        return query(load, identity, paths)

    monkeypatch.setattr(embedding_plan, "_query", fail)
    with pytest.raises(InputError, match="images 11 to 20: the worker died"):
        embed_images(planned, "colour", Ledger(), engine="native")
    ledger = Ledger()
    made = embed_images(planned, "colour", ledger, engine="native")
    assert asked == [10, 10, 10, 4]
    assert ledger.dropped == {"image not an image": 1}
    assert len(made.image_ids) == 23
    assert not (planned.path / "embeddings" / "parts").exists()
    # An encoder that was fitted is taken up by the workers as it is.
    whole = make_area(tmp_path / "whole")
    after = embed_images(whole, "rcf:8", Ledger(), engine="native")
    np.testing.assert_allclose(after.vectors, before.vectors, atol=1e-5)
    assert Area.open(whole.path).embeddings_path("rcf:8").is_file()
