"""The array namespace of a recording: NumPy's functions, which refs turn into calls.

Functions that never ask their arguments what they are (`asarray`, `array`) are replaced here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.backends.namespace import COMBINED, NumpyNamespace
from graphopt.backends.numpy import kernels
from graphopt.backends.numpy.block import Ref, metas
from graphopt.backends.numpy.functions import FUNCTIONS
from graphopt.backends.numpy.recorder import Recorder
from graphopt.body import Body

RunBody = Callable[[Body, Sequence[Any]], tuple[Any, ...]]


class RecordingNamespace(NumpyNamespace):
    """What kernels call while they are recorded; `run_body` records a body's nodes."""

    def __init__(self, recorder: Recorder, run_body: RunBody) -> None:
        self._recorder = recorder
        self._run_body = run_body

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """x as an array of a dtype, itself if it is one."""
        if not isinstance(x, Ref):
            return np.asarray(x, dtype)
        return x if dtype is None or x.dtype == np.dtype(dtype) else self._recorder.copy(x, dtype)

    def array(self, x: Any, dtype: Any = None) -> Any:
        """A copy of x, of a dtype if one is given."""
        return self._recorder.copy(x, dtype) if isinstance(x, Ref) else np.array(x, dtype)

    def take(self, x: Any, indices: Any, axis: int | None = None) -> Any:
        """The items of x at indices. NumPy's own asks only x what it is."""
        if not isinstance(x, Ref) and not isinstance(indices, Ref):
            return np.take(x, indices, axis)
        return FUNCTIONS[np.take](self._recorder, x, indices, axis)

    def divide_integers(self, x: Any, y: Any) -> Any:
        """x / y rounded toward zero; a zero is found when it is run."""
        if not isinstance(x, Ref) and not isinstance(y, Ref):
            return super().divide_integers(x, y)
        shape = np.broadcast_shapes(np.shape(metas(x)), np.shape(metas(y)))
        target = self._recorder.temp(shape, np.result_type(metas(x), metas(y)))
        return self._recorder.write(target, kernels.divide_integers, target, x, y)

    def power(self, x: Any, y: Any) -> Any:
        """x to the power of y; what is not 0.5 for certain is NumPy's own."""
        if not isinstance(x, Ref) and not isinstance(y, Ref):
            return super().power(x, y)
        made: Any = np.power(x, y)
        if made.dtype.kind != "f" or (not isinstance(y, Ref) and not np.equal(y, 0.5).any()):
            return made
        return self._recorder.write(made, kernels.mend_roots, made, x, y)

    def view(self, x: Any, func: Callable[..., Any], *args: Any) -> Any:
        """A view that a function makes of x."""
        return self._recorder.view(x, func, *args) if isinstance(x, Ref) else func(x, *args)

    def scatter(self, data: Any, at: Any, updates: Any, reduction: str = "none") -> Any:
        """A copy of data with updates written at an index; one outside fails as it runs."""
        made = self._recorder.copy(data)
        if reduction == "none":
            made[at] = updates
            return made
        args = (made, COMBINED[reduction], at, updates)
        return self._recorder.write(made, kernels.combine, *args)

    def call(self, body: Body, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """The outputs of a body, recorded in place."""
        return self._run_body(body, arguments)
