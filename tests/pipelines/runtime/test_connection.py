"""What a driver's connection to Ray says and does before there is a Ray."""

import socket
from contextlib import ExitStack

import pytest

from pipelines.errors import JobError
from pipelines.params import RayParams
from pipelines.runtime.connection import connect


def test_an_address_where_nobody_listens_is_said_before_ray_waits_for_it() -> None:
    """Ray alone waits without end: without the knock this test does not come back."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for given in (address, f"ray://{address}"):
            params = RayParams(address=given)
            with ExitStack() as stack, pytest.raises(JobError) as info:
                connect(stack, "toy", params, 1, "pipelines.runtime.jobs", shared=True)
            assert f"toy: nobody listens at ray.address / RAY_ADDRESS '{given}'" in str(info.value)
            assert "ray start --head" in str(info.value)


def test_an_address_that_is_none_is_ray_s_to_refuse() -> None:
    params = RayParams(address="nowhere")
    with ExitStack() as stack, pytest.raises(JobError, match="no Ray at .*need host:port"):
        connect(stack, "toy", params, 1, "pipelines.runtime.jobs", shared=True)
