"""The reports on patching as HTML pages and JSON: everything in one file, nothing fetched, nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from opsctl import __version__
from opsctl.model import wire
from opsctl.model.calendar import ZONE
from opsctl.patch import punctual, rehearsal
from opsctl.patch.account import CURRENT, Account
from opsctl.patch.story import Story
from opsctl.report import exports, pages
from opsctl.report.words import words

FORMAT, VERSION = "opsctl-patching-report", 1
WORDS = "patch.words.yml"
MOST_HOSTS, MOST_UPDATES = 200, 25
# A sign beside each word, and the colours of the compliance report: colour alone never carries the meaning.
LOOKS = {
    "done": "pass", "pass": "pass", "failed": "fail", "fail": "fail", "unknown": "error", "inconclusive": "notchecked",
    "skipped": "notchecked", "ok": "pass", "incomplete": "notchecked",
}  # fmt: skip
SIGNS = {"done": "✓", "pass": "✓", "failed": "✗", "fail": "✗", "unknown": "?", "inconclusive": "?", "skipped": "–",
         "ok": "✓", "incomplete": "?"}  # fmt: skip


def account_page(account: Account, language: str, own: Path | None = None) -> str:
    """The page of a period in `sv` or `en`."""
    total = account.counts["total"]
    names = punctual.VERDICTS if account.tenant.patch_policy else (punctual.NO_RULE,)
    return _page(
        "patch.period.html.j2",
        language,
        own,
        account=account,
        absent=[one for one in account.covered if one.part != CURRENT],
        verdict_names=names,
        ruled=total[punctual.IN_TIME] + total[punctual.LATE] + total[punctual.OVERDUE],
        most_hosts=MOST_HOSTS,
        most_updates=MOST_UPDATES,
        sections=(
            "coverage", "punctual", "months", "behind", "unpatched", "freezes", "overrides", "rollouts", "method",
        ),
    )  # fmt: skip


def story_page(story: Story, language: str, own: Path | None = None) -> str:
    """The page of a rollout in `sv` or `en`."""
    tried, told = ("rehearsal",) if story.rehearsal else (), ("notified",) if story.notified else ()
    return _page(
        "patch.rollout.html.j2",
        language,
        own,
        story=story,
        state=story.state,
        plan=story.state.plan,
        sections=("summary", "acts", "problems", "services", *tried, "order", "gates", *told, "details", "method"),
        rehearsed=rehearsal.told(story.rehearsal),
    )


def _page(template: str, language: str, own: Path | None, **values: object) -> str:
    environment = pages.environment(own)
    spoken = words(language, own, WORDS)

    def decimal(text: str) -> str:
        return text.replace(".", ",") if language == "sv" else text

    environment.filters["day"] = _local
    environment.filters["days"] = lambda days: decimal(f"{days:.1f}")
    environment.filters["decimal"] = decimal
    environment.filters["span"] = span
    return environment.get_template(template).render(
        t=spoken,
        word=lambda key: getattr(spoken, key),
        lang=language,
        anchor=pages.anchor,
        looks=LOOKS,
        signs=SIGNS,
        tool_version=__version__,
        **values,
    )


def span(length: timedelta | None) -> str:
    """A length of time for people: `1 h 02 min`, `3 min 05 s`."""
    if length is None:
        return "–"
    seconds = int(length.total_seconds())
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds % 60:02} s" if minutes else f"{seconds} s"
    )


def account_json(account: Account) -> str:
    """Every update of every host, with how it was judged; times in UTC."""
    policy = account.tenant.patch_policy
    return _json(
        "period",
        account.outcome,
        tenant=account.tenant.name,
        start=account.start,
        end=account.end,
        judged_at=account.until,
        made_at=account.made,
        policy=policy,
        incomplete=account.incomplete,
        coverage={"total": len(account.covered), "parts": account.parts, "hosts": account.covered},
        known_since=account.known_since,
        counts=account.counts,
        months=dict(account.months),
        spread=account.spread,
        ended_by=account.ended_by,
        updates=account.updates,
        behind=[
            {
                "host": one.host,
                "overdue": one.overdue,
                "late": len(one.updates) - one.overdue,
                "worst_days_over": one.worst,
                "reasons": [{"kind": kind, "days": days, "said": said} for kind, days, said in one.reasons],
            }
            for one in account.behind
        ],
        never_patched=[{"host": host, "wanted": wanted} for host, wanted in account.never_patched],
        held=account.held,
        freezes=account.freezes,
        calendar_fault=account.calendar_fault,
        acts=account.acts,
        rollouts=account.rollouts,
        inventory_digest=account.inventory_digest,
        ledger_head=account.ledger_head,
    )


def account_lines(account: Account) -> list[str]:
    """The account in a few lines, coverage first."""
    total, parts = account.counts["total"], account.parts
    covered = len(account.covered)
    lines = [f"{parts[CURRENT]} of {covered} hosts read lately; " + ", ".join(
        f"{count} {word}" for word, count in parts.items() if word != CURRENT and count
    )] if parts[CURRENT] < covered else [f"{covered} of {covered} hosts read lately"]  # fmt: skip
    told = ", ".join(
        f"{total[name]} {name.replace('_', ' ')}" for name in (*punctual.VERDICTS, punctual.NO_RULE) if total[name]
    )
    lines.append(f"{total['all']} security updates{f': {told}' if told else ''}")
    why = {"not_covered": "hosts that are not known", "begins_late": "readings began after the period did",
           "no_policy": "tenant.yml holds no patch_policy"}  # fmt: skip
    return lines + [f"incomplete: {why[word]}" for word in account.incomplete]


def story_lines(story: Story) -> list[str]:
    stages = ", ".join(f"{count} {stage}" for stage, count in story.stages.items())
    return [f"{story.state.plan.id}: {story.status}; {len(story.state.hosts)} hosts: {stages or 'none'}"]


def story_json(story: Story) -> str:
    return _json(
        "rollout",
        story.outcome,
        rollout=story.state,
        tenants=story.tenants,
        stages=story.stages,
        log=story.log,
        approval=story.approval,
        probing=story.probing,
        rehearsal=rehearsal.document(story.rehearsal),
        acts=story.acts,
        ledger_head=story.ledger_head,
    )


def _json(kind: str, outcome: str, **members: object) -> str:
    document = {"format": FORMAT, "version": VERSION, "kind": kind, "outcome": outcome}
    document |= {name: wire.as_document(value) for name, value in members.items()}
    return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody wants of a report: `formats` html and json, pages in `languages`; `own`: a workspace's content."""

    languages: tuple[str, ...]
    formats: tuple[str, ...]
    own: Path | None = None


def write_story(story: Story, asked: Asked, folder: Path) -> list[tuple[Path, str]]:
    """The files `patching-ROLLOUT.LANGUAGE.html` and `.json`, for owner and group alone; each with its SHA-256."""
    texts = {f"{one}.html": story_page(story, one, asked.own) for one in asked.languages if "html" in asked.formats}
    texts |= {"json": story_json(story)} if "json" in asked.formats else {}
    return _write(story.state.plan.id, texts, folder)


def write_account(account: Account, asked: Asked, folder: Path) -> list[tuple[Path, str]]:
    """The files `patching-TENANT-FROM-TO.LANGUAGE.html` and `.json`, as those of a rollout."""
    texts = {f"{one}.html": account_page(account, one, asked.own) for one in asked.languages if "html" in asked.formats}
    texts |= {"json": account_json(account)} if "json" in asked.formats else {}
    first, last = (_local(at).replace("-", "") for at in (account.start, account.end))
    return _write(f"{account.tenant.name}-{first}-{last}", texts, folder)


def _write(name: str, texts: Mapping[str, str], folder: Path) -> list[tuple[Path, str]]:
    return exports.put({f"patching-{name}.{suffix}": text for suffix, text in texts.items()}, folder)


def _local(at: datetime) -> str:
    """The day by the clocks with which periods are written on the command line."""
    return f"{at.astimezone(ZoneInfo(ZONE)):%Y-%m-%d}"
