"""Ops of images with channels last: ONNX has them with channels first."""

from __future__ import annotations

from typing import Any

from graphopt.frontends.onnx.forms.nodes import Form
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.channels_last import TO_FIRST, TO_LAST
from graphopt.ops.movement import transpose


def between_transposes(op: Op) -> Form:
    """The form of what an op does to an image with channels first, of one with channels last."""

    def form(x: Node, *more: Node, **attrs: Any) -> Node:
        made: Node = transpose(op(transpose(x, perm=TO_FIRST), *more, **attrs), perm=TO_LAST)
        return made

    return form
