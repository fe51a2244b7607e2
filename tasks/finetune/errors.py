"""What can go wrong in fine-tuning, each in one line that names the thing, the reason and the remedy."""

from tasks.common.errors import WikistyleError


class FinetuneError(WikistyleError):
    """Base of the stage's errors."""


class LossError(FinetuneError):
    """The loss is not finite."""


class Interrupted(FinetuneError):
    """The training was asked to stop; its state is saved."""


class ResourceError(FinetuneError):
    """The disk or the memory is too small for the training."""
