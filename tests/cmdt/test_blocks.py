import pytest
import torch

from dimitra.cmdt.attention import AttentionKind
from dimitra.cmdt.blocks import Block, CrossAttention, Memory, TokenAttention
from dimitra.cmdt.conditions import CONDITIONS


def lively(module: torch.nn.Module) -> None:
    """Give zero-initialised layers weights, so that everything counts."""
    with torch.no_grad():
        for weight in module.parameters():
            if not weight.any():
                weight.normal_(std=0.2)


@pytest.mark.parametrize("kind", ["efficient", "softmax"])
def test_attention_to_one_token_needs_neither_query_nor_key(kind: AttentionKind) -> None:
    """The general cross-attention, with any query and key, gives what the short form gives."""
    torch.manual_seed(0)
    general = CrossAttention(16, 8, 4, 0.0, kind).double()
    short = TokenAttention(16, 8, 0.0).double()
    lively(general)
    short.load_state_dict(
        {
            name.replace("attention.to_values", "to_values"): weight
            for name, weight in general.state_dict().items()
            if "to_queries" not in name and "to_keys" not in name and not name.startswith("norm.")
        }
    )
    stream, style = torch.randn(3, 9, 16).double(), torch.randn(3, 8).double()
    mask = torch.tensor([[True], [True], [False]])
    memory = Memory(torch.randn(3, 1, 16).double(), mask)
    expected = general(stream, general.read(memory), style)
    found = short(short.read(memory), style).expand_as(expected)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    expected.square().sum().backward()
    for name in ("to_queries", "to_keys"):
        gradient = general.get_submodule(f"attention.{name}").weight.grad
        assert gradient is None or gradient.abs().max() < 1e-12


def test_the_block_is_the_paper_s_figure_written_out() -> None:
    """Speech added, self-attention, three attentions queried by its output, all four joined."""
    torch.manual_seed(0)
    block = Block(16, 24, 8, 4, 0.0, "efficient", CONDITIONS).double()
    lively(block)
    stream, speech = torch.randn(2, 2, 9, 16).double()
    style = torch.randn(2, 8).double()
    mask = torch.ones(2, 9, dtype=torch.bool)
    memories = {
        name: Memory(torch.randn(2, length, 16).double(), torch.ones(2, length, dtype=torch.bool))
        for name, length in (("phonemes", 9), ("text", 5), ("first_pose", 1))
    }
    found = block(stream, mask, style, speech, block.read(memories))
    attended = block.self_attention(stream + speech, mask, style)
    answers = []
    for name in ("phonemes", "text"):
        attention = block.cross_attentions[name]
        answers.append(attention(attended, attention.read(memories[name]), style))
    pose = block.pose_attention
    assert pose is not None
    answers.append(pose(pose.read(memories["first_pose"]), style).expand_as(attended))
    merged = block.merge(torch.cat([attended, *answers], dim=-1))
    torch.testing.assert_close(found, block.feed_forward(block.norm(merged), style))


def test_a_missing_condition_takes_its_share_of_the_merge_along() -> None:
    full = Block(16, 24, 8, 4, 0.0, "efficient", CONDITIONS)
    assert full.merge.in_features == 64
    speech_only = Block(16, 24, 8, 4, 0.0, "efficient", ["speech"])
    assert speech_only.merge.in_features == 16
    assert speech_only.pose_attention is None
