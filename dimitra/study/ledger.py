"""Raters, their questions and answers, in SQLite; no name, no address, no time of day is kept."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dimitra.shards import sha256_file
from dimitra.study.errors import StudyError
from dimitra.study.plan import Side, questions
from dimitra.study.rater import Answer, Current, Rater
from dimitra.study.study import ANSWERS, FILE, Study
from dimitra.web.intake import new_token

MAX_RATERS = 10_000
_SCHEMA = """
CREATE TABLE study (sha256 TEXT NOT NULL) STRICT;
CREATE TABLE pairs (number INTEGER PRIMARY KEY, kind TEXT NOT NULL) STRICT;
CREATE TABLE raters (
    number INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'invited' CHECK (state IN ('invited', 'agreed', 'withdrawn'))
) STRICT;
CREATE TABLE questions (
    rater INTEGER NOT NULL REFERENCES raters (number),
    position INTEGER NOT NULL,
    pair INTEGER NOT NULL REFERENCES pairs (number),
    first TEXT NOT NULL CHECK (first IN ('left', 'right')),
    started_s REAL,
    PRIMARY KEY (rater, position),
    UNIQUE (rater, pair)
) STRICT;
CREATE TABLE answers (
    rater INTEGER NOT NULL,
    pair INTEGER NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right')),
    seconds REAL NOT NULL CHECK (seconds >= 0),
    PRIMARY KEY (rater, pair),
    FOREIGN KEY (rater, pair) REFERENCES questions (rater, pair)
) STRICT;
"""
_RATERS = (
    "SELECT number, token, state, (SELECT COUNT(*) FROM answers WHERE rater = number), "
    "(SELECT COUNT(*) FROM questions WHERE rater = number) FROM raters"
)


def _digest(token: str) -> str:
    """What is kept of a token after its rater has withdrawn."""
    return hashlib.sha256(token.encode()).hexdigest()


class Ledger:
    """The answers of one study.

    Args:
        folder: of the study.
        study: that lies there.
        clock: seconds since 1970.

    Raises:
        StudyError: the answers belong to another study, or cannot be opened.
    """

    def __init__(self, folder: Path, study: Study, clock: Callable[[], float] = time.time) -> None:
        self._study, self._clock = study, clock
        path = folder / ANSWERS
        try:
            # One thread at a time asks, but not always the one that opened it.
            self._base = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            path.chmod(0o600)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA foreign_keys = ON")
            self._base.execute("PRAGMA secure_delete = ON")
            with self._change() as base:
                if not base.execute("SELECT 1 FROM sqlite_master").fetchone():
                    self._create(sha256_file(folder / FILE))
            (of,) = self._base.execute("SELECT sha256 FROM study").fetchone()
        except (sqlite3.Error, TypeError, OSError) as error:
            raise StudyError(f"{path} cannot be used: {error}") from None
        if of != sha256_file(folder / FILE):
            raise StudyError(f"{path} has answers of another {FILE}; put the old one back")

    def _create(self, sha256: str) -> None:
        for statement in _SCHEMA.split(";\n"):
            self._base.execute(statement)
        self._base.execute("INSERT INTO study VALUES (?)", (sha256,))
        rows = [(number, pair.kind) for number, pair in enumerate(self._study.pairs)]
        self._base.executemany("INSERT INTO pairs VALUES (?, ?)", rows)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield self._base
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def invite(self, count: int) -> list[Rater]:
        """Add raters, each with his questions.

        Raises:
            StudyError: none or too many.
        """
        with self._change() as base:
            (before,) = base.execute("SELECT COUNT(*) FROM raters").fetchone()
            if not 1 <= count <= MAX_RATERS - before:
                raise StudyError(
                    f"{count} raters beside {before}; from 1 to {MAX_RATERS} in all are possible"
                )
            added = range(before + 1, before + count + 1)
            for number in added:
                base.execute(
                    "INSERT INTO raters (number, token) VALUES (?, ?)", (number, new_token())
                )
                asked = questions(self._study, number)
                base.executemany(
                    "INSERT INTO questions (rater, position, pair, first) VALUES (?, ?, ?, ?)",
                    [(number, i, one.pair, one.first) for i, one in enumerate(asked, start=1)],
                )
        return [rater for rater in self.raters() if rater.number in added]

    def raters(self) -> list[Rater]:
        """All raters in order."""
        return [Rater(*row) for row in self._base.execute(f"{_RATERS} ORDER BY number")]

    def rater(self, token: str) -> Rater | None:
        """The rater with a token, also after he has withdrawn."""
        row = self._base.execute(
            f"{_RATERS} WHERE token = ? AND state != 'withdrawn' "
            "OR token = ? AND state = 'withdrawn'",
            (token, _digest(token)),
        ).fetchone()
        return None if row is None else Rater(*row)

    def agree(self, rater: int) -> None:
        """The rater has read the text and agrees; who has withdrawn stays so."""
        self._base.execute(
            "UPDATE raters SET state = 'agreed' WHERE number = ? AND state = 'invited'", (rater,)
        )

    def withdraw(self, rater: int) -> None:
        """Delete a rater's answers and token; the number stays, and the token's sha256.

        Nothing of them is left in the bytes of the files either: what is deleted is overwritten,
        and the journal, which has the pages as they were, is emptied. While another program reads,
        that waits up to ten seconds; what is then left goes when the study is closed.
        """
        with self._change() as base:
            (token,) = base.execute(
                "SELECT token FROM raters WHERE number = ? AND state != 'withdrawn'", (rater,)
            ).fetchone() or (None,)
            if token is None:
                return
            base.execute("DELETE FROM answers WHERE rater = ?", (rater,))
            base.execute("UPDATE questions SET started_s = NULL WHERE rater = ?", (rater,))
            base.execute(
                "UPDATE raters SET state = 'withdrawn', token = ? WHERE number = ?",
                (_digest(token), rater),
            )
        self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def current(self, rater: int) -> Current | None:
        """The first question without an answer; None when all have one."""
        row = self._base.execute(
            "SELECT position, pair, first, started_s FROM questions WHERE rater = ? AND NOT EXISTS "
            "(SELECT 1 FROM answers WHERE answers.rater = questions.rater "
            "AND answers.pair = questions.pair) ORDER BY position LIMIT 1",
            (rater,),
        ).fetchone()
        return None if row is None else Current(*row)

    def start(self, rater: int, position: int) -> None:
        """The videos of a question play; the first time counts."""
        self._base.execute(
            "UPDATE questions SET started_s = ? "
            "WHERE rater = ? AND position = ? AND started_s IS NULL",
            (self._clock(), rater, position),
        )

    def since(self, started_s: float) -> float:
        """Seconds since a question was started."""
        return max(0.0, self._clock() - started_s)

    def answer(self, rater: int, current: Current, choice: Side, seconds: float) -> bool:
        """Keep an answer, and forget when the question was started; False if there is one."""
        try:
            with self._change() as base:
                base.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?)",
                    (rater, current.pair, choice, round(seconds, 2)),
                )
                base.execute(
                    "UPDATE questions SET started_s = NULL WHERE rater = ? AND position = ?",
                    (rater, current.position),
                )
        except sqlite3.IntegrityError:
            return False
        return True

    def answers(self) -> list[Answer]:
        """All answers, by rater and question."""
        rows = self._base.execute(
            "SELECT rater, position, pair, first, choice, seconds "
            "FROM answers JOIN questions USING (rater, pair) ORDER BY rater, position"
        )
        return [Answer(*row) for row in rows]
