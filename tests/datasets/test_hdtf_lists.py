import os
import re
from pathlib import Path

import pytest

from dimitra.datasets.hdtf_lists import identity_of, read_annotations, read_urls
from dimitra.datasets.hdtf_split import hdtf_texts
from dimitra.datasets.listing import LayoutError
from dimitra.datasets.split import SplitError, read_lists

SPLITS = Path(__file__).parents[2] / "splits"
REAL = os.environ.get("DIMITRA_REAL_DATA")


def test_the_committed_table_has_the_counts_of_the_public_lists() -> None:
    """369 annotated videos, 436 intervals, 17.07 h: counted elsewhere, without this code."""
    rows = [
        line.split("\t")
        for line in (SPLITS / "hdtf/v1/videos.tsv").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert len(rows) == len({(part, name) for part, name, _, _ in rows}) == 369
    assert all(url.startswith("https://www.youtube.com/") for _, _, url, _ in rows)
    spans = [
        [int(number) for number in re.findall(r"\d+", span)]
        for *_, text in rows
        for span in text.split()
    ]
    assert len(spans) == 436
    seconds = sum(60 * (c - a) + d - b for a, b, c, d in spans)
    assert seconds / 3600 == pytest.approx(17.07, abs=0.005)
    assert seconds / 436 == pytest.approx(141, abs=0.5)


def test_the_committed_lists_test_everyone_and_train_nobody() -> None:
    lists = read_lists(SPLITS, "hdtf/v1")
    rows = (SPLITS / "hdtf/v1/videos.tsv").read_text().splitlines()
    keys = {"_".join(row.split("\t")[:2]) for row in rows if not row.startswith("#")}
    assert lists.train == frozenset()
    assert lists.test == {identity_of(key) for key in keys}
    assert {"RD_Radio1", "RD_Radio10", "WDA_KatieHill", "WRA_MittRomney"} <= lists.test


@pytest.mark.skipif(REAL is None, reason="DIMITRA_REAL_DATA is not set: no public lists here")
def test_the_command_makes_the_committed_files_from_the_public_lists() -> None:
    lists = Path(str(REAL)) / "hdtf_lists"
    texts = hdtf_texts(read_annotations(lists), read_urls(lists), "hdtf/v1", lists)
    for name, text in texts.items():
        assert (SPLITS / "hdtf/v1" / name).read_text() == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Radio1.mp4 00:10-00:10", "interval 00:10-00:10 does not end after its start"),
        ("Radio1.mp4 00:10-00:71", "does not end"),
        ("Radio1.mp4 00:10-00:20 x-y", "'x-y' is not of the form MM:SS-MM:SS"),
        ("Radio0.mp4 00:10-00:20", "Radio0 is named a second time"),
    ],
)
def test_an_interval_that_cannot_be_is_named_with_its_line(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "RD_annotion_time.txt").write_text(f"Radio0.mp4 00:10-00:20\n\n{line}\n")
    with pytest.raises(LayoutError, match=rf"RD_annotion_time\.txt:3: .*{message}"):
        read_annotations(tmp_path)


def test_addresses_are_read_past_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "WDA_video_url.txt").write_bytes(b"\xef\xbb\xbfJohnDoe2 https://y.example/1\n")
    assert read_urls(tmp_path) == {"WDA_JohnDoe2": "https://y.example/1"}
    (tmp_path / "WDA_annotion_time.txt").write_text("JaneRoe.mp4 00:10-00:20\n")
    with pytest.raises(SplitError, match="address of WDA_JaneRoe"):
        hdtf_texts(read_annotations(tmp_path), read_urls(tmp_path), "hdtf/v1", tmp_path)
    (tmp_path / "WDA_video_url.txt").write_text("JohnDoe2\n")
    with pytest.raises(LayoutError, match=r"WDA_video_url\.txt:1: 'JohnDoe2' is not of the form"):
        read_urls(tmp_path)
