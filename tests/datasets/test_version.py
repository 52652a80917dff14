import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.datasets.version import Bump, Version, VersionError

VERSIONS = st.builds(Version, *[st.integers(0, 10**9 - 1)] * 3)


@given(VERSIONS, VERSIONS)
def test_versions_come_back_from_text_and_are_ordered_as_numbers(one: Version, other: Version) -> None:
    assert Version.parse(str(one)) == one
    order = [[int(part) for part in str(version).split(".")] for version in (one, other)]
    assert (one < other) == (order[0] < order[1])


@given(VERSIONS)
def test_a_larger_change_gives_a_larger_version(version: Version) -> None:
    grown = [version.bumped(bump) for bump in sorted(Bump)]
    assert grown[0] == version
    assert grown == sorted(set(grown))


def test_lower_numbers_start_again() -> None:
    version = Version(1, 4, 2)
    assert [str(version.bumped(bump)) for bump in Bump] == ["1.4.2", "1.4.3", "1.5.0", "2.0.0"]


@pytest.mark.parametrize("text", ["1.0", "1.0.0-rc1", "01.0.0", "1.0.0 ", "v1.0.0", "", "1.0.x"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(VersionError, match=r"not of the form MAJOR\.MINOR\.PATCH"):
        Version.parse(text)
