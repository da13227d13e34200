"""What tasks on arrays may touch: what they declared, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import local
from typing import Any, Protocol

from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.memory import Block, Pool
from graphopt.engine.errors import UndeclaredAccessError
from graphopt.engine.task import Task, Variable


class Resource(Protocol):
    """What tasks read and write: an array, or a random generator."""

    @property
    def block(self) -> Block:
        """Who orders the accesses."""
        ...

    @property
    def writable(self) -> bool:
        """Whether it may be written."""
        ...


class Declared(local):
    """What holds for the calling thread: the device it asked for, and what its task declared."""

    device: Pool | None = None
    task: Task | None = None
    read: frozenset[Variable] = frozenset()
    written: frozenset[Variable] = frozenset()

    def __init__(self) -> None:
        self.made: list[Variable] = []  # by the task itself: it need not declare those


class Guard:
    """A user's function with the views that it declared; it may touch nothing else."""

    __slots__ = ("declared", "func", "read", "task", "views", "written")

    def __init__(
        self,
        func: Callable[..., Any],
        declared: Declared,
        read: list[Handle],
        written: list[Handle],
    ) -> None:
        self.func = func
        self.declared = declared
        self.read = frozenset(each.block.variable for each in read)
        self.written = frozenset(each.block.variable for each in written)
        views = [each.data.view() for each in read]
        for raw, handle in zip(views, read, strict=True):
            raw.flags.writeable = handle.block.variable in self.written and handle.writable
        self.views = (*views, *(each.data.view() for each in written))
        self.task: Task | None = None

    def __call__(self) -> Any:
        declared = self.declared
        before = declared.task, declared.read, declared.written, declared.made
        declared.task, declared.read, declared.written = self.task, self.read, self.written
        declared.made = []
        try:
            return self.func(*self.views)
        except ValueError as error:
            if "read-only" in str(error) and self.task is not None:
                text = f"wrote to an array that it declared to read: {error}"
                raise UndeclaredAccessError(text, at=self.task.describe()) from error
            raise
        finally:
            declared.task, declared.read, declared.written, declared.made = before


def check(declared: Declared, read: Iterable[Resource], written: Iterable[Resource]) -> None:
    """Raise for an access that the running task did not declare."""
    if declared.task is None:
        return
    for each in read:
        known = declared.read | declared.written | set(declared.made)
        if each.block.variable not in known:
            undeclared(each, "reads", declared.task)
    for each in written:
        if each.block.variable not in declared.written | set(declared.made):
            undeclared(each, "writes", declared.task)


def writable(resources: Iterable[Resource | None]) -> None:
    """Raise where one cannot be written."""
    if any(not each.writable for each in resources if each is not None):
        raise ValueError("output array is read-only: it is a scalar, or a broadcast view")


def undeclared(resource: Resource, what: str, task: Task) -> None:
    """Raise for an access that a task did not declare."""
    text = f"{what} {getattr(resource, 'layout', resource)!r}, which it did not declare"
    raise UndeclaredAccessError(text, at=task.describe())
