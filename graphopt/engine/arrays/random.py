"""Random generators as resources: a draw changes the generator, so streams are those of NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.engine.arrays import infer
from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.layout import Layout, Shape, intern, is_raw

if TYPE_CHECKING:
    from graphopt.engine.arrays.context import Arrays
    from graphopt.engine.arrays.ndarray import NDArray

# Each element is drawn alike, so `size` is the shape of the result.
_SIZED = frozenset(
    "random standard_normal standard_exponential standard_gamma standard_cauchy standard_t normal "
    "uniform integers exponential poisson binomial beta gamma geometric gumbel laplace logistic "
    "lognormal pareto power rayleigh triangular vonmises wald weibull zipf chisquare f".split()
)


class RandomGenerator:
    """A generator of the engine; `Arrays.random` makes it.

    Draws come in the order in which they are pushed, whatever runs beside them: the numbers are
    those of `numpy.random.Generator(PCG64(seed))` called serially.
    """

    def __init__(self, arrays: Arrays, seed: Any) -> None:
        self.arrays = arrays
        self.generator = np.random.Generator(np.random.PCG64(seed))
        self.block = arrays.home.adopt(np.empty(0, np.uint8))
        self.writable = True

    def draw(self, name: str, *args: Any, **kwargs: Any) -> NDArray:
        """Call the method of this name of NumPy's generator; returns the array it will fill."""
        arrays = self.arrays
        args, kwargs = arrays.settled(args), arrays.settled(kwargs)
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["size"] = out.shape
        try:
            layout = _layout(name, arrays.layouts(args), arrays.layouts(kwargs))
        except ValueError:  # of the stand-ins, perhaps; of the values surely
            args, kwargs = infer.mapped((args, kwargs), _fetched)
            layout = _layout(name, arrays.layouts(args), arrays.layouts(kwargs))
        method = getattr(self.generator, name)
        return arrays.run(method, args, kwargs, (layout,), (out,), "assigned", also=(self,))[0]

    def random(self, size: Any = None, dtype: Any = np.float64) -> NDArray:
        """Uniform in [0, 1)."""
        return self.draw("random", size=size, dtype=dtype)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> NDArray:
        """Normal, of mean 0 and deviation 1."""
        return self.draw("standard_normal", size=size, dtype=dtype)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> NDArray:
        """Normal."""
        return self.draw("normal", loc, scale, size=size)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> NDArray:
        """Uniform in [low, high)."""
        return self.draw("uniform", low, high, size=size)

    def integers(
        self,
        low: Any,
        high: Any = None,
        size: Any = None,
        dtype: Any = np.int64,
        endpoint: bool = False,
    ) -> NDArray:
        """Integers in [low, high), or [0, low); with `endpoint`, the upper bound too."""
        options = {"size": size, "dtype": dtype, "endpoint": endpoint}
        return self.draw("integers", low, high, **options)

    def exponential(self, scale: Any = 1.0, size: Any = None) -> NDArray:
        """Exponential."""
        return self.draw("exponential", scale, size=size)

    def choice(self, a: Any, size: Any = None, **options: Any) -> NDArray:
        """A sample of an array, or of range(a)."""
        return self.draw("choice", a, size=size, **options)

    def permutation(self, x: Any, axis: int = 0) -> NDArray:
        """A shuffled copy of an array, or of range(x)."""
        return self.draw("permutation", x, axis=axis)

    def shuffle(self, array: NDArray, axis: int = 0) -> None:
        """Shuffle an array in place."""
        self.arrays.change(_shuffle, array, (self.generator, axis), {}, also=(self,))

    def __repr__(self) -> str:
        return f"RandomGenerator({type(self.generator.bit_generator).__name__})"


def _layout(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layout:
    """The layout of what a draw returns; the arguments are checked."""
    size = kwargs.get("size")
    scalars = not any(isinstance(each, Layout) for each in (*args, *kwargs.values()))
    if name in _SIZED and size is not None and scalars:
        found = infer.function(_sample, (name, *args), {**kwargs, "size": 0})
        shape: Shape = tuple(map(int, size)) if np.ndim(size) else (int(size),)
        found = intern(shape, found.dtype)
    else:
        found = infer.function(_sample, (name, *args), kwargs)
    assert isinstance(found, Layout)
    return found


def _sample(name: str, *args: Any, **kwargs: Any) -> Any:
    """What a fresh generator draws."""
    drawn = getattr(np.random.Generator(np.random.PCG64(0)), name)(*args, **kwargs)
    return drawn if is_raw(drawn) else np.asarray(drawn)[()]


def _shuffle(raw: Any, generator: np.random.Generator, axis: int) -> None:
    """Shuffle an array."""
    generator.shuffle(raw, axis=axis)


def _fetched(value: Any) -> Any:
    """The values of an array."""
    return value.arrays.fetch(value) if isinstance(value, Handle) else value
