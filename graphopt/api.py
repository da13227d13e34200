"""The verbs: load a program, optimize it, compile it, save it.

Beside the shell's commands this is the only module that reaches both the passes and the doors, and
it does so inside functions, so that importing it costs nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from graphopt.errors import ModelError, PipelineError, TextError, UsageError, nearest

if TYPE_CHECKING:
    from graphopt.backends.executable import Executable
    from graphopt.frontends.onnx import Saved
    from graphopt.graph import Graph
    from graphopt.ir import Node
    from graphopt.pipeline import Budget, Listener, Pass
    from graphopt.remarks import Remark

Source = str | PathLike[str] | bytes | BinaryIO
TargetName = Literal["portable", "ort"]
LayoutName = Literal["auto", "keep"]
MathName = Literal["strict", "default", "fast"]
SNIFFED = 4096
LFS_POINTER = b"version https://git-lfs"
LAYOUTS = ("auto", "keep")
SPATIAL = frozenset({("", "Conv"), ("", "MaxPool"), ("", "AveragePool"), ("", "ConvTranspose")})
"""Ops whose images may have another layout; without any, passes need not be loaded."""
CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f")


def is_text(head: bytes) -> bool:
    """Whether a file that begins with `head` is text.

    An ONNX model never is: the tag of its first field, or the length of its graph, is a control
    character.

    >>> is_text(b"graph {"), is_text(bytes([8, 10]))
    (True, False)
    """
    if CONTROLS.intersection(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) - error.start < 4 <= len(head)  # a character cut in two by the limit
    return True


@contextmanager
def collector_paused() -> Generator[None]:
    """No search for cyclic garbage meanwhile.

    Graphs have no cycles, and every search walks all of a graph as it grows: it costs more the
    larger the graph is, and finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@collector_paused()
def load(source: Source) -> Graph:
    """The graph of a model: a path, the bytes of a file, or an open binary file.

    The content tells an ONNX model from the textual form, not the name. Raises ModelError or
    TextError when it is neither or is invalid, and OSError when it cannot be read.
    """
    if isinstance(source, bytes):
        head, name = source[:SNIFFED], "<bytes>"
    elif isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            head, name = file.read(SNIFFED), fspath(source)
    else:
        return load(source.read())
    if not head:
        raise ModelError("the file is empty", at=name)
    if head.startswith(LFS_POINTER):
        raise ModelError("this is a Git LFS pointer, not the model that it stands for", at=name)
    return _load_text(source, name) if is_text(head) else _load_onnx(source)


def _load_text(source: str | PathLike[str] | bytes, name: str) -> Graph:
    from graphopt.text import parse_graph, read_text

    try:
        if not isinstance(source, bytes):
            return read_text(Path(source))
        return parse_graph(source.decode("utf-8"), file=name)
    except UnicodeDecodeError as error:
        raise ModelError(f"neither an ONNX model nor text: {error}", at=name) from error
    except TextError as error:
        if error.at == f"{name}:1:1":  # not even its first word is one of ours
            error.message += "; this text is no graph, and an ONNX model is no text"
        raise


def _load_onnx(source: str | PathLike[str] | bytes) -> Graph:
    from graphopt.frontends import onnx

    return onnx.load(source)


@collector_paused()
def save(
    graph: Graph,
    path: str | PathLike[str] | BinaryIO,
    *,
    opset: int | None = None,
    external_data: Literal["auto", "never", "always"] = "auto",
    target: TargetName = "portable",
) -> Saved | None:
    """Write a graph: the textual form where the name ends in `.gir`, else an ONNX model.

    `opset` forces the version of ONNX's operators, `external_data` says whether weights go to a
    file beside the model (auto: when it would be too large without). `target` is for whom it is:
    portable, with standard operators only, or ort, with those of ONNX Runtime besides. The file is
    replaced at once, or not touched when writing fails. Returns how an ONNX model was written.
    Raises OSError, and UnsupportedError when the graph has no form at that opset.
    """
    if isinstance(path, str | PathLike) and fspath(path).endswith(".gir"):
        from graphopt.text import write_text

        write_text(graph, Path(path))
        return None
    from graphopt.frontends import onnx

    return onnx.save(graph, path, opset=opset, external_data=external_data, target=target)


@collector_paused()
def optimize(
    graph: Graph,
    pipeline: str | Sequence[Pass] = "O2",
    *,
    math: MathName = "default",
    disable: Iterable[str] = (),
    budget: Budget | None = None,
    listeners: Sequence[Listener] = (),
    strict: bool = False,
    remarks: str | Iterable[str] = (),
    only: Iterable[Remark | str] | None = None,
    fuel: int | None = None,
) -> Graph:
    """The optimized graph; its `report` says what was done.

    `pipeline` is a level, O0 to O3, a pipeline's text, or passes. `math` says which classes of
    rules are admitted, `disable` holds globs over the names of passes and rules, `budget` bounds
    what a run of a pass may spend. A pass that fails is undone and reported; with `strict` it
    raises. `remarks` names the kinds of remarks that the report keeps (passed, missed, failed,
    analysis); `only` allows the rewrites among remarks, or lines of a file of them, and no others;
    `fuel` allows so many rewrites. Raises PipelineError and UsageError for a name that does not
    exist.
    """
    from graphopt.pipeline import Budget, Context, run_pipeline
    from graphopt.remarks import Log, Replay, parse_kinds
    from graphopt.rewriting.rule import Math

    try:
        admitted = Math[math.upper()]
    except KeyError:
        hint = nearest(math, ["strict", "default", "fast"])
        raise UsageError(f"no math mode is called {math!r}{hint}") from None
    kinds = parse_kinds(remarks if isinstance(remarks, str) else ",".join(remarks))
    context = Context(
        math=admitted,
        disabled=checked_globs(disable),
        budget=budget or Budget(),
        listeners=listeners,
        strict=strict,
        log=Log(kinds) if kinds else None,
        only=None if only is None else Replay(only),
        fuel=fuel,
    )
    return run_pipeline(graph, resolve_pipeline(pipeline), context)


def compile(
    graph: Graph,
    backend: str = "numpy",
    *,
    threads: int | None = None,
    donate: Iterable[str] = (),
    layout: LayoutName = "auto",
) -> Executable:
    """A graph as a function of arrays: run(*arrays) or run(**named) returns a tuple of arrays.

    `backend` is numpy (threaded NumPy, on at most `threads` threads, by default one a processor),
    jax (XLA) or reference (serial NumPy, node by node: the definition of what a graph means).
    `donate` names inputs whose memory the jax backend may reuse: their arrays are gone after a
    call. With `layout` auto, images inside the graph have their channels last where the backend
    should be faster so, which changes results within rounding; keep leaves them as they are.
    Raises UsageError for an unknown backend or layout, MissingExtraError when the backend is not
    installed, and UnsupportedError for a graph that it cannot run.
    """
    from graphopt.backends import executable
    from graphopt.body import all_nodes

    if layout not in LAYOUTS:
        hint = nearest(layout, list(LAYOUTS))
        raise UsageError(f"no layout is called {layout!r}{hint}", at="layout")

    def prepare(opened: Graph) -> Graph:
        if layout == "keep" or not any(map(_is_of_images, all_nodes(opened.roots))):
            return opened
        from graphopt.passes.layout.cost import TARGETS
        from graphopt.passes.layout.layout import Layout

        return optimize(opened, [Layout(backend)]) if backend in TARGETS else opened

    return executable.compile(graph, backend, threads=threads, donate=donate, prepare=prepare)


def _is_of_images(node: Node) -> bool:
    return node.op.key in SPATIAL and node.inputs[0].rank == 4


def resolve_pipeline(pipeline: str | Sequence[Pass]) -> list[Pass]:
    """The passes that a level or a pipeline's text names; raises PipelineError."""
    if not isinstance(pipeline, str):
        return list(pipeline)
    from graphopt.passes import PIPELINES
    from graphopt.pipeline_text import parse_pipeline

    if pipeline in PIPELINES:
        return list(PIPELINES[pipeline])
    return parse_pipeline(pipeline, known_passes()) if pipeline.strip() else []


def known_passes() -> Mapping[str, type[Pass]]:
    """The passes that a pipeline's text may name."""
    from graphopt.passes import PASSES

    return PASSES


def known_rules() -> Iterable[Any]:
    """The rules of all passes."""
    from graphopt.passes import RULES

    return RULES


def checked_globs(globs: Iterable[str]) -> tuple[str, ...]:
    """The globs, each of which names a pass, a rule, or a family of rules; raises PipelineError."""
    given = tuple(globs)
    if not given:
        return ()
    passes = known_passes()
    names = {*passes, *(rule.key for rule in known_rules())}
    names |= {f"{name}.{own}" for name, kind in passes.items() for own in kind.own}
    names |= {name.split(".")[0] for name in names}
    for glob in given:
        if not any(fnmatchcase(name, glob) for name in names):
            hint = nearest(glob, sorted(names))
            raise PipelineError(f"no pass or rule is called {glob!r}{hint}", at="disable")
    return given
