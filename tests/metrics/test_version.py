"""The version of the metric code covers every module of three packages, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from dimitra.metrics import version

ROOT = Path(version.__file__).parents[1]


@pytest.mark.parametrize("package", ["metrics", "statistics", "sync"])
def test_every_module_is_covered(package: str) -> None:
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "version.py"}
    assert set(version.MODULES[package]) == modules


def test_the_digest_is_that_of_the_files() -> None:
    names = sorted(f"{package}/{name}" for package, of in version.MODULES.items() for name in of)
    listed = subprocess.run(["sha256sum", *names], cwd=ROOT, capture_output=True, check=True).stdout
    whole = subprocess.run(["sha256sum"], input=listed, capture_output=True, check=True).stdout
    assert version.code_digest() == whole.decode().split()[0]
