"""A node of a model on its way between opsets: what `upgrade` and `lower` take and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphopt.ir import Node


@dataclass(frozen=True, slots=True)
class Call:
    """One application of an operator as some opset writes it.

    `inputs` are values, `absent` where one is left out. `attributes` are Python values: int, float,
    str (bytes where it is no UTF-8), tuples of these, Tensor, Body, Type; dtypes are their codes.
    `outputs` counts the outputs up to the last that is named.
    """

    op_type: str
    inputs: tuple[Node, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outputs: int = 1
    domain: str = ""


def items_of(value: Any) -> tuple[Any, ...]:
    """The items of an attribute that is a list, else the attribute as the only one."""
    return value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]
