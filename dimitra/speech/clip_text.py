"""CLIP's text transformer as a ``TextEncoder``: byte-pair tokens, features after the final norm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dimitra.speech.errors import WeightsError
from dimitra.speech.tensors import read_json
from dimitra.speech.text import TokenFeatures, shortened

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
"""What is one word to the byte-pair encoding (OpenAI's ``simple_tokenizer.py``)."""


class ClipTextEncoder:
    """CLIP ViT-B/32's text transformer: 12 layers, 512 values a token, at most 77 tokens.

    One text at a time, as for MiniLM. A text that is too long loses its last tokens; its end mark
    stays.

    Args:
        folder: holds ``config.json``, the weights, and ``tokenizer.json`` or ``vocab.json`` with
            ``merges.txt``.
        limit: longest token sequence, start and end marks included.

    Raises:
        FileNotFoundError: a file is missing.
        WeightsError: a file is damaged or another model's, or the limit is above what the network
            was trained on.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        from dimitra.speech.clip import ClipText

        self._tokenizer = clip_tokenizer(folder)
        self._transformer = ClipText.load(folder)
        if not 2 <= limit <= self._transformer.positions:
            raise WeightsError(
                f"text_tokens is {limit}; the network in {folder} takes 2 to "
                f"{self._transformer.positions}"
            )
        size = self._tokenizer.get_vocab_size()
        if size != self._transformer.vocabulary:
            raise WeightsError(
                f"{folder}: the tokenizer has {size} tokens, the network "
                f"{self._transformer.vocabulary}; they belong to different models"
            )
        self._limit = limit
        self.dim = self._transformer.width

    def length(self, text: str) -> int:
        """Number of tokens of a text, start and end marks included."""
        return len(self._tokenizer.encode(text).ids)

    def encode(self, texts: Sequence[str]) -> TokenFeatures:
        """Features ``[K, L, 512]`` after the final norm of each text's tokens, marks included."""
        return TokenFeatures.of(
            [
                self._transformer(shortened(self._tokenizer.encode(text).ids, self._limit)).numpy()
                for text in texts
            ]
        )


def clip_tokenizer(folder: Path) -> Tokenizer:
    """CLIP's tokenizer from ``tokenizer.json``, or built from ``vocab.json`` and ``merges.txt``.

    It puts ``<|startoftext|>`` and ``<|endoftext|>`` around a text, and neither pads nor cuts.

    Raises:
        FileNotFoundError: the folder has neither.
        WeightsError: the files are damaged, or lack a mark.
    """
    from tokenizers import Tokenizer

    whole = folder / "tokenizer.json"
    if whole.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(whole))
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise WeightsError(f"{whole} is no tokenizer: {error}") from None
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        tokenizer = _built(folder / "vocab.json", folder / "merges.txt")
    else:
        raise FileNotFoundError(
            f"{folder} holds neither tokenizer.json nor vocab.json with merges.txt"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    marks = [tokenizer.token_to_id(mark) for mark in (START, END)]
    if None in marks or tokenizer.encode("").ids != marks:
        raise WeightsError(
            f"{folder}: the tokenizer gives {tokenizer.encode('').tokens} for an empty text; "
            f"CLIP's gives {[START, END]}"
        )
    return tokenizer


def _built(vocab: Path, merges: Path) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    ids = read_json(vocab)
    missing = [mark for mark in (START, END) if mark not in ids]
    if missing:
        raise WeightsError(f"{vocab} lacks {', '.join(missing)}")
    lines = merges.read_text(encoding="utf-8").splitlines()
    pairs: list[tuple[str, str]] = []
    for line in lines:
        if line.strip() and not line.startswith("#version:"):
            if len(line.split()) != 2:
                raise WeightsError(f"{merges}: {line!r} is not two tokens to merge")
            first, second = line.split()
            pairs.append((first, second))
    try:
        model = BPE(
            vocab=ids,
            merges=pairs,
            unk_token=END,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise WeightsError(f"{vocab} and {merges.name} do not fit together: {error}") from None
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, ids[END]), (START, ids[START]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.add_special_tokens(
        [AddedToken(mark, normalized=False, special=True) for mark in (START, END)]
    )
    return tokenizer
