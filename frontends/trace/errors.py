"""The errors of tracing: each shows the user's line, says why, and what to write instead."""

from __future__ import annotations

from graphopt.errors import GraphoptError
from graphopt.frontends.trace.places import Place


class TraceError(GraphoptError):
    """A function cannot be traced as it is; `at` is file:line:column of the user's program.

    The notes show the line with a caret, where the value came from, and what to do about it.
    """


class Specialise(BaseException):
    """The trace needs the value of Python numbers that are arguments; it starts again with them.

    Not an Exception, so that a handler in the traced program does not stop it. `leaves` are the
    positions of the arguments among the leaves, `why` says what the value was needed for.
    """

    def __init__(self, leaves: frozenset[int], why: str) -> None:
        super().__init__()
        self.leaves = leaves
        self.why = why


def trace_error(message: str, place: Place, *notes: str) -> TraceError:
    """The error that something at `place` cannot be traced; a note is a sentence."""
    error = TraceError(message, at=str(place))
    if caret := place.caret():
        error.add_note(caret)
    for note in notes:
        if note:
            error.add_note(note)
    return error
