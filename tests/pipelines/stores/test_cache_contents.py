"""The plan of what goes, held against its laws; see commands/test_cache.py for what is removed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stores.cache_contents import GRACE_S, Contents, Plan, Record, plan
from pipelines.stores.storage import Entry

NOW_S = 1e9
SHAS = [f"{number:064x}" for number in range(6)]
ages = st.sampled_from([0.0, 10.0, GRACE_S - 1, GRACE_S + 1, 10 * GRACE_S, 100 * GRACE_S])


@st.composite
def caches(draw: st.DrawFn) -> Contents:
    """Records of which several may name one shard, shards that none names, and the rest."""

    def entry(name: str) -> Entry:
        return Entry(name, draw(st.integers(0, 100)), NOW_S - draw(ages))

    objects = {
        sha256: entry(f"objects/{sha256}.tar") for sha256 in draw(st.sets(st.sampled_from(SHAS)))
    }
    records = {}
    for number, sha256 in enumerate(draw(st.lists(st.sampled_from(SHAS), max_size=8))):
        name = f"work/{number}.json"
        records[name] = Record(entry(name), "crop", sha256, 1, 1)
    staged = tuple(entry(f"files/{number}") for number in range(draw(st.integers(0, 3))))
    broken = tuple(entry(f"work/broken{number}") for number in range(draw(st.integers(0, 2))))
    states = tuple(entry(f"training/{number}") for number in range(draw(st.integers(0, 2))))
    return Contents(records, objects, staged, broken, states)


def used(chosen: Plan, contents: Contents) -> tuple[list[float], list[float]]:
    """Last use of the records and staged inputs that go, and of those that stay."""
    gone = {entry.name for entry in chosen.entries}
    every = [
        *(record.entry for record in contents.records.values()),
        *contents.staged,
        *contents.states,
    ]
    return (
        [entry.modified_s for entry in every if entry.name in gone],
        [entry.modified_s for entry in every if entry.name not in gone],
    )


@settings(max_examples=300)
@given(
    caches(),
    st.sets(st.sampled_from(SHAS)),
    st.none() | ages,
    st.none() | st.integers(0, 600),
)
def test_the_laws_of_a_plan(
    contents: Contents, named: set[str], older_than_s: float | None, max_bytes: int | None
) -> None:
    chosen = plan(contents, named, NOW_S, older_than_s, max_bytes)
    gone = [entry.name for entry in chosen.entries]
    assert len(set(gone)) == len(gone)
    stays = [record for name, record in contents.records.items() if name not in gone]
    named_by_records = {record.sha256 for record in stays}
    for sha256, entry in contents.objects.items():
        young = NOW_S - entry.modified_s <= GRACE_S
        never_had_a_record = all(r.sha256 != sha256 for r in contents.records.values())
        if sha256 in named or sha256 in named_by_records or (young and never_had_a_record):
            assert entry.name not in gone
        else:
            assert entry.name in gone
    assert chosen.left_bytes == contents.size_bytes - chosen.freed_bytes
    if older_than_s is None and max_bytes is None:
        assert not chosen.records
        assert set(chosen.others) <= set(contents.broken)
    free = [record.entry for record in stays if record.sha256 not in named]
    free += [entry for entry in (*contents.staged, *contents.states) if entry.name not in gone]
    if older_than_s is not None:
        assert all(NOW_S - entry.modified_s <= older_than_s for entry in free)
    if max_bytes is not None and chosen.left_bytes > max_bytes:
        assert not free
    if max_bytes is None or older_than_s is None:
        went, stayed = used(chosen, contents)
        unnamed = [entry.modified_s for entry in free]
        assert max(went, default=0.0) <= min(unnamed, default=NOW_S)
        assert len(stayed) >= len(unnamed)


def test_the_size_limit_takes_no_more_than_it_must() -> None:
    records, objects = {}, {}
    for number, age in enumerate((5.0, 1.0, 9.0)):
        name, sha256 = f"work/{number}.json", SHAS[number]
        records[name] = Record(Entry(name, 1, NOW_S - age), "crop", sha256, 100, 1)
        objects[sha256] = Entry(f"objects/{sha256}.tar", 100, NOW_S - age)
    contents = Contents(records, objects)
    chosen = plan(contents, set(), NOW_S, None, 202)
    assert [entry.name for entry in chosen.records] == ["work/2.json"]
    assert chosen.left_bytes == 202
    assert len(plan(contents, set(), NOW_S, None, 201).records) == 2
    chosen = plan(contents, {SHAS[2]}, NOW_S, None, 202)
    assert [entry.name for entry in chosen.records] == ["work/0.json"]
