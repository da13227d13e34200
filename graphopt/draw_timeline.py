"""Draw a profile: when each step ran, and on which lane, as a static SVG and a page of HTML.

The run that is drawn is the one whose time is the median of all. Nothing runs in the reader; what a
step is, where it comes from and what it took is shown where the mouse rests on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor, log10
from typing import TYPE_CHECKING

from graphopt.svg import LINE, colour_of, cut, svg, table, text

if TYPE_CHECKING:
    from graphopt.backends.numpy.profile import Profile, Span

MAX_STEPS = 2000
_LEFT, _WIDTH, _RIGHT, _TOP = 60, 800, 40, 26
_ROW, _BAR, _AXIS = 34, 26, 30
_LETTER = 7.0
"""The width of a letter, about: a bar shows its name where three letters of it fit."""
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def to_svg(profile: Profile, *, max_steps: int = MAX_STEPS) -> str:
    """The timeline of the median run; of more than `max_steps` steps, those that took longest."""
    run = _median_run(profile)
    if not run:
        return svg(_LEFT + _WIDTH + _RIGHT, _TOP, [_note("no step ran")])
    start, whole = min(span.start for span in run), _wall(run)
    drawn = sorted(run, key=lambda span: span.start - span.end)[:max_steps]
    lanes = sorted({span.lane for span in run})
    title = f"{_count(len(run), 'step')} on {_count(len(lanes), 'lane')}, {_time(whole)}"
    title += f": the median of {len(profile.runs)} runs" if len(profile.runs) > 1 else ""
    if len(drawn) < len(run):
        title += f"; only the {len(drawn)} longest steps are drawn"
    bottom = _TOP + len(lanes) * _ROW
    lines = [_note(title), *_axis(whole, bottom)]
    for row, lane in enumerate(lanes):
        y = _TOP + row * _ROW + _ROW / 2 + 4
        lines.append(
            f'<text x="{_LEFT - 8}" y="{y:g}" text-anchor="end" fill="{LINE}">lane {lane}</text>'
        )
    scale = _WIDTH / (whole or 1.0)
    for span in drawn:
        x, width = _LEFT + (span.start - start) * scale, (span.end - span.start) * scale
        lines.append(_bar(profile, span, x, _TOP + lanes.index(span.lane) * _ROW, width))
    return svg(_LEFT + _WIDTH + _RIGHT, bottom + _AXIS, lines)


def to_html(profile: Profile, *, max_steps: int = MAX_STEPS) -> str:
    """The timeline with tables to unfold: the time by op, and that of each step."""
    seconds = profile.seconds
    whole = sum(seconds) or 1.0
    number = {op: str(profile.ops.count(op)) for op in profile.by_op}
    ops = [
        (op, number[op], _time(took), f"{100 * took / whole:.1f}")
        for op, took in profile.by_op.items()
    ]
    parts = [
        to_svg(profile, max_steps=max_steps),
        table("Time by op", ("op", "steps", "time", "%"), ops),
    ]
    if len(seconds) <= max_steps:
        rows = zip(profile.names, seconds, profile.predicted, profile.origins, strict=True)
        steps = [(name, _time(took), _time(told), origin) for name, took, told, origin in rows]
        parts.append(table("Steps", ("step", "time", "predicted", "origin"), steps))
    return f'<div class="graphopt">{"".join(parts)}</div>'


def _median_run(profile: Profile) -> Sequence[Span]:
    runs = sorted((run for run in profile.runs if run), key=_wall)
    return runs[(len(runs) - 1) // 2] if runs else ()


def _wall(run: Sequence[Span]) -> float:
    """The seconds from when the first step began until the last ended."""
    return max(span.end for span in run) - min(span.start for span in run)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _note(shown: str) -> str:
    return f'<text x="{_LEFT}" y="16" text-anchor="start" fill="{LINE}">{text(shown)}</text>'


def _bar(profile: Profile, span: Span, x: float, y: float, width: float) -> str:
    op, (fill, rim) = profile.ops[span.step], colour_of(profile.ops[span.step])
    took, told = _time(span.end - span.start), _time(profile.predicted[span.step])
    tip = f"{profile.names[span.step]}\n{took}, predicted {told}\n{profile.origins[span.step]}"
    letters = int((width - _LETTER) / _LETTER)
    label = ""
    if letters >= min(3, len(op)):
        middle = y + _BAR / 2 + 4
        label = f'<text x="{x + width / 2:.1f}" y="{middle:g}">{text(cut(op, letters))}</text>'
    return (
        f"<g><title>{text(tip.rstrip())}</title>"
        f'<rect x="{x:.2f}" y="{y:g}" width="{max(width, 0.5):.2f}" height="{_BAR}" rx="2"'
        f' fill="{fill}" stroke="{rim}" stroke-width="0.5"/>{label}</g>'
    )


def _axis(whole: float, y: float) -> Iterator[str]:
    """The line of time below the lanes, with a mark at each round number."""
    yield f'<path stroke="{LINE}" d="M{_LEFT} {y:g}H{_LEFT + _WIDTH}"/>'
    step = _round_step(whole)
    count = floor(whole / step + 1e-9) if step else 0
    for k in range(count + 1):
        x = _LEFT + (_WIDTH * k * step / whole if whole else 0)
        yield f'<path stroke="{LINE}" d="M{x:.1f} {y:g}v5"/>'
        yield f'<text x="{x:.1f}" y="{y + 18:g}" fill="{LINE}">{_tick(k * step, whole)}</text>'


def _round_step(whole: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that marks a time at most ten times."""
    if whole <= 0:
        return 0.0
    power = 10.0 ** floor(log10(whole / 10))
    return next(power * m for m in (1, 2, 5, 10) if whole <= 10 * power * m * (1 + 1e-9))


def _unit(seconds: float) -> tuple[float, str]:
    return next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])


def _time(seconds: float) -> str:
    unit, name = _unit(seconds)
    return f"{seconds / unit:.1f} {name}"


def _tick(seconds: float, whole: float) -> str:
    unit, name = _unit(whole)
    return f"{seconds / unit:.6g} {name}"
