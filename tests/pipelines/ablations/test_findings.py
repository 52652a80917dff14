"""What is said of the numbers: for or against, with the report's names."""

from __future__ import annotations

import json

from dimitra.metrics.definitions import COEFFICIENT_METRICS
from pipelines.ablations.findings import findings
from pipelines.closure import ROOT
from tests.pipelines.ablations.numbers import entries


def test_sentences_say_what_the_numbers_say_for_or_against() -> None:
    said = findings(entries(), "chorus")
    assert said[0] == (
        "No phonemes: lips worse; mouth MAE (truth) 0.202 against 0.099 of the full model, "
        "+0.1030 or +104.6 %, 95 % over 4 clips +0.0989 to +0.1071."
    )
    assert said[1].startswith(
        "No text: expression no difference that shows, the interval covers 0; expression MAE "
    )
    joint = [one.partition(";")[0] for one in said[2:]]
    assert joint == [
        "One joint model: lips better",
        "One joint model: expression better",
        "One joint model: speed of the head worse",
        "One joint model: range of the head worse",
    ]
    assert "head speed gap 0.515 against 0.015 of three models" in said[4]


def test_no_sentence_of_the_committed_numbers_names_a_key() -> None:
    made = json.loads((ROOT / "metrics/ablations.json").read_text())
    said = " ".join(findings(made, "chorus"))
    assert "One joint model: lips" in said
    assert "One joint model: expression" in said
    assert not [metric.key for metric in COEFFICIENT_METRICS if metric.key in said]
