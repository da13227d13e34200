"""The words of the textual form: what stands bare, what in quotes, and how bits are spelled.

>>> is_plain("layer1.0_weight"), is_plain("a/b")
(True, False)
>>> print(quote('a "b"\\n'), word("x"), word("x y"), float_text(-0.0))
"a \\"b\\"\\n" x "x y" -0.0
"""

from __future__ import annotations

import re
import struct

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_SPECIAL = re.compile(r"[^ !#-\[\]-~]")
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_NAMES = {character: letter for letter, character in _LETTERS.items()}
_NAN = 0x7FF8000000000000

FUNCTIONS = frozenset({"dim", "div", "min", "max", "broadcast"})
RESERVED = FUNCTIONS | {"true", "false", "float"}
"""Words that a size may begin with; a symbol so called stands in quotes."""


def is_plain(name: str) -> bool:
    """Whether a name is an identifier, with dots, and can stand without quotes."""
    return _PLAIN.fullmatch(name) is not None


def word(name: str) -> str:
    """A name, in quotes where it is none or would be taken for something else."""
    return name if is_plain(name) and name not in ("_", "tensor", "splat") else quote(name)


def quote(text: str, *, ascii_only: bool = False) -> str:
    """Text in quotes, on one line; what cannot be printed is escaped."""

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        code = ord(character)
        if character in _NAMES:
            return "\\" + _NAMES[character]
        if character.isprintable() and not ascii_only:
            return character
        return (
            f"\\x{code:02x}"
            if code < 256
            else f"\\u{code:04x}"
            if code < 65536
            else f"\\U{code:08x}"
        )

    return f'"{_SPECIAL.sub(escape, text)}"'


def unquote(quoted: str) -> str:
    """The inverse of `quote`; raises ValueError for an unknown escape."""

    def plain(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape not in _LETTERS:
            raise ValueError(f"unknown escape \\{escape}")
        return _LETTERS[escape]

    return _ESCAPE.sub(plain, quoted[1:-1])


def bytes_text(data: bytes) -> str:
    """Bytes as b"…"."""
    return "b" + quote(data.decode("latin-1"), ascii_only=True)


def float_text(value: float) -> str:
    """A float by its bits: decimal, or with the payload where it is not the usual NaN."""
    if value == value:
        return repr(value)
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return "nan" if bits == _NAN else f"nan(0x{bits:016x})"


def float_of_bits(bits: int) -> float:
    """The float64 of 64 bits."""
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
