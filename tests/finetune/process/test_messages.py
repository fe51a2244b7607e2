"""What a training's process says arrives as it was said, and nothing else is taken for it."""

import math

import pytest

from tasks.finetune.process.messages import Failed, Message, PreviewsDrawn, StepDone, parse
from tasks.finetune.training.steps import Step

STEP = Step(3, 9, 0.5, 0.25, 1e-5, 100.0, 1 << 30, math.inf)


@pytest.mark.parametrize(
    "message",
    [
        StepDone(stage="unet", step=STEP),
        PreviewsDrawn(drawn=2, folder="/tmp/é"),
        Failed(error="loss is nan\nat step 3", kind="LossError"),
    ],
)
def test_a_message_arrives_as_it_was_said(message: Message, capsys):
    message.say()
    (line,) = capsys.readouterr().out.splitlines()
    assert parse(line) == message


@pytest.mark.parametrize(
    "line",
    [
        "Loading weights: 100%",
        "",
        "{",
        "[1]",
        '{"stage": "unet"}',
        '{"error": 1, "kind": "x"}',
        '{"stage": "unet", "step": {"step": "two"}}',  # this one broke the launcher: it came out as a TypeError
        '{"drawn": 2, "folder": "/tmp", "more": 1}',
    ],
)
def test_a_line_of_the_log_is_no_message(line: str):
    assert parse(line) is None
