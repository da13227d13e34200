"""The tokens of the textual form, one at a time, and errors that say where."""

from __future__ import annotations

import re

from graphopt.errors import TextError

_TOKEN = re.compile(
    r"""(?: \s+ | //[^\n]* )*
    (?: (?P<value>  % [A-Za-z0-9_.]+ )
      | (?P<number> 0x[0-9a-f]+ | \d+ (?:\.\d*)? (?:e[+-]?\d+)? )
      | (?P<string> b?"(?: [^"\\\n] | \\[^\n] )*" )
      | (?P<name>   [A-Za-z_][A-Za-z0-9_.]* )
      | (?P<mark>   :: | \.\.\. | [^\s] )
      | (?P<end>    \Z ) )""",
    re.VERBOSE,
)
_WHAT = {"value": "a value", "number": "a number", "string": "a string", "name": "a name"}


class Lexer:
    """The current token of a text: `kind`, `token` and its offset `start`."""

    def __init__(self, text: str, file: str) -> None:
        self.source = text
        self.file = file
        self.kind = ""
        self.token = ""
        self.start = self._next = 0
        self.advance()

    def advance(self) -> str:
        """Go to the next token; the text of the one that was current."""
        old = self.token
        match = _TOKEN.match(self.source, self._next)
        kind = match.lastgroup if match is not None else None
        assert match is not None and kind is not None  # the alternatives leave nothing out
        self.kind = kind
        self.token = match[kind]
        self.start = match.start(kind)
        self._next = match.end()
        return old

    def take(self, token: str) -> bool:
        """Whether the current token is this mark or name; then it is passed."""
        if self.token == token and self.kind != "string":
            self.advance()
            return True
        return False

    def expect(self, token: str) -> None:
        """Pass this mark or name; raises TextError when another stands there."""
        if not self.take(token):
            raise self.unexpected(repr(token))

    def need(self, kind: str) -> str:
        """Pass a token of a kind and return its text; raises TextError for one of another kind."""
        if self.kind != kind:
            raise self.unexpected(_WHAT[kind])
        return self.advance()

    def integer(self) -> int:
        """A decimal or hexadecimal whole number, perhaps negative."""
        sign = -1 if self.take("-") else 1
        start = self.start
        text = self.need("number")
        try:
            return sign * int(text, 16 if text.startswith("0x") else 10)
        except ValueError:
            raise self.error(f"{text} is not a whole number", start) from None

    def unexpected(self, wanted: str) -> TextError:
        """The error that something else than what is wanted stands here."""
        if self.kind == "end":
            return self.error(f"the text ends where {wanted} is wanted: it was cut off")
        if self.token == '"':
            return self.error("the string has no end on this line")
        return self.error(f"{wanted} is wanted here, not {self.token[:40]!r}")

    def error(self, message: str, start: int | None = None) -> TextError:
        """An error at an offset, by default that of the current token."""
        offset = self.start if start is None else start
        line = self.source.count("\n", 0, offset) + 1
        column = offset - self.source.rfind("\n", 0, offset)
        return TextError(message, at=f"{self.file}:{line}:{column}")
