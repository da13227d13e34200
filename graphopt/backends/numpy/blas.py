"""One budget of threads: what the lanes of a plan use, BLAS does not.

BLAS libraries keep their number of threads for the whole process. A program that needs another
says so while it runs; when the last such program is done, the number is again what it was.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any


class Budget:
    """The threads of the BLAS libraries in this process, shared by the programs that run."""

    def __init__(self, libraries: list[Any]) -> None:
        self._libraries = libraries
        self._lock = Lock()
        self._users = 0
        self._before: list[int] = []

    @property
    def threads(self) -> int:
        """How many threads BLAS uses now; 1 where there is no library that could be told."""
        return max((library.get_num_threads() or 1 for library in self._libraries), default=1)

    @contextmanager
    def limited(self, threads: int) -> Generator[None]:
        """BLAS on so many threads meanwhile. Of programs that overlap, the least counts."""
        with self._lock:
            if not self._users:
                self._before = [library.get_num_threads() for library in self._libraries]
            self._users += 1
            for library in self._libraries:
                now = library.get_num_threads()
                wanted = threads if self._users == 1 else min(threads, now)
                if wanted != now:
                    library.set_num_threads(wanted)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    for library, count in zip(self._libraries, self._before, strict=True):
                        if library.get_num_threads() != count:
                            library.set_num_threads(count)


_making = Lock()


def budget() -> Budget:
    """The budget of this process; its libraries are found by threadpoolctl, NumPy's among them."""
    with _making:
        return _budget()


@cache
def _budget() -> Budget:
    threadpoolctl: Any = import_module("threadpoolctl")  # which has no types
    found = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return Budget(list(found.lib_controllers))
