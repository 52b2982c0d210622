"""The exception types for what a user can put right."""


class InputError(ValueError):
    """Input from outside (a file, a box, a flag, a bundle) is not what it must be.

    The message is one line that names the file or field, what came and what was expected. Programs print it
    and exit with status 2; anything else that is raised is a defect of this library.
    """


class BusyError(InputError):
    """Another process holds what is needed: the same may succeed a moment later."""
