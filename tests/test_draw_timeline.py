"""Drawings of profiles: every step where and when it ran, well-formed, escaped, bounded."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from graphopt.backends.numpy.profile import Profile, Span
from graphopt.draw_timeline import to_html, to_svg

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert("1")</script>&'
LEFT, WIDTH = 60.0, 800.0
SLOW = [Span(0, 0, 10.0, 14.0)]
RUN = [Span(0, 0, 20.0, 20.3), Span(1, 1, 20.1, 21.0), Span(2, 0, 20.3, 20.4)]
QUICK = [Span(0, 0, 30.0, 30.1)]


def made(*runs: list[Span], name: str = "Exp") -> Profile:
    names = [f"0:{name}", "1:MatMul", "2:Neg"]
    return Profile(names, [name, "MatMul", "Neg"], ["a.py:1", "", ""], [0.1, 0.2, 0.3], runs)


def bars(drawing: str) -> list[dict[str, float]]:
    """Where the bars of a drawing are, the longest first."""
    return [
        {key: float(bar.get(key, "")) for key in ("x", "y", "width")}
        for bar in ET.fromstring(drawing).iter(f"{SVG}rect")
    ]


def texts(drawing: str) -> list[str]:
    return [item.text or "" for item in ET.fromstring(drawing).iter(f"{SVG}text")]


def test_bars_stand_where_and_when_steps_ran_in_the_median_run() -> None:
    drawing = to_svg(made(SLOW, RUN, QUICK))
    long, first, short = bars(drawing)
    assert first["x"] == pytest.approx(LEFT) and first["width"] == pytest.approx(0.3 * WIDTH)
    assert long["x"] == pytest.approx(LEFT + 0.1 * WIDTH)
    assert long["x"] + long["width"] == pytest.approx(LEFT + WIDTH)
    assert short["x"] == pytest.approx(first["x"] + first["width"])
    assert first["y"] == short["y"] < long["y"], "each lane is a row"
    assert texts(drawing)[0] == "3 steps on 2 lanes, 1.0 s: the median of 3 runs"
    assert {"lane 0", "lane 1", "Exp", "MatMul", "Neg"} <= set(texts(drawing))


def test_what_a_step_is_stands_in_its_tip() -> None:
    tips = [tip.text for tip in ET.fromstring(to_svg(made(RUN))).iter(f"{SVG}title")]
    assert "0:Exp\n300.0 ms, predicted 100.0 ms\na.py:1" in tips
    assert "1:MatMul\n900.0 ms, predicted 200.0 ms" in tips


@pytest.mark.parametrize(
    ("end", "marks"),
    [
        (1.0, [f"{k / 10:g} s" for k in range(11)]),
        (47e-6, [f"{5 * k} µs" for k in range(10)]),
        (1.3e-3, [f"{k / 5:g} ms" for k in range(7)]),
        (0.0, ["0 µs"]),
    ],
)
def test_time_is_marked_at_round_numbers(end: float, marks: list[str]) -> None:
    drawing = to_svg(made([Span(0, 0, 0.0, end)]))
    shown = [text for text in texts(drawing) if re.fullmatch(r"[\d.]+ (s|ms|µs)", text)]
    assert shown == marks


def test_a_bar_too_narrow_for_its_name_has_none() -> None:
    drawing = to_svg(made([Span(0, 0, 0.0, 1.0), Span(1, 0, 1.0, 1.001)]))
    assert len(bars(drawing)) == 2 and min(bar["width"] for bar in bars(drawing)) >= 0.5
    assert "MatMul" not in texts(drawing) and "Exp" in texts(drawing)


def test_of_too_many_steps_the_longest_are_drawn() -> None:
    drawing = to_svg(made(RUN), max_steps=2)
    assert len(bars(drawing)) == 2 and "Neg" not in texts(drawing)
    assert "only the 2 longest" in texts(drawing)[0] and texts(drawing)[0].startswith("3 steps")
    assert "2:Neg" in to_html(made(RUN)) and "2:Neg" not in to_html(made(RUN), max_steps=2)


def test_names_are_escaped_and_nothing_runs() -> None:
    for page in (to_svg(made(RUN, name=EVIL)), to_html(made(RUN, name=EVIL))):
        assert "<script" not in page and "&lt;script&gt;" in page and "style" not in page
        ET.fromstring(page)


def test_nothing_ran() -> None:
    for empty in (made(), made([])):
        assert texts(to_svg(empty)) == ["no step ran"] and not bars(to_svg(empty))
        ET.fromstring(to_html(empty))


def test_a_profile_shows_itself_in_a_notebook() -> None:
    profile = made(RUN)
    shown = profile._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]
    assert shown["text/plain"] == profile.table()
    assert shown["image/svg+xml"] == to_svg(profile)
    page = ET.fromstring(shown["text/html"])
    rows = [[cell.text for cell in row] for row in page.iter("tr")]
    assert ["MatMul", "1", "900.0 ms", "69.2"] in rows
    assert ["0:Exp", "300.0 ms", "100.0 ms", "a.py:1"] in rows
