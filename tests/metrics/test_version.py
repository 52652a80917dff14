"""The version of the metric code covers every module, and nothing else."""

from pathlib import Path

from dimitra.metrics import version


def test_every_metric_module_is_covered() -> None:
    folder = Path(version.__file__).parent
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py", "version.py"}
    assert set(version.DATA_FILES) == modules


def test_the_digest_is_that_of_the_files() -> None:
    import subprocess

    folder = Path(version.__file__).parent
    listed = subprocess.run(
        ["sha256sum", *sorted(version.DATA_FILES)], cwd=folder, capture_output=True, check=True
    ).stdout
    whole = subprocess.run(["sha256sum"], input=listed, capture_output=True, check=True).stdout
    assert version.code_digest() == whole.decode().split()[0]
