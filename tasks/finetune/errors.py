"""What can go wrong in fine-tuning, each in one line that names the thing, the reason and the remedy."""


class FinetuneError(RuntimeError):
    """Base of the stage's errors."""


class DatasetError(FinetuneError):
    """The dataset cannot be trained on."""


class ModelError(FinetuneError):
    """The base model cannot be loaded."""


class LossError(FinetuneError):
    """The loss is not finite."""


class Interrupted(FinetuneError):
    """The training was asked to stop; its state is saved."""


class ResourceError(FinetuneError):
    """The disk or the memory is too small for the training."""


def first_line(error: Exception) -> str:
    """The error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
