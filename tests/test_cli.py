"""The command line: commands of the pipeline are loaded when they are asked for."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from dimitra import cli
from pipelines.commands import audit as audit_command

ROOT = Path(__file__).parent.parent


def loaded(*arguments: str) -> list[str]:
    """Command modules of the pipeline that a command line loads."""
    code = (
        "import sys\n"
        f"sys.argv = ['dimitra', {', '.join(map(repr, arguments))}]\n"
        "from dimitra.cli import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "rooms = sorted(name for name in sys.modules if name.startswith('pipelines.commands.'))\n"
        "print('\\nLOADED', *rooms)\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return made.stdout.splitlines()[-1].split()[1:]


def test_one_command_loads_no_other() -> None:
    assert loaded("params", "--help") == ["pipelines.commands.params"]


def test_options_of_audit_may_stand_behind_its_target() -> None:
    cli.app.add_typer(audit_command.app, name="audit")
    result = CliRunner().invoke(cli.app, ["audit", "no-such-clip", "--verify", "--json"])
    assert result.exit_code == audit_command.USAGE
    assert "error:" in result.stderr
