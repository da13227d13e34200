"""The errors of graphopt: what is wrong, where, and what to do about it.

Every error is a `GraphoptError`. The message is one line for the reader of a terminal; `at` names
the place (a node, a rule, a file and its line) and the text around it is attached with `add_note`.
"""

from __future__ import annotations


class GraphoptError(Exception):
    """Base of all errors that graphopt raises on purpose.

    `at` names the place: a node, a rule, a file. It is prefixed to the message when printed.
    """

    def __init__(self, message: str, *, at: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at

    def __str__(self) -> str:
        return f"{self.at}: {self.message}" if self.at else self.message


class TypeRuleError(GraphoptError):
    """An operation was applied to inputs or attributes that its type rule refuses."""


class UntypedError(TypeRuleError):
    """A value was asked for its type as a tensor of which nothing is known, an opaque op's."""


class VerifyError(GraphoptError):
    """A graph breaks an invariant: a wrong type, an open body, a version with two successors."""


class TextError(GraphoptError):
    """The textual form cannot be parsed; `at` is file:line:column."""


class ModelError(GraphoptError):
    """A model file cannot be read or is invalid; the message names the file and the node."""


class UnsupportedError(GraphoptError):
    """Something is valid but cannot be done here: no kernel, no form at the wanted opset."""


class LimitError(UnsupportedError):
    """A run was stopped in a loop: it takes longer than it may."""


class ExecutionError(GraphoptError):
    """A kernel failed on these inputs; `at` is the node."""


class RewriteError(GraphoptError):
    """A rule is wrong: it breaks a type, does not terminate, or is malformed."""


class PassError(GraphoptError):
    """A pass failed, broke the graph, or ran out of its budget; the graph is as it was before."""


class PipelineError(GraphoptError):
    """A pipeline's text names an unknown pass or option; the message has the nearest name."""


class CheckError(GraphoptError):
    """Two programs do not compute the same; `at` is the output and the index in it."""


class NoTrialError(CheckError):
    """A check found nothing out: the original ran on none of the inputs that were tried."""


class SpecializeError(GraphoptError):
    """Sizes given for a graph's inputs contradict each other or the graph."""


class UsageError(GraphoptError):
    """What was asked for does not make sense; the message says what to ask for instead."""


class MissingExtraError(GraphoptError):
    """An optional dependency is not installed; the message says what to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'graphopt[{extra}]'")


def nearest(name: str, known: list[str]) -> str:
    """A did-you-mean suffix for an unknown name, empty when nothing is near.

    >>> nearest("fodl", ["fold", "prune"])
    " (did you mean 'fold'?)"
    """
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
