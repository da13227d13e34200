"""What stands for an argument that is not there yet: its shape and dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphopt import dims
from graphopt.dims import Size
from graphopt.errors import UsageError
from graphopt.types import DType, TensorType, dtype_of


@dataclass(frozen=True, init=False)
class TensorSpec:
    """The shape and dtype of an array that a function will be called with.

    A size is a number, a name (equal names are equal sizes), or None (a size of its own). `name` is
    the input's name in the graph, by default the parameter's. Raises UsageError for a size or
    dtype that a tensor cannot have.

    >>> TensorSpec(("N", 3), "float32")
    TensorSpec(shape=('N', 3), dtype='float32', name=None)
    """

    __graphopt_leaf__ = True

    shape: tuple[int | str | None, ...]
    dtype: Any
    name: str | None = None

    def __init__(
        self, shape: Sequence[int | str | None], dtype: Any = "float32", name: str | None = None
    ) -> None:
        sizes = tuple(shape)
        for size in sizes:
            if not (size is None or (type(size) is int and size >= 0) or _is_name(size)):
                raise UsageError(
                    f"a size is a number, a name or None, not {size!r}", at="TensorSpec"
                )
        try:
            dtype_of(dtype)
        except TypeError as error:
            raise UsageError(str(error), at="TensorSpec") from None
        object.__setattr__(self, "shape", sizes)
        object.__setattr__(self, "dtype", dtype)
        object.__setattr__(self, "name", name)

    @property
    def element(self) -> DType:
        """The dtype as a graph has it."""
        return dtype_of(self.dtype)

    def type(self, path: str) -> TensorType:
        """The tensor type; a size of its own is named after `path`, the parameter's."""
        sizes: list[Size] = [
            size
            if isinstance(size, int)
            else dims.symbol(f"{path}_{axis}" if size is None else size)
            for axis, size in enumerate(self.shape)
        ]
        return TensorType(self.element, tuple(sizes))

    def check(self, value: Any, path: str) -> None:
        """Raise UsageError for a value that is not of this shape and dtype."""
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        fits = dtype == self.element.numpy and shape is not None and len(shape) == len(self.shape)
        if not fits or any(
            isinstance(wanted, int) and wanted != size
            for wanted, size in zip(self.shape, shape or (), strict=True)
        ):
            raise UsageError(f"{dtype} of shape {shape} where {self} is taken", at=path)


def _is_name(size: object) -> bool:
    return isinstance(size, str) and size.isidentifier()
