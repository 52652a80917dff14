"""The pages build, every link within the project leads somewhere, every page is led to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documented import PAGES, ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    words = [
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        str(tmp_path / "trees"),
    ]
    result = subprocess.run(
        [sys.executable, *words, "docs", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in PAGES[1:]}
    assert all((tmp_path / "site" / page).is_file() for page in pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_file_that_is_linked_is_there(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [
        link for link in links if link[0] != "#" and not (page.parent / link.split("#")[0]).exists()
    ]
    assert not missing


def test_an_anchor_of_the_readme_is_a_heading() -> None:
    for link in LINK.findall((ROOT / "README.md").read_text()):
        file, _, anchor = link.partition("#")
        if anchor and "://" not in link:
            text = (ROOT / file).read_text()
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, link


def test_a_module_that_is_named_is_there() -> None:
    """Those of other people's code stand apart."""
    others = {"evaluate.md", "morphable.md"}
    rooms = ("dimitra", "pipelines", "tests", "benchmarks")
    there = {
        file.relative_to(ROOT).as_posix() for room in rooms for file in (ROOT / room).rglob("*.py")
    }
    for page in PAGES:
        if page.name in others:
            continue
        for name in re.findall(r"`([\w./]+\.py)`", page.read_text()):
            wanted = name.removeprefix("../")
            found = any(f"/{one}".endswith(f"/{wanted}") for one in there)
            assert found, f"{page.name}: {name}"
