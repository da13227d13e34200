"""Walking through what a function is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.frontends.trace.kinds import class_of, is_a


def outputs_of(out: Any) -> tuple[Any, ...]:
    """The arrays that a call is told to write to."""
    if out is None:
        return ()
    given = out if is_a(out, tuple) else (out,)
    return () if all(item is None for item in given) else given


def deeply(change: Callable[[Any], Any], value: Any) -> Any:
    """A value with `change` applied to the parts of lists, tuples, dicts and slices."""
    real = getattr(class_of(value), "graphopt_real", None)
    if real is not None:
        return real(value)
    if is_a(value, list):
        return [change(item) for item in value]
    if is_a(value, tuple):
        parts = [change(item) for item in value]
        return class_of(value)(*parts) if hasattr(class_of(value), "_make") else tuple(parts)
    if is_a(value, dict):
        return {key: change(item) for key, item in value.items()}
    if class_of(value) is slice:
        return slice(change(value.start), change(value.stop), change(value.step))
    return value
