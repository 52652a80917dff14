"""Files of one unit on nodes that share no path with the driver."""

from pathlib import Path

import pytest

from pipelines.runtime.staging import Staging
from pipelines.runtime.units import Unit
from pipelines.runtime.workspace import Delivery, NodeWorkspace, Parcel
from pipelines.stores.storage import DamagedError, Storage


def test_a_units_own_files_come_with_it_and_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "driver"
    path = Path("coefficients/toy/mp4/id0/v/00001.mat")
    (driver / path).parent.mkdir(parents=True)
    (driver / path).write_bytes(b"coefficients")
    monkeypatch.chdir(driver)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "node"))
    storage = Storage(str(tmp_path / "storage"))
    unit = Unit("00000", (), (), digest="known", inputs=(path,))
    delivery = Staging(storage, {}).deliver(unit)
    assert list(delivery.inputs) == [path.as_posix()]

    workspace = NodeWorkspace(storage, storage, {})
    workspace.settle(Parcel())
    assert Path.cwd() != driver
    with workspace.unit(unit, delivery):
        assert path.read_bytes() == b"coefficients"
    assert not path.exists()

    (name,) = delivery.inputs.values()
    (tmp_path / "storage" / name).write_bytes(b"other bytes!")
    with (
        pytest.raises(DamagedError),
        workspace.unit(unit, Delivery(inputs={path.as_posix(): name})),
    ):
        pass
    workspace.leave()
