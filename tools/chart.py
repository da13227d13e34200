"""Draw the README's picture from the table that `tools/bench.py` prints.

    python -m tools.bench --peers PYTHON | tee table.md
    python -m tools.chart < table.md > tools/readme.svg

Three groups of bars, one bar a tool: CPU time, operators left and bytes written, each as the
geometric mean over the models that graphopt and the tool both handled, relative to graphopt.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

COLOURS = {"graphopt": "#2563eb"}
OTHER = ("#94a3b8", "#a8a29e", "#b4b4d8")
TITLES = ("operators left", "bytes written", "CPU time")
WIDTH, BAR, GAP, LEFT = 760, 18, 26, 130

Cell = tuple[float, ...]


def read(text: str) -> tuple[list[str], dict[str, list[Cell | None]]]:
    """The tools, and the cells of each: nodes, bytes, milliseconds; None where a tool failed."""
    rows = [
        [part.strip() for part in line.strip().strip("|").split("|")] for line in text.split("\n")
    ]
    rows = [row for row in rows if len(row) > 1 and not row[0].startswith("--")]
    tools = rows[0][1:]
    cells: dict[str, list[Cell | None]] = {tool: [] for tool in tools}
    for row in rows[1:]:
        for tool, cell in zip(tools, row[1:], strict=True):
            parts = cell.split(" / ")
            cells[tool].append(tuple(map(float, parts)) if len(parts) == len(TITLES) else None)
    return tools, cells


def relative(ours: Sequence[Cell | None], theirs: Sequence[Cell | None], k: int) -> float:
    """The geometric mean of theirs over ours in column k, where both have a figure."""
    pairs = [(a[k], b[k]) for a, b in zip(ours, theirs, strict=True) if a and b]
    return math.exp(sum(math.log(b / a) for a, b in pairs) / len(pairs))


def draw(tools: Sequence[str], cells: dict[str, list[Cell | None]]) -> str:
    """The picture as SVG."""
    parts: list[str] = []
    y = 8
    for k, title in enumerate(TITLES):
        values = {tool: relative(cells["graphopt"], cells[tool], k) for tool in tools}
        scale = (WIDTH - LEFT - 70) / max(values.values())
        parts.append(f'<text x="{LEFT}" y="{y + 14}" class="title">{title}</text>')
        y += 22
        for index, (tool, value) in enumerate(values.items()):
            colour = COLOURS.get(tool, OTHER[index % len(OTHER)])
            length = value * scale
            parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{tool}</text>')
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
            )
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{value:.2f}x</text>')
            y += BAR + 4
        y += GAP - 8
    style = (
        "text{font:13px system-ui,sans-serif;fill:#334155}.title{font-weight:600}"
        "@media(prefers-color-scheme:dark){text{fill:#cbd5e1}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
        f"<title>Beside other optimizers, relative to graphopt; less is better</title>"
        f"<style>{style}</style>{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    sys.stdout.write(draw(*read(sys.stdin.read())))
