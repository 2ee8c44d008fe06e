"""The trend as a drawing: open findings and undecided results over the runs. A table beside it has the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from opsctl.report.trend import Point

WIDTH, HEIGHT = 720, 240
# Marks so near to each other (in the drawing's units) have their numbers side by side, so far from the middle.
_NEAR, _ASIDE = 30, 16
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 44, 34
# Colours for paper; a screen has its own, from the style sheet.
_BAD, _WARN, _LINE = "#8f1414", "#6b4400", "#8a9099"


def trend(points: Sequence[Point], words: Mapping[str, str]) -> Markup:
    """An SVG of at least one point; `words`: title, description, open, undecided."""
    most = max(1, *(max(point.open, point.undecided) for point in points))
    lines = [
        _axis(most),
        _series(points, most, "undecided"),
        _series(points, most, "open"),
        _days(points),
        _legend(words),
    ]
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" font-size="12" role="img" aria-labelledby="plot-title plot-desc">'
        '<title id="plot-title">{}</title><desc id="plot-desc">{}</desc>{}</svg>'
    ).format(WIDTH, HEIGHT, words["title"], words["description"], Markup("").join(lines))


def _x(place: int, count: int) -> float:
    span = WIDTH - _LEFT - _RIGHT - 40
    return round(_LEFT + 20 + (span * place / (count - 1) if count > 1 else span / 2), 1)


def _y(value: int, most: int) -> float:
    return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / most, 1)


def _axis(most: int) -> Markup:
    line = Markup('<path class="axis" stroke="{}" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>')
    rows = [
        line.format(_LINE, _LEFT, _y(value, most), WIDTH - _RIGHT, _LEFT - 8, _y(value, most) + 4, value)
        for value in sorted({0, most // 2, most})
    ]
    return Markup("").join(rows)


def _series(points: Sequence[Point], most: int, kind: str) -> Markup:
    """A line with a mark and a number at each run: dots on an unbroken line, squares on a broken one."""
    values = [getattr(point, kind) for point in points]
    places = [(_x(place, len(points)), _y(value, most)) for place, value in enumerate(values)]
    colour, dashes = (_BAD, "") if kind == "open" else (_WARN, "6 4")
    path = "M" + "L".join(f"{x} {y}" for x, y in places)
    drawn = [
        Markup('<path class="{}" fill="none" stroke="{}" stroke-width="2" stroke-dasharray="{}" d="{}"/>').format(
            kind, colour, dashes or "none", path
        )
    ]
    for (x, y), point, value in zip(places, points, values, strict=True):
        mark = (
            Markup('<circle cx="{}" cy="{}" r="4" fill="{}"/>').format(x, y, colour)
            if kind == "open"
            else Markup('<rect x="{}" y="{}" width="8" height="8" fill="{}"/>').format(x - 4, y - 4, colour)
        )
        right, up = _label(point, most, kind)
        drawn += [mark, Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x + right, y + up, value)]
    return Markup("").join(drawn)


def _label(point: Point, most: int, kind: str) -> tuple[float, float]:
    """Where a number stands beside its mark: the upper line's above, the lower one's below, and of two marks that
    nearly touch each on its own side."""
    ours, other = (_y(value, most) for value in (point.open, point.undecided))
    if kind == "undecided":
        ours, other = other, ours
    if abs(ours - other) < _NEAR:
        return (-_ASIDE if kind == "open" else _ASIDE), -9
    return 0, -9 if ours < other or ours + 18 > HEIGHT - _BOTTOM else 18


def _days(points: Sequence[Point]) -> Markup:
    """The day below each run, as many as there is room for."""
    each = max(1, -(-len(points) // 7))
    last = len(points) - 1
    shown = [place for place in range(len(points)) if (last - place) % each == 0]
    return Markup("").join(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _x(place, len(points)), HEIGHT - 12, points[place].ended.strftime("%Y-%m-%d")
        )
        for place in shown
    )


def _legend(words: Mapping[str, str]) -> Markup:
    return Markup(
        '<circle cx="{}" cy="14" r="4" fill="{}"/><text x="{}" y="18">{}</text>'
        '<rect x="{}" y="10" width="8" height="8" fill="{}"/><text x="{}" y="18">{}</text>'
    ).format(_LEFT + 4, _BAD, _LEFT + 14, words["open"], _LEFT + 250, _WARN, _LEFT + 264, words["undecided"])
