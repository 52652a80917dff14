"""The protocol: one question after the other, each answered once, by who has the link."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from dimitra.study.app import make_app
from dimitra.study.build import Wishes, build
from dimitra.study.command import app as study_commands
from dimitra.study.ledger import Ledger
from dimitra.study.rater import Rater
from dimitra.study.study import Study
from dimitra.web.guard import RateLimit
from tests.study.films import folders

ADDRESS = "http://127.0.0.1:8421"
LASTS_S = 0.32


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("films"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study(films: Path, tmp_path: Path) -> Study:
    others = {"Sad": films / "sad"}
    wishes = Wishes(seed=2, checks=1)
    return build(tmp_path / "study", films / "ours", others, films / "truth", wishes)


@pytest.fixture
def ledger(study: Study, tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / "study", study, clock)


@pytest.fixture
def raters(ledger: Ledger) -> list[Rater]:
    return ledger.invite(2)


@pytest.fixture
def client(study: Study, ledger: Ledger, tmp_path: Path) -> Iterator[TestClient]:
    app = make_app(
        tmp_path / "study",
        study,
        ledger,
        rate=RateLimit(200, 60.0),
        wrong=RateLimit(5, 60.0),
    )
    with TestClient(app, base_url=ADDRESS) as client:
        yield client


def view(client: TestClient, rater: Rater) -> dict[str, Any]:
    return dict(client.get(f"/api/raters/{rater.token}").json())


def agree(client: TestClient, rater: Rater) -> None:
    answer = client.post(f"/api/raters/{rater.token}/consent", json={"agree": True})
    assert answer.status_code == 200


def start(client: TestClient, rater: Rater, position: int) -> int:
    path = f"/api/raters/{rater.token}/starts"
    return client.post(path, json={"position": position}).status_code


def choose(client: TestClient, rater: Rater, position: int, choice: object = "left") -> Any:
    content = {"position": position, "choice": choice}
    return client.post(f"/api/raters/{rater.token}/answers", json=content)


def watched(client: TestClient, rater: Rater, position: int, clock: Clock) -> Any:
    assert start(client, rater, position) == 204
    clock.now += LASTS_S
    return choose(client, rater, position)


def rows(tmp_path: Path, table: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(tmp_path / "study" / "answers.sqlite") as base:
        return base.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608


def test_a_rater_from_consent_to_thanks(
    client: TestClient, raters: list[Rater], clock: Clock, study: Study, ledger: Ledger
) -> None:
    one = raters[0]
    before = view(client, one)
    assert (before["state"], before["done"], before["total"]) == ("invited", 0, 7)
    assert "position" not in before
    assert start(client, one, 1) == 403
    assert client.get(f"/api/raters/{one.token}/videos/1/left").status_code == 403
    agree(client, one)
    seen = []
    for position in range(1, 8):
        now = view(client, one)
        assert now["position"] == position
        assert set(now) == {
            *("question", "consent", "state", "done", "total", "position", "sound"),
        }
        shown = {
            side: client.get(f"/api/raters/{one.token}/videos/{position}/{side}").content
            for side in ("left", "right")
        }
        seen.append(shown)
        assert watched(client, one, position, clock).status_code == 200
    assert "position" not in view(client, one)
    assert view(client, one)["done"] == 7
    answers = ledger.answers()
    assert [answer.choice for answer in answers] == ["left"] * 7
    # What was served on which side is what the ledger says.
    for answer, shown in zip(answers, seen, strict=True):
        first = study.videos[study.pairs[answer.pair].first]
        folder = ledger_folder(ledger) / "videos"
        assert shown[answer.first] == (folder / first.file).read_bytes()
    assert all(answer.seconds == pytest.approx(LASTS_S, abs=0.01) for answer in answers)


def ledger_folder(ledger: Ledger) -> Path:
    return Path(ledger._base.execute("PRAGMA database_list").fetchone()[2]).parent


def test_an_answer_before_the_videos_end_is_refused(
    client: TestClient, raters: list[Rater], clock: Clock
) -> None:
    one = raters[0]
    agree(client, one)
    assert choose(client, one, 1).status_code == 425
    assert start(client, one, 1) == 204
    early = choose(client, one, 1)
    assert early.status_code == 425
    assert early.json()["error"] == "watch both videos to their end before you answer"
    clock.now += 0.05
    start(client, one, 1)  # starting again does not start the time again
    clock.now += 0.05
    assert choose(client, one, 1).status_code == 200


def test_every_question_is_answered_once_and_in_order(
    client: TestClient, raters: list[Rater], clock: Clock, tmp_path: Path
) -> None:
    one, two = raters
    agree(client, one)
    assert watched(client, one, 1, clock).status_code == 200
    twice = choose(client, one, 1, "right")
    assert twice.status_code == 409
    assert "question 2 is next" in twice.json()["error"]
    assert choose(client, one, 3).status_code == 409
    assert choose(client, one, 8).status_code == 404
    assert client.get(f"/api/raters/{one.token}/videos/1/left").status_code == 409
    assert client.get(f"/api/raters/{one.token}/videos/3/left").status_code == 409
    assert client.get(f"/api/raters/{one.token}/videos/99/left").status_code == 404
    assert [row[3] for row in rows(tmp_path, "answers")] == [pytest.approx(LASTS_S, abs=0.01)]
    assert [row[2] for row in rows(tmp_path, "answers")] == ["left"]
    # The other rater has not moved, and cannot without consent.
    assert view(client, two)["done"] == 0
    assert choose(client, two, 1).status_code == 403


def test_the_database_itself_refuses_what_is_foreign_or_double(
    client: TestClient, raters: list[Rater], clock: Clock, tmp_path: Path
) -> None:
    agree(client, raters[0])
    watched(client, raters[0], 1, clock)
    with sqlite3.connect(tmp_path / "study" / "answers.sqlite") as base:
        assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        base.execute("PRAGMA foreign_keys = ON")
        rater, pair, *_ = base.execute("SELECT * FROM answers").fetchone()
        for values, message in (
            ((rater, pair, "right", 1.0), "UNIQUE"),
            ((rater, 999, "right", 1.0), "FOREIGN KEY"),
            ((99, pair, "right", 1.0), "FOREIGN KEY"),
            ((2, pair, "both", 1.0), "CHECK"),
            ((2, pair, "left", "soon"), "cannot store TEXT"),
        ):
            with pytest.raises(sqlite3.IntegrityError, match=message):
                base.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", values)


def test_the_same_link_goes_on_where_it_stopped(
    client: TestClient,
    raters: list[Rater],
    clock: Clock,
    study: Study,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    one = raters[0]
    agree(client, one)
    for position in (1, 2, 3):
        watched(client, one, position, clock)
    other = Ledger(tmp_path / "study", study, clock)
    with TestClient(make_app(tmp_path / "study", study, other), base_url=ADDRESS) as later:
        now = view(later, one)
        assert (now["position"], now["done"]) == (4, 3)
        assert watched(later, one, 4, clock).status_code == 200
    assert view(client, one)["position"] == 5


def test_withdrawing_deletes(
    client: TestClient, raters: list[Rater], clock: Clock, tmp_path: Path
) -> None:
    one = raters[0]
    agree(client, one)
    watched(client, one, 1, clock)
    start(client, one, 2)
    assert client.delete(f"/api/raters/{one.token}").json()["state"] == "withdrawn"
    assert rows(tmp_path, "answers") == []
    assert all(row[4] is None for row in rows(tmp_path, "questions"))
    assert choose(client, one, 1).status_code == 403
    again = client.post(f"/api/raters/{one.token}/consent", json={"agree": True})
    assert again.status_code == 403


@pytest.mark.parametrize("while_served", [True, False])
def test_what_is_withdrawn_is_gone_from_the_bytes(
    client: TestClient,
    ledger: Ledger,
    raters: list[Rater],
    clock: Clock,
    study: Study,
    tmp_path: Path,
    while_served: bool,
) -> None:
    def kept() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("study/answers.sqlite*"))

    ledger.invite(60)  # pages are split, and their cells moved
    leaves, stays = raters
    for rater in (leaves, stays, *ledger.raters()[20:40]):
        agree(client, rater)
        for position in (1, 2, 3):
            start(client, rater, position)
            clock.now += LASTS_S + rater.number + position / 10
            assert choose(client, rater, position).status_code == 200
    # SQLite keeps a number as 8 bytes, the first one first.
    answers = [(one.rater, struct.pack(">d", one.seconds)) for one in ledger.answers()]
    assert all(answer in kept() for _, answer in answers)
    if while_served:
        assert client.delete(f"/api/raters/{leaves.token}").json()["state"] == "withdrawn"
    else:  # a file that an earlier opening has left
        ledger.close()
        later = Ledger(tmp_path / "study", study, clock)
        later.withdraw(leaves.number)
        assert later.rater(leaves.token) is not None
    found = kept()
    assert leaves.token.encode() not in found
    assert stays.token.encode() in found
    assert [number for number, answer in answers if answer not in found] == [leaves.number] * 3


def test_a_link_of_who_has_withdrawn_is_not_known_any_more(
    ledger: Ledger, raters: list[Rater], tmp_path: Path
) -> None:
    leaves, stays = raters
    ledger.withdraw(leaves.number)
    ledger.withdraw(leaves.number)
    again = ledger.rater(leaves.token)
    assert again is not None
    assert (again.number, again.state) == (leaves.number, "withdrawn")
    assert ledger.rater(again.token) is None
    printed = CliRunner().invoke(study_commands, ["raters", str(tmp_path / "study")]).output
    assert printed.splitlines()[0] == f"1\twithdrawn\t0/{leaves.total}\t-"
    assert printed.splitlines()[1].endswith(f"#{stays.token}")


def test_nothing_about_the_person_is_stored(
    client: TestClient, raters: list[Rater], clock: Clock, tmp_path: Path
) -> None:
    agree(client, raters[0])
    client.headers["User-Agent"] = "very-special-browser"
    for position in range(1, 8):
        watched(client, raters[0], position, clock)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "study").glob("answers.sqlite*"))
    assert b"very-special-browser" not in kept
    assert b"testclient" not in kept
    assert not [row for row in rows(tmp_path, "questions") if row[0] == 1 and row[4]]
    assert (tmp_path / "study" / "answers.sqlite").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "path",
    [
        "/study.json",
        "/answers.sqlite",
        "/../study.json",
        "/%2e%2e/study.json",
        "/videos/",
        "/page/../app.py",
        "/api/raters/TOKEN/videos/1/..%2f..%2fstudy.json",
        "/api/raters/TOKEN/videos/1/left%2f..%2f..%2fstudy.json",
        "/api/raters/TOKEN/videos/1/up",
        "/api/raters/TOKEN/videos/-1/left",
        "/api/raters/TOKEN/videos/1e9/left",
        "/api/raters/../raters",
        "/api/raters/",
        "/api/raters",
    ],
)
def test_no_path_leads_elsewhere(client: TestClient, raters: list[Rater], path: str) -> None:
    agree(client, raters[0])
    answer = client.get(path.replace("TOKEN", raters[0].token))
    assert answer.status_code == 404
    assert raters[0].token not in answer.text


def test_unknown_links_are_refused_and_guessing_is_slow(
    client: TestClient, raters: list[Rater]
) -> None:
    for token in ("a" * 32, "a", raters[0].token[:-1], "' OR 1=1 --", "%00" * 32):
        assert client.get(f"/api/raters/{token}").status_code == 404
    assert client.get(f"/api/raters/{'b' * 32}").status_code == 429
    assert client.get(f"/api/raters/{raters[0].token}").status_code == 200


def test_other_pages_and_names_are_refused(client: TestClient, raters: list[Rater]) -> None:
    agree(client, raters[0])
    path = f"/api/raters/{raters[0].token}/answers"
    content = {"position": 1, "choice": "left"}
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}, 425),
    ):
        assert client.post(path, json=content, headers=headers).status_code == status
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    form = client.post(path, content="position=1", headers={"Content-Type": "text/plain"})
    assert form.status_code == 415


@pytest.mark.parametrize(
    "content",
    [
        {"position": 1, "choice": "both"},
        {"position": 1, "choice": None},
        {"position": "1", "choice": "left"},
        {"position": 0, "choice": "left"},
        {"position": 1.5, "choice": "left"},
        {"position": True, "choice": "left"},
        {"position": 1, "choice": "left", "rater": 2},
        {"choice": "left"},
        [],
        "left",
        0,
    ],
)
def test_answers_of_another_shape_are_refused(
    client: TestClient, raters: list[Rater], content: object
) -> None:
    agree(client, raters[0])
    path = f"/api/raters/{raters[0].token}/answers"
    assert client.post(path, json=content).status_code == 400


def test_more_that_is_refused(client: TestClient, raters: list[Rater]) -> None:
    base = f"/api/raters/{raters[0].token}"
    assert client.post(f"{base}/consent", json={"agree": False}).status_code == 400
    assert client.post(f"{base}/consent", json={}).status_code == 400
    agree(client, raters[0])
    long = client.post(f"{base}/answers", json={"position": 1, "choice": "l" * 2000})
    assert long.status_code == 413
    assert client.put(f"{base}/answers").status_code == 405
    huge = client.post(f"{base}/answers", json={"position": 10**40, "choice": "left"})
    assert huge.status_code == 404
    assert client.get(f"{base}/videos/{'9' * 400}/left").status_code == 404
    page = client.get("/")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"


def test_changes_are_limited(study: Study, ledger: Ledger, tmp_path: Path) -> None:
    one = ledger.invite(1)[0]
    app = make_app(tmp_path / "study", study, ledger, rate=RateLimit(3, 60.0))
    with TestClient(app, base_url=ADDRESS) as client:
        agree(client, one)
        codes = [start(client, one, 1) for _ in range(4)]
    assert codes == [204, 204, 429, 429]


def test_videos_come_in_parts_as_browsers_ask(client: TestClient, raters: list[Rater]) -> None:
    agree(client, raters[0])
    path = f"/api/raters/{raters[0].token}/videos/1/right"
    whole = client.get(path)
    assert whole.headers["Content-Type"] == "video/mp4"
    assert "filename" not in whole.headers.get("Content-Disposition", "")
    part = client.get(path, headers={"Range": "bytes=4-7"})
    assert part.status_code == 206
    assert part.content == whole.content[4:8] == b"ftyp"
