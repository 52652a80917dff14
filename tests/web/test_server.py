"""The address of a server."""

from __future__ import annotations

import pytest

from dimitra.web.server import AddressError, address, bind, is_loopback


def test_addresses() -> None:
    with bind("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
        assert address(one) == f"http://127.0.0.1:{port}/"
        assert is_loopback(one)
        with pytest.raises(AddressError, match=rf"127.0.0.1 port {port} cannot be used: .*--port"):
            bind("127.0.0.1", port)
    with bind("0.0.0.0", 0) as all_of_them:  # noqa: S104 - that it is told apart is the test
        assert not is_loopback(all_of_them)
        assert "0.0.0.0" not in address(all_of_them)  # noqa: S104
    with pytest.raises(AddressError, match="port 70000; ports go from 0"):
        bind("127.0.0.1", 70000)
    with pytest.raises(AddressError, match="no-such-host.invalid port 1 cannot be used"):
        bind("no-such-host.invalid", 1)
