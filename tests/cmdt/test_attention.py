import pytest
import torch

from dimitra.cmdt.attention import EfficientAttention, efficient_attention


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


def test_a_single_token_is_returned_exactly() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 4, 50, 16).double(), torch.randn(2, 4, 1, 16).double()
    values = torch.randn(2, 4, 1, 16).double()
    out = efficient_attention(queries, keys, values)
    torch.testing.assert_close(out, values.expand_as(out), atol=1e-13, rtol=0)


def test_padding_has_no_influence_and_equals_its_absence() -> None:
    torch.manual_seed(0)
    layer = EfficientAttention(16, 12, 4)
    stream, memory = torch.randn(2, 6, 16), torch.randn(2, 5, 12)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    spoiled = memory.clone()
    spoiled[1, 3:] = 1e6
    torch.testing.assert_close(layer(stream, spoiled, mask), layer(stream, memory, mask))
    alone = layer(stream[1:], memory[1:, :3])
    torch.testing.assert_close(layer(stream, memory, mask)[1:], alone)


def test_nothing_to_attend_to_gives_zero() -> None:
    layer = EfficientAttention(16, 16, 4)
    stream = torch.randn(1, 3, 16)
    out = layer(stream, torch.randn(1, 5, 16), torch.zeros(1, 5, dtype=torch.bool))
    assert torch.equal(out, torch.zeros_like(stream))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width of 16 cannot be cut into 3"):
        EfficientAttention(16, 16, 3)
