"""The methods of arrays that are NumPy's functions of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.engine.arrays import functions, infer
from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.indexing import copied
from graphopt.engine.arrays.layout import intern

if TYPE_CHECKING:
    from graphopt.engine.arrays.ndarray import NDArray


def _of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is a function of NumPy, pushed or a view."""

    def method(self: Handle, *args: Any, **kwargs: Any) -> Any:
        return functions.call(function, (self, *args), kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"As `numpy.{function.__name__}`."
    return method


class Methods(Handle):
    """What NumPy's arrays have as methods."""

    __slots__ = ()

    sum, prod, mean, std, var = _of(np.sum), _of(np.prod), _of(np.mean), _of(np.std), _of(np.var)
    max, min, argmax, argmin = _of(np.max), _of(np.min), _of(np.argmax), _of(np.argmin)
    any, all, cumsum, cumprod = _of(np.any), _of(np.all), _of(np.cumsum), _of(np.cumprod)
    dot, take, clip, round, trace = (
        _of(np.dot), _of(np.take), _of(np.clip), _of(np.round), _of(np.trace)
    )  # fmt: skip
    argsort, searchsorted = _of(np.argsort), _of(np.searchsorted)
    nonzero, repeat, choose, compress = (
        _of(np.nonzero), _of(np.repeat), _of(np.choose), _of(np.compress)
    )  # fmt: skip
    squeeze, swapaxes, diagonal, ravel = (
        _of(np.squeeze), _of(np.swapaxes), _of(np.diagonal), _of(np.ravel)
    )  # fmt: skip
    conj = conjugate = _of(np.conjugate)

    def reshape(self, *shape: Any, **kwargs: Any) -> NDArray:
        """As NumPy's: a view where the memory allows, else a copy."""
        wanted = shape[0] if len(shape) == 1 else shape
        return functions.call(np.reshape, (self, wanted), kwargs)

    def transpose(self, *axes: Any) -> NDArray:
        """As NumPy's: a view with permuted axes."""
        wanted = axes[0] if len(axes) == 1 else axes or None
        return functions.call(np.transpose, (self, wanted), {})

    def flatten(self, order: Any = "C") -> NDArray:
        """A copy with one axis."""
        copy = self.copy(order)
        return functions.call(np.ravel, (copy,), {"order": order})

    def copy(self, order: Any = "C") -> NDArray:
        """A copy on the same device."""
        return self.astype(self.layout.dtype, order=order)

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", copy: bool = True
    ) -> NDArray:
        """A copy with another dtype; the array itself if `copy` is False and nothing changes.

        Raises TypeError for a conversion that `casting` forbids.
        """
        arrays = self.arrays
        arrays.usable(self)
        wanted = np.dtype(dtype)
        if not copy and wanted == self.layout.dtype and order == "K":
            return self  # type: ignore[return-value]  # it is one
        if not np.can_cast(self.layout.dtype, wanted, casting) or wanted.hasobject:
            np.empty(0, self.layout.dtype).astype(wanted, casting=casting)
            raise TypeError(f"an array cannot hold {wanted}")
        if self.layout.scalar:
            layout = intern((), wanted, None, scalar=True)
        else:
            layout = infer.function(_converted, (self.layout, wanted, order), {})
        result: NDArray = arrays.run(copied, (self,), {}, (layout,), (None,))[0]
        return result

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        """Sort in place."""
        infer.function(np.sort, (self.layout, axis), {})
        self.arrays.change(np.ndarray.sort, self, (axis, kind), {})

    def partition(self, kth: Any, axis: int = -1) -> None:
        """Partition in place."""
        infer.function(np.partition, (self.layout, kth, axis), {})
        self.arrays.change(np.ndarray.partition, self, (kth, axis), {})

    @property
    def T(self) -> NDArray:  # noqa: N802  # NumPy's name
        """The array with its axes reversed: a view."""
        return self.transpose()

    @property
    def mT(self) -> NDArray:  # noqa: N802  # NumPy's name
        """The array with its last two axes swapped: a view."""
        return self.swapaxes(-1, -2)

    @property
    def real(self) -> NDArray:
        """The real part: a view."""
        return functions.call(np.real, (self,), {})

    @property
    def imag(self) -> NDArray:
        """The imaginary part: a view where there is one."""
        return functions.call(np.imag, (self,), {})


def _converted(raw: Any, dtype: Any, order: Any) -> Any:
    """What `astype` returns."""
    return raw.astype(dtype, order=order)
