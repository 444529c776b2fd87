"""The exceptions a user can meet.

    LstnError (ValueError)
    ├── ArchError         an architecture that cannot be built, or a file that does not describe one
    ├── SpaceError        a search space file with a mistake in it
    ├── BudgetError       a budget that is not a positive number, or that nothing in the space can meet
    ├── DataError         a dataset that is missing, empty or damaged
    ├── BackboneError     a backbone name that nobody offers
    ├── RunError          a run folder that is taken, incomplete or made with other settings
    ├── CheckpointError   a file that should hold weights and does not
    └── SettingError      any other option with a value that makes no sense

Each message is one line: what is wrong, the value, the cure. The command line prints it and ends with exit code 2.
Anything else that escapes is a bug of ours.
"""

import difflib
import errno
from collections.abc import Iterable

__all__ = [
    "ArchError",
    "BackboneError",
    "BudgetError",
    "CheckpointError",
    "DataError",
    "LstnError",
    "RunError",
    "SettingError",
    "SpaceError",
    "did_you_mean",
    "printable",
    "why",
]

CURES = {
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "its links go in a circle: name the folder itself",
    **dict.fromkeys(
        (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP), "files cannot be locked there: name a folder on another disk"
    ),
}
"""What helps against troubles that room or access do not cure."""


class LstnError(ValueError):
    """Base of every error a user can cause and cure."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class ArchError(LstnError):
    """An architecture that cannot be built at the wanted image size, or a JSON that does not describe one."""


class SpaceError(LstnError):
    """A mistake in a search space file; the message names file, path in the file, value and cure."""


class BudgetError(LstnError):
    """A budget that is not a positive number, or that no network in the space can meet."""


class DataError(LstnError):
    """A dataset that is missing, empty or damaged, or a disk that cannot hold its cache."""


class BackboneError(LstnError):
    """A backbone that neither timm nor torchvision offers."""


class RunError(LstnError):
    """A run folder that is taken, incomplete, unwritable or made with other settings."""


class CheckpointError(LstnError):
    """A file that should hold weights and does not."""


class SettingError(LstnError):
    """Any other option with a value that makes no sense."""


def printable(text: str, *, keep: str = "\n") -> str:
    """The text with what a terminal might obey, or could not show, written out: `\\x1b` for an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def why(error: OSError | NotImplementedError, cure: str) -> str:
    """The end of a line on what cannot be written: the reason, and `cure` unless the trouble has one of its own."""
    number = getattr(error, "errno", errno.ENOSYS)  # filelock's word for it is NotImplementedError
    reason = getattr(error, "strerror", None) or str(error) or "not supported"
    return f"({reason}); {CURES.get(number, cure)}"


def did_you_mean(name: str, known: Iterable[str], *, num_suggestions: int = 3) -> str:
    """The tail of an error line: ``did you mean 'lstn'?``, or the known names when nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name)[:200], names, n=num_suggestions, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    if len(names) <= 12:
        return "known: " + ", ".join(names)
    return f"{len(names)} names are known, none is close"
