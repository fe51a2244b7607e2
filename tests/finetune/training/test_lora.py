"""Adapters by hand: which weights get one, what it starts as, and what is merged."""

import torch

from tasks.common.seeds import generator_for
from tasks.finetune.training.lora import LowRank, adapt, merged_weights


class Attention(torch.nn.Module):
    """Named as diffusers names a block of attention, each projection of another shape."""

    def __init__(self):
        super().__init__()
        self.to_q = torch.nn.Linear(6, 10, bias=False)
        self.to_k = torch.nn.Linear(7, 10, bias=False)
        self.to_v = torch.nn.Linear(7, 12, bias=False)
        self.to_out = torch.nn.ModuleList([torch.nn.Linear(12, 6), torch.nn.Dropout(0.0)])
        self.proj = torch.nn.Linear(6, 6)
        self.norm = torch.nn.LayerNorm(6)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attn = Attention()
        self.conv = torch.nn.Conv2d(6, 6, 1)
        self.conv.to_q = torch.nn.Conv2d(6, 6, 1)  # no Linear, though it is named like one


ADAPTED = {"attn.to_q": (6, 10), "attn.to_k": (7, 10), "attn.to_v": (7, 12), "attn.to_out.0": (12, 6)}


def adapters(net: torch.nn.Module) -> dict[str, LowRank]:
    mark = ".parametrizations.weight.0"
    return {n.removesuffix(mark): m for n, m in net.named_modules() if isinstance(m, LowRank)}


def test_the_attentions_projections_alone_train_and_start_as_the_base():
    net, plain = Net(), Net()
    adapt(net, 3, seed=5)
    found = adapters(net)
    assert set(found) == set(ADAPTED)
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {f"{name}.parametrizations.weight.0.{part}" for name in ADAPTED for part in ("up", "down")}
    for name, (width, height) in ADAPTED.items():
        wanted = torch.randn((3, width), generator=generator_for(5, "lora", name)) / 3
        assert torch.equal(found[name].down, wanted)
        assert torch.equal(found[name].up, torch.zeros(height, 3))
    merged = merged_weights(net)
    assert merged.keys() == plain.state_dict().keys()
    assert all(torch.equal(merged[name], value) for name, value in plain.state_dict().items())


def test_what_is_merged_is_the_weight_plus_up_times_down():
    net, plain = Net(), Net()
    adapt(net, 2, seed=0)
    with torch.no_grad():
        for adapter in adapters(net).values():
            adapter.up.normal_()
    merged = merged_weights(net)
    for name, value in plain.state_dict().items():
        adapter = adapters(net).get(name.removesuffix(".weight")) if name.endswith("weight") else None
        wanted = value + torch.einsum("or,ri->oi", adapter.up, adapter.down) if adapter else value
        torch.testing.assert_close(merged[name], wanted.detach())
    picture = torch.randn(2, 6)
    torch.testing.assert_close(net.attn.to_q(picture), picture @ merged["attn.to_q.weight"].T)
    plain.load_state_dict(merged)


def test_an_adapter_is_of_its_weights_precision():
    adapter = LowRank(torch.zeros(4, 5, dtype=torch.bfloat16), 2, generator_for(0, "lora", "x"))
    assert adapter.down.dtype == adapter.up.dtype == torch.bfloat16


def test_weights_without_adapters_are_all_there():
    plain = Net()
    merged = merged_weights(plain)
    assert all(torch.equal(merged[name], value) for name, value in plain.state_dict().items())
    assert not any(value.requires_grad for value in merged.values())
