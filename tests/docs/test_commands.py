"""Every command that README and docs name exists as they write it, and runs or says why not."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from dimitra.cli import app
from tests.docs.documented import PAGES, ROOT, Command, blocks, in_blocks, in_sentences

BLOCKS = [found for page in PAGES for found in blocks(page)]
KNOWN = [*in_blocks(), *in_sentences()]
TO_RUN = [commands for mark, commands in BLOCKS if mark == "run"]
PLACEHOLDER = re.compile(r"^(?:\[.*|.*\]|\.\.\.|…|<.*>|[A-Z]+|N)$")


@pytest.fixture(scope="module")
def root() -> Any:
    for entry in entry_points(group="dimitra.commands"):
        app.add_typer(entry.load(), name=entry.name)
    return typer.main.get_command(app)


def fault(command: Any, words: tuple[str, ...]) -> str | None:
    """What is wrong with the words after ``dimitra``, None where they can be parsed."""
    while getattr(command, "commands", None) and words:
        if words[0].startswith(("-", "[")) or PLACEHOLDER.match(words[0]):
            break
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    known.add("--help")
    for word in words:
        option = word.strip("[]").split("=", maxsplit=1)[0]
        if option.startswith("--") and option not in known:
            return f"no option {option!r}"
    return None


@pytest.mark.parametrize("command", [one for one in KNOWN if one.words[0] == "dimitra"], ids=str)
def test_a_command_of_dimitra_is_written_as_it_is(command: Command, root: Any) -> None:
    assert fault(root, command.words[1:]) is None


@pytest.mark.parametrize("command", [one for one in KNOWN if one.words[0] == "make"], ids=str)
def test_a_target_of_make_exists(command: Command) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in command.words[1:] if "=" not in word} <= targets


@pytest.mark.parametrize(
    "command",
    [one for one in KNOWN if one.words[:2] == ("python", "-m") and "<" not in one.words[2]],
    ids=str,
)
def test_a_module_exists(command: Command) -> None:
    assert importlib.util.find_spec(command.words[2]) is not None


@pytest.mark.parametrize(
    "command",
    [one for one in KNOWN if one.words[0] == "python" and one.words[1].endswith(".py")],
    ids=str,
)
def test_a_script_exists(command: Command) -> None:
    assert (ROOT / command.words[1]).is_file()


@pytest.mark.parametrize(
    "command", [one for one in KNOWN if one.words[:2] == ("dvc", "repro")], ids=str
)
def test_a_stage_exists(command: Command) -> None:
    stages = {*yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"], "datasets.dvc"}
    words = [word for word in command.words[2:] if not PLACEHOLDER.match(word)]
    named = {word.split("@")[0] for word in words if not word.startswith("-")}
    assert named <= stages


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_commands_says_how_it_is_run(number: int) -> None:
    mark, commands = BLOCKS[number]
    where = f"{commands[0].page}:{commands[0].line}"
    assert mark is not None, (
        f"{where}: a block of commands without a mark (tests/docs/documented.py)"
    )
    if mark == "run":
        return
    if mark.startswith("run by "):
        assert (ROOT / mark.removeprefix("run by ")).is_file(), f"{where}: {mark}"
        return
    assert re.fullmatch(r"not run: .{10,}", mark), f"{where}: {mark!r} is no mark"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout as one commit, with the sample corpus and without a run's outputs."""
    folder = tmp_path_factory.mktemp("documented") / "dimitra"
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a checkout"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, *words], cwd=folder, check=True)
    for name in ("datasets", "truth"):
        (folder / name).symlink_to(ROOT / name)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("commands", TO_RUN, ids=lambda found: str(found[0]))
def test_a_block_runs(commands: list[Command], checkout: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "DVC_NO_ANALYTICS": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    subprocess.run(["git", "checkout", "-q", "."], cwd=checkout, check=True)
    for command in commands:
        result = subprocess.run(
            command.words,
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
