"""The whole way through the page in a headless Chromium; with trained models if there are any."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.animation.toy import SAMPLE, photo, run_folder, sentence
from tests.serve.house import served
from tests.web.house import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
TRAINED = ROOT / "models"
MAKES_MS = 120_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(photo()).save(folder / "astronaut.png")
    (folder / "boats.wav").write_bytes(sentence())
    (folder / "cut.png").write_bytes((folder / "astronaut.png").read_bytes()[:5000])
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, with the models of the last `dvc repro`; in a bare checkout with untrained ones."""
    scratch = tmp_path_factory.mktemp("scratch")
    options = ("--params", str(SAMPLE))
    trained = (TRAINED / "lips").is_dir()
    models = TRAINED if trained else run_folder(tmp_path_factory.mktemp("run"))
    with served(models, scratch, *(options if trained else ())) as (url, child):
        yield url
    assert child.returncode == 0
    assert not list(scratch.glob("dimitra-serve-*"))


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    """The page at phone width; complaints of the browser fail the test."""
    with sync_playwright() as playwright:
        # Debian's build runs as root in containers, where it has no sandbox of its own.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-fake-device-for-media-stream"],
        )
        page = browser.new_context(
            viewport={"width": 360, "height": 740},
            permissions=["microphone"],
            accept_downloads=True,
        ).new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if "Security Policy" in said.text else None,
        )
        page.goto(address)
        yield page
        browser.close()
        assert not complaints


def drop(page: Page, kind: str, file: Path) -> None:
    """Drop a file as a person does: through a DataTransfer, not through the input."""
    page.locator(f"[data-kind={kind}] .target").evaluate(
        """(target, [name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name));
            target.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
        }""",
        [file.name, list(file.read_bytes())],
    )


def until(page: Page, condition: str) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_a_photo_speaks(page: Page, files: Path, tmp_path: Path) -> None:
    assert no_sideways_scroll(page)
    drop(page, "image", files / "astronaut.png")
    drop(page, "audio", files / "boats.wav")
    expect(page.locator("#image-view")).to_be_visible()
    page.get_by_text("Options").click()
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Side, pixels").fill("128")
    assert no_sideways_scroll(page)
    page.evaluate(
        """() => {
            window.steps = new Set();
            new MutationObserver(() => steps.add(document.getElementById("message").textContent))
                .observe(document.getElementById("message"), {childList: true});
        }"""
    )
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.locator(".curves svg")).to_be_visible(timeout=MAKES_MS)
    steps = " ".join(page.evaluate("[...steps]"))
    assert "of 77" in steps
    assert "sending the files" in steps

    video = page.locator("video")
    until(page, "document.querySelector('video').readyState >= 3")
    assert video.evaluate("v => v.duration") == pytest.approx(77 / 25, abs=0.1)
    assert video.evaluate("v => [v.videoWidth, v.videoHeight]") == [128, 128]
    assert page.locator(".curves path.curve").count() == 5
    assert page.locator(".curves path.curve").first.get_attribute("d").count("L") == 76
    boxes = [box.evaluate("p => p.getBBox().height") for box in page.locator("path.curve").all()]
    assert max(boxes) > 30

    before = float(page.locator(".now").get_attribute("x1") or 0)
    video.evaluate("v => { v.muted = true; return v.play(); }")
    # The line follows the frames the browser draws: on a busy machine it comes after the clock.
    until(page, f"document.querySelector('.now').getAttribute('x1') > {before + 50}")
    assert video.evaluate("v => v.currentTime") > 0.5
    video.evaluate("v => v.pause()")
    page.locator(".curves").click(position={"x": 280, "y": 60})
    until(page, "Math.abs(document.querySelector('video').currentTime - 2.9) < 0.4")
    assert no_sideways_scroll(page)

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    assert waiting.value.suggested_filename == "boats.mp4"
    waiting.value.save_as(tmp_path / "got.mp4")
    played = page.evaluate(
        "fetch(document.querySelector('video').src).then(r => r.arrayBuffer())"
        ".then(b => Array.from(new Uint8Array(b)))"
    )
    assert bytes(played) == (tmp_path / "got.mp4").read_bytes()
    with av.open(str(tmp_path / "got.mp4")) as container:
        assert "trainedAlgorithmicMedia" in container.metadata["digital_source_type"]
        frames = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
    assert frames.shape == (77, 128, 128)
    assert frames.std(axis=0).max() > 5


def test_what_cannot_be_is_said(page: Page, files: Path) -> None:
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_have_text("choose a photo first")
    drop(page, "image", files / "cut.png")
    drop(page, "audio", files / "boats.wav")
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "cut.png is damaged or cut off", timeout=MAKES_MS
    )
    assert no_sideways_scroll(page)
    expect(page.get_by_role("button", name="Make the video")).to_be_enabled()
    page.get_by_text("Options").click()
    page.get_by_label("Side, pixels").fill("9")
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("size: Input should be greater than")


def test_recording_and_cancelling(page: Page, files: Path) -> None:
    """Chromium's fake microphone beeps once a second, which opens a mouth but says nothing."""
    page.context.grant_permissions(["microphone"])
    drop(page, "image", files / "astronaut.png")
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#audio-hint")).to_have_text("recording.webm")
    page.get_by_text("Options").click()
    page.get_by_label("Side, pixels").fill("64")
    page.get_by_label("What is said").fill("one two")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator(".curves svg")).to_be_visible(timeout=MAKES_MS)
    until(page, "document.querySelector('video').duration > 0.8")

    page.get_by_label("Side, pixels").fill("1024")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator("#message")).to_contain_text("video", timeout=MAKES_MS)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Make the video")).to_be_enabled()


def test_the_keyboard_is_enough(page: Page) -> None:
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached[:5] == ["image", "audio", "record", "SUMMARY", "make"]
