"""Raters whose preference is known answer on the real page in a headless Chromium.

They know the methods as people do, by what the videos look like: each film ends in its method's
colour, and the rater looks at the page's pixels. Names, sides and order are the study's own.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright
from typer.testing import CliRunner

from dimitra.cli import app as command
from dimitra.study.build import Wishes, build
from tests.study.films import COLOURS, folders
from tests.study.house import links, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
RATERS, CARELESS, CLIPS, TABS = 20, 2, 3, 6
TOTAL = 2 * CLIPS + 1
PREFERS = {"sad": 0.8, "truth": 0.3}
"""Probability with which a rater takes ours rather than the other."""
STATE = """() => ["left", "right"].map(side => {
    const video = document.getElementById(side);
    return [video.readyState, video.networkState, video.currentTime, video.error?.message];
}).concat([document.querySelector("main").innerText])"""
LOOK = """side => {
    const video = document.getElementById(side), canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const draw = canvas.getContext("2d");
    draw.drawImage(video, 30, 40, 8, 8, 0, 0, 1, 1);
    return Array.from(draw.getImageData(0, 0, 1, 1).data.slice(0, 3));
}"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    films, out = folders(tmp_path / "films", CLIPS), tmp_path / "study"
    others = {"SadTalker": films / "sad"}
    build(out, films / "ours", others, films / "truth", Wishes(seed=11, checks=1))
    return out


@pytest.fixture
def address(study: Path) -> Iterator[str]:
    with served(study) as address:
        yield address


def method(pixel: list[int]) -> str:
    """The method whose colour it is; dark green is the truth that was frozen."""
    if max(pixel) < 110:
        return "frozen"
    return min(COLOURS, key=lambda m: sum(abs(a - b) for a, b in zip(COLOURS[m], pixel)))  # noqa: B905


class Simulated:
    """One rater.

    Attributes:
        tally: of the other method and whether ours was taken.
    """

    def __init__(self, link: str, seed: int, *, careless: bool = False) -> None:
        self.link, self.careless = link, careless
        self.tally: Counter[tuple[str, bool]] = Counter()
        self.lefts = 0
        self._random = random.Random(seed)

    def wants(self, left: str, right: str) -> str:
        if "frozen" in (left, right):
            right_answer = "right" if left == "frozen" else "left"
            wrong_answer = "left" if left == "frozen" else "right"
            return wrong_answer if self.careless else right_answer
        assert "ours" in (left, right), (left, right)
        other = right if left == "ours" else left
        ours = self._random.random() < PREFERS[other]
        self.tally[other, ours] += 1
        return "left" if (left == "ours") == ours else "right"

    async def answer(self, page: Page, number: int) -> None:
        """Play a pair to its end and choose, with the mouse or the keyboard."""
        keys = number % 2 == 0
        await enabled(page, "play")
        assert await page.locator("#take-left").is_disabled()
        await (page.keyboard.press("Space") if keys else page.locator("#play").click())
        await enabled(page, "take-left")
        seen = [method(await page.evaluate(LOOK, side)) for side in ("left", "right")]
        side = self.wants(*seen)
        self.lefts += side == "left"
        key = {"left": ("1", "ArrowLeft"), "right": ("2", "ArrowRight")}[side][number // 2 % 2]
        await (page.keyboard.press(key) if keys else page.locator(f"#take-{side}").click())

    async def run(self, browser: Browser, stop_after: int | None = None) -> None:
        """Answer on a page of one's own until the thanks, or leave before."""
        context = await browser.new_context(viewport={"width": 500, "height": 700})
        page = await context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text))
        await page.goto(self.link)
        await until(page, "!!document.querySelector('section:not([hidden])')")
        if await page.locator("#agree").is_visible():
            await page.locator("#agree").click()
        await until(page, "!document.getElementById('ask').hidden")
        done = 0
        while stop_after is None or done < stop_after:
            before = f"{await position(page)} of {TOTAL}"
            await self.answer(page, await position(page))
            done += 1
            await until(
                page,
                "document.getElementById('ask').hidden || "
                f"document.getElementById('count').textContent !== '{before}'",
            )
            if await page.locator("#end").is_visible():
                assert await page.locator("#end-title").inner_text() == "Thank you"
                break
        assert complaints == []
        await context.close()


async def position(page: Page) -> int:
    return int((await page.locator("#count").inner_text()).split()[0])


async def until(page: Page, condition: str) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + 120
    while not await page.evaluate(condition):
        if time.monotonic() > deadline:
            raise AssertionError((condition, await page.evaluate(STATE)))
        await page.wait_for_timeout(40)


async def enabled(page: Page, button: str) -> None:
    await until(page, f"!document.getElementById('{button}').disabled")


async def everybody(raters: list[Simulated]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"]
        )
        # One leaves after three pairs and comes back with nothing but the link.
        await raters[0].run(browser, stop_after=3)
        waiting = list(raters)

        async def tab() -> None:
            while waiting:
                await waiting.pop(0).run(browser)

        await asyncio.gather(*(tab() for _ in range(TABS)))
        await browser.close()


def results(folder: Path, *options: str) -> dict[str, object]:
    path = folder.parent / "results.json"
    done = CliRunner().invoke(
        command, ["study", "results", str(folder), "--json", str(path), *options]
    )
    assert done.exit_code == 0, done.output
    return dict(json.loads(path.read_text()))


def test_the_preference_of_twenty_raters_comes_out(study: Path, address: str) -> None:
    invited = links(study, RATERS + CARELESS, address)
    raters = [Simulated(link, seed, careless=seed >= RATERS) for seed, link in enumerate(invited)]
    asyncio.run(everybody(raters))

    found = results(study)
    about = found["raters"]
    assert about["standings"] == {"counted": RATERS, "failed": CARELESS}  # type: ignore[index]
    rows = {row["other"]: row for row in found["rows"]}  # type: ignore[attr-defined]
    good = raters[:RATERS]
    for other, name in (("sad", "SadTalker"), ("truth", "ground truth")):
        row = rows[name]
        assert row["n"] == CLIPS * RATERS
        # Every click arrived, and nothing else did.
        assert row["count"] == sum(rater.tally[other, True] for rater in good)
        assert row["wilson_low"] < 100 * PREFERS[other] < row["wilson_high"]
        assert row["raters"] == RATERS
    assert rows["SadTalker"]["p"] < 0.001
    assert rows["SadTalker"]["raters_low"] > 50
    everyone = results(study, "--max-wrong-checks", "1")
    assert everyone["rows"][0]["n"] == CLIPS * (RATERS + CARELESS)  # type: ignore[index]

    csv = study.parent / "answers.csv"
    done = CliRunner().invoke(command, ["study", "results", str(study), "--csv", str(csv)])
    assert done.exit_code == 0
    lines = csv.read_text().splitlines()
    assert len(lines) == 1 + TOTAL * (RATERS + CARELESS)
    sides = Counter(
        (line.split(",")[4], line.split(",")[6], line.split(",")[7]) for line in lines[1:]
    )
    # Eleven couples of raters: each pair lay on each side eleven times.
    assert len(sides) == 2 * TOTAL
    assert set(sides.values()) == {(RATERS + CARELESS) // 2}
    assert sum(line.split(",")[8] == "left" for line in lines[1:]) == sum(
        rater.lefts for rater in raters
    )


async def pages(address: str, link: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"]
        )
        phone = await browser.new_context(
            viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
        )
        page = await phone.new_page()
        await page.goto(address)
        await until(page, "!document.getElementById('error').hidden")
        assert "open the link that you were given" in await page.locator("#error").inner_text()
        await page.goto("about:blank")
        await page.goto(f"{address}#{'x' * 32}")
        await until(page, "document.getElementById('error').innerText.includes('not known')")

        await page.goto("about:blank")
        await page.goto(link)
        await until(page, "!document.getElementById('consent').hidden")
        assert "Taking part is voluntary" in await page.locator("#consent").inner_text()
        assert "Your name, your address" in await page.locator("#consent").inner_text()
        await page.locator("#agree").tap()
        await enabled(page, "play")
        boxes = [await page.locator(f"#{name}").bounding_box() for name in ("left", "right")]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["x"] == boxes[1]["x"]
        assert boxes[0]["y"] < boxes[1]["y"]
        # All of it is on the screen, and large enough for a finger.
        for name in ("left", "take-left", "right", "take-right", "play"):
            box = await page.locator(f"#{name}").bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 640
            assert box["x"] + box["width"] <= 360
            assert box["height"] >= 44
        # Neither keys nor taps answer before the end.
        await page.keyboard.press("1")
        assert await position(page) == 1
        await page.locator("#play").tap()
        await enabled(page, "take-right")
        apart = await page.evaluate(
            "Math.abs(document.getElementById('left').currentTime - "
            "document.getElementById('right').currentTime)"
        )
        assert apart < 0.1
        muted = await page.evaluate("['left', 'right'].map(s => document.getElementById(s).muted)")
        assert sorted(muted) == [False, True]
        await page.locator("#play").tap()  # again
        await until(page, "document.getElementById('play').textContent === 'Play again'")
        await page.locator("#take-right").tap()
        await until(page, f"document.getElementById('count').textContent === '2 of {TOTAL}'")

        await page.locator("#withdraw").tap()
        await page.locator("#sure-no").tap()
        assert await position(page) == 2
        await page.locator("#withdraw").tap()
        await page.locator("#sure-yes").tap()
        await until(page, "document.getElementById('end-title').innerText.includes('deleted')")

        await browser.close()


def test_on_a_phone(study: Path, address: str) -> None:
    link = links(study, 1, address)[0]
    asyncio.run(pages(address, link))
    done = CliRunner().invoke(command, ["study", "raters", str(study)])
    assert f"withdrawn\t0/{TOTAL}" in done.output
