"""The store of ratings: SQLite with full durability by default, any database that SQLAlchemy knows by its URL.

A rating is acknowledged after its transaction is committed, so that what was acknowledged outlives a killed server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, and_, create_engine, delete, event, func, insert, inspect, or_, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from chorograph.area.tables import conform
from chorograph.ground.errors import InputError
from chorograph.serving.ratings.questions import MARKS, NAMES
from chorograph.serving.ratings.schema import CLAIM, RATING

#: A pair that a rater left open goes to others after this time.
_OPEN_FOR = timedelta(minutes=30)
_BUSY_S = 30
_MIGRATIONS = Path(__file__).parent / "migrations"
#: Any number will do, as long as it is always the same.
_MIGRATION_LOCK = 7_240_019


@dataclass(frozen=True)
class Pair:
    """An image and a caption to be rated."""

    image_id: str
    caption_id: str


class RatingStore:
    """Ratings and assignments of all areas in one database. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open the store and bring its tables up to date; `InputError` for a database that cannot be reached."""
        try:
            parsed = make_url(url)
            options: dict[str, Any] = {"timeout": _BUSY_S} if parsed.get_backend_name() == "sqlite" else {}
            self._engine = create_engine(parsed, connect_args=options, pool_size=20, max_overflow=30)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InputError(
                f"{_hidden(url)} is no database that can be opened ({error}); PostgreSQL is postgresql+psycopg://…, "
                "and needs its driver installed"
            ) from error
        if parsed.get_backend_name() == "sqlite":
            _make_durable(self._engine)
        try:
            self._migrate()
            _check_form(self._engine)
        except SQLAlchemyError as error:
            raise InputError(f"the ratings store {_hidden(url)} cannot be opened: {error}") from error

    def next_pair(self, area: str, rater: str, pairs: Sequence[Pair], overlap: int) -> Pair | None:
        """Give a rater a pair, the one left open first; None when every pair has enough raters or was seen.

        Pairs that another has begun come before untouched ones, so that `overlap` raters meet on each.
        """
        since = (datetime.now(UTC) - _OPEN_FOR).isoformat()
        taken = or_(CLAIM.c.state == "done", and_(CLAIM.c.state == "open", CLAIM.c.at > since))
        with self._reading() as connection:
            rows = connection.execute(
                select(CLAIM.c.image_id, CLAIM.c.caption_id, CLAIM.c.rater, CLAIM.c.state)
                .where(CLAIM.c.area == area)
                .where(or_(taken, CLAIM.c.rater == rater))
            ).all()
        raters: dict[Pair, int] = {}
        own: dict[Pair, str] = {}
        for image_id, caption_id, who, state in rows:
            pair = Pair(image_id, caption_id)
            if who == rater:
                own[pair] = state
            else:
                raters[pair] = raters.get(pair, 0) + 1
        known = set(pairs)
        if left := [pair for pair, state in own.items() if state == "open" and pair in known]:
            return left[0]
        free = [pair for pair in pairs if pair not in own and raters.get(pair, 0) < overlap]
        chosen = next((pair for pair in free if pair in raters), free[0] if free else None)
        if chosen is not None:
            self._claim(area, rater, chosen)
        return chosen

    def save(self, area: str, rater: str, pair: Pair, values: Mapping[str, int]) -> None:
        """Keep a rater's answers to all questions of a pair, in place of earlier ones; kept for good on return."""
        if set(values) != set(NAMES) or any(value not in MARKS or isinstance(value, bool) for value in values.values()):
            raise InputError(f"a rating answers {', '.join(NAMES)}, each with a whole number from 1 to 5")
        at = _now()
        rows = [_row(area, rater, pair, question=name, value=value, at=at) for name, value in values.items()]

        def write(connection: Connection) -> None:
            connection.execute(delete(RATING).where(_of(RATING, area, rater, pair)))
            connection.execute(insert(RATING), rows)
            _set_state(connection, area, rater, pair, "done", at)

        self._write(write)

    def skip(self, area: str, rater: str, pair: Pair) -> None:
        """Note that a rater leaves a pair to others."""
        self._write(lambda connection: _set_state(connection, area, rater, pair, "skipped", _now()))

    def undo(self, area: str, rater: str) -> tuple[Pair, dict[str, int]] | None:
        """Open the pair that a rater rated or skipped last; returns it with the answers, None where there is none."""
        with self._engine.begin() as connection:
            last = connection.execute(
                select(CLAIM.c.image_id, CLAIM.c.caption_id)
                .where(CLAIM.c.area == area, CLAIM.c.rater == rater, CLAIM.c.state != "open")
                .order_by(CLAIM.c.at.desc())
                .limit(1)
            ).first()
            if last is None:
                return None
            pair = Pair(*last)
            own = _of(RATING, area, rater, pair)
            answers = connection.execute(select(RATING.c.question, RATING.c.value).where(own)).all()
            held = {str(name): int(value) for name, value in answers}
            connection.execute(delete(RATING).where(own))
            # What was open before goes back, so that the undone pair comes first.
            connection.execute(
                delete(CLAIM).where(CLAIM.c.area == area, CLAIM.c.rater == rater, CLAIM.c.state == "open")
            )
            _set_state(connection, area, rater, pair, "open", _now())
        return pair, held

    def progress(self, area: str, rater: str | None = None) -> dict[str, int]:
        """Return how many pairs were rated by anybody, how many ratings there are, and what `rater` did."""
        with self._reading() as connection:
            done = select(func.count(), func.count(func.distinct(CLAIM.c.image_id + "\n" + CLAIM.c.caption_id)))
            ratings, pairs = connection.execute(done.where(CLAIM.c.area == area, CLAIM.c.state == "done")).one()
            own = select(CLAIM.c.state, func.count()).where(CLAIM.c.area == area, CLAIM.c.rater == rater)
            rows = connection.execute(own.group_by(CLAIM.c.state)).all()
        states = {str(state): int(number) for state, number in rows}
        return {"ratings": ratings, "pairs": pairs, "mine": states.get("done", 0), "skipped": states.get("skipped", 0)}

    def table(self, area: str) -> pd.DataFrame:
        """Return all ratings of an area as the contract's table `ratings`."""
        columns = [RATING.c[name] for name in ("image_id", "caption_id", "rater", "question", "value", "at")]
        with self._reading() as connection:
            rows = connection.execute(select(*columns).where(RATING.c.area == area).order_by(RATING.c.at)).all()
        frame = pd.DataFrame(rows, columns=[column.name for column in columns])
        if (wrong := ~frame["value"].isin(MARKS)).any():
            rater, value = frame.loc[wrong, ["rater", "value"]].iloc[0]
            raise InputError(f"the ratings store {self._named}: {rater!r} gave {str(value)!r}, no mark of 1 to 5")
        return conform("ratings", frame)

    def areas(self) -> list[str]:
        """Return the areas that have ratings, by name."""
        with self._reading() as connection:
            return sorted(connection.execute(select(RATING.c.area).distinct()).scalars())

    @property
    def _named(self) -> str:
        return _hidden(str(self._engine.url))

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _claim(self, area: str, rater: str, pair: Pair) -> None:
        self._write(lambda connection: _set_state(connection, area, rater, pair, "open", _now()))

    def _write(self, work: Any) -> None:
        """Run `work` in a transaction; once more where another wrote the same row between its steps."""
        try:
            with self._engine.begin() as connection:
                work(connection)
        except IntegrityError:
            with self._engine.begin() as connection:
                work(connection)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two servers that start at once migrate one after the other; SQLite's write lock does the same.
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _check_form(engine: Any) -> None:
    """Raise `InputError` where the database, as another program left it, lacks a table or column of ours."""
    found = inspect(engine)
    for table in (RATING, CLAIM):
        held = {column["name"] for column in found.get_columns(table.name)} if found.has_table(table.name) else set()
        if lacking := [column.name for column in table.columns if column.name not in held]:
            raise InputError(
                f"the ratings store {_hidden(str(engine.url))} lacks {table.name}.{lacking[0]}; take the copy from "
                "before it was changed"
            )


def _make_durable(engine: Any) -> None:
    """Have SQLite keep what it committed through power loss, and take the write lock when a transaction begins."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        # The driver's own transactions begin too late.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={1000 * _BUSY_S}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_isolation_level() != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set_state(connection: Connection, area: str, rater: str, pair: Pair, state: str, at: str) -> None:
    changed = connection.execute(update(CLAIM).where(_of(CLAIM, area, rater, pair)).values(state=state, at=at))
    if changed.rowcount == 0:
        connection.execute(insert(CLAIM), [_row(area, rater, pair, state=state, at=at)])


def _of(table: Any, area: str, rater: str, pair: Pair) -> Any:
    own = and_(table.c.area == area, table.c.rater == rater)
    return and_(own, table.c.image_id == pair.image_id, table.c.caption_id == pair.caption_id)


def _row(area: str, rater: str, pair: Pair, **others: Any) -> dict[str, Any]:
    return {"area": area, "rater": rater, "image_id": pair.image_id, "caption_id": pair.caption_id, **others}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _hidden(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the URL given"
