"""Nodes of ONNX Runtime's own operators, for the rules that write them."""

from __future__ import annotations

from typing import Any

from graphopt.ir import Node
from graphopt.op import absent
from graphopt.rewriting import Guard
from graphopt.structural import opaque
from graphopt.types import DType

DOMAIN = "com.microsoft"
single = Guard("it is float32", lambda root: root.dtype is DType.FLOAT32)


def operator(
    root: Node, name: str, *inputs: Node | None, domain: str = DOMAIN, **attributes: Any
) -> Node:
    """A node of an operator of the runtime in place of `root`."""
    given = tuple(absent if item is None else item for item in inputs)
    while given and given[-1].is_absent:
        given = given[:-1]
    types = (root.derived_type,)
    return opaque(domain, name, given, origin=-1, types=types, attrs=attributes)
