"""NumPy's functions on arrays: `np.sum(a)`, `np.concatenate([a, b])`, `np.linalg.inv(a)`, …

Tables say which functions return views, which are pushed, and which change their first operand.
All others wait for the values and return what NumPy returns. Those of VALUED wait for all operands
but the first: the result's shape depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.engine.arrays import indexing, infer, ufuncs
from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.layout import Layout, is_raw

if TYPE_CHECKING:
    from graphopt.engine.arrays.context import Arrays

Function = Callable[..., Any]


def _named(names: str, module: Any = np) -> frozenset[Function]:
    """The functions of some names that this NumPy has."""
    return frozenset(getattr(module, name) for name in names.split() if hasattr(module, name))


# What they return shares memory with their operands, or where it cannot is a copy.
VIEWS = _named(
    "transpose permute_dims matrix_transpose swapaxes moveaxis rollaxis squeeze expand_dims "
    "broadcast_to broadcast_arrays split array_split hsplit vsplit dsplit unstack atleast_1d "
    "atleast_2d atleast_3d diagonal flip fliplr flipud rot90 reshape ravel real imag"
)
REDUCTIONS = _named(
    "sum prod mean std var max min amax amin any all argmax argmin ptp nansum nanprod nanmax nanmin"
)
PUSHED = REDUCTIONS | _named(
    "dot vdot inner outer tensordot einsum kron trace cross cumsum cumprod diff concatenate concat "
    "stack vstack hstack dstack column_stack where clip take take_along_axis tile roll sort "
    "argsort partition argpartition searchsorted interp pad round around nan_to_num median "
    "percentile quantile nanmean nanstd nanvar tril triu copy zeros_like ones_like full_like "
    "astype convolve correlate isclose sinc i0 angle real_if_close fix append delete insert "
    "cumulative_sum cumulative_prod gradient cov trapezoid vander digitize"
) - _named("real_if_close delete insert")  # their shapes depend on values
MATRICES = _named(
    "inv solve cholesky det slogdet qr svd eigh eigvalsh svdvals matrix_power norm matrix_norm "
    "vector_norm",
    np.linalg,
)
VALUED = _named("tile pad roll diff vander gradient trapezoid partition argpartition trace")
CHANGERS = _named("copyto put place putmask fill_diagonal put_along_axis")
KNOWN = (np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type, np.can_cast)


def call(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`function(*args, **kwargs)`, at once or as a task."""
    arrays = ufuncs.arrays_of((args, kwargs))
    if function in KNOWN:
        return function(*infer.mapped(args, _hollow), **infer.mapped(kwargs, _hollow))
    if function in CHANGERS:
        return _change(arrays, function, args, kwargs)
    try:
        if function in VIEWS:
            return _view(arrays, function, args, kwargs)
        if function in PUSHED or function in MATRICES:
            return push(arrays, function, args, kwargs)
    except infer.NotInferableError:
        pass
    return arrays.at_once(function, args, kwargs)


def push(arrays: Arrays, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Push a function that returns new arrays."""
    kwargs = dict(kwargs)
    out = kwargs.pop("out", None)
    if function in VALUED:
        args = (*args[:1], *infer.mapped(args[1:], _fetched))
        kwargs = infer.mapped(kwargs, _fetched)
    args, kwargs = arrays.settled(args), arrays.settled(kwargs)
    if (function is np.where and len(args) < 3) or is_raw(out):
        raise infer.NotInferableError
    layouts = _layouts(arrays, function, args, kwargs, out)
    if out is not None:
        return arrays.run(function, args, kwargs, (layouts,), (out,), "assigned")[0]
    leaves: list[Layout] = []
    infer.mapped(layouts, leaves.append)
    given = (None,) * len(leaves)
    results = iter(arrays.run(function, args, kwargs, leaves, given, "assigned"))
    return infer.mapped(layouts, lambda _: next(results))


def _layouts(
    arrays: Arrays, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> Any:
    """What a function returns; checks `out`."""
    if isinstance(out, Handle):
        options = {**arrays.layouts(kwargs), "out": out.layout}
        infer.function(function, arrays.layouts(args), options)
        return out.layout
    first = args[0] if args else None
    if function in REDUCTIONS and len(args) in (1, 2) and not {"where", "initial"} & kwargs.keys():
        options = dict(kwargs)
        axis = options.pop("axis", args[1] if len(args) > 1 else None)
        if isinstance(first, Handle):
            return infer.reduction(function, first.layout, options, axis)
    layouts = arrays.layouts(args)
    if function is np.dot and all(isinstance(e, Layout) and len(e.shape) == 2 for e in layouts):
        return infer.ufunc(np.matmul, layouts, kwargs, ())[0]
    judge = Layout.regular if function in MATRICES else Layout.stand_in
    return infer.function(function, layouts, arrays.layouts(kwargs), judge)


def _view(arrays: Arrays, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply a function to the memory, if it returns views of it; else push it."""

    def thawed(value: Any) -> Any:
        if isinstance(value, Handle) and value.layout.scalar:
            return indexing.thawed(value)
        return value

    def stand_in(value: Any) -> Any:
        return value.layout.stand_in() if isinstance(value, Handle) else value

    args, kwargs = infer.mapped((args, kwargs), thawed)
    asked = infer.mapped((args, kwargs), stand_in)
    answer = function(*asked[0], **asked[1])
    shared: list[Any] = []
    sources: list[Any] = []
    infer.mapped(asked, sources.append)
    infer.mapped(answer, lambda each: shared.append(_source(each, sources)))
    if any(each is None for each in shared):
        return push(arrays, function, args, kwargs)
    places = [next(i for i, s in enumerate(sources) if s is each) for each in shared]
    operands: list[Any] = []
    infer.mapped((args, kwargs), operands.append)
    chosen = iter(operands[place] for place in places)
    near = infer.mapped((args, kwargs), lambda v: v.data if isinstance(v, Handle) else v)

    def wrapped(raw: Any) -> Any:
        owner = next(chosen)
        return arrays.view(raw, owner) if isinstance(owner, Handle) else raw

    return infer.mapped(function(*near[0], **near[1]), wrapped)


def _source(found: Any, sources: list[Any]) -> Any:
    """The operand of which something is a view, None where it is of none."""
    for each in sources:
        both = is_raw(each) and is_raw(found)
        if both and (each is found or np.may_share_memory(each, found)):
            return each
    return None


def _change(
    arrays: Arrays, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Push a function that changes its first operand."""
    target, *others = args
    if not isinstance(target, Handle):  # into an array of NumPy
        function(target, *infer.mapped(others, _fetched), **infer.mapped(kwargs, _fetched))
        return
    if function is np.copyto:
        asked = infer.mapped((others, kwargs), _hollow)
        np.copyto(target.layout.hollow(), *asked[0], **asked[1])
    arrays.change(function, target, tuple(others), kwargs)


def _hollow(value: Any) -> Any:
    """Something of the shape and dtype of an array."""
    return value.layout.hollow() if isinstance(value, Handle) else value


def _fetched(value: Any) -> Any:
    """The values of an array."""
    return value.arrays.fetch(value) if isinstance(value, Handle) else value
