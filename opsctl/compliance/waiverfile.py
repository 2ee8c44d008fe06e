"""`inventories/TENANT/waivers.yml`: read with the line of every fault, and written one entry at a time.

Whoever approves a waiver signs its hash with an SSH key (`opsctl.state.signing`); the signature stands in the file as
one line of base64. What is signed is the entry's meaning, so it may be laid out anew, and any other word undoes it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from opsctl.compliance import catalogue, waivers
from opsctl.documents import NAME, Problems, Section, read
from opsctl.errors import ConfigError, Refused, UnknownName, UsageError
from opsctl.model.finding import Waiver
from opsctl.state import signing
from opsctl.state.alone import alone
from opsctl.state.signing import Operators

FILE = "waivers.yml"
RULE = "YYYY-MM-DDTHH:MM:SSZ, in UTC"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_PATTERN = re.compile(r"[a-z0-9*?\[\]!-]{1,63}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,20000}={0,2}")
_PERSON = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,99}")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HEAD = "# Accepted failures: each with a reason, an owner, an approver's signature and an end.\nversion: 1\nwaivers:\n"


def load(
    inventories: Path, tenants: Iterable[str], controls: Container[str], operators: Operators, now: datetime
) -> tuple[Waiver, ...]:
    """The waivers of these tenants, in order; what keeps one from counting stands in its `flaw`.

    Raises ConfigError with file:line for each fault.
    """
    problems = Problems()
    found: list[Waiver] = []
    for tenant in sorted(set(tenants)):
        found += _read(inventories / tenant / FILE, tenant, controls, problems)
    problems.finish(ConfigError, "the waivers are not usable")
    return tuple(replace(waiver, flaw=flaw(waiver, operators, now)) for waiver in found)


def current(inventories: Path, tenants: Iterable[str], controls: Container[str], now: datetime) -> tuple[Waiver, ...]:
    """The same, judged by the operators of the workspace. Raises ConfigError or Refused, before anything is done."""
    return load(inventories, tenants, controls, signing.load(inventories), now)


def _read(path: Path, tenant: str, controls: Container[str], problems: Problems) -> Iterator[Waiver]:
    if not path.exists():
        return
    document = read(path, problems)
    document.number("version", 1, low=1, high=1)
    seen: dict[str, str] = {}
    for entry in document.sections("waivers"):
        before = len(problems.found)
        waiver = _waiver(entry, tenant, controls)
        if len(problems.found) > before:
            continue
        if (name := waivers.digest(waiver)) in seen:
            problems.note(entry.where, f"the same waiver stands at {seen[name]}")
        seen[name] = entry.where
        yield waiver
    document.done()


def _waiver(entry: Section, tenant: str, controls: Container[str]) -> Waiver:
    waiver = Waiver(
        control=entry.text("control", required=True, pattern=catalogue.ID),
        tenant=tenant,
        hosts=entry.texts("hosts"),
        reason=entry.text("reason", required=True).strip(),
        owner=entry.text("owner", required=True, pattern=_PERSON),
        approver=entry.text("approver", required=True, pattern=_PERSON),
        expires=_expires(entry),
        signature=entry.text("signature", pattern=_BASE64, allowed="one line of base64, as opsctl comply waive --sign"),
        where=f"{tenant}/{FILE}:{entry.where.rpartition(':')[2]}",
    )
    entry.done()
    if waiver.control and waiver.control not in controls:
        entry.wrong("control", f"no control is called {waiver.control!r}", "opsctl comply controls lists them")
    if entry.has("reason") and not waiver.reason:
        entry.wrong("reason", "reason is empty")
    if not waiver.hosts:
        entry.wrong("hosts", "hosts is missing", 'a list of names or patterns of this municipality, as ["web*"]')
    for pattern in waiver.hosts:
        if not _PATTERN.fullmatch(pattern):
            entry.wrong("hosts", f"hosts: {pattern!r} is no host name or pattern", "without the tenant, as web*")
    if waiver.owner and signing.plain(waiver.owner) == signing.plain(waiver.approver):
        entry.wrong("approver", f"{waiver.approver} owns it: somebody else must approve it")
    return waiver


def _expires(entry: Section) -> datetime:
    text = entry.text("expires", required=True)
    try:
        return moment(text)
    except ValueError:
        if text:
            entry.wrong("expires", f"expires: {text!r} is no moment", RULE)
        return datetime.max.replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    """A moment in the file's form. Raises ValueError."""
    if not _MOMENT.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


# --- the approver's signature -----------------------------------------------------------------------------------------


def flaw(waiver: Waiver, operators: Operators, now: datetime) -> str:
    """Why nobody has approved this waiver; empty where its approver has."""
    if not waiver.signature:
        return "nobody has signed it"
    try:
        judged(waiver, armored(waiver.signature), operators, now)
    except Refused as error:
        return error.message
    return ""


def judged(waiver: Waiver, signature: str, operators: Operators, now: datetime) -> str:
    """The approver's name, where the signature is theirs and they are not the owner. Raises Refused."""
    signer = signing.verify(operators, waivers.message(waiver), signature, now)
    if not operators.same_person(signer.person, waiver.approver):
        raise Refused(f"{signer.person} signed it, and not {waiver.approver}, whom it names as approver")
    if operators.same_person(signer.person, waiver.owner):
        raise Refused(f"{signer.person} owns it ({waiver.owner}): somebody else must approve it")
    return signer.person


def armored(line: str) -> str:
    """The signature as ssh-keygen reads it."""
    return "\n".join([_BEGIN, *(line[at : at + 70] for at in range(0, len(line), 70)), _END, ""])


def one_line(signature: str) -> str:
    return "".join(signature.strip().removeprefix(_BEGIN).removesuffix(_END).split())


def entries_for(waiver: Waiver, operators: Operators) -> tuple[signing.Entry, ...]:
    """The approver's keys, for the agent."""
    return tuple(one for one in operators.entries if operators.same_person(one.names[0], waiver.approver))


# --- a new one --------------------------------------------------------------------------------------------------------


def asked(
    *, control: str, tenant: str, hosts: Iterable[str], reason: str, owner: str, approver: str, expires: str
) -> Waiver:
    """A waiver as somebody asks for it. Raises UsageError for a moment that is none."""
    try:
        ends = moment(expires if "T" in expires else f"{expires}T00:00:00Z")
    except ValueError:
        raise UsageError(f"{expires!r} is no moment", hint=f"YYYY-MM-DD or {RULE}") from None
    return Waiver(
        control=control, tenant=tenant, hosts=tuple(hosts), reason=reason, owner=owner, approver=approver, expires=ends
    )


def refuse_wrong(waiver: Waiver, controls: Container[str], now: datetime) -> None:
    """Raise Refused for a waiver that could not be read back, or that is over already."""
    problems = Problems()
    (entry,) = _entries(yaml.compose(_HEAD + entry_text(waiver), Loader=yaml.SafeLoader))
    section = Section(entry, "this waiver", problems)
    read_back = _waiver(section, waiver.tenant, controls)
    if waiver.expires <= now:
        problems.note("this waiver", f"expires: {waiver.expires:%Y-%m-%dT%H:%M:%SZ} is over already")
    problems.finish(Refused, "this waiver cannot be written")
    if waivers.digest(read_back) != waivers.digest(waiver):
        raise Refused("this waiver cannot be written: its texts do not survive", hint="use plain words on one line")


def refuse_known(waiver: Waiver, known: Iterable[Waiver]) -> None:
    """Raise Refused for a waiver that is there already, word for word."""
    for one in known:
        if waivers.digest(one) == waivers.digest(waiver):
            raise Refused(
                f"this waiver stands at {one.where} already", hint=f"opsctl comply approve {waivers.name(one)}"
            )


def refuse_own(waiver: Waiver, who: str) -> None:
    """Raise Refused where the owner's own login would sign: whose key lies at hand there is no second person."""
    if signing.plain(who.partition(" as ")[0]) == signing.plain(waiver.owner):
        raise Refused(
            f"{who} owns this waiver: somebody else must approve it, from another login",
            hint=f"signed elsewhere it can be handed in: opsctl comply approve {waivers.name(waiver)} --signature FILE",
        )


# --- writing ----------------------------------------------------------------------------------------------------------


def named(known: Iterable[Waiver], name: str) -> Waiver:
    """The one waiver whose hash begins so. Raises UnknownName."""
    found = [waiver for waiver in known if len(name) >= 4 and waivers.digest(waiver).startswith(name.lower())]
    if len(found) != 1:
        many = f"{len(found)} waivers are" if found else "no waiver is"
        raise UnknownName(f"{many} called {name!r}", hint="opsctl comply waivers shows their names")
    return found[0]


def add(inventories: Path, waiver: Waiver) -> Path:
    """Write an entry at the end of its tenant's file; the rest stays as people wrote it. Raises Refused."""
    path = inventories / waiver.tenant / FILE
    if not NAME.fullmatch(waiver.tenant) or not path.parent.is_dir():
        raise Refused(f"{path.parent} is not there", hint="opsctl inventory sync makes a tenant's folder")
    _change(path, lambda text: _appended(text, entry_text(waiver)), waiver)
    return path


def sign(inventories: Path, waiver: Waiver, signature: str) -> Path:
    """Put a signature into the entry of a waiver, in place of an older one. Raises Refused."""
    path = inventories / waiver.tenant / FILE
    signed = replace(waiver, signature=one_line(signature))
    _change(path, lambda text: _with_signature(text, signed), signed)
    return path


def entry_text(waiver: Waiver) -> str:
    """An entry as it stands in the file. Texts are quoted as JSON does it, which YAML reads the same."""
    hosts = ", ".join(quoted(pattern) for pattern in waiver.hosts)
    return (
        f"  - control: {waiver.control}\n    hosts: [{hosts}]\n    reason: {quoted(waiver.reason)}\n"
        f"    owner: {quoted(waiver.owner)}\n    approver: {quoted(waiver.approver)}\n"
        f"    expires: {waiver.expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n"
    )


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _appended(text: str, entry: str) -> str:
    if not text.strip():
        return _HEAD + entry
    last = text if text.endswith("\n") else text + "\n"
    if not re.search(r"(?m)^waivers:", last):
        return f"{last}waivers:\n{entry}"
    return re.sub(r"(?m)^waivers:[ \t]*(\[\s*\]|~|null)?[ \t]*$", "waivers:", last) + entry


def _with_signature(text: str, waiver: Waiver) -> str:
    """The file with the signature at the entry that means this waiver."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for entry in _entries(node):
        keys = {str(key.value): (key, value) for key, value in entry.value}
        line = f"signature: {waiver.signature}"
        if not _means(entry, waiver):
            continue
        if "signature" in keys:
            key, value = keys["signature"]
            return text[: key.start_mark.index] + line + text[value.end_mark.index :]
        start = entry.start_mark
        if entry.flow_style:
            return f"{text[: start.index + 1]}{line}, {text[start.index + 1 :]}"
        return f"{text[: start.index]}{line}\n{' ' * start.column}{text[start.index :]}"
    raise Refused(f"the waiver {waivers.name(waiver)} is not in the file any more", hint="opsctl comply waivers")


def _entries(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "waivers" and isinstance(value, yaml.SequenceNode):
                yield from (item for item in value.value if isinstance(item, yaml.MappingNode))


def _means(entry: yaml.MappingNode, waiver: Waiver) -> bool:
    section = Section(entry, FILE, Problems())
    return waivers.digest(_waiver(section, waiver.tenant, {waiver.control})) == waivers.digest(waiver)


def _change(path: Path, made: Callable[[str], str], waiver: Waiver) -> None:
    """Write the file anew, in one move, once what would stand there says what it should."""
    with alone(path.parent):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        part = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o664), "w", encoding="utf-8") as stream:
                stream.write(made(before))
                stream.flush()
                os.fsync(stream.fileno())
            _refuse_another(part, before, waiver)
            if path.exists():
                part.chmod(path.stat().st_mode & 0o777)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _refuse_another(part: Path, before: str, waiver: Waiver) -> None:
    """Raise Refused where the new text does not hold the waiver, or no longer all that was there."""
    try:
        new = {waivers.digest(one): one for one in _all(part.read_text(encoding="utf-8"), waiver)}
    except yaml.YAMLError:
        new = {}
    old = {waivers.digest(one) for one in _all(before, waiver)}
    kept = new.get(waivers.digest(waiver))
    if kept is None or kept.signature != waiver.signature or not old <= set(new):
        raise Refused(f"the entry cannot be put into {FILE} as it is laid out", hint="write it in by hand")


def _all(text: str, waiver: Waiver) -> Iterator[Waiver]:
    for entry in _entries(yaml.compose(text, Loader=yaml.SafeLoader)):
        yield _waiver(Section(entry, FILE, Problems()), waiver.tenant, {waiver.control})
