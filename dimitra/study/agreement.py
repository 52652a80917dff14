"""Agreement between raters beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def krippendorff_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal values; raters may be missing anywhere.

    Args:
        units: for each thing that was rated the values it got, one of each rater who rated it.

    Returns:
        1 for full agreement, 0 for what chance gives, below 0 for systematic disagreement; None
        where no unit has two values, or all values are the same.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), the form from
    coincidences, alpha = 1 - D_o / D_e. With the same number of raters everywhere it is Fleiss'
    kappa corrected for small samples: alpha = 1 - (1 - kappa) (n - 1) / n for n values.
    """
    totals: Counter[Hashable] = Counter()
    observed = 0.0
    for values in units:
        if len(values) < 2:
            continue
        counts = Counter(values)
        totals += counts
        unlike = len(values) ** 2 - sum(count**2 for count in counts.values())
        observed += unlike / (len(values) - 1)
    n = sum(totals.values())
    expected = n**2 - sum(count**2 for count in totals.values())
    if expected == 0:
        return None
    return 1.0 - (n - 1) * observed / expected
