"""One small panel a group: score by depth with its band, written as SVG without matplotlib.

A page of many groups has hundreds of them, and matplotlib takes 30 ms for each.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from fullcontext.report.curves import Outcome
from fullcontext.report.drawing import LIGHT
from fullcontext.report.figures import CROWD, centres, listed, score_limits
from fullcontext.report.statistics import Floats
from fullcontext.report.wording import points

WIDTH, HEIGHT = 220.0, 124.0
LEFT, RIGHT, TOP, BOTTOM = 26.0, 4.0, 6.0, 16.0


def small(outcomes: list[Outcome]) -> list[tuple[Outcome, Markup]]:
    """Of many groups a panel each, before the mean of all; the last step with its band."""
    last = [outcome for outcome in outcomes if not outcome.before]
    if len(last) <= CROWD:
        return []
    stacked = np.array([outcome.score.curve.mean for outcome in last])
    known = np.maximum(np.sum(np.isfinite(stacked), axis=0), 1)
    mean = 100 * np.nansum(stacked, axis=0) / known
    top = score_limits(outcomes)[1]
    first = {outcome.index: outcome for outcome in outcomes if outcome.before}
    return [(each, _panel(each, first.get(each.index), mean, top)) for each in last]


def _panel(last: Outcome, first: Outcome | None, mean: Floats, top: float) -> Markup:
    shade, curve = f"var(--run-{last.index % len(LIGHT)})", last.score.curve
    x = LEFT + centres(mean) * (WIDTH - LEFT - RIGHT)

    def y(values: Floats) -> Floats:
        return TOP + (top - values) / (top + 2) * (HEIGHT - TOP - BOTTOM)

    parts = [_grid(y, top)]
    if np.isfinite(curve.low).any():
        upper, lower = _points(x, y(100 * curve.high)), _points(x, y(100 * curve.low))
        ring = " ".join([*upper, *reversed(lower)])
        parts.append(f'<polygon points="{ring}" fill="{shade}" opacity=".16"/>')
    parts.append(_polyline(x, y(mean), "var(--muted)", 'stroke-dasharray="1 3"'))
    if first is not None:
        before = y(100 * first.score.curve.mean)
        parts.append(_polyline(x, before, shade, 'stroke-dasharray="4 2" opacity=".75"'))
    parts.append(_polyline(x, y(100 * curve.mean), shade, 'stroke-width="1.8"'))
    values = last.score.contrasts
    alt = (
        f"{last.label} on {last.subject.title}: average {points(values['avg'].value)}, litm"
        f" {points(values['litm'].value)}; by depth bin {listed(100 * curve.mean)}"
    )
    return Markup(
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH:g} {HEIGHT:g}"'
        f' aria-label="{escape(alt)}">{"".join(parts)}</svg>'
    )


def _grid(y: Callable[[Any], Any], top: float) -> str:
    marks = []
    for value in (0, 50, 100) if top > 50 else (0, 20, 40):
        if value <= top:
            at = float(y(np.array(float(value))))
            marks.append(
                f'<path d="M{LEFT:g} {at:.1f}H{WIDTH - RIGHT:g}" stroke="var(--grid)"/>'
                f'<text x="{LEFT - 4:g}" y="{at + 3:.1f}" text-anchor="end">{value}</text>'
            )
    for place, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = LEFT + place * (WIDTH - LEFT - RIGHT)
        marks.append(f'<text x="{at:g}" y="{HEIGHT - 3:g}" text-anchor="{anchor}">{place:g}</text>')
    return f'<g class="ticks">{"".join(marks)}</g>'


def _points(x: Floats, y: Floats) -> list[str]:
    known = np.isfinite(y)
    return [f"{a:.1f},{b:.1f}" for a, b in zip(x[known], y[known], strict=True)]


def _polyline(x: Floats, y: Floats, shade: str, style: str) -> str:
    return f'<polyline points="{" ".join(_points(x, y))}" fill="none" stroke="{shade}" {style}/>'
