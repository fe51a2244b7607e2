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
