"""Arrays on the engine: NumPy programs that run in parallel and mean the serial program."""

from graphopt.engine.arrays.context import Arrays
from graphopt.engine.arrays.memory import PoolStats
from graphopt.engine.arrays.ndarray import NDArray
from graphopt.engine.arrays.random import RandomGenerator

__all__ = ["Arrays", "NDArray", "PoolStats", "RandomGenerator"]
