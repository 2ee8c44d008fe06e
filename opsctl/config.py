"""opsctl.yml, environment and command line, merged into frozen `Settings` that remember where each value came from.

Default < file < environment < option. `OPTIONS` is the one list of options: the reader, the example configuration and
the reference page are held against it by a test.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsctl.documents import NAME, NAME_RULE, Problems, Section, read
from opsctl.errors import ConfigError
from opsctl.model.gate import BUDGET, BUDGET_RULE

FILE = "opsctl.yml"
Value = str | int | bool | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of opsctl.yml: `section.key`, its default, what it means; `low`/`high` bound a number.

    `form`: what a text that is not empty must look like, and `rule` the same in words.
    """

    name: str
    default: Value
    meaning: str
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 1_000_000
    secret: bool = False
    form: re.Pattern[str] | None = None
    rule: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that sets it (lists cannot be set there)."""
        return "OPSCTL_" + self.name.replace(".", "_").upper()


# Prometheus' own rule for the name of a label.
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
LABEL_RULE = "the name of a label: letters, digits and _"

OPTIONS = (
    Option(name="workspace.id", default="", meaning="name of this workspace in state and runtime folders"),
    Option(
        name="workspace.content",
        default="package",
        meaning="package: the content that came with opsctl; ./: the workspace's own roles and playbooks",
        choices=("package", "./"),
    ),
    Option(name="state.path", default=".state", meaning="folder of store, ledger and reports"),
    Option(name="inventory.source", default="file", meaning="where hosts come from", choices=("file", "netbox")),
    Option(name="inventory.path", default="inventories", meaning="folder of the file source, one TENANT/source.yml each"),
    Option(
        name="inventory.max_removed_percent",
        default=10,
        meaning="a sync that would remove more of a tenant's hosts than this, and at least 3, is refused",
        high=100,
    ),
    Option(
        name="inventory.max_age_hours",
        default=24,
        meaning="a copy of NetBox older than this warns, and nothing that changes hosts starts from it",
        low=1,
    ),
    Option(name="netbox.url", default="", meaning="address of NetBox's start page, as https://netbox.example"),
    Option(name="netbox.token", default="", meaning="the token itself; better: one of the next two", secret=True),
    Option(name="netbox.token_file", default="", meaning="file with the token, 0600; {tenant} in it: one token a tenant"),
    Option(name="netbox.token_command", default=(), meaning="command (a list) that prints the token; may hold {tenant}"),
    Option(name="netbox.ca_file", default="", meaning="certificate authorities to believe instead of the system's"),
    Option(
        name="netbox.allow_http",
        default="no",
        meaning="plain http to another machine: anybody on the way can read the token",
        choices=("no", "yes"),
    ),
    Option(name="netbox.timeout", default=60, meaning="seconds for one request, its answer included", low=1, high=3600),
    Option(name="netbox.full_hours", default=24, meaning="everything is read anew at least this often", high=8760),
    Option(
        name="netbox.filters",
        default=(),
        meaning="which records are asked for: NAME=VALUE with role, site, platform, status, tag",
    ),
    Option(
        name="netbox.statuses",
        default=("active", "planned", "staged", "offline", "failed", "paused"),
        meaning="statuses that count; hosts in others are left out",
    ),
    Option(
        name="netbox.tenants",
        default=(),
        meaning="NETBOX-SLUG=TENANT or =TENANT/ORGANISATION; empty: NetBox's slugs are the tenants' names",
    ),
    Option(name="netbox.ring", default="tag:ring-", meaning="where a host's ring comes from: field:NAME, tag:PREFIX"),
    Option(name="netbox.windows", default="tag:window-", meaning="where its maintenance windows come from"),
    Option(name="netbox.owner", default="", meaning="where its owner comes from"),
    Option(name="netbox.criticality", default="tag:criticality-", meaning="where its criticality comes from"),
    Option(name="netbox.cluster", default="tag:cluster-", meaning="where the hosts that carry one service come from"),
    Option(name="netbox.jump", default="", meaning="where the host to go through comes from: a name that is known already"),
    Option(name="netbox.port", default="", meaning="where the port of its sshd comes from"),
    Option(name="netbox.reboot", default="", meaning="where it comes from whether a rollout restarts it"),
    Option(name="netbox.balancer", default="", meaning="where the load balancer in front of it comes from: a name, or none"),
    Option(name="netbox.serves", default="", meaning="where the tenants come from that a service is for, of the service"),
    Option(name="netbox.translate", default=(), meaning="NetBox's words for ours: WHAT:VALUE=MEANT, as ring:0=canary"),
    Option(
        name="netbox.prefer", default="ipv4", meaning="address that ssh connects to", choices=("ipv4", "ipv6")
    ),
    Option(name="ssh.user", default="opsctl", meaning="the automation account on the hosts"),
    Option(name="ssh.identity", default="", meaning="private key file; empty: the ssh agent"),
    Option(name="ssh.connect_timeout", default=10, meaning="seconds until a silent host counts as unreachable", low=1),
    Option(name="ssh.parallel", default=16, meaning="hosts spoken to at once", low=1, high=256),
    Option(name="vault.password_command", default=(), meaning="command (a list) that prints the ansible-vault password"),
    Option(name="provision.confirm_seconds", default=600, meaning="a host undoes an unconfirmed change after this", low=60),
    Option(name="provision.expected_minutes", default=10, meaning="how long provisioning a host takes", low=1, high=1440),
    Option(name="provision.failure_budget", default="1", form=BUDGET, rule=BUDGET_RULE,
           meaning="failed hosts at which a rollout halts: a number, as 2, or a share of its hosts, as 5%"),
    Option(name="provision.wave_budget", default="", form=BUDGET, rule=BUDGET_RULE,
           meaning="the same within one wave; empty: only the whole rollout counts"),
    Option(name="provision.max_hosts", default=10, meaning="more hosts at once need --max-parallel N", low=1),
    Option(name="patch.failure_budget", default="1", form=BUDGET, rule=BUDGET_RULE,
           meaning="failed hosts at which a rollout halts: a number, as 2, or a share of its hosts, as 5%"),
    Option(name="patch.wave_budget", default="", form=BUDGET, rule=BUDGET_RULE,
           meaning="the same within one wave; empty: only the whole rollout counts"),
    Option(name="patch.max_parallel", default=5, meaning="hosts changed at once within a wave", low=1),
    Option(name="patch.reboot", default="if-required", meaning="reboot after updates",
           choices=("never", "if-required", "always")),
    Option(name="patch.good_readings", default=3, low=1, high=20,
           meaning="times in a row that a changed host is found as well as before"),
    Option(name="patch.expected_minutes", default=15, meaning="how long a host takes that was never patched here", low=1,
           high=1440),
    Option(name="patch.keep_hours", default=8, low=1, high=72,
           meaning="a paused or halted rollout keeps its hosts from others until its window ends, and so long at most"),
    Option(name="patch.keep_replaced", default="yes", choices=("yes", "no"),
           meaning="hosts keep the packages that the last patching replaced, for a rollback, where the disk has room"),
    Option(name="patch.timeout", default=3600, meaning="seconds for one host's installation", low=60),
    Option(name="patch.lock_seconds", default=300, low=1, high=3600,
           meaning="so long an installation waits for whoever holds dpkg's lock; it is never broken"),
    Option(name="patch.return_seconds", default=300, meaning="so long a host may take to come back from a restart", low=10,
           high=3600),
    Option(name="patch.settle_seconds", default=60, meaning="so long a changed host may take to be as well as before", low=1,
           high=3600),
    Option(name="notify.routes", default=(),
           meaning="who is told of what: [tenant:T] [owner:O] [role:R] [event:E] = TARGET"),
    Option(name="notify.targets_file", default="",
           meaning="file with TARGET: ADDRESS as apprise writes them; 0600, or sealed by ansible-vault"),
    Option(name="notify.targets_command", default=(), meaning="command (a list) that prints the same"),
    Option(name="notify.timeout", default=10, meaning="seconds for one notification, and for the last ones of a rollout",
           low=1, high=120),
    Option(name="monitor.targets", default="monitoring/targets", meaning="folder of the Prometheus file_sd files"),
    Option(name="monitor.prometheus", default="", meaning="address of Prometheus; a host with a firing alert counts as down"),
    Option(name="monitor.alertmanager", default="", meaning="address of Alertmanager; hosts are silenced while they change"),
    Option(name="monitor.token_file", default="", meaning="file with the token for both, 0600; empty: none is sent"),
    Option(name="monitor.token_command", default=(), meaning="command (a list) that prints the token for both"),
    Option(name="monitor.ca_file", default="", meaning="certificate authorities to believe instead of the system's"),
    Option(name="monitor.allow_http", default="no", choices=("no", "yes"),
           meaning="plain http to another machine: anybody on the way can read the token and answer in its place"),
    Option(name="monitor.timeout", default=10, meaning="seconds for one request, its answer included", low=1, high=300),
    Option(name="monitor.host_label", default="host", form=LABEL, rule=LABEL_RULE,
           meaning="label of an alert that names the host"),
    Option(name="monitor.tenant_label", default="tenant", form=LABEL, rule=LABEL_RULE,
           meaning="label that names its tenant; host names that only one tenant has need none"),
    Option(name="monitor.ignore_alerts", default=("Watchdog", "InfoInhibitor"),
           meaning="alerts (names) that say nothing of a host's health, as one that updates wait"),
    Option(name="backup.command", default=(),
           meaning="command (a list) that prints as JSON when each host was last backed up"),
    Option(name="comply.profile", default="standard", meaning="profile that judges the hosts of a tenant whose tenant.yml names none"),
    Option(name="comply.max_list_age_days", default=7, meaning="package lists older than this are an error", low=1),
    Option(name="comply.timestamp_url", default="", meaning="RFC 3161 authority that stamps each run's head; empty: none"),
    Option(name="comply.timestamp_ca", default="", meaning="file with the certificates, in PEM, that its stamps must lead to"),
    Option(name="report.languages", default=("sv", "en"), meaning="languages of the reports for auditors"),
)  # fmt: skip
BY_NAME = {option.name: option for option in OPTIONS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All options of one workspace. `origin` tells for each one: default, opsctl.yml:LINE, its variable, or option."""

    workspace: Path
    values: Mapping[str, Value]
    origin: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return str(self.values[name])

    def number(self, name: str) -> int:
        return int(str(self.values[name]))

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values[name]
        return value if isinstance(value, tuple) else (str(value),)

    def path(self, name: str) -> Path:
        """The file or folder that an option names."""
        return self.within(self.text(name))

    def within(self, text: str) -> Path:
        """A path as people write it: relative to the workspace, or to a home with `~`."""
        try:
            return self.workspace / Path(text).expanduser()
        except RuntimeError:  # nobody has this home
            return self.workspace / text

    @property
    def id(self) -> str:
        return self.text("workspace.id")

    @property
    def inventories(self) -> Path:
        return self.workspace / "inventories"

    @property
    def state(self) -> Path:
        return self.path("state.path")

    @property
    def own_content(self) -> Path | None:
        return self.workspace if self.text("workspace.content") == "./" else None

    @property
    def runtime(self) -> Path:
        """Folder for sockets and private files of running commands; `prepare_runtime` makes it, 0700."""
        given = os.environ.get("XDG_RUNTIME_DIR")
        if given and not _is_safe_base(Path(given)):
            given = None
        base = Path(given or ("/run" if os.geteuid() == 0 else "/tmp"))  # noqa: S108 - owner and mode are checked
        return base / f"opsctl-{os.geteuid()}" / self.id


def _is_safe_base(folder: Path) -> bool:
    """False for another user's folder, as su leaves it to root: its owner could put files of his in place of ours."""
    try:
        info = folder.stat()
    except FileNotFoundError:
        return True
    replaceable = info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX
    return info.st_uid in (0, os.geteuid()) and not replaceable


def prepare_runtime(settings: Settings) -> Path:
    """The runtime folder, made where it is missing: ours alone, or refused."""
    for folder in (settings.runtime.parent, settings.runtime):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise ConfigError(
                f"{folder} is not a private folder of this user", hint=f"remove it, or: chmod 0700 {folder}"
            )
    return settings.runtime


def find_workspace(start: Path, environ: Mapping[str, str]) -> Path:
    """The folder with opsctl.yml: `start` given by -C, else OPSCTL_WORKSPACE, else upward from the current folder."""
    if named := environ.get("OPSCTL_WORKSPACE"):
        start = Path(named)
        if not (start / FILE).is_file():
            raise ConfigError(f"OPSCTL_WORKSPACE is {start}, and there is no {FILE} in it")
    for folder in (start.absolute(), *start.absolute().parents):
        # inventories/opsctl.yml is for Ansible's inventory plugin; the workspace is the folder above.
        if (folder / FILE).is_file() and not (folder.name == "inventories" and (folder.parent / FILE).is_file()):
            _refuse_writable_by_all(folder)
            _refuse_open_content(folder)
            return folder
    raise ConfigError(
        f"no {FILE} in {start.absolute()} or above it", hint="go into a workspace, use -C DIR, or: opsctl init DIR"
    )


def _refuse_writable_by_all(workspace: Path) -> None:
    real = workspace.resolve()
    own = (workspace / FILE, workspace)
    for path in dict.fromkeys((*own, *workspace.parents, real, *real.parents)):
        mode = path.stat().st_mode
        # In a sticky folder (/tmp) nobody can replace what is ours, but anybody can put an opsctl.yml into it.
        safe = mode & stat.S_ISVTX and path not in own
        if mode & stat.S_IWOTH and not safe:
            raise ConfigError(
                f"{path} can be written by everyone: anybody could change what opsctl does", hint=f"chmod o-w {path}"
            )


def _refuse_open_content(workspace: Path) -> None:
    """Pins, hosts, accounts and roles decide what runs as root on every host."""
    folders = ("inventories", "roles", "playbooks", "templates")
    for pattern in (*folders, "inventories/*", "inventories/*/*"):
        for path in workspace.glob(pattern):
            try:
                open_to_all = path.stat().st_mode & stat.S_IWOTH
            except OSError:
                continue  # a link to nothing; who reads it says so
            if open_to_all:
                raise ConfigError(
                    f"{path} can be written by everyone: anybody could change what opsctl does",
                    hint=f"chmod o-w {path}",
                )


def load(workspace: Path, environ: Mapping[str, str], overrides: Mapping[str, Value] | None = None) -> Settings:
    """Settings of a workspace. Raises ConfigError with every fault of opsctl.yml and of the variables."""
    problems = Problems()
    values: dict[str, Value] = {option.name: option.default for option in OPTIONS}
    origin = {option.name: "default" for option in OPTIONS}
    _read_file(workspace / FILE, problems, values, origin)
    for option in OPTIONS:
        if option.variable in environ:
            values[option.name] = _from_environment(option, environ[option.variable], problems)
            origin[option.name] = option.variable
    problems.finish(ConfigError, f"{FILE} is not usable")
    for name, value in (overrides or {}).items():
        values[name], origin[name] = value, "option"
    values["workspace.id"] = values["workspace.id"] or _default_id(workspace.resolve())
    return Settings(workspace=workspace, values=values, origin=origin)


def _read_file(path: Path, problems: Problems, values: dict[str, Value], origin: dict[str, str]) -> None:
    document = read(path, problems)
    document.number("version", 1, low=1, high=1)
    for name in dict.fromkeys(option.name.partition(".")[0] for option in OPTIONS):
        section = document.section(name)
        options = {o.name.partition(".")[2]: o for o in OPTIONS if o.name.startswith(name + ".")}
        for key, option in options.items():
            if section.has(key):
                values[option.name] = _from_file(option, key, section)
                origin[option.name] = section.line_of(key)
        section.done(options)
    document.done()


def _from_file(option: Option, key: str, section: Section) -> Value:
    if isinstance(option.default, tuple):
        return section.texts(key, option.default)
    if isinstance(option.default, bool):
        return section.flag(key, default=option.default)
    if isinstance(option.default, int):
        return section.number(key, option.default, low=option.low, high=option.high)
    if option.choices:
        return section.one_of(key, option.choices, str(option.default))
    if option.name == "workspace.id":
        return section.name(key)
    found = section.text(key, option.default)
    if option.default and not found:
        section.wrong(key, f"{key} is empty", f"the default is {option.default}")
    elif found and option.form is not None and not option.form.fullmatch(found):
        section.wrong(key, f"{key}: {found!r} is not allowed", option.rule)
        return str(option.default)
    return found


def _from_environment(option: Option, given: str, problems: Problems) -> Value:
    if isinstance(option.default, tuple):
        problems.note(option.variable, "a list cannot come from the environment", f"set {option.name} in {FILE}")
    elif isinstance(option.default, int):
        if given.isascii() and given.isdigit() and option.low <= int(given) <= option.high:
            return int(given)
        problems.note(
            option.variable, f"{given!r} is not allowed", f"a whole number from {option.low} to {option.high}"
        )
    elif option.choices and given not in option.choices:
        problems.note(option.variable, f"{given!r} is not known", "one of: " + ", ".join(option.choices))
    elif option.name == "workspace.id" and not NAME.fullmatch(given):
        problems.note(option.variable, f"{given!r} is not a name", NAME_RULE)
    elif given and option.form is not None and not option.form.fullmatch(given):
        problems.note(option.variable, f"{given!r} is not allowed", option.rule)
    elif not given.isprintable():
        problems.note(option.variable, "holds control characters")
    elif option.default and not given:
        problems.note(option.variable, "is empty", f"unset it, and {option.name} is {option.default}")
    else:
        return given
    return option.default


def _default_id(workspace: Path) -> str:
    """Stable for a folder, whatever link led to it: its own name made plain, and a short hash of its real path."""
    import hashlib
    import re

    plain = re.sub(r"[^a-z0-9]+", "-", workspace.name.lower()).strip("-") or "workspace"
    return f"{plain[:24]}-{hashlib.sha256(str(workspace).encode()).hexdigest()[:8]}"


EXAMPLE_HEAD = """\
# opsctl.yml: the settings of this workspace. Every option is listed with its default; remove the # to change one.
version: 1
"""


def example(values: Mapping[str, Value] | None = None) -> str:
    """An opsctl.yml with every option: those in `values` set, the others as comments with their default."""
    lines = [EXAMPLE_HEAD]
    given = values or {}
    for section in dict.fromkeys(option.name.partition(".")[0] for option in OPTIONS):
        options = [o for o in OPTIONS if o.name.startswith(section + ".")]
        lines.append(f"\n{'' if any(o.name in given for o in options) else '# '}{section}:\n")
        for option in options:
            value = given.get(option.name, option.default)
            mark = "" if option.name in given else "# "
            lines.append(
                f"  # {option.meaning}" + (f" ({' | '.join(option.choices)})" if option.choices else "") + "\n"
            )
            lines.append(f"{mark}  {option.name.partition('.')[2]}: {_as_yaml(value)}\n")
    return "".join(lines)


def _as_yaml(value: Value) -> str:
    import json

    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
