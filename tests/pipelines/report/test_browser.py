"""The page in a headless Chromium, from a file: it plays, sorts, opens cards, fits a phone."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.report.page import render_page
from tests.pipelines.report.run import FRAMES, evaluated, grey, make_run, write_lineage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
FRAME_S = 1 / 25
VIDEOS = ("ground_truth", "hp", "no_hp")
PATIENCE_S = 30.0
TIMES = "() => [...document.querySelectorAll('video')].map(video => video.currentTime)"
READY = "[...document.querySelectorAll('video')].every(v => v.readyState >= 3 && !v.seeking)"
CURSOR = """() => {
    const area = document.querySelector("#plots .curve .area").getBoundingClientRect();
    const cursor = document.querySelector(".cursor").getBoundingClientRect();
    return (cursor.left - area.left) / area.width;
}"""
WATCH = f"""() => new Promise(resolve => {{
    const seen = [], leader = document.getElementById("video-hp");
    const look = () => {{
        if (leader.currentTime > 0.1) seen.push([({TIMES})(), ({CURSOR})()]);
        if (leader.currentTime > 1.2 || leader.ended) resolve(seen);
        else requestAnimationFrame(look);
    }};
    look();
}})"""
"""Times of the videos and place of the cursor, at every frame of the screen."""
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    params = make_run(root)
    write_lineage(root)
    render_page(root, params, root / "report")
    return root / "report"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Debian's build runs as root in containers, where it has no sandbox of its own.
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"]
        )
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains of, and requests beyond files."""
    return []


@pytest.fixture
def opened(report: Path, browser: Browser, complaints: list[str]) -> Iterator[Open]:
    """Opens the page; a complaint that is left fails the test."""
    contexts = []

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
            ),
        )

    def show(fragment: str = "", width: int = 1440, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        listen(page)
        page.goto(f"{(report / 'index.html').as_uri()}{fragment}")
        return page

    yield show
    for context in contexts:
        context.close()
    assert complaints == []


def until(page: Page, condition: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(30)


def ready(page: Page) -> None:
    """All three videos have a frame to show."""
    until(
        page, "[...document.querySelectorAll('video')].every(v => v.readyState >= 3 && !v.seeking)"
    )


def seen(page: Page, name: str) -> int:
    """Which frame a video shows, by its grey."""
    picture = Image.open(io.BytesIO(page.locator(f"#video-{name}").screenshot()))
    middle = np.asarray(picture.convert("L"), dtype=float)[20:-20, 20:-20].mean()
    return round((middle - grey(0)) / (grey(1) - grey(0)))


def cells(page: Page, name: str, column: int) -> list[str]:
    rows = page.locator(f"#{name}-table tbody tr td:nth-child({column})")
    return [text.strip("▸ ") for text in rows.all_inner_texts()]


@pytest.mark.parametrize(
    ("width", "mobile", "scheme"),
    [(1440, False, "light"), (1024, False, "dark"), (390, True, "dark"), (320, True, "light")],
)
def test_it_opens_from_a_file_without_a_word_and_fits(
    opened: Open, width: int, mobile: bool, scheme: str
) -> None:
    page = opened(width=width, is_mobile=mobile, has_touch=mobile, color_scheme=scheme)
    ready(page)
    for section in page.locator("details").all():
        section.evaluate("node => { node.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert all(node.is_visible() for node in page.locator(".node rect").all())
    page.evaluate("location.hash = 'audit-chorus-dimitra_hp-f_lmd'")
    card = page.locator(".card.open")
    card.wait_for()
    box = card.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not page.evaluate("'broken' in window")


def test_the_theme_is_the_systems_until_one_is_chosen(opened: Open) -> None:
    page = opened(color_scheme="dark")
    shade = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(shade)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(shade)
    assert dark != light
    button = page.locator("#theme")
    for name, expected in (("light", light), ("dark", dark)):
        button.click()
        assert button.inner_text().endswith(name)
        assert page.evaluate(shade) == expected
    page.reload()
    assert page.evaluate(shade) == dark
    button.click()
    assert page.evaluate(shade) == light


def test_clips_sort_and_filter(opened: Open) -> None:
    page = opened()
    ids = [one.clip_id for one in evaluated()]
    worst_first = [ids[4], ids[3], ids[2], ids[1], ids[0]]
    assert cells(page, "clips", 1) == worst_first
    head = page.locator("#clips-table th[data-key=m_lmd]")
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert cells(page, "clips", 1) == worst_first[::-1]
    assert page.evaluate("document.activeElement.textContent") == "M-LMD ↓"
    # Of a metric whose higher values are better, the first click brings the lowest ones up.
    page.locator("#clips-table th[data-key=opening_corr_fit] button").click()
    assert cells(page, "clips", 1) == worst_first[::-1]
    page.locator("#clips-dataset").select_option("chorus")
    assert cells(page, "clips", 1) == ids[:4]
    page.locator("#clips-identity").select_option("id00013")
    assert cells(page, "clips", 2) == ["id00013", "id00013"]
    page.locator("#clips-identity").select_option("")
    page.locator("#clips-search").fill("RAIN id00013")
    assert cells(page, "clips", 1) == [ids[1]]
    assert page.locator("#clips-count").inner_text().startswith("1 of ")
    page.locator("#clips-method").select_option("")
    assert "Frozen first frame" in cells(page, "clips", 3)
    page.locator("#clips-search").fill("nothing says this")
    assert cells(page, "clips", 1) == []


def test_quarantine_and_tests_filter(opened: Open) -> None:
    page = opened()
    assert len(cells(page, "quarantine", 1)) == 2
    page.locator("#quarantine-reason").select_option("truncated")
    assert cells(page, "quarantine", 5) == ["ends at byte 9"]
    page.locator("#quarantine-reason").select_option("")
    page.locator("#quarantine-search").fill("<script>")
    assert cells(page, "quarantine", 1) == ["chorus-bad-0"]
    page.locator("#paired-dataset").select_option("chorus")
    assert cells(page, "paired", 4) == ["Dimitra (no HP)", "Frozen first frame"]
    page.locator("#paired-method").select_option("Dimitra (no HP)")
    assert cells(page, "paired", 10) == ["Dimitra (HP) better"]


def test_three_videos_play_as_one(opened: Open) -> None:
    page = opened()
    ready(page)
    page.locator("#watch").scroll_into_view_if_needed()
    before = page.evaluate(CURSOR)
    page.locator("#speed").select_option("0.5")
    page.locator("#play").click()
    seen_playing = page.evaluate(WATCH)
    assert page.locator("#play").inner_text() == "Pause"
    gaps = [max(times) - min(times) for times, _ in seen_playing]
    assert np.median(gaps) <= FRAME_S
    cursors = [place for _, place in seen_playing]
    assert before < cursors[0]
    assert cursors == sorted(cursors)
    assert cursors[-1] == pytest.approx(1.2 / 2.0, abs=0.1)
    page.locator("#play").click()
    until(page, f"new Set(({TIMES})()).size === 1")
    ready(page)
    shown = {seen(page, name) for name in VIDEOS}
    assert shown == {int(page.locator("#position").input_value())}
    assert page.evaluate(CURSOR) == pytest.approx((shown.pop() + 0.5) / FRAMES, abs=0.005)


def test_frames_are_stepped_and_sought_exactly(opened: Open) -> None:
    page = opened()
    page.locator("#clip-choice").select_option(evaluated()[0].clip_id)
    ready(page)

    def shows(frame: int) -> None:
        ready(page)
        assert {seen(page, name) for name in VIDEOS} == {frame}
        assert page.locator("#position").input_value() == str(frame)
        assert page.locator("#clock").inner_text().startswith(f"frame {frame + 1} of {FRAMES}")
        assert page.evaluate(CURSOR) == pytest.approx((frame + 0.5) / FRAMES, abs=0.005)

    page.locator("#forth").click()
    page.locator("#forth").click()
    shows(2)
    page.locator("#back").click()
    shows(1)
    page.keyboard.press("Shift+ArrowRight")
    shows(26)
    area = page.locator("#plots .curve .area").first
    box = area.bounding_box()
    assert box is not None
    area.click(position={"x": box["width"] * 40.5 / FRAMES, "y": 10})
    shows(40)
    # Truth 0.1, fit 0.2 and generated 0.3 radians of pitch.
    readings = page.locator(".reading").nth(1).locator("span").all_inner_texts()
    assert readings == ["5.7", "11.5", "17.2"]
    page.locator("#position").fill(str(FRAMES - 1))
    shows(FRAMES - 1)
    page.keyboard.press("ArrowRight")
    shows(FRAMES - 1)


def test_a_row_plays_its_clip(opened: Open) -> None:
    page = opened()
    ready(page)
    wanted = evaluated()[1].clip_id
    page.locator(f"#clips-table tr[data-clip={wanted}] td").nth(2).click()
    until(page, "document.getElementById('video-hp').currentTime > 0.1")
    assert page.locator("#clip-choice").input_value() == wanted
    sources = page.evaluate("[...document.querySelectorAll('video')].map(v => v.currentSrc)")
    assert all(f"/videos/{wanted}-" in source for source in sources)
    assert page.locator("#clip-text").inner_text() == "Rain & wind"
    assert page.evaluate("document.querySelectorAll('tr.chosen').length") == 1
    assert page.evaluate("document.activeElement.id") == "play"


def test_a_video_that_is_not_there_is_named(opened: Open, complaints: list[str]) -> None:
    page = opened()
    ready(page)
    page.evaluate("player.examples.values().next().value.files.hp = 'videos/gone.mp4'")
    page.evaluate("player.load(data.examples[0].clip_id)")
    until(page, "!document.getElementById('trouble').hidden")
    assert page.locator("#trouble").inner_text().startswith("videos/gone.mp4 cannot be played")
    assert all("ERR_FILE_NOT_FOUND" in complaint for complaint in complaints)
    complaints.clear()


def test_every_number_opens_what_stands_behind_it(opened: Open) -> None:
    page = opened()
    lost = page.evaluate(
        """() => [...document.querySelectorAll("a[href^='#']")].map(a => a.getAttribute("href"))
            .filter(to => !document.getElementById(decodeURIComponent(to.slice(1))))"""
    )
    assert lost == []
    number = page.locator("a.audited[href='#audit-chorus-dimitra_hp-m_lmd']")
    number.press("Enter")
    card = page.locator(".card.open")
    assert card.get_attribute("id") == "audit-chorus-dimitra_hp-m_lmd"
    assert page.evaluate("document.activeElement.matches('.card.open')")
    assert "dimitra audit metrics/chorus.json#dimitra_hp.m_lmd" in card.inner_text()
    card.locator("a", has_text="commit").first.click()
    assert page.locator(".card.open").get_attribute("id") == "lineage-evaluate"
    page.keyboard.press("Escape")
    assert page.locator(".card.open").count() == 0
    assert page.evaluate("location.hash") == ""
    assert page.evaluate("document.activeElement.textContent") == number.inner_text()
    node = page.locator("a.node[data-name='train@pose']")
    node.hover()
    traced = page.locator(".node.on").evaluate_all("all => all.map(one => one.dataset.name)")
    assert {"train@pose", "shard", "datasets"} <= set(traced)
    assert "train@lips" not in traced
    node.click()
    assert page.locator(".card.open").get_attribute("id") == "lineage-train-pose"


def test_a_link_to_a_number_opens_its_card(opened: Open) -> None:
    page = opened("#audit-lecture-dimitra_no_hp-f_lmd")
    assert page.locator(".card.open h3").inner_text() == "lecture, Dimitra (no HP), F-LMD"


def test_without_javascript_tables_and_cards_are_there(opened: Open) -> None:
    page = opened("#audit-chorus-dimitra_hp-f_lmd", java_script_enabled=False)
    card = page.locator("#audit-chorus-dimitra_hp-f_lmd")
    assert card.is_visible()
    card.locator(".close").click()
    assert not card.is_visible()
    assert page.locator("#player").is_hidden()
    assert page.get_by_text("Playing together needs JavaScript").is_visible()
    page.locator("#over-identities").check()
    assert page.get_by_text("2 identities").first.is_visible()


def test_intervals_are_over_clips_or_identities(opened: Open) -> None:
    page = opened()
    cell = page.locator("td:has(> a[href='#audit-chorus-dimitra_hp-f_lmd'])")
    clip = cell.inner_text()
    page.locator("#over-identities").check()
    person = cell.inner_text()
    assert "2 identities" in person
    assert "identities" not in clip
    assert clip.split("\n")[0] == person.split("\n")[0] == "3.15"
    assert clip.split("\n")[1] != person.split("\n")[1]
