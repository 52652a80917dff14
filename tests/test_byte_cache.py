from concurrent.futures import ThreadPoolExecutor

from dimitra.byte_cache import ByteCache


def test_what_was_used_longest_ago_goes_when_the_bytes_are_full() -> None:
    read: list[str] = []

    def make(name: str) -> bytes:
        read.append(name)
        return name.encode() * 10

    cache = ByteCache(make, len, limit=30)
    for name in ("a", "b", "c", "a", "d", "a", "b"):
        assert cache.get(name) == name.encode() * 10
    assert read == ["a", "b", "c", "d", "b"]
    assert cache.held == 30
    assert cache.get("long") == b"long" * 10  # more than all of it: not kept
    assert cache.held == 30
    assert cache.get("long") == b"long" * 10
    assert read[-2:] == ["long", "long"]


def test_threads_find_the_right_values_and_the_bytes_stay_bounded() -> None:
    cache = ByteCache(lambda name: name.encode() * 5, len, limit=40)
    names = [f"{number % 17:02d}" for number in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(cache.get, names)) == [name.encode() * 5 for name in names]
    assert cache.held == 40
