"""What is wrong with a manual directory, in one form for people and for programs."""

import dataclasses
import reprlib
from collections.abc import Callable

from fos_jax.errors import InputError


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One deviation from the layout.

    Attributes:
      file: path below the manual directory.
      key: where in the file: a JSON key, a line, a property; "" for the file itself.
      got: what is there.
      expected: what should be there.
      is_error: whether the data set cannot be built with it; otherwise it is a note.
    """

    file: str
    key: str
    got: str
    expected: str
    is_error: bool = True

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{'' if self.is_error else 'note: '}{where}: got {self.got}, expected {self.expected}"


class LayoutError(InputError):
    """A file that deviates from the layout where the caller can go no further; `problem` says how."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


Report = Callable[[Problem], None]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """A short, one-line, printable form of any value that a file may hold."""
    if isinstance(value, int | float):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} digits)"
    # A lone surrogate is legal in JSON and cannot be printed.
    return _SHORT.repr(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", " ")
