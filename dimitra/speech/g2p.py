"""Pronunciations of English words that no dictionary holds: the network of ``g2p_en``.

Park and Kim (2019, ``g2p_en`` 2.1.0, Apache-2.0): a GRU encoder reads the letters, a GRU decoder
writes ARPAbet phones, trained on CMUdict. The weights come from the published package; the package
itself is not imported, because it downloads NLTK data when it is, and needs a package under the
GPL. Greedy decoding in double precision: the answer depends on the spelling alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.phonemes import CONSONANTS, VOWELS, canonical

_LETTERS = {
    symbol: index for index, symbol in enumerate(("", "?", "</s>", *"abcdefghijklmnopqrstuvwxyz"))
}
_STRESSED = tuple(f"{vowel}{stress}" for vowel in VOWELS for stress in "012")
# The package lists a bare UW beside its three stresses.
_PHONES = ("", "", "<s>", "</s>", *sorted((*_STRESSED, "UW", *CONSONANTS)))
_START, _END = 2, 3
_LONGEST = 20
"""Phones of a word at most, as the package has it."""

Weights = dict[str, NDArray[np.float64]]


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))


class GraphemesToPhones:
    """Spelling to phones.

    Args:
        file: ``checkpoint20.npz`` of the package.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the arrays are not those of the network.
    """

    def __init__(self, file: Path) -> None:
        with np.load(file, allow_pickle=False) as arrays:
            self._weights: Weights = {name: arrays[name].astype(np.float64) for name in arrays}
        shape = self._weights.get("fc_w", np.zeros((0, 0))).shape
        if shape[0] != len(_PHONES):
            raise ValueError(
                f"{file} has fc_w of shape {shape}; g2p_en's network has {len(_PHONES)} rows: "
                "run `dimitra assets fetch g2p_en`"
            )

    def _step(
        self, part: str, x: NDArray[np.float64], state: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """One step of a gated recurrent unit (Cho et al. 2014; gates in torch's order)."""
        w = self._weights
        given = w[f"{part}_w_ih"] @ x + w[f"{part}_b_ih"]
        kept = w[f"{part}_w_hh"] @ state + w[f"{part}_b_hh"]
        reset_given, update_given, new_given = np.split(given, 3)
        reset_kept, update_kept, new_kept = np.split(kept, 3)
        reset = _sigmoid(reset_given + reset_kept)
        update = _sigmoid(update_given + update_kept)
        return np.asarray(
            (1.0 - update) * np.tanh(new_given + reset * new_kept) + update * state,
            dtype=np.float64,
        )

    def __call__(self, word: str) -> tuple[str, ...]:
        """Phones of a word, stress-free; empty where it holds no Latin letter.

        Args:
            word: lower case.
        """
        letters = [letter for letter in word if letter in _LETTERS]
        if not letters:
            return ()
        w = self._weights
        state = np.zeros(w["enc_w_hh"].shape[1])
        for letter in (*letters, "</s>"):
            state = self._step("enc", w["enc_emb"][_LETTERS[letter]], state)
        phones: list[str] = []
        symbol = _START
        for _ in range(_LONGEST):
            state = self._step("dec", w["dec_emb"][symbol], state)
            symbol = int(np.argmax(w["fc_w"] @ state + w["fc_b"]))
            if symbol == _END:
                break
            if symbol > _END:
                phones.append(canonical(_PHONES[symbol]))
        return tuple(phones)
