"""How many steps a training has, and what is told of each."""

import pytest

from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.steps import Step, describe, plan


@pytest.mark.parametrize(
    ("count", "batch", "accumulation", "processes", "wanted"),
    [
        (100, 4, 1, 1, (4, 25)),
        (103, 4, 1, 1, (4, 25)),  # three wait for the next epoch
        (100, 4, 3, 2, (24, 4)),
        (24, 4, 3, 2, (24, 1)),
        (23, 4, 3, 2, (22, 1)),  # fewer than a batch: all that the processes can share evenly
        (22, 4, 3, 2, (22, 1)),
        (7, 8, 1, 1, (7, 1)),
        (1, 4, 1, 1, (1, 1)),
        (1, 4, 1, 2, (2, 1)),
        (5, 4, 1, 3, (3, 1)),
    ],
)
def test_a_step_takes_the_batches_of_all_processes_or_what_there_is(count, batch, accumulation, processes, wanted):
    settings = FinetuneSettings(batch_size=batch, gradient_accumulation=accumulation)  # type: ignore[call-arg]
    assert plan(count, settings, processes) == wanted


def test_a_step_is_described_in_a_line():
    step = Step(3, 9, 0.5, 0.12344, 2e-5, 11.6, peak_memory=3 * 2**29, seconds_left=6000)
    assert describe(step) == "loss 0.1234, lr 2.0e-05, 12 images/s, 1.5 GiB, 100 min left"
