"""The handle on an array whose values may not be there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphopt.engine.arrays.layout import Layout, Raw

if TYPE_CHECKING:
    from graphopt.engine.arrays.context import Arrays
    from graphopt.engine.arrays.memory import Block

Operand: TypeAlias = "Handle | Raw | np.generic | bool | int | float | complex | list[Any]"
PLAIN = (bool, int, float, complex, np.generic, np.ndarray, list, tuple)


class Handle:
    """What an array is, apart from what can be done with it.

    `data` is its memory: made when it is pushed, valid when its block's variable was written. A
    view has the `base` that owns the block. When that dies, the block is recycled.
    """

    __slots__ = ("__weakref__", "arrays", "base", "block", "data", "layout")

    def __init__(
        self, arrays: Arrays, block: Block, data: Raw, layout: Layout, base: Handle | None
    ) -> None:
        self.arrays = arrays
        self.block = block
        self.data = data
        self.layout = layout
        self.base = base

    def __del__(self) -> None:
        if getattr(self, "base", self) is None:
            self.block.pool.give(self.block)

    @property
    def writable(self) -> bool:
        """Whether it may be assigned to: no scalar, and no broadcast view."""
        return not self.layout.scalar and self.data.flags.writeable
