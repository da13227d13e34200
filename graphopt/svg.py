"""What drawings are made of: colours, escaped text, the frame of an SVG, tables of HTML.

Attributes and plain colours, not style sheets: what shows notebooks elsewhere strips those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Colour = tuple[str, str]
"""What a box is filled with, and its rim."""

PLAIN, OTHER = ("#dbeafe", "#3b6fb5"), ("#ede9fe", "#7455b8")
LINE, INK, FADED = "#8a8a8a", "#1c1c1c", "#4b4b4b"
LETTERS = 20
_FAMILIES: dict[Colour, str] = {
    ("#dcfce7", "#3a8f5c"): "Input Bound State",
    ("#fee2e2", "#b84a4a"): "Conv ConvTranspose Gemm MatMul Einsum Attention LSTM GRU RNN",
    (
        "#fef3c7",
        "#a9822c",
    ): "Concat Expand Gather Pad Reshape Slice Split Squeeze Transpose Unsqueeze Shape",
    ("#fae8ff", "#a04bb0"): "If Loop Scan Fused Call",
}
_COLOUR_OF = {name: colour for colour, names in _FAMILIES.items() for name in names.split()}


def colour_of(op: str, domain: str = "") -> Colour:
    """The colour of an op's family."""
    return _COLOUR_OF.get(op, OTHER if domain else PLAIN)


def svg(width: float, height: float, lines: Iterable[str]) -> str:
    """A drawing of that size around its elements; text in it is centred unless it says else."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" role="img" font-family="system-ui, sans-serif"'
        f' font-size="12" text-anchor="middle" fill="{INK}">{"".join(lines)}</svg>'
    )


def text(shown: str) -> str:
    """Text as XML may hold it."""
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in shown))


def cut(shown: str, letters: int = LETTERS) -> str:
    """Text of at most so many letters; the last says that there are more."""
    return shown if len(shown) <= letters else shown[: letters - 1] + "…"


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML that unfolds under its title."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<details><summary>{text(title)}</summary><table><tr>{head}</tr>{body}</table></details>"
    )
