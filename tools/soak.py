"""Make the engine's life hard for a long time: interrupts, forks, and random load.

    python -m tools.soak interrupts [--count 1000] [--plain]
    python -m tools.soak forks [--count 1000] [--plain]
    python -m tools.soak load [--minutes 30] [--plain]

`interrupts` sends SIGINT at random moments to a main thread that pushes and waits, or that starts
and stops engines; `forks` forks at random moments, and both processes go on; each runs in a process
of its own, which is ended and counted where it hangs. `load` runs random programs on engines that
live long, and watches memory. All check results against the serial program; with `--plain`, without
the accelerated scheduler. The last line is the verdict; the exit status is 1 where anything was
wrong.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

from graphopt.engine import Engine
from tools.soak_programs import HANG, Cells, Later, SoakError, small_program

ROOT = Path(__file__).resolve().parent.parent
GROWTH = 20.0  # MB that `load` may grow after it has warmed up
WORKERS = 2
Make = Callable[..., Engine]


def living(engine: Engine) -> bool:
    """Whether a process with this one engine has all its workers, and no more."""
    names = Counter(
        each.name.rpartition(".")[0] for each in threading.enumerate() if each.is_alive()
    )
    assert engine.mode == "threads"
    return names["cpu:0/compute"] == WORKERS and names["engine/attendant"] == 1


def wait_living(engine: Engine) -> bool:
    """The same, once workers that stood in for others have gone."""
    deadline = time.monotonic() + 5
    while not living(engine):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


# Interrupts.


class Pest:
    """Sends one SIGINT to the main thread, a random time after it is told to."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.told = threading.Semaphore(0)
        self.sent = False
        threading.Thread(target=self.run, name="pest", daemon=True).start()

    def run(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while True:
            self.told.acquire()
            time.sleep(self.random.random() ** 2 * 0.02)
            self.sent = True
            signal.pthread_kill(main, signal.SIGINT)


def interrupted(cells: Cells, pest: Pest, random: Random) -> bool:
    """Push and wait until the interrupt comes; False if nobody saw it, for a finalizer ate it."""
    pest.sent = False
    try:
        pest.told.release()
        while not pest.sent:
            for _ in range(random.randrange(40)):
                cells.step()
            if random.random() < 0.2:
                cells.engine.wait(cells.total)
            elif random.random() < 0.05:
                with suppress(ExceptionGroup):
                    cells.engine.wait_all()
        time.sleep(0.2)
    except KeyboardInterrupt:
        return True
    return False


def restarted(pest: Pest, random: Random, later: Later, make: Make) -> bool:
    """Start engines and stop them until the interrupt comes; True if all ended well after it.

    One that was interrupted while it began is dropped; one while it stopped is stopped again.
    """
    pest.sent = False
    before = set(threading.enumerate())
    engine: Engine | None = None
    try:
        pest.told.release()
        while not pest.sent:
            engine = make(WORKERS, max_pending=256, max_bytes=1 << 20)
            cells = Cells(engine, random, later)
            for _ in range(random.randrange(20)):
                cells.step()
            engine.stop(abort=random.random() < 0.5)
        time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    if engine is not None:
        engine.stop()
    engine = cells = None  # type: ignore[assignment]  # the engine goes, the name stays
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before:
        if time.monotonic() > deadline:
            left = [each.name for each in set(threading.enumerate()) - before]
            print(f"threads are left: {left}", file=sys.stderr)
            return False
        gc.collect()
        time.sleep(0.001)
    return True


def settled(cells: Cells) -> str:
    """What became of an engine that was interrupted: a word for the count."""
    try:
        cells.settle(interrupted=True)
        small_program(cells.engine)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return "wrong"
    return "interrupted" if wait_living(cells.engine) else "dead-worker"


def interrupt_rounds(count: int, seed: int, make: Make) -> int:
    """The child of `interrupts`: a line a round. Returns the exit status."""
    random = Random(seed)
    later, pest = Later(), Pest(Random(seed + 1))
    cells: Cells | None = None
    for k in range(count):
        if k % 5 == 4:
            if cells is not None:
                cells.engine.stop()
                cells = None
            print("restarted" if restarted(pest, random, later, make) else "leak", flush=True)
            continue
        if cells is None:
            cells = Cells(make(WORKERS, max_pending=256, max_bytes=1 << 20), random, later)
        seen = interrupted(cells, pest, random)
        what = settled(cells)
        print(what if seen or what != "interrupted" else "unseen", flush=True)
        if what != "interrupted":
            cells = None
    return 0


# Forks.


def fork_rounds(count: int, seed: int, make: Make) -> int:
    """The child of `forks`: a line a round. Returns the exit status."""
    random, later = Random(seed), Later()
    engine = make(WORKERS, max_pending=256, max_bytes=1 << 20)
    cells = Cells(engine, random, later)
    sys.setswitchinterval(2e-5)
    for _ in range(count):
        for _ in range(random.randrange(200)):
            cells.step()
        if random.random() < 0.5:
            time.sleep(random.random() * 0.001)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os._exit(go_on(cells))
        what = "forked"
        try:
            go_on_here(cells)
        except Exception as error:
            print(f"parent: {type(error).__name__}: {error}", file=sys.stderr)
            what = "wrong-parent"
        status = reaped(child)
        if status is None:
            what = "hung-child"
        elif status != 0:
            what = "wrong-child"
        print(what, flush=True)
    engine.stop()
    return 0


def go_on(cells: Cells) -> int:
    """In the child: go on, check, stop. Returns the exit status."""
    faulthandler.dump_traceback_later(0.8 * HANG, exit=True)
    try:
        go_on_here(cells)
        cells.engine.stop()
    except BaseException as error:
        print(f"child: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def go_on_here(cells: Cells) -> None:
    """Push more, and check everything. Raises SoakError."""
    cells.settle()
    for _ in range(30):
        cells.step()
    cells.settle()
    small_program(cells.engine)
    if not wait_living(cells.engine):
        raise SoakError("a worker is dead")


def reaped(child: int) -> int | None:
    """The exit status of a forked process; None if it had to be ended."""
    deadline = time.monotonic() + HANG
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


# The parent of both.


def supervise(what: str, count: int, seed: int, plain: bool) -> int:
    """Run rounds in a child, a new one after each hang, and count. Returns the exit status."""
    found: Counter[str] = Counter()
    begun = last = time.monotonic()
    while (done := found.total()) < count:
        command = [sys.executable, "-X", "faulthandler", "-m", "tools.soak", f"{what}-rounds"]
        command += ["--count", str(count - done), "--seed", str(seed + done)]
        command += ["--plain"] if plain else []
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            alarm = threading.Timer(HANG, process.send_signal, (signal.SIGABRT,))
            alarm.start()
            for line in process.stdout:
                alarm.cancel()
                found[line.strip()] += 1
                alarm = threading.Timer(HANG, process.send_signal, (signal.SIGABRT,))
                alarm.start()
                if time.monotonic() > last + 30:
                    last = time.monotonic()
                    print(f"{what}: {last - begun:.0f} s, {dict(found)}", flush=True)
            alarm.cancel()
        if process.returncode != 0:
            found["hang" if process.returncode == -signal.SIGABRT else "crash"] += 1
    good = {"interrupted", "unseen", "restarted", "forked"}
    bad = {name: times for name, times in found.items() if name not in good}
    counts = ", ".join(f"{times} {name}" for name, times in sorted(found.items()))
    verdict = "FAILED" if bad else "passed"
    print(f"{what}: {verdict}: {counts}, in {time.monotonic() - begun:.0f} s")
    return 1 if bad else 0


# Load.


def memory() -> float:
    """The resident set, in MB."""
    gc.collect()
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


class Load:
    """Engines that live long, of which now and then one is replaced; and what was measured."""

    def __init__(self, seed: int, make: Make) -> None:
        self.random, self.later, self.make = Random(seed), Later(), make
        self.cells = [self.fresh(workers) for workers in (1, 2, 3)]
        self.programs = self.tasks = 0
        self.warm: float | None = None  # MB after the warm-up
        self.highest = 0.0

    def fresh(self, workers: int) -> Cells:
        """A new engine with its cells."""
        bytes_bound = 1 << 20 if workers == 2 else None
        engine = self.make(workers, max_pending=512, max_bytes=bytes_bound, stall_after=20.0)
        return Cells(engine, self.random, self.later)

    def program(self) -> None:
        """Run one short program. Raises SoakError, or an error of the engine."""
        place = self.random.randrange(len(self.cells))
        cells, before = self.cells[place], self.cells[place].pushed
        for _ in range(self.random.randrange(400)):
            cells.step()
        cells.settle()
        self.programs += 1
        self.tasks += cells.pushed - before
        if self.random.random() < 0.01:
            small_program(cells.engine)
            cells.engine.stop(abort=self.random.random() < 0.5)
            self.cells[place] = self.fresh(place + 1)

    def line(self, elapsed: float) -> str:
        """What to print."""
        rss = memory()
        if self.warm is not None:
            self.highest = max(self.highest, rss)
        return (
            f"load: {elapsed:.0f} s, {self.programs} programs, {self.tasks} tasks, {rss:.1f} MB, "
            f"{threading.active_count()} threads"
        )


def load(minutes: float, seed: int, make: Make) -> int:
    """Run random programs for some time, a third of it asleep. Returns the exit status."""
    begun, end, told = time.monotonic(), time.monotonic() + 60 * minutes, 0.0
    soak, problem = Load(seed, make), ""
    while not problem and (now := time.monotonic()) < end:
        faulthandler.dump_traceback_later(2 * HANG, exit=True, file=sys.__stderr__ or 2)
        try:
            soak.program()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if soak.warm is None and now - begun > min(120.0, 0.3 * 60 * minutes):
            soak.warm = soak.highest = memory()
        if now - begun >= told + 30:
            told = now - begun
            print(soak.line(told), flush=True)
        time.sleep(min(1.0, time.monotonic() - now) * 2)
    print(soak.line(time.monotonic() - begun))
    faulthandler.cancel_dump_traceback_later()
    growth = soak.highest - (soak.warm or 0.0)
    if growth > GROWTH:
        problem = problem or f"it grew by {growth:.1f} MB"
    if not problem and not all(cells.engine.push(lambda: True).result(20) for cells in soak.cells):
        problem = "an engine does not work any more"
    for cells in soak.cells:
        cells.engine.stop(abort=bool(problem))
    print(f"load: {'FAILED: ' + problem if problem else 'passed'}: it grew by {growth:.1f} MB")
    return 1 if problem else 0


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    kinds = ("interrupts", "forks", "load", "interrupts-rounds", "forks-rounds")
    parser.add_argument("what", choices=kinds, metavar="{interrupts,forks,load}")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="not the accelerated scheduler")
    given = parser.parse_args(arguments)
    make: Make = partial(Engine, accelerated=False) if given.plain else Engine
    if given.what == "load":
        return load(given.minutes, given.seed, make)
    if given.what == "interrupts-rounds":
        return interrupt_rounds(given.count, given.seed, make)
    if given.what == "forks-rounds":
        return fork_rounds(given.count, given.seed, make)
    return supervise(given.what, given.count, given.seed, given.plain)


if __name__ == "__main__":
    sys.exit(main())
