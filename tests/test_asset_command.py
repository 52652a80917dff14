"""``dimitra assets``, as typed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dimitra import assets, cli
from tests.stores import an_asset, catalogue, own_store


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_store(tmp_path, monkeypatch)
    catalogue(
        monkeypatch,
        an_asset("face", "manual: sign it at https://example.org", file="face.mat"),
    )


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["assets", *arguments])
    return result.exit_code, " ".join(result.output.split())


def test_a_licensed_file_from_its_absence_to_its_pin(tmp_path: Path) -> None:
    code, output = invoke("fetch", "face")
    assert code == 1
    assert "by hand: sign it at https://example.org; then: dimitra assets add face PATH" in output
    code, output = invoke("verify", "face")
    assert (code, "missing" in output) == (1, True)
    given = tmp_path / "got.mat"
    given.write_bytes(b"MATLAB 5.0 MAT-file")
    code, output = invoke("add", "face", str(given))
    assert code == 0, output
    assert "pinned in" in output
    assert "commit it" in output
    assert invoke("fetch", "face")[0] == 0
    code, output = invoke("verify", "face")
    assert (code, assets.asset_sha256("face")[:16] in output) == (0, True)
    given.write_bytes(b"MATLAB 5.0 mat-file")
    code, output = invoke("add", "face", str(given))
    assert code == 2
    assert "dimitra assets add --replace face" in output
    assert invoke("add", "--replace", "face", str(given))[0] == 0
    assert "yes" in invoke("list")[1]


def test_a_path_is_pinned_and_a_change_of_it_told(tmp_path: Path) -> None:
    mine = tmp_path / "mine.bin"
    mine.write_bytes(b"a")
    assert invoke("pin", str(mine))[0] == 0
    assert invoke("verify", str(mine))[0] == 0
    mine.write_bytes(b"b")
    assert invoke("verify", str(mine))[0] == 1
    assert invoke("pin", str(mine))[0] == 2
    assert invoke("pin", "--replace", str(mine))[0] == 0
    code, output = invoke("pin", str(tmp_path / "gone.bin"))
    assert (code, "gone.bin: no such file or folder" in output) == (2, True)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nonsense", "no asset is called 'nonsense'"),
        ("hf:owner/model", "hf:owner/model@revision"),
        ("hf:owner/model@main", "is a branch, which moves"),
    ],
)
def test_what_cannot_be_meant_is_told(reference: str, message: str) -> None:
    for command in (("fetch", reference), ("verify", reference), ("add", reference, "/nowhere")):
        code, output = invoke(*command)
        assert (code, message in output) == (2, True)


def test_the_profile_must_exist() -> None:
    code, output = invoke("fetch", "--profile", "papr")
    assert (code, "no profile is called 'papr'" in output) == (2, True)
