"""What a training's process says to its launcher: JSON lines on its stdout, among the lines of its log."""

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tasks.common.records import Record
from tasks.finetune.training.steps import Step


class Message(Record):
    """One line. An infinite figure stays one: JSON proper has none."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    def say(self) -> None:
        """Write it for the launcher. Raises BrokenPipeError when nobody reads any more."""
        print(self.model_dump_json(), flush=True)


class StepDone(Message):
    """An optimizer step of "unet" or "decoder"."""

    stage: str
    step: Step


class PreviewsDrawn(Message):
    """The previews of the snapshot of epoch `drawn` are in `folder`."""

    drawn: int
    folder: str


class Failed(Message):
    """The training ended with an error: the name of its class (`kind`), and what it says."""

    error: str
    kind: str


ANY = TypeAdapter[StepDone | PreviewsDrawn | Failed](StepDone | PreviewsDrawn | Failed)


def parse(line: str) -> StepDone | PreviewsDrawn | Failed | None:
    """The message of a line; None for a line of the log."""
    try:
        return ANY.validate_json(line)
    except ValidationError:
        return None
