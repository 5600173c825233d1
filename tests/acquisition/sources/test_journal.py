"""The journal of a run: what was written is there again, what was cut off is not, and another run begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorograph.acquisition.sources.journal import Journal, Row, open_journal
from chorograph.ground.files import sha256_bytes

HELD = Row("a", "images/a.jpg", sha256_bytes(b"a"), url="http://x/a", nodata=0.25)


def interrupted(path: Path, *rows: Row, asked: str = "tiles") -> None:
    with pytest.raises(KeyboardInterrupt), open_journal(path, asked) as journal:
        for row in rows:
            journal.add(row)
        raise KeyboardInterrupt


def rows_of(path: Path, asked: str = "tiles") -> dict[str, Row]:
    found: dict[str, Row] = {}

    def keep(journal: Journal) -> None:
        found.update(journal.rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_journal(path, asked) as journal:
        keep(journal)
    return found


def test_rows_of_a_run_that_was_stopped_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "added" / "x.journal"
    interrupted(path, Row("b", reason="time-out"), HELD)
    assert rows_of(path) == {"a": HELD, "b": Row("b", reason="time-out")}
    # The last word counts.
    interrupted(path, Row("b", reason="HTTP 404"))
    assert rows_of(path)["b"].reason == "HTTP 404"
    with open_journal(path, "tiles"):
        pass
    assert not path.exists()


@pytest.mark.parametrize("damage", [b'["c", "imag', b"\xff\xfe\0\n", b'{"name": "c"}\n', b'["c"]\n'])
def test_a_line_that_is_none_is_left_out(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "x.journal"
    interrupted(path, HELD)
    with path.open("ab") as file:
        file.write(damage)
    interrupted(path, Row("d", reason="reset"))
    assert set(rows_of(path)) == {"a", "d"}


def test_another_run_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    interrupted(path, HELD)
    assert rows_of(path, asked="other tiles") == {}
    path.write_bytes(b"no journal at all")
    assert rows_of(path) == {}


def test_what_need_not_be_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"a")
    (tmp_path / "images" / "b.jpg").write_bytes(b"half")
    rows = [HELD, Row("b", "images/b.jpg", sha256_bytes(b"whole")), Row("c", "images/c.jpg", sha256_bytes(b"c"))]
    rows += [Row("d", reason="HTTP 404"), Row("e", reason="time-out"), Row("f", reason="placeholder")]
    with open_journal(tmp_path / "x.journal", "") as journal:
        for row in rows:
            journal.add(row)
        assert journal.settled(tmp_path) == {"a", "d", "f"}
        assert journal.settled(tmp_path, failed=False) == {"a"}
