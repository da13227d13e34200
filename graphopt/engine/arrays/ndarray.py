"""An array whose values are computed while the program goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from graphopt.engine.arrays import functions, indexing, ufuncs
from graphopt.engine.arrays.handle import PLAIN, Handle
from graphopt.engine.arrays.layout import Raw, Shape, layout_of
from graphopt.engine.arrays.methods import Methods
from graphopt.engine.arrays.operators import Operators


class NDArray(Operators, Methods):
    """An asynchronous array; `Arrays` makes them.

        A = arrays.full((), 2.0)
        B = A + 1
        C = A + 2
        A[...] = 3
        D = B * C          # 12: the program means what it means in NumPy, and B and C ran at once

    Shape, dtype and strides are NumPy's and known at once; so are errors of shape and dtype. Values
    are waited for by `numpy`, `item`, `float`, `bool`, `print` and what depends on them, such as
    `nonzero`. An error while computing them is raised there, every time, with the line that
    computed them.

    Where NumPy returns a scalar, this is an array of no dimension that cannot be assigned to; `+=`
    gives a new one.
    """

    __slots__ = ()

    # What is known at once.

    @property
    def shape(self) -> Shape:
        """Its extents."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.layout.dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.layout.shape)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return self.layout.size

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return self.layout.nbytes

    @property
    def itemsize(self) -> int:
        """The bytes of one."""
        return self.layout.dtype.itemsize

    @property
    def strides(self) -> Shape:
        """The bytes from one element to the next, along each axis."""
        return self.data.strides

    @property
    def flags(self) -> Any:
        """As NumPy's, of the memory."""
        return self.data.flags

    @property
    def device(self) -> str:
        """The device that its memory belongs to."""
        return self.block.pool.device

    def __len__(self) -> int:
        if not self.layout.shape:
            raise TypeError("len() of unsized object")
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[NDArray]:
        if not self.layout.shape:
            raise TypeError("iteration over a 0-d array")
        return (indexing.get(self, place) for place in range(self.layout.shape[0]))

    # What pushes.

    def __getitem__(self, index: Any) -> NDArray:
        return indexing.get(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        indexing.put(self, index, value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        operands = (*inputs, *kwargs.get("out", ()), kwargs.get("where", True))
        if not all(isinstance(each, (Handle, *PLAIN)) or each is None for each in operands):
            return NotImplemented
        given = tuple(map(indexing.as_array, inputs))
        if method == "__call__":
            return ufuncs.call(ufunc, given, kwargs)
        return ufuncs.method(ufunc, method, given, kwargs)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        if not all(issubclass(each, (Handle, np.ndarray)) for each in types):
            return NotImplemented
        return functions.call(function, args, dict(kwargs))

    def fill(self, value: Any) -> None:
        """Assign a scalar to all elements."""
        indexing.put(self, ..., value)

    def view(self, dtype: Any) -> NDArray:
        """The same memory as elements of another type."""
        array = indexing.thawed(self) if self.layout.scalar else self
        return array.arrays.view(array.data.view(dtype), array)

    def to(self, device: str) -> NDArray:
        """A copy on another device, made in a copy lane; the array itself if it is there."""
        pool = self.arrays.pool(device)
        self.arrays.usable(self)
        if pool is self.block.pool:
            return self
        target = self.arrays.new(layout_of(np.empty_like(self.layout.stand_in())), pool)
        self.arrays.transfer(self, target)
        return target

    def delete(self) -> None:
        """Give its memory back when all that uses it is over; a later use raises.

        So do views of it. Raises DoubleDeleteError.
        """
        block = self.block
        block.variable.name = block.variable.name or f"{self.layout}"
        block.copies = {}
        block.pool.delete(block)

    # What waits.

    def wait_to_read(self, timeout: float | None = None) -> None:
        """Wait until its values are there. Raises what writing them raised."""
        self.arrays.engine.wait(self.block.variable, timeout=timeout)

    def wait_to_write(self, timeout: float | None = None) -> None:
        """Wait until nobody reads it either."""
        self.arrays.engine.wait(self.block.variable, timeout=timeout, write=True)

    def numpy(self) -> Raw:
        """Wait, and copy the values into an array of NumPy that nobody else has.

        The copy is one more reader in the serial program, so no later change reaches it.
        """
        return self.arrays.fetch(self)

    def item(self, *index: Any) -> Any:
        """Wait, and return an element as a Python scalar."""
        return self.arrays.fetch(self).item(*index)

    def tolist(self) -> Any:
        """Wait, and return the values as nested lists."""
        return self.arrays.fetch(self).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Raw:
        if copy is False:
            raise ValueError("np.asarray copies the values; np.from_dlpack shares the memory")
        values = self.arrays.fetch(self)
        return values if dtype is None else values.astype(dtype, copy=False)

    def __bool__(self) -> bool:
        return bool(self.arrays.fetch(self))

    def __int__(self) -> int:
        return int(self.arrays.fetch(self))

    def __float__(self) -> float:
        return float(self.arrays.fetch(self))

    def __complex__(self) -> complex:
        return complex(self.arrays.fetch(self))

    def __index__(self) -> int:
        return self.arrays.fetch(self).__index__()

    def __contains__(self, value: Any) -> bool:
        return value in self.arrays.fetch(self)

    def __repr__(self) -> str:
        return repr(self.arrays.fetch(self))

    def __str__(self) -> str:
        return str(self.arrays.fetch(self))

    def __format__(self, spec: str) -> str:
        values = self.arrays.fetch(self)
        return format(values[()] if not values.shape else values, spec)

    # Exchange.

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        """Wait, and share the memory: who takes it must not use it while tasks write it.

        The memory is never recycled. With `copy=True` nothing is shared.
        """
        if options.get("copy"):
            return self.arrays.fetch(self).__dlpack__(**options)
        self.wait_to_write()
        self.block.shared = True
        return self.data.__dlpack__(**options)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("an array belongs to its engine; pickle what its numpy() returns")

    def __copy__(self) -> NDArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> NDArray:
        return self.copy()
