"""Pipelines as text: `simplify,fold{max-bytes=4096},fixpoint{max-iter=4}(simplify,fold)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from graphopt.errors import PipelineError, nearest
from graphopt.pipeline import Pass, UntilStable

_TOKEN = re.compile(r"\s*([{}(),=]|[^\s{}(),=]+)")
_SIZES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([kmg]?i?b)?", re.IGNORECASE)


def print_pipeline(passes: Sequence[Pass]) -> str:
    """The text of a pipeline, which parses back to it."""
    return ",".join(item.text() for item in passes)


def parse_pipeline(text: str, known: Mapping[str, type[Pass]]) -> list[Pass]:
    """The passes that a pipeline's text names, by the classes in `known`.

    Raises PipelineError with a caret under what is wrong.
    """
    return _Parser(text, {**known, UntilStable.name: UntilStable}).pipeline()


class _Parser:
    def __init__(self, text: str, known: Mapping[str, type[Pass]]) -> None:
        self.text = text
        self.known = known
        self.tokens = [(m.group(1), m.start(1)) for m in _TOKEN.finditer(text)]
        self.at = 0

    def pipeline(self) -> list[Pass]:
        passes = self.passes()
        if self.at < len(self.tokens):
            raise self.error(f"{self.peek()!r} is not expected here")
        return passes

    def passes(self) -> list[Pass]:
        made = [self.one()]
        while self.peek() == ",":
            self.at += 1
            made.append(self.one())
        return made

    def one(self) -> Pass:
        start = self.at
        name = self.take()
        kind = self.known.get(name)
        if kind is None:
            self.at = start
            raise self.error(f"no pass is called {name!r}{nearest(name, sorted(self.known))}")
        options = self.options(kind) if self.peek() == "{" else {}
        if kind is UntilStable:
            self.expect("(")
            options["passes"] = tuple(self.passes())
            self.expect(")")
        return kind(**options)

    def options(self, kind: type[Pass]) -> dict[str, Any]:
        self.expect("{")
        hints = get_type_hints(kind)
        names = {f.name.replace("_", "-"): f.name for f in kind.options()}
        made: dict[str, Any] = {}
        while self.peek() != "}":
            start = self.at
            option = self.take()
            if option not in names:
                self.at = start
                hint = nearest(option, sorted(names))
                raise self.error(f"the pass {kind.name!r} has no option {option!r}{hint}")
            value = "true"
            if self.peek() == "=":
                self.at += 1
                start = self.at
                value = self.take()
            made[names[option]] = self.value(value, hints[names[option]], start)
            if self.peek() == ",":
                self.at += 1
            elif self.peek() != "}":
                raise self.error("',' or '}' is expected here")
        self.expect("}")
        return made

    def value(self, text: str, kind: Any, start: int) -> Any:
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind is int and (found := _SIZE.fullmatch(text)):
            unit = (found.group(2) or "").lower().replace("ib", "b")
            return int(found.group(1)) * _SIZES[unit]
        try:
            if kind in (float, str):
                return kind(text)
        except ValueError:
            pass
        self.at = start
        raise self.error(f"{text!r} is no {getattr(kind, '__name__', kind)}")

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise self.error("something is missing here")
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            raise self.error(f"{token!r} is expected here")
        self.at += 1

    def error(self, message: str) -> PipelineError:
        column = self.tokens[self.at][1] if self.at < len(self.tokens) else len(self.text)
        return PipelineError(f"{message}\n  {self.text}\n  {' ' * column}^", at="pipeline")
