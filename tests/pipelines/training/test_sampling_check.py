from pathlib import Path

import pytest

from pipelines import generate, train
from pipelines.errors import StageError
from pipelines.training.sampling_check import check_sampling
from tests.pipelines.toy_shards import small_params


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"steps": 499}, r"generate\.steps: no stride over 500"),
        ({"spacing": "log_snr", "steps": 50}, r"generate\.steps: 50 .* only 48"),
        ({"overlap": 10}, r"generate\.overlap: .* 10 frames, but chunks of 20 can share 0 to 9"),
        ({"guidance": 2.0}, r"generate\.guidance is 2\.0, but diffusion\.null_probability is 0"),
    ],
)
def test_impossible_sampling_is_refused_by_name(section: dict[str, object], message: str) -> None:
    params = small_params(generate=section, diffusion={"null_probability": 0.0})
    with pytest.raises(StageError, match=message):
        check_sampling(params)


def test_training_and_generating_refuse_it_before_they_look_for_their_inputs() -> None:
    params = small_params(generate={"steps": 499})
    with pytest.raises(StageError, match=r"generate\.steps"):
        train.train_part(params, "pose")
    with pytest.raises(StageError, match=r"generate\.steps"):
        generate.main()
