"""Word to the owners of services ahead of a rollout: which hosts, when, for how long; a mail with a calendar entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from types import SimpleNamespace

from opsctl.inventory.icsentry import CalendarEntry, calendar_text
from opsctl.model.calendar import Hours
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, Plan
from opsctl.patch.sheets import WORDS
from opsctl.report.words import words
from opsctl.rollout.notice import About, Attachment, Notice, Occasion, Route, letter, plain

NO_OWNER = ""
_AT_LEAST = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One host's turn as its owner is told of it: `end` is that of its window.

    `away` is how long what it alone answers for is expected to be away; none where others carry that meanwhile.
    """

    host: Host
    begin: datetime
    end: datetime
    takes: timedelta
    away: timedelta
    reboot: bool

    @property
    def down(self) -> bool:
        return bool(self.away)


@dataclass(frozen=True, kw_only=True)
class Word:
    """What one owner is told: the notice with its calendar entry."""

    owner: str
    turns: tuple[Turn, ...]
    notice: Notice


def ahead(
    plan: Plan, inventory: Inventory, hours: Hours, now: datetime, languages: Iterable[str], own: Path | None = None
) -> tuple[Word, ...]:
    """A word for each owner of hosts in a plan; hosts that name none come together under an empty owner."""
    spoken = [words(language, own, WORDS) for language in languages]
    found: dict[str, list[Turn]] = {}
    for item in plan.hosts:
        turn = _turn(plan, item, inventory.host(item.host), hours, now)
        found.setdefault(turn.host.owner, []).append(turn)
    return tuple(
        Word(owner=owner, turns=tuple(turns), notice=_notice(plan, owner, turns, hours, spoken, now))
        for owner, turns in sorted(found.items())
    )


def _turn(plan: Plan, item: HostPlan, host: Host, hours: Hours, now: datetime) -> Turn:
    begin = max(item.opens_at or plan.start_at or now, now)
    takes = timedelta(seconds=item.expected_seconds)
    until = hours.may_start(host, begin, takes, emergency=bool(plan.emergency)).until
    away = timedelta(seconds=item.downtime_seconds)
    if not away and item.reboot_expected and not (item.drains or host.cluster):
        away = takes  # nobody knows how long its restart takes: within the whole of its change
    return Turn(
        host=host, begin=begin, end=until or begin + max(takes, _AT_LEAST), takes=takes, away=away,
        reboot=item.reboot_expected,
    )  # fmt: skip


def _notice(
    plan: Plan, owner: str, turns: list[Turn], hours: Hours, spoken: list[SimpleNamespace], now: datetime
) -> Notice:
    lines = [t.ahead_intro for t in spoken]
    lines += [
        f"{t.ahead_plan}: {plan.id}{f', {t.ticket.lower()}: {plan.ticket}' if plan.ticket else ''}" for t in spoken[:1]
    ]
    return Notice(
        occasion=Occasion.AHEAD,
        subject=" / ".join(dict.fromkeys(t.ahead_subject for t in spoken)),
        rollout=plan.id,
        lines=tuple(lines),
        hosts=tuple(_about(turn, hours, spoken) for turn in turns),
        attachment=Attachment(
            name=f"{plan.id}.ics", kind="text/calendar", content=_calendar(plan, owner, turns, hours, spoken, now)
        ),
    )


def _about(turn: Turn, hours: Hours, spoken: list[SimpleNamespace]) -> About:
    told = " / ".join(dict.fromkeys(_told(turn, hours, t) for t in spoken))
    return About(
        host=turn.host.key, tenant=turn.host.tenant, owner=turn.host.owner, role=turn.host.role, text=told
    )  # fmt: skip


def _told(turn: Turn, hours: Hours, t: SimpleNamespace) -> str:
    tenant = turn.host.tenant
    names = ", ".join(service.name for service in turn.host.services)
    parts = [
        f"{t.ahead_when}: {hours.local(tenant, turn.begin)} {t.until} {hours.local(tenant, turn.end)}",
        f"{t.ahead_takes} {minutes(turn.takes)} {t.ahead_minutes}",
        f"{t.ahead_services}: {names}" if names else "",
        t.ahead_reboot if turn.reboot else "",
        f"{t.ahead_down}: {t.ahead_takes} {minutes(turn.away)} {t.ahead_minutes}" if turn.down else t.ahead_no_down,
    ]
    return "; ".join(filter(None, parts))


def minutes(length: timedelta) -> int:
    """A length of time for people who plan by it: rounded up."""
    return -(-int(length.total_seconds()) // 60)


def _calendar(
    plan: Plan, owner: str, turns: list[Turn], hours: Hours, spoken: list[SimpleNamespace], now: datetime
) -> bytes:
    """One entry for each window, with its hosts."""
    entries = []
    for number, ((begin, end), members) in enumerate(_windows(turns).items(), 1):
        lines = [plain(f"{turn.host.key}: {_about(turn, hours, spoken).text}", 1000) for turn in members]
        entries.append(
            CalendarEntry(
                uid=f"{plan.id}-{number}-{_id(owner)}@opsctl",
                start=begin,
                end=end,
                summary=plain(f"{spoken[0].ahead_subject}: {', '.join(turn.host.name for turn in members)}"),
                description="\n".join([*lines, f"{spoken[0].ahead_plan}: {plan.id}"]),
            )
        )
    return calendar_text(entries, now)


def _windows(turns: Iterable[Turn]) -> dict[tuple[datetime, datetime], list[Turn]]:
    found: dict[tuple[datetime, datetime], list[Turn]] = {}
    for turn in turns:
        found.setdefault((turn.begin, turn.end), []).append(turn)
    return found


def _id(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_files(words_told: Iterable[Word]) -> Iterator[tuple[str, bytes]]:
    """Name and content of a mail and a calendar file for each owner, for where there is no mail."""
    for word in words_told:
        if word.owner == NO_OWNER or word.notice.attachment is None:
            continue
        stem = f"{word.notice.rollout}-{_plain_name(word.owner)}-{_id(word.owner)[:6]}"
        text = letter(word.notice, Route(target="file", words={}))
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = text.title
        mail["X-Owner"] = plain(word.owner)
        mail.set_content(text.body + "\n")
        mail.add_attachment(
            word.notice.attachment.content, maintype="text", subtype="calendar", filename=word.notice.attachment.name
        )
        yield f"{stem}.eml", mail.as_bytes()
        yield f"{stem}.ics", word.notice.attachment.content


def _plain_name(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text).strip("-")[:40] or "owner"


def by_owner(told: Iterable[Word]) -> Mapping[str, Word]:
    return {word.owner: word for word in told}
