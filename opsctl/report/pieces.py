"""The small parts of pages that there are hundreds of thousands of: made here and not in templates, each once.

Whatever a host said goes through `escape`, here as in the templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from html import escape as _e

from markupsafe import Markup

from opsctl.model.finding import RESULTS, CheckResult, Evidence
from opsctl.report.build import Report
from opsctl.report.layout import Layout

# A sign beside each word: colour alone never carries the meaning (WCAG 2.1, 1.4.1).
SIGNS = {"fail": "✗", "error": "!", "notchecked": "?", "pass": "✓", "notapplicable": "–", "waived": "✗"}
# The class of a cell of the map, and with it its colour.
LOOKS = {"fail": "f", "error": "e", "notchecked": "c", "pass": "p", "notapplicable": "a", "waived": "w"}
# So much of a host's words is shown; the JSON has all that was kept.
LONGEST, LONGEST_OUTPUT, LONGEST_SUMMARY = 800, 4_000, 100


@lru_cache(maxsize=10_000)
def moment(at: datetime | None) -> str:
    """A time for people, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def minute(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if at else ""


def _markup(html: str) -> Markup:
    """HTML that this module put together from escaped text: a template must not escape it again."""
    return Markup(html)  # noqa: S704 - that is what the line above promises


@dataclass(frozen=True, eq=False)
class Pieces:
    """What the templates of one report in one language fill their rows with."""

    report: Report
    layout: Layout
    words: Mapping[str, str]
    letters: Mapping[str, str]
    # ` lang="en"` for technical text in a page of another language.
    en: Markup

    @cached_property
    def marks(self) -> dict[str, Markup]:
        """A result as a sign and a word."""
        return {
            kind: Markup('<span class="mark {}"><span aria-hidden="true">{} </span>{}</span>').format(
                kind, SIGNS[kind], self.words[kind]
            )
            for kind in (*RESULTS, "waived")
        }

    @cached_property
    def _cells(self) -> dict[str, Markup]:
        return {
            kind: Markup('<td class="{}">{}</td>').format(LOOKS[kind], self.letters[kind])
            for kind in (*RESULTS, "waived")
        }

    @cached_property
    def _cells_of(self) -> dict[str, dict[str, Markup]]:
        rows: dict[str, dict[str, Markup]] = {}
        for result in self.report.assessment.results:
            kind = "waived" if self._waived(result) else result.result
            rows.setdefault(result.host, {})[result.control] = self._cells[kind]
        return rows

    def _waived(self, result: CheckResult) -> bool:
        return self.report.dispositions.get((result.host, result.control)) == "waived"

    def cells(self, host: str, controls: Sequence[str]) -> Markup:
        """The row of a host in the map."""
        found = self._cells_of.get(host, {})
        return Markup("").join(found.get(name, Markup("<td></td>")) for name in controls)

    def state(self, result: CheckResult) -> Markup:
        """A result, and that a waiver covers it."""
        mark = self.marks[result.result]
        return _markup(f"{mark} {self.marks['waived']}") if self._waived(result) else mark

    def asked(self, result: CheckResult) -> str:
        """Whether a result rests on a batch, on live commands, or on both."""
        kinds = {piece.how for piece in result.evidence}
        if not kinds:
            return "–"
        return self.words[kinds.pop()] if len(kinds) == 1 else self.words["both"]

    @cache  # noqa: B019 - a report's pieces live as long as the report is written
    def short_host(self, key: str) -> str:
        """A host without its municipality, where the report is about one."""
        prefix = self.report.tenant
        return key[len(prefix) + 1 :].strip() if prefix and key.startswith((f"{prefix}.", f"{prefix}:")) else key

    def go(self, address: str, text: str) -> Markup:
        """A link, or the bare text where nothing can be followed."""
        return _markup(f'<a href="{address}">{_e(text)}</a>' if address else _e(text))

    def links(self, results: Sequence[CheckResult]) -> Markup:
        """Hosts, each with a link to its own result."""
        return _markup(
            ", ".join(self.go(self.layout.result(one.host, one.control), self.short_host(one.host)) for one in results)
        )

    def rows(
        self,
        found: Sequence[CheckResult],
        pieces: Mapping[Evidence, int],
        titles: Mapping[str, str],
        heads: Sequence[str],
    ) -> Markup:
        """The rows of a host's table; `heads` are the words above its columns."""
        _, result_head, observed_head, expected_head, asked_head, time_head, evidence_head = (
            _e(word) for word in heads
        )
        layout, en = self.layout, self.en
        return _markup(
            "\n".join(
                f'<tr role="row" id="{layout.row(one.host, one.control)}"><th scope="row" role="rowheader">'
                f'<a href="{layout.control(one.control)}">{_e(one.control)}</a> '
                f'<span class="title">{titles[one.control]}</span></th>'
                f'<td role="cell" data-head="{result_head}">{self.state(one)}</td>'
                f'<td role="cell" class="said" data-head="{observed_head}"{en}>'
                f"{_e(self.bounded(one.observed or one.reason))}</td>"
                f'<td role="cell" class="said" data-head="{expected_head}"{en}>{_e(self.bounded(one.expected))}</td>'
                f'<td role="cell" data-head="{asked_head}">{_e(self.asked(one))}</td>'
                f'<td role="cell" class="time" data-head="{time_head}">{moment(one.at)}</td>'
                f'<td role="cell" data-head="{evidence_head}">{self._numbers(one, pieces)}'
                f"{self._versions[one.control]}</td></tr>"
                for one in found
            )
        )

    @cached_property
    def _versions(self) -> dict[str, str]:
        """The version of each check, as it stands beside the evidence; nothing for runs that did not keep it."""
        found = {control.id: _e(control.check_version) for control in self.report.assessment.scope.controls}
        return {name: f' <code class="version">{version}</code>' if version else "" for name, version in found.items()}

    def _numbers(self, result: CheckResult, pieces: Mapping[Evidence, int]) -> str:
        """Links to the evidence of a result, by number."""
        word = _e(self.words["evidence"])
        places = dict.fromkeys(pieces[piece] for piece in result.evidence)
        return ", ".join(
            f'<a href="#{self.layout.piece(result.host, number)}"><span class="unseen">{word} </span>{number}</a>'
            for number in places
        )

    def details(self, host: str, pieces: Mapping[Evidence, int]) -> Markup:
        """Each command with what it printed, and the hash of that."""
        words, en = {name: _e(word) for name, word in self.words.items()}, self.en
        said = []
        for piece, number in pieces.items():
            command = _e(self.bounded(piece.command))
            short = command if len(piece.command) <= LONGEST_SUMMARY else _e(piece.command[:LONGEST_SUMMARY]) + "…"
            printed = (
                f'<pre tabindex="0"{en}>{_e(self.bounded(piece.output, LONGEST_OUTPUT))}</pre>'
                if piece.output
                else f'<p class="quiet">{words["nothing"]}</p>'
            )
            whole = "" if short is command else f"{words['command']}: <code{en}>{command}</code><br>"
            said.append(
                f'<details id="{self.layout.piece(host, number)}"><summary>{number}: <code{en}>{short}</code></summary>'
                f"<p>{whole}{words['exit_code']} {piece.exit_code}, {moment(piece.at)}, {words.get(piece.how, '')}</p>"
                f'{printed}<p class="hash">{words["sha256"]}: <code>{_e(piece.sha256)}</code></p></details>'
            )
        return _markup("\n".join(said))

    def bounded(self, text: str, most: int = LONGEST) -> str:
        """Text of a host, shortened where it is long, and saying so."""
        return text if len(text) <= most else f"{text[:most]} … ({self.words['shortened']})"
