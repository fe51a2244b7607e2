"""A resume state gives back weights, moments, averages and layouts to the bit, or says why it can't."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tasks.finetune.errors import FinetuneError
from tasks.finetune.training.intact import keep
from tasks.finetune.training.made import UnetMade, UnetProgress
from tasks.finetune.training.state import load_state, read_progress, save_state, saved_progress, states_in, step_of


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(5, 2))
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def trained(seed: int, steps: int, kind: type[torch.optim.AdamW] = torch.optim.AdamW):
    """A model's parameters, its optimizer after some steps, and averages of them."""
    net = model(seed)
    optimizer = kind(net.parameters(), lr=0.1)
    for step in range(steps):
        torch.manual_seed(step)
        for p in net.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    return dict(net.named_parameters()), optimizer, [p.detach() * 0.5 for p in net.parameters()]


def progress(step: int, **more) -> UnetProgress:
    return UnetProgress(step=step, losses=[0.5] * step, **more)


def test_a_state_gives_back_every_bit_and_its_layout(tmp_path):
    named, optimizer, ema = trained(0, 3)
    made = UnetMade(step=2, file=None, train_loss=0.25, heldout_loss=None)
    save_state(tmp_path, named, optimizer, ema, progress(3, snapshots=[made], skipped=1))
    [state] = states_in(tmp_path)
    assert step_of(state) == 3
    assert read_progress(state, UnetProgress) == saved_progress(tmp_path, UnetProgress)
    assert read_progress(state, UnetProgress).snapshots == [made]
    other, other_optimizer, other_ema = trained(1, 0)
    load_state(state, other, other_optimizer, other_ema, skipped=1)
    for (name, p), (mine, average) in zip(named.items(), zip(other.values(), other_ema, strict=True), strict=True):
        assert torch.equal(mine, p)
        assert torch.equal(average, p * 0.5)
        found = other_optimizer.state[mine]
        assert set(found) == {"step", "exp_avg", "exp_avg_sq"}
        assert torch.equal(found["step"], torch.tensor(2.0))  # three, of which one was left out
        assert found["step"].dtype == torch.float32
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(found[key], optimizer.state[p][key]), (name, key)
            assert found[key].stride() == p.stride()  # what is summed in another order has other last bits


def test_it_goes_on_as_if_it_had_never_stopped(tmp_path):
    named, optimizer, _ = trained(0, 3)
    save_state(tmp_path, named, optimizer, None, progress(3))
    other, other_optimizer, _ = trained(1, 0)
    load_state(states_in(tmp_path)[0], other, other_optimizer, None)
    for parameters, stepping in ((named, optimizer), (other, other_optimizer)):
        for p in parameters.values():
            p.grad = torch.ones_like(p)
        stepping.step()
    assert all(torch.equal(p, other[name]) for name, p in named.items())


def test_an_optimizer_that_keeps_nothing_yet_is_left_so(tmp_path):
    named, optimizer, _ = trained(0, 0)
    save_state(tmp_path, named, optimizer, None, progress(0))
    other, other_optimizer, _ = trained(1, 0)
    load_state(states_in(tmp_path)[0], other, other_optimizer, None)
    assert not other_optimizer.state
    assert all(torch.equal(p, other[name]) for name, p in named.items())


class Eight(torch.optim.AdamW):
    """As bitsandbytes': not torch's own, counts in an int, and its moments are not of a weight's form."""

    def step(self, closure=None):  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {"step": 1, "state1": torch.arange(p.numel()).to(torch.uint8)}


def test_the_moments_of_other_optimizers_come_back_as_they_count_them(tmp_path):
    named, optimizer, _ = trained(0, 1, Eight)
    save_state(tmp_path, named, optimizer, None, progress(1))
    other, other_optimizer, _ = trained(1, 0, Eight)
    load_state(states_in(tmp_path)[0], other, other_optimizer, None)
    for p in other.values():
        assert other_optimizer.state[p]["step"] == 1
        assert type(other_optimizer.state[p]["step"]) is int
        assert torch.equal(other_optimizer.state[p]["state1"], torch.arange(p.numel()).to(torch.uint8))


def test_the_state_before_and_the_farthest_stay(tmp_path):
    named, optimizer, ema = trained(0, 1)
    for step in (2, 4, 6, 8):
        save_state(tmp_path, named, optimizer, ema, progress(step))
    assert [step_of(state) for state in states_in(tmp_path)] == [8, 6]
    save_state(tmp_path, named, optimizer, ema, progress(3))  # a stretch before them is trained again
    assert [step_of(state) for state in states_in(tmp_path)] == [8, 3]
    save_state(tmp_path, named, optimizer, ema, progress(4))
    assert [step_of(state) for state in states_in(tmp_path)] == [8, 4, 3]
    assert not list(tmp_path.glob("*.partial"))


def test_a_state_of_another_model_is_refused_by_name(tmp_path):
    named, optimizer, ema = trained(0, 1)
    save_state(tmp_path, named, optimizer, ema, progress(1))
    [state] = states_in(tmp_path)
    wrong = {"stray": nn.Parameter(torch.zeros(2))}
    with pytest.raises(FinetuneError, match=rf"resume state {state} does not fit the model \(.*stray.*delete it"):
        load_state(state, wrong, torch.optim.AdamW(wrong.values()), None)
    larger = {name: nn.Parameter(torch.zeros(7, 7)) for name in named}
    with pytest.raises(FinetuneError, match=r"does not fit the model \(.*7"):
        load_state(state, larger, torch.optim.AdamW(larger.values()), None)


def state_with(folder: Path, step: int, **metadata: str) -> Path:
    partial = folder / "x.partial"
    save_file({"weight/x": torch.zeros(1)}, partial, metadata=metadata)
    return keep(partial, f"step-{step:09d}")


def test_progress_that_is_none_is_told_by_its_reason(tmp_path):
    cases = {
        r"it is no resume state \(.*progress": state_with(tmp_path, 1),
        r"its progress is not one: step: Input should be greater": state_with(tmp_path, 2, progress='{"step": -1}'),
        r"its progress is not one: snapshots.0.file: Field required": state_with(
            tmp_path, 3, progress='{"step": 3, "snapshots": [{"step": 1, "train_loss": null, "heldout_loss": null}]}'
        ),
        "named after step 4, but holds step 3": state_with(tmp_path, 4, progress=progress(3).model_dump_json()),
        "named after step 5, but holds step 5": state_with(tmp_path, 5, progress='{"step": 5, "losses": [1.0]}'),
    }
    for reason, state in cases.items():
        with pytest.raises(FinetuneError, match=reason):
            read_progress(state, UnetProgress)
    assert saved_progress(tmp_path, UnetProgress) is None
    good = state_with(tmp_path, 1, progress=progress(1).model_dump_json())
    assert good in states_in(tmp_path)
    assert saved_progress(tmp_path, UnetProgress) == progress(1)
