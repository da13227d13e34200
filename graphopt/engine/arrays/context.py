"""Arrays on an engine: how they are made, and how users push functions on them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from graphopt.engine.arrays.access import Guard, writable
from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.layout import Shape, intern, layout_of
from graphopt.engine.arrays.memory import PoolStats
from graphopt.engine.arrays.ndarray import NDArray
from graphopt.engine.arrays.random import RandomGenerator
from graphopt.engine.arrays.runtime import Runtime
from graphopt.engine.engine import Engine
from graphopt.engine.errors import EngineError
from graphopt.engine.task import Task

LIMIT = 1 << 28  # bytes


class Arrays(Runtime):
    """NumPy's arrays on an engine: a serial program that runs in parallel.

        with Engine(workers=2) as engine:
            arrays = Arrays(engine)
            x = arrays.ones((1000, 1000))
            y, z = x @ x, np.exp(x)
            print((y + z).sum())

    Results are NumPy's bit for bit, whatever the workers. NumPy's own functions take these arrays;
    arrays of NumPy are copied when they are given. `device` is where arrays are made unless told.
    `limit` bounds the memory of dead arrays in bytes, by device: above it, new arrays take the
    memory of dead ones though tasks may still use it, and wait for that in the engine. `debug`
    fills memory with NaN when its array dies, and checks that the functions of `push` touch only
    what they declare.

    Operations run on the device of the array they write, else on that of the innermost `device`
    block, else on that of their first array; others are copied there, once until they change.
    """

    def __init__(
        self, engine: Engine, device: str | None = None, *, limit: int = LIMIT, debug: bool = False
    ) -> None:
        super().__init__(engine, device, limit, debug)
        self.kind = NDArray
        self._blocks = 0
        self._lock = Lock()

    # Making arrays.

    def array(self, values: Any, dtype: Any = None) -> NDArray:
        """An array with the values that something has now."""
        if isinstance(values, NDArray):
            return values.copy("K") if dtype is None else values.astype(dtype)
        raw = np.array(values, dtype)
        if raw.dtype.hasobject:
            raise TypeError(f"an array cannot hold {raw.dtype}: its elements are no plain memory")
        return self.filled(raw)

    def asarray(self, values: Any, dtype: Any = None) -> NDArray:
        """An array as it is, anything else as `array` takes it."""
        if isinstance(values, NDArray):
            return values if dtype is None else values.astype(dtype, copy=False)
        return self.array(values, dtype)

    def empty(self, shape: Any, dtype: Any = np.float64) -> NDArray:
        """An array of no particular values."""
        array = self._made(shape, dtype)
        self.launch(_nothing, [], [], [array], array.block.pool, "empty")
        return array

    def zeros(self, shape: Any, dtype: Any = np.float64) -> NDArray:
        """An array of zeros."""
        return self.full(shape, 0, dtype)

    def ones(self, shape: Any, dtype: Any = np.float64) -> NDArray:
        """An array of ones."""
        return self.full(shape, 1, dtype)

    def full(self, shape: Any, value: Any, dtype: Any = None) -> NDArray:
        """An array of one value, of its dtype unless told."""
        element = np.array(value, dtype)
        array = self._made(shape, element.dtype)
        self.launch(
            partial(np.copyto, array.data, element), [], [], [array], array.block.pool, "full"
        )
        return array

    def arange(self, *bounds: Any, dtype: Any = None) -> NDArray:
        """As `numpy.arange`."""
        return self.filled(np.arange(*bounds, dtype=dtype))

    def from_dlpack(self, values: Any) -> NDArray:
        """An array in the memory of another library's, which must not write it meanwhile."""
        raw = np.from_dlpack(values)
        block = (self.declared.device or self.home).adopt(raw)
        return NDArray(self, block, raw, layout_of(raw), None)

    def random(self, seed: Any = None) -> RandomGenerator:
        """A random generator, as `numpy.random.default_rng(seed)`."""
        return RandomGenerator(self, seed)

    def _made(self, shape: Any, dtype: Any) -> NDArray:
        """An array to be overwritten."""
        extents: Shape = tuple(map(int, shape)) if np.ndim(shape) else (int(shape),)
        if any(extent < 0 for extent in extents):
            raise ValueError("negative dimensions are not allowed")
        if np.dtype(dtype).hasobject:
            raise TypeError(f"an array cannot hold {np.dtype(dtype)}: no plain memory")
        return self.new(intern(extents, np.dtype(dtype)), self.declared.device or self.home)

    # Pushing.

    def push(
        self,
        fn: Callable[..., Any],
        read: Sequence[NDArray] = (),
        mutate: Sequence[NDArray] = (),
        overwrite: Sequence[NDArray] = (),
        *,
        device: str | None = None,
        name: str = "",
        **options: Any,
    ) -> Task:
        """Run `fn` on the memory of arrays: `fn(*read, *mutate, *overwrite)`, as `Engine.push`.

        It gets arrays of NumPy, read-only ones for `read`, and must not keep them. It runs on
        `device`, unless told where its first result is; what it reads is copied there. Raises
        EngineError where a result is elsewhere.
        """
        written: list[Handle] = [*mutate, *overwrite]
        writable(written)
        pool = self.place((written, read)) if device is None else self.pool(device)
        for each in written:
            if each.block.pool is not pool:
                raise EngineError(
                    f"cannot write on {pool.device} what is on {each.block.pool.device}"
                )
        near = [self.near(each, pool) for each in read]
        guard = Guard(fn, self.declared, near, written)
        called = name or getattr(fn, "__name__", "task")
        return self.launch(guard, near, list(mutate), list(overwrite), pool, called, **options)

    @contextmanager
    def device(self, name: str) -> Generator[None]:
        """Make arrays, and run operations, on this device in the block, in this thread."""
        before, self.declared.device = self.declared.device, self.pool(name)
        self._count(1)
        try:
            yield
        finally:
            self.declared.device = before
            self._count(-1)

    def _count(self, change: int) -> None:
        """Note that some thread asks for a device, or does not any more."""
        with self._lock:
            self._blocks += change
            self.quick = self.plain and not self._blocks

    def stats(self, device: str | None = None) -> PoolStats:
        """The figures of a device's memory."""
        return (self.home if device is None else self.pool(device)).stats()


def _nothing() -> None:
    """Leaves an array as it is."""
