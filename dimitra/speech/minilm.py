"""all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers) as a ``TextEncoder``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dimitra.speech.errors import WeightsError
from dimitra.speech.text import TokenFeatures, shortened


class MiniLmEncoder:
    """6 layers, 384 values a token: the last layer's output before pooling.

    One text at a time, so that padding never enters the arithmetic and a text's features depend on
    nothing but the text.

    Args:
        folder: holds ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        limit: longest token sequence; what exceeds it is cut off.

    Raises:
        FileNotFoundError: a file is missing.
        WeightsError: a file is damaged or another model's, or the limit is above the network's.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} lacks {name}: run `dimitra assets fetch minilm_l6`"
                )
        from tokenizers import Tokenizer

        from dimitra.speech.bert import Bert

        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise WeightsError(f"{folder / 'tokenizer.json'} is no tokenizer: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._bert = Bert.load(folder)
        if not 2 <= limit <= self._bert.positions:
            raise WeightsError(
                f"text_tokens is {limit}; the network in {folder} takes 2 to {self._bert.positions}"
            )
        self._limit = limit
        self.dim = self._bert.width

    def length(self, text: str) -> int:
        """Number of tokens of a text, start and end marks included."""
        return len(self._tokenizer.encode(text).ids)

    def encode(self, texts: Sequence[str]) -> TokenFeatures:
        """Last-layer features ``[K, L, 384]`` of each text's tokens, marks included."""
        return TokenFeatures.of(
            [
                self._bert(shortened(self._tokenizer.encode(text).ids, self._limit)).numpy()
                for text in texts
            ]
        )
