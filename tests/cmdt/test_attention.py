from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dimitra.cmdt.attention import (
    Attention,
    AttentionKind,
    efficient_attention,
    softmax_attention,
)

KINDS = pytest.mark.parametrize("kind", ["efficient", "softmax"])


def test_matches_the_formula_written_out() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4)
    values = torch.randn(2, 3, 5, 6)
    expected = torch.zeros(2, 3, 7, 6)
    for b in range(2):
        for h in range(3):
            for n in range(7):
                channels = torch.exp(queries[b, h, n]) / torch.exp(queries[b, h, n]).sum()
                for d in range(4):
                    positions = torch.exp(keys[b, h, :, d]) / torch.exp(keys[b, h, :, d]).sum()
                    expected[b, h, n] += channels[d] * (positions[:, None] * values[b, h]).sum(0)
    torch.testing.assert_close(efficient_attention(queries, keys, values), expected)


def test_implied_weights_over_positions_sum_to_one() -> None:
    torch.manual_seed(0)
    ones = torch.ones(1, 1, 9, 1)
    out = efficient_attention(torch.randn(1, 1, 4, 8), torch.randn(1, 1, 9, 8), ones)
    torch.testing.assert_close(out, torch.ones(1, 1, 4, 1))


@pytest.mark.parametrize("attend", [efficient_attention, softmax_attention])
def test_a_single_token_is_returned_exactly(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 4, 50, 16).double(), torch.randn(2, 4, 1, 16).double()
    values = torch.randn(2, 4, 1, 16).double()
    out = attend(queries, keys, values)
    torch.testing.assert_close(out, values.expand_as(out), atol=1e-13, rtol=0)


def test_softmax_attention_matches_the_formula_written_out() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4)
    values = torch.randn(2, 3, 5, 6)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    expected = torch.zeros(2, 3, 7, 6)
    for b, real in enumerate((5, 2)):
        weights = torch.exp(queries[b] @ keys[b, :, :real].transpose(-2, -1) / 2.0)
        weights = weights / weights.sum(-1, keepdim=True)
        expected[b] = weights @ values[b, :, :real]
    torch.testing.assert_close(softmax_attention(queries, keys, values, mask), expected)


@KINDS
def test_padding_has_no_influence_and_equals_its_absence(kind: AttentionKind) -> None:
    torch.manual_seed(0)
    layer = Attention(16, 12, 4, kind)
    stream, memory = torch.randn(2, 6, 16), torch.randn(2, 5, 12)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    spoiled = memory.clone()
    spoiled[1, 3] = 1e6
    spoiled[1, 4] = float("nan")
    torch.testing.assert_close(layer(stream, spoiled, mask), layer(stream, memory, mask))
    alone = layer(stream[1:], memory[1:, :3])
    torch.testing.assert_close(layer(stream, memory, mask)[1:], alone)


@KINDS
def test_nothing_to_attend_to_gives_zero_and_no_bad_gradient(kind: AttentionKind) -> None:
    layer = Attention(16, 16, 4, kind)
    stream = torch.randn(2, 3, 16)
    mask = torch.tensor([[False] * 5, [True] * 5])
    out = layer(stream, torch.randn(2, 5, 16), mask)
    assert torch.equal(out[0], torch.zeros_like(out[0]))
    out.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in layer.parameters())


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width of 16 cannot be cut into 3"):
        Attention(16, 16, 3)


def test_both_kinds_have_the_same_weights() -> None:
    efficient, softmax = Attention(16, 12, 4), Attention(16, 12, 4, "softmax")
    softmax.load_state_dict(efficient.state_dict())


def test_a_memory_is_read_once_for_any_number_of_queries() -> None:
    torch.manual_seed(0)
    for layer in (Attention(16, 12, 4), Attention(16, 12, 4, "softmax")):
        memory, mask = torch.randn(2, 5, 12), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        readable = layer.read(memory, mask)
        for frames in (1, 6):
            stream = torch.randn(2, frames, 16)
            torch.testing.assert_close(layer.answer(stream, readable), layer(stream, memory, mask))


def test_the_context_of_efficient_attention_does_not_grow_with_the_memory() -> None:
    readable = Attention(16, 12, 4).read(torch.randn(2, 500, 12))
    assert readable.context is not None
    assert readable.context.shape == (2, 4, 4, 4)
