"""Memory of arrays: it is recycled, bounded, and never seen by two."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from threading import Thread
from typing import Any

import numpy as np
import pytest

from graphopt.engine import Engine
from graphopt.engine.arrays import Arrays
from graphopt.engine.errors import TaskFailedError


@pytest.mark.parametrize("debug", [False, True])
def test_a_loop_keeps_the_pool_bounded(engine: Engine, debug: bool) -> None:
    arrays = Arrays(engine, limit=10 * 80_000, debug=debug)
    x, y = arrays.zeros(10_000), np.zeros(10_000)
    for _ in range(1000):
        x = x * 0.5 + 1
        y = y * 0.5 + 1
    assert x.numpy().tobytes() == y.tobytes()
    stats = arrays.stats()
    assert stats.peak <= 11 * 81_920
    assert stats.recycled > 1900


def test_freed_memory_is_filled_with_nan() -> None:
    with Engine(mode="serial") as engine:
        arrays = Arrays(engine, debug=True)
        kept: list[Any] = []
        a = arrays.ones(3)
        arrays.push(kept.append, [a])
        assert kept[0].tolist() == [1, 1, 1]
        del a
        assert np.isnan(kept[0]).all()


def test_dead_arrays_of_other_sizes_make_room(engine: Engine) -> None:
    arrays = Arrays(engine, limit=100_000)
    for size in range(1, 400):
        arrays.ones(size * 20)
    assert arrays.stats().allocated <= 100_000 + 65_536


def test_recycled_memory_does_not_inherit_a_failure(engine: Engine) -> None:
    arrays = Arrays(engine, limit=0)
    for _ in range(3):
        with pytest.raises(TaskFailedError):
            repr(np.linalg.inv(arrays.zeros((3, 3))))
        gc.collect()
        a = arrays.empty((3, 3))
        a[0] = 1
        assert a[0].tolist() == [1, 1, 1]


def test_nothing_of_the_engine_needs_numpy() -> None:
    code = "import sys, graphopt, graphopt.engine; assert 'numpy' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_deleted_memory_serves_again(engine: Engine) -> None:
    arrays = Arrays(engine)
    for _ in range(20):
        a = arrays.ones(1000)
        b = a + 1
        a.delete()
        assert b.sum().item() == 2000
        engine.wait_all()
    assert arrays.stats().fresh <= 6


def test_threads_share_a_pool() -> None:
    def program(xp: Any, seed: int) -> Any:
        x, w = xp.ones(seed), xp.ones(seed)
        for step in range(300):
            x = (x + w) * 0.5
            if step % 7 == 0:
                w = x[:] + 1
            x[seed // 2 :] += seed
        return x

    with Engine(workers=2) as engine:
        arrays = Arrays(engine, limit=4096)
        found: dict[int, Any] = {}

        def work(seed: int) -> None:
            found[seed] = program(arrays, seed).numpy()

        threads = [Thread(target=work, args=(seed,)) for seed in (3, 4, 5, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed, values in found.items():
            assert values.tobytes() == program(np, seed).tobytes()
        assert len(found) == 4
