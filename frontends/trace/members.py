"""The attributes and methods of numpy.ndarray on traced arrays: each is a function of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

METHODS: dict[str, Any] = {
    name: getattr(np, name)
    for name in (
        "all any argmax argmin argpartition argsort choose clip copy cumprod cumsum"
        " diagonal dot max mean min nonzero prod ptp ravel repeat round searchsorted squeeze"
        " std sum swapaxes take trace var"
    ).split()
}
"""Methods that have the parameters of the function of the same name."""


def method(function: Any) -> Callable[..., Any]:
    """A method that is a function of the array."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.trace.function(function, (self, *args), kwargs)

    return call


class Members:
    """See the module's text."""

    __slots__ = ()
    trace: Any
    kind: Any
    scalar: bool

    @property
    def shape(self) -> tuple[Any, ...]:
        """The sizes: ints, or what stands for a size that is not known."""
        return tuple(self.trace.size(size) for size in self.kind[0])

    @shape.setter
    def shape(self, sizes: Any) -> None:
        raise self.trace.fail("setting .shape is not supported", "Write x = x.reshape(shape).")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        dtype: np.dtype[Any] = self.kind[1]
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.kind[0])

    @property
    def size(self) -> Any:
        """The number of elements."""
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        """The bytes of all elements."""
        return self.size * self.itemsize

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        """The axes in reverse order."""
        return self.trace.function(np.transpose, (self,), {})

    @property
    def mT(self) -> Any:  # noqa: N802 - NumPy's name
        """The last two axes exchanged."""
        return self.trace.function(np.matrix_transpose, (self,), {})

    @property
    def real(self) -> Any:
        """The real part; of a real array, itself."""
        return self.trace.function(np.real, (self,), {}) if self.dtype.kind == "c" else self

    @property
    def imag(self) -> Any:
        """The imaginary part."""
        return self.trace.function(np.imag, (self,), {})

    @property
    def flat(self) -> Any:
        """The elements one by one; only reading them is supported."""
        return iter(self.trace.function(np.ravel, (self,), {}))

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """The elements in another shape."""
        sizes = shape[0] if len(shape) == 1 else shape
        return self.trace.function(np.reshape, (self, sizes), kwargs)

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order."""
        order = axes[0] if len(axes) == 1 else axes or None
        return self.trace.function(np.transpose, (self, order), {})

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> Any:
        """The elements as another dtype. Raises TypeError for a cast that `casting` forbids."""
        wanted = np.dtype(dtype)
        if not np.can_cast(self.dtype, wanted, casting):
            text = f"Cannot cast array data from {self.dtype!r} to {wanted!r}"
            raise TypeError(f"{text} according to the rule {casting!r}")
        if wanted == self.dtype and not copy:
            return self
        return self.trace.cast(self, wanted)

    def flatten(self, order: str = "C") -> Any:
        """A copy as a vector."""
        return self.trace.function(np.ravel, (self, order), {}).copy()

    def view(self, dtype: Any = None, type: Any = None) -> Any:
        """The bits as another dtype are not supported; without arguments, a view of all."""
        if dtype is None and type is None:
            whole: Any = self
            return whole[...]
        raise self.trace.fail("ndarray.view(dtype) is not supported")

    def conj(self) -> Any:
        """The complex conjugate."""
        return self.trace.ufunc(np.conjugate, "__call__", (self,), {})

    conjugate = conj

    def fill(self, value: Any) -> None:
        """Set all elements."""
        self.trace.setitem(self, ..., value)

    def compress(self, condition: Any, axis: Any = None) -> Any:
        """The slices along an axis where a condition holds."""
        return self.trace.function(np.compress, (condition, self, axis), {})

    def sort(self, axis: Any = -1, **kwargs: Any) -> None:
        """Sort in place."""
        self.trace.setitem(self, ..., self.trace.function(np.sort, (self, axis), kwargs))

    def __getattr__(self, name: str) -> Any:
        if hasattr(np.ndarray, name) and not name.startswith("__"):
            raise self.trace.fail(f"ndarray.{name} is not supported")
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")


for _name, _function in METHODS.items():
    setattr(Members, _name, method(_function))
