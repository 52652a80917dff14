"""References to weights: names, models of the hub, paths."""

import hashlib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dimitra import assets, cli
from dimitra.assets import AssetError, HubModel
from dimitra.weights import Pin, write_pin
from tests.stores import own_store

ROOT = Path(__file__).parent.parent

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_store(tmp_path, monkeypatch)


def test_catalogue_is_complete() -> None:
    for asset in assets.list_assets():
        assert asset.licence
        assert asset.purpose
        assert asset.sha256 is None or len(asset.sha256) == 64
        assert asset.file_name
        for source in asset.sources:
            assert source.startswith(("pypi:", "hf:", "https://", "manual:"))
            if source.startswith("hf:"):
                assets.hub_model(source, moving=True)
    content = yaml.safe_load((Path(assets.__file__).with_name("assets.yaml")).read_text())
    pinned = {
        s.removeprefix("pypi:").partition("!")[0]
        for a in assets.list_assets()
        for s in a.sources
        if s.startswith("pypi:")
    }
    assert set(content["archives"]) == pinned


def test_command_names_an_unknown_asset() -> None:
    result = CliRunner().invoke(cli.app, ["assets", "fetch", "nonsense"])
    assert result.exit_code == 2
    assert "nonsense" in result.output


def test_a_reference_to_the_hub_needs_a_revision_that_stays() -> None:
    assert assets.hub_model(f"hf:a-b/c.d_e@{COMMIT}") == HubModel("a-b/c.d_e", COMMIT)
    assert assets.hub_model("hf:a/b@v1.0!x/y.pt") == HubModel("a/b", "v1.0", "x/y.pt")
    for wrong in ("hf:a/b", "hf:b@v1", "hf:a/b@", "hf:a/b/c@v1", "hf:../b@v1", "hf:a/b@v1!../x"):
        with pytest.raises(AssetError, match="hf:owner/model@revision"):
            assets.get_asset(wrong)
    with pytest.raises(AssetError, match="'main' is a branch, which moves"):
        assets.get_asset("hf:a/b@main")
    assert assets.hub_model("hf:a/b@main", moving=True).revision == "main"


def test_what_a_name_could_mean_is_told() -> None:
    with pytest.raises(AssetError, match="no asset is called 'nonsense', and no file.*dlib_68"):
        assets.get_asset("nonsense")


def test_a_path_is_used_where_it_is_and_has_a_place_for_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights.mat"
    weights.write_bytes(b"abc")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    for reference in ("weights.mat", "./weights.mat", str(weights)):
        assert assets.asset_path(reference).resolve() == weights
        assert assets.asset_sha256(reference) == sha256
        write_pin(reference, Pin(sha256, 3, "weights.mat"))
        where = assets.place(reference)
        assert where == assets.store() / "path" / sha256[:16] / "weights.mat"
    # As on a node: the path is not there, or is another file; the pinned bytes are.
    where.parent.mkdir(parents=True)
    where.write_bytes(b"abc")
    weights.write_bytes(b"xyz")
    assert assets.asset_path("weights.mat") == where
    weights.unlink()
    for reference in ("weights.mat", "./weights.mat", str(weights)):
        assert assets.asset_path(reference) == where
        assert assets.verify(reference) == "ok"


def test_all_that_is_missing_is_listed_at_once() -> None:
    with pytest.raises(assets.MissingAssetError) as info:
        assets.require(["dlib_68", "anny_head", f"hf:a/b@{COMMIT}"])
    lines = str(info.value).splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("dlib_68", "anny_head", f"hf:a/b@{COMMIT}"), strict=True):
        assert f"dimitra assets fetch {name}" in line


def test_bytes_that_changed_in_the_store_are_noticed(tmp_path: Path) -> None:
    reference = f"hf:a/b@{COMMIT}!w.bin"
    write_pin(reference, Pin(hashlib.sha256(b"abc").hexdigest(), 3, reference, COMMIT))
    path = assets.place(reference)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    assets.require([reference])
    assets.require([reference])
    path.write_bytes(b"abd")
    with pytest.raises(AssetError, match=f"other bytes.*Remove {path}"):
        assets.require([reference])


def test_a_folder_asset_gives_no_way_out() -> None:
    with pytest.raises(AssetError, match="leaves its folder"):
        assets.place("anny_head", "../../x")


def test_damaged_pins_are_named(tmp_path: Path) -> None:
    file = tmp_path / "weights.yaml"
    for text in ("weights: [", "weights: {a: {sha256: x, size_bytes: 1, source: a}}", "a: 1"):
        file.write_text(text)
        with pytest.raises(AssetError, match=r"weights\.yaml is damaged"):
            assets.get_asset(f"hf:a/b@{COMMIT}")


def test_docs_and_catalogue_agree_on_pirenders_licence() -> None:
    asset = assets.get_asset("pirender_256")
    assert (asset.licence, asset.commercial) == ("none stated; ask its authors", False)
    weights = (ROOT / "docs" / "render.md").read_text().split("### Weights\n")[1].split("###")[0]
    assert "state no licence" in weights
    assert "CC BY" not in weights
