"""The figures of the paper's Tables I and II, on the paper's own data.

They stand beside this pipeline's numbers for orientation: data, renderer and landmarks differ, so
the two are no comparison unless the pipeline ran on the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """One table of the paper.

    Attributes:
        number: Roman numeral in the paper.
        dataset: dataset it was measured on.
        rows: method to F-LMD, M-LMD, SyncNet distance and confidence, None where the paper has
            none.
    """

    number: str
    dataset: str
    rows: Mapping[str, tuple[float | None, float | None, float, float]]


TABLE_I = PublishedTable(
    "I",
    "VoxCeleb2",
    {
        "Ground truth": (None, None, 8.08, 5.80),
        "StyleTalk": (5.73, 4.41, 11.16, 3.24),
        "SadTalker": (6.14, 4.70, 9.12, 5.28),
        "DreamTalk": (5.78, 4.43, 8.48, 5.64),
        "Dimitra": (5.00, 3.79, 9.43, 4.93),
    },
)

TABLE_II = PublishedTable(
    "II",
    "HDTF",
    {
        "Ground truth": (None, None, 8.63, 6.82),
        "StyleTalk": (2.51, 2.42, 13.06, 1.88),
        "SadTalker": (3.74, 4.19, 10.36, 5.34),
        "DreamTalk": (2.52, 2.42, 8.66, 6.14),
        "Dimitra (HP)": (3.85, 3.23, 9.42, 5.69),
        "Dimitra (no HP)": (2.51, 2.38, 9.60, 5.49),
    },
)

BY_LAYOUT = {"voxceleb2": TABLE_I, "hdtf": TABLE_II}
"""Dataset layout to the paper's table of that kind of data."""
