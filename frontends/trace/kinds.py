"""Classes of values that may be anything: questions from which a type checker concludes nothing."""

from __future__ import annotations

from typing import Any

_TYPE: Any = type


def class_of(value: Any) -> Any:
    """type(value)."""
    return _TYPE(value)


def is_a(value: Any, kinds: Any) -> bool:
    """isinstance(value, kinds)."""
    return isinstance(value, kinds)


def is_kind(kind: Any, kinds: Any) -> bool:
    """issubclass(kind, kinds)."""
    return issubclass(kind, kinds)
