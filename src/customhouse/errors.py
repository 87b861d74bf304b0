"""The tree of errors that a person or a client may see.

1. An error is a class with fields, raised in pure code and in services; rooms derive their own from these.
2. `message` says what is wrong in one sentence; `hint` says what to do next. Neither ever holds a secret.
3. A door maps classes to its wire in one table; nothing here knows HTTP, OCI or exit codes.
"""


class CustomhouseError(Exception):
    """Something was refused or could not be done."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class Invalid(CustomhouseError):
    """What was sent is not well-formed or breaks a rule of its format."""


class Unauthenticated(CustomhouseError):
    """Nobody, or nobody we know, is asking."""


class Denied(CustomhouseError):
    """The caller is known and may not do this."""


class NotFound(CustomhouseError):
    """There is no such thing, or the caller may not learn that there is."""


class Conflict(CustomhouseError):
    """The state is no longer, or not yet, the one this request needs."""


class TooLarge(CustomhouseError):
    """A stated limit was passed."""


class StorageFull(CustomhouseError):
    """The disk or the database has no room; nothing was written."""


class Unavailable(CustomhouseError):
    """A part that is needed does not answer now; trying again may help, after `wait_seconds`."""

    wait_seconds = 5


class Undetermined(CustomhouseError):
    """The question could not be answered: neither yes nor no."""
