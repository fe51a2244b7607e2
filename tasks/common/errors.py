"""What every stage's errors have in common: one line for a person, with the thing, the reason and the remedy."""


class WikistyleError(RuntimeError):
    """The root of the errors that a stage raises on purpose."""


class ModelError(WikistyleError):
    """A model, or a snapshot of one, can't be loaded or doesn't fit."""


class DatasetError(WikistyleError):
    """A dataset can't be read or used."""


def first_line(error: Exception) -> str:
    """The error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
