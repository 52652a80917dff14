"""Commands that README and docs name: in code blocks, which carry a mark, and within sentences.

A code block of commands is preceded by one of these marks, which a browser does not show:

* ``<!-- run -->``: ``test_commands.py`` runs it in a copy of the checkout without a run's outputs.
* ``<!-- run by tests/<file>.py -->``: that test runs it.
* ``<!-- not run: <reason> -->``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md")),
)
PROGRAMS = (
    *("dimitra", "make", "dvc", "mlflow", "python", "pytest", "ray", "git", "pip"),
    *("conda", "sbatch", "srun", "kubectl", "helm", "uv", "apt-get", "cp"),
)
"""A line that begins with one of these is a command."""
_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^ *```(?P<kind>\w*)\n(?P<text>.*?)^ *```", re.M | re.S
)
_INLINE = re.compile(r"`((?:\.venv/bin/)?(?:dimitra|make|dvc|python -m) [^`\n]*)`")
_NO_SHELL = ("python", "yaml", "json", "text")


@dataclass(frozen=True)
class Command:
    """A command as a page gives it.

    Attributes:
        page: relative to the repository.
        line: number of its line, from 1.
        words: as a shell would split it, without a path before the program.
        mark: of its block; None within a sentence.
    """

    page: str
    line: int
    words: tuple[str, ...]
    mark: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {' '.join(self.words)}"


def split(text: str) -> list[tuple[str, ...]]:
    """The commands of a line: split at ``&&``, without comments and assignments before them."""
    found = []
    words = [*shlex.split(re.sub(r"\s#.*", "", text)), "&&"]
    while words:
        end = next(index for index, word in enumerate(words) if word in ("&&", "|"))
        part, words = words[:end], words[end + 1 :]
        while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
            part = part[1:]
        if part:
            found.append((part[0].removeprefix(".venv/bin/"), *part[1:]))
    return found


def blocks(page: Path) -> Iterator[tuple[str | None, list[Command]]]:
    """Mark and commands of each code block of a page that has commands."""
    name = page.relative_to(ROOT).as_posix()
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        if match["kind"] in _NO_SHELL:
            continue
        first = text.count("\n", 0, match.start("text")) + 1
        lines = match["text"].replace("\\\n", " ").splitlines()
        commands = [
            Command(name, first + offset, words, match["mark"] or "")
            for offset, line in enumerate(lines)
            if line.split(maxsplit=1)[:1] and _begins(line)
            for words in split(line)
        ]
        if commands:
            yield match["mark"], commands


def _begins(line: str) -> bool:
    words = [word for word in line.split() if not re.fullmatch(r"[A-Z_]+=.*", word)]
    return bool(words) and words[0].removeprefix(".venv/bin/") in PROGRAMS


def inline(page: Path) -> Iterator[Command]:
    """Commands within the sentences of a page."""
    name = page.relative_to(ROOT).as_posix()
    text = re.sub(
        r"^ *```.*?^ *```", lambda m: "\n" * m[0].count("\n"), page.read_text(), flags=re.M | re.S
    )
    for match in _INLINE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        try:
            commands = split(match[1])
        except ValueError:  # an unbalanced quotation mark is no command
            continue
        for words in commands:
            yield Command(name, line, words, None)


def in_blocks() -> list[Command]:
    """Every command of every page's code blocks."""
    return [command for page in PAGES for _, found in blocks(page) for command in found]


def in_sentences() -> list[Command]:
    """Every command within the sentences of every page."""
    return [command for page in PAGES for command in inline(page)]
