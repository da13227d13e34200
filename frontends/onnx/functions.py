"""Inlining of the functions that a model brings along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from graphopt.errors import ModelError
from graphopt.frontends.onnx.call import items_of
from graphopt.frontends.onnx.parse import (
    MAX_DEPTH,
    Function,
    FunctionKey,
    Model,
    Ref,
    describe,
    shown,
)
from graphopt.records import Record, Region

MAX_NODES = 1_000_000
"""The most nodes that a model may have once its functions are inlined."""

Opsets = Mapping[str, int]


class Functions:
    """The functions of a model; `expand` replaces calls by the nodes of what they call.

    Raises ModelError for functions that call themselves and for models that would get too large,
    before anything is expanded.
    """

    def __init__(self, model: Model) -> None:
        self.table = model.functions
        self.names: set[str] = set()
        if self.table:
            self.names.update(name for name, _ in model.region.inputs)
            for record in _all_records(model.region):
                self.names.update(record.outputs)
        self._counts: dict[str, int] = {}
        self._check_size(model.region)

    def _check_size(self, region: Region) -> None:
        if not self.table:
            return
        sizes: dict[FunctionKey, int] = {}
        for key in self.table:
            self._measure(key, sizes, [])
        total = sum(sizes.get(_key(record), 1) for record in _all_records(region))
        if total > MAX_NODES:
            raise ModelError(f"its functions make it {total} nodes, more than {MAX_NODES}")

    def _measure(self, key: FunctionKey, sizes: dict[FunctionKey, int], path: list[Any]) -> int:
        if key in sizes:
            return sizes[key]
        if key in path:
            raise ModelError(f"function {shown(key[1])} calls itself")
        if len(path) >= MAX_DEPTH:
            raise ModelError(f"functions call each other more than {MAX_DEPTH} deep")
        path.append(key)
        total = 0
        for record in self.table[key].records:
            for inner in _with_nested(record):
                callee = _key(inner)
                total += self._measure(callee, sizes, path) if callee in self.table else 1
        path.pop()
        sizes[key] = total
        return total

    def expand(self, record: Record, opsets: Opsets) -> Iterable[tuple[Record, Opsets]]:
        """`record`, or the records of the function that it calls, each with its opset versions."""
        return self._expanded(record, opsets) if self.table else ((record, opsets),)

    def _expanded(self, record: Record, opsets: Opsets) -> Iterator[tuple[Record, Opsets]]:
        pending = [iter([(record, opsets)])]
        while pending:
            for item, versions in pending[-1]:
                function = self.table.get(_key(item))
                if function is not None:
                    pending.append(iter(self._inlined(item, function)))
                    break
                yield item, versions
            else:
                pending.pop()

    def _inlined(self, call: Record, function: Function) -> list[tuple[Record, Opsets]]:
        if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
            raise ModelError(
                f"node {describe(call)} has {len(call.inputs)} inputs and {len(call.outputs)}"
                f" outputs, its function takes {len(function.inputs)} and {len(function.outputs)}"
            )
        given = dict(function.defaults) | dict(call.attributes)
        known = {*function.attributes, *(name for name, _ in function.defaults)}
        if odd := [name for name, _ in call.attributes if name not in known]:
            raise ModelError(f"node {describe(call)}: its function has no attribute {odd[0]!r}")
        prefix = self._fresh(call.name or function.key[1])
        names = dict.fromkeys(function.inputs, "")
        names.update(zip(function.inputs, call.inputs, strict=False))
        inner = set(function.inputs)
        for source, target in zip(function.outputs, call.outputs, strict=False):
            if target and source not in names:
                names[source] = target

        def rename(name: str) -> str:
            if name and name not in names:
                names[name] = self._fresh(f"{prefix}/{name}")
            return names[name] if name else ""

        versions = function.opsets
        made = [(_instance(item, rename, given, prefix), versions) for item in function.records]
        for source, target in zip(function.outputs, call.outputs, strict=False):
            if target and (source in inner or names[source] != target):
                passed = Record(call.ordinal, "Identity", (rename(source),), (target,))
                made.append((passed, versions))
        return made

    def _fresh(self, name: str) -> str:
        """`name`, with a number where the model has it already."""
        made = name
        while made in self.names:
            self._counts[name] = number = self._counts.get(name, 0) + 1
            made = f"{name}_{number}"
        self.names.add(made)
        return made


def _key(record: Record) -> FunctionKey:
    return (record.domain, record.op_type, record.overload)


def _regions(record: Record) -> Iterator[Region]:
    for _, value in record.attributes:
        yield from (item for item in items_of(value) if isinstance(item, Region))


def _with_nested(record: Record) -> Iterator[Record]:
    yield record
    for region in _regions(record):
        yield from _all_records(region)


def _all_records(region: Region) -> Iterator[Record]:
    """The records of a region and of the regions in it."""
    pending = [region]
    while pending:
        for record in pending.pop().records:
            yield record
            pending += _regions(record)


def _instance(
    record: Record, rename: Callable[[str], str], given: Mapping[str, Any], prefix: str
) -> Record:
    """One node of a function as it stands where the function was called."""
    attributes: list[tuple[str, Any]] = []
    for name, value in record.attributes:
        if not isinstance(value, Ref):
            attributes.append((name, _filled(value, rename, given, prefix)))
        elif value.name in given:
            attributes.append((name, given[value.name]))
    return replace(
        record,
        inputs=tuple(map(rename, record.inputs)),
        outputs=tuple(map(rename, record.outputs)),
        attributes=tuple(attributes),
        name=f"{prefix}/{record.name}" if record.name else "",
    )


def _filled(value: Any, rename: Callable[[str], str], given: Mapping[str, Any], prefix: str) -> Any:
    if isinstance(value, Region):
        return replace(
            value,
            inputs=tuple((rename(name), kind) for name, kind in value.inputs),
            outputs=tuple((rename(name), kind) for name, kind in value.outputs),
            records=tuple(_instance(item, rename, given, prefix) for item in value.records),
            declared=(),
        )
    if isinstance(value, tuple):
        return tuple(_filled(item, rename, given, prefix) for item in items_of(value))
    return value
