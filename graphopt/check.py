"""Whether two programs compute the same: both run on drawn inputs, and their outputs are compared.

A trial counts only when the original runs: inputs that it refuses say nothing. A check without one
trial that counts has found nothing out, and says so (`NoTrialError`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from graphopt.body import all_nodes
from graphopt.errors import CheckError, LimitError, NoTrialError
from graphopt.graph import Graph
from graphopt.ir import walk
from graphopt.ops.loops import loop, trip_count
from graphopt.provenance import described
from graphopt.samples import Feeds, Guess, guesses, sample_inputs
from graphopt.types import DType, TensorType, dtype_of

Array = np.ndarray[Any, Any]
TOLERANCES = {64: 1e-9, 32: 1e-4}
COARSE = 1e-2
"""The relative tolerance of floats by their bits; COARSE for those of fewer."""
NOISE = 1e-7
NOISE_FACTOR = 4.0

MOST = 1 << 28
"""The iterations of a loop beyond which it is not run."""
PATIENCE = 4
"""So many times as long as the original may a result take."""

Run = Callable[[Feeds], Sequence[Any]]
"""A program: its outputs, in order, for inputs by name; raises where it cannot run."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a float may be off: max|d| <= atol + rtol * max|ref|; without rtol, by its dtype.

    Where neither is given, a model that is sensitive to its inputs may be off by `NOISE_FACTOR`
    times what relative noise of `NOISE` in them does to the original: no rewriting that rounds
    differently could be nearer.
    """

    rtol: float | None = None
    atol: float | None = None

    def bound(self, bits: int, largest: float) -> float:
        """The largest difference that is allowed where the largest value is `largest`."""
        rtol = self.rtol
        if rtol is None:
            rtol = TOLERANCES.get(bits, COARSE) if self.atol is None else 0.0
        return (self.atol or 0.0) + rtol * largest

    @property
    def is_default(self) -> bool:
        """Whether the user has set neither part."""
        return self.rtol is None and self.atol is None


@dataclass(frozen=True)
class Trials:
    """Which inputs a check runs on: how many times, from which seed, and which are given.

    `sizes` fixes named dimensions. After `seconds` no further trial is begun, nor another size
    tried; a run that is in a loop then is stopped, and what it found does not count.
    """

    count: int = 3
    seed: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check that found no difference: its trials, how many counted, the largest differences.

    `max_abs` is the largest absolute difference, `max_rel` the largest relative to the largest
    value of its output. `sensitive` says that a difference passed only as within the model's own
    sensitivity to noise.
    """

    trials: int
    valid: int
    max_abs: float = 0.0
    max_rel: float = 0.0
    sensitive: bool = False

    def __str__(self) -> str:
        return f"{self.valid}/{self.trials} ok"


def check_equivalent(
    before: Graph,
    after: Graph,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    trials: int = 3,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
) -> CheckResult:
    """Check that `after` computes what `before` does, run by the reference backend.

    Inputs are drawn anew for each trial; those in `inputs` are as given. Floats may be off by a
    tolerance that follows their dtype, or by `atol` + `rtol` times the largest value; the places of
    NaN and infinity, and everything else, must be equal. Raises CheckError naming the first output
    that differs, and NoTrialError when `before` ran on none of the inputs that were tried.
    """
    drawn = Trials(trials, seed, inputs or {})
    runs = by_reference(before, drawn), by_reference(after, drawn, PATIENCE)
    return compare(before, *runs, drawn, Tolerance(rtol, atol))


def by_reference(graph: Graph, trials: Trials, patience: int = 1) -> Run:
    """A graph as the reference backend runs it, no longer than trials may take."""
    from graphopt.backends import reference

    return partial(reference.run, graph, seconds=patience * trials.seconds)


def compare(
    graph: Graph, before: Run, after: Run, trials: Trials, tolerance: Tolerance
) -> CheckResult:
    """Check one way of running a program against another; `graph` says what they take and return.

    Raises as `check_equivalent` does.
    """
    endless = why_endless(graph)
    if endless:
        raise NoTrialError(endless)
    bits = [float_bits(graph, k) for k in range(len(graph.outputs))]
    until = time.monotonic() + trials.seconds
    found = _Worst()
    valid, last, reason = 0, None, "no time was left"
    for trial in range(trials.count):
        feeds, expected, last, reason = _try(graph, before, trials, trial, last, until)
        if expected is None:
            break
        valid += 1
        try:
            results = after(feeds)
        except Exception as error:
            message = f"the result fails where the original runs: {error}"
            raise CheckError(message, at=_told(feeds)) from error
        noise = _Noise(before, feeds, expected) if tolerance.is_default else None
        for k, name in enumerate(graph.output_names):
            judge = _Judge(tolerance, bits[k], found, None if noise is None else partial(noise, k))
            _compare_value(f"output {name!r}", expected[k], results[k], judge)
        if time.monotonic() > until:
            break
    if not valid:
        raise NoTrialError(f"the original ran on none of the inputs that were tried: {reason}")
    return CheckResult(trials.count, valid, found.max_abs, found.max_rel, found.sensitive)


def _try(
    graph: Graph, run: Run, trials: Trials, trial: int, last: Guess | None, until: float
) -> tuple[Feeds, Sequence[Any] | None, Guess | None, str]:
    """(inputs, outputs or None, the guess that served, why the first guess did not)."""
    reason = ""
    for guess in guesses(trial, last):
        if reason and time.monotonic() > until:
            break
        seed = trials.seed + trial
        try:
            feeds = sample_inputs(graph, seed, trials.sizes, guess=guess, given=trials.inputs)
            return feeds, run(feeds), guess, ""
        except LimitError as error:
            return {}, None, last, str(error)
        except Exception as error:  # whatever it is, it is the original's own
            reason = reason or " ".join(str(error).split()) or type(error).__name__
    return {}, None, last, reason or "no time was left"


def float_bits(graph: Graph, index: int) -> int:
    """The bits of the coarsest float that an output is computed from; 64 when there is none."""
    kinds = (node.derived_type for node in walk((graph.outputs[index],)))
    floats = (k.dtype for k in kinds if isinstance(k, TensorType) and k.dtype.kind in "fc")
    return min((_part_bits(dtype) for dtype in floats), default=64)


def _part_bits(dtype: DType) -> int:
    return dtype.bits // 2 if dtype.kind == "c" else dtype.bits


@dataclass
class _Worst:
    """The largest differences so far."""

    max_abs: float = 0.0
    max_rel: float = 0.0
    sensitive: bool = False


@dataclass
class _Noise:
    """How far the original's outputs move when its inputs get noise; run once, when asked."""

    run: Run
    feeds: Feeds
    expected: Sequence[Any]
    shaken: Sequence[Any] | None = None

    def __call__(self, k: int) -> float:
        if self.shaken is None:
            rng = np.random.default_rng(0)
            self.shaken = self.run({name: shake(item, rng) for name, item in self.feeds.items()})
        old, new = np.asarray(self.expected[k]), np.asarray(self.shaken[k])
        if old.shape != new.shape or old.dtype.kind != "f":
            return 0.0
        off = np.abs(new.astype(np.float64) - old.astype(np.float64))
        return NOISE_FACTOR * float(off.max(initial=0.0, where=np.isfinite(off)))


def shake(value: Any, rng: np.random.Generator) -> Any:
    """An input with relative noise of `NOISE`; what is not a float stays as it is."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return value
    return (array * (1 + NOISE * rng.standard_normal(array.shape))).astype(array.dtype)


@dataclass(frozen=True)
class _Judge:
    """What one output is held to: a tolerance, and the noise that excuses more than that."""

    tolerance: Tolerance
    bits: int
    found: _Worst
    noise: Callable[[], float] | None

    def accepts(self, max_abs: float, largest: float) -> bool:
        if max_abs <= self.tolerance.bound(self.bits, largest):
            return True
        if self.noise is None or max_abs > self.noise():
            return False
        self.found.sensitive = True
        return True


def _compare_value(at: str, old: Any, new: Any, judge: _Judge) -> None:
    if _is_list(old):
        if not _is_list(new) or len(new) != len(old):
            raise CheckError("the sequences differ in length", at=at)
        for k, (item, other) in enumerate(zip(old, new, strict=True)):
            _compare_value(f"{at}[{k}]", item, other, judge)
    elif not _is_array(old) or not _is_array(new):
        if type(old) is not type(new) or old != new:
            raise CheckError(f"{new!r} where the original has {old!r}", at=at)
    elif old.shape != new.shape or old.dtype != new.dtype:
        was, now = (f"{dtype_of(a.dtype)}{list(a.shape)}" for a in (old, new))
        raise CheckError(f"{now} where the original has {was}", at=at)
    elif dtype_of(old.dtype).kind not in "fc":
        _compare_exactly(at, old, new)
    else:
        _compare_floats(at, old, new, judge)


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _is_array(value: Any) -> TypeGuard[Array]:
    return isinstance(value, np.ndarray)


def _compare_exactly(at: str, old: Array, new: Array) -> None:
    unequal = np.asarray(old != new)
    if unequal.any():
        where = tuple(int(k) for k in np.argwhere(unequal)[0])
        count = f"{int(unequal.sum())} of {old.size} elements differ"
        raise CheckError(
            f"{new[where]} where the original has {old[where]} ({count})", at=_at(at, where)
        )


def _compare_floats(at: str, old: Array, new: Array, judge: _Judge) -> None:
    """Compare arrays of floats of one shape; differences are taken in double precision."""
    wide = np.complex128 if old.dtype.kind == "c" else np.float64
    a, b = old.astype(wide), new.astype(wide)
    finite = np.isfinite(a)
    strange = (finite != np.isfinite(b)) | ~(finite | (a == b) | (np.isnan(a) & np.isnan(b)))
    if strange.any():
        where = tuple(int(k) for k in np.argwhere(strange)[0])
        raise CheckError(f"{new[where]} where the original has {old[where]}", at=_at(at, where))
    off = np.zeros(a.shape)
    np.subtract(b, a, out=b, where=finite)
    np.abs(b, out=off, where=finite)
    if not off.size:
        return
    largest = float(np.abs(a).max(initial=0.0, where=finite))
    max_abs = float(off.max())
    max_rel = max_abs / largest if largest else float("inf") if max_abs else 0.0
    if not judge.accepts(max_abs, largest):
        where = tuple(int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
        raise CheckError(
            f"{new[where]} where the original has {old[where]} "
            f"(largest difference {max_abs:.3g}, relative to the largest value {max_rel:.3g})",
            at=_at(at, where),
        )
    found = judge.found
    found.max_abs, found.max_rel = max(found.max_abs, max_abs), max(found.max_rel, max_rel)


def _at(at: str, where: tuple[int, ...]) -> str:
    return f"{at}{list(where)}" if where else at


def _told(feeds: Feeds) -> str:
    """The inputs' shapes, for a message."""
    return "inputs " + ", ".join(f"{name}{list(np.shape(item))}" for name, item in feeds.items())


def why_endless(graph: Graph) -> str:
    """Why a graph takes too long to run at all, "" where nothing tells that it does."""
    for node in graph.order:
        if node.op is loop:
            trips, cond = (None if item.is_absent else item for item in node.inputs[:2])
            count = trip_count(trips, cond, node.attrs["body"])
            if isinstance(count, int) and count > MOST:
                return f"the loop {described(graph, node)} would run {count} times"
    return ""


def why_unrunnable(graph: Graph) -> str:
    """Why the reference backend cannot run a graph at all, "" when it can try."""
    if graph.effects:
        return "the graph has effects"
    for node in all_nodes(graph.roots):
        if node.op.facts.opaque:
            return f"the operator {node.op!r} is not known"
    return ""
