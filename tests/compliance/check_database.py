"""Databases: who reaches them, how people and programs prove who they are, whose the files are.

PostgreSQL is asked itself, as the account postgres over the local socket; MariaDB likewise as root. PostgreSQL 15 and
MariaDB 10.11 are tested, and the server on the standard port alone is judged.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from machine import units
from reading import lines

_PSQL = "cd / && runuser -u postgres -- psql -XAt -F '|' -c "
_SETTINGS = (
    _PSQL + '"select name, setting from pg_settings where name in '
    "('listen_addresses', 'password_encryption', 'ssl', 'data_directory') order by 1\""
)
# What is in force after the next reload, line by line; a line that is wrong tells its error (pg_hba_file_rules).
_HBA = (
    _PSQL + "\"select line_number, type, array_to_string(user_name, ','), address, netmask, auth_method, error "
    'from pg_hba_file_rules order by 1"'
)
_MARIADB = (
    "mariadb -NB -e \"select 'bind_address', @@bind_address union select 'require_secure_transport', "
    "@@require_secure_transport union select 'data_directory', @@datadir\""
)
_MARIADB_ACCOUNTS = (
    "mariadb -NB -e \"select user, host from mysql.global_priv where user = '' or "
    "(json_value(priv, '$.plugin') in ('mysql_native_password', 'ed25519') and "
    "coalesce(json_value(priv, '$.authentication_string'), '') = '' and "
    "not coalesce(json_value(priv, '$.account_locked'), 0))\""
)


def kind_of(host: Any) -> str:
    postgresql, mariadb = units(host, "postgresql.service", "mariadb.service")
    if not postgresql.there and not mariadb.there:
        not_applicable("neither PostgreSQL nor MariaDB is installed")
    if postgresql.there and mariadb.there:
        raise CannotJudge("both PostgreSQL and MariaDB are installed: one result cannot be about two servers")
    return "PostgreSQL" if postgresql.there else "MariaDB"


def asked(host: Any, command: str) -> list[list[str]]:
    found = host.run(command)
    if found.rc:
        raise CannotJudge(f"the database does not answer: {(found.stderr or found.stdout).strip()[:200]}")
    return [re.split(r"[|\t]", line) for line in found.stdout.splitlines() if line]


def settings(host: Any) -> dict[str, str]:
    command = _SETTINGS if kind_of(host) == "PostgreSQL" else _MARIADB
    return {row[0]: row[1] for row in asked(host, command)}


@dataclass(frozen=True)
class Rule:
    """A line of pg_hba.conf."""

    line: str
    kind: str
    users: str
    address: str
    mask: str
    method: str

    @property
    def remote(self) -> bool:
        if self.kind == "local" or self.address in ("samehost", "localhost"):
            return False
        try:
            # With a mask that is wide enough an address of the loopback stands for everybody's.
            bits = int(ipaddress.ip_address(self.mask)).bit_count()
            return not ipaddress.ip_network(f"{self.address}/{bits}", strict=False).is_loopback
        except ValueError:
            return True

    def __str__(self) -> str:
        return " ".join(filter(None, (f"line {self.line}:", self.kind, self.users, self.address, self.method)))


def hba(host: Any) -> list[Rule]:
    found = []
    for line, kind, users, address, mask, method, error in asked(host, _HBA):
        if error:
            raise CannotJudge(f"pg_hba.conf line {line}: {error[:200]}")
        found.append(Rule(line, kind, users, address, mask, method))
    return found


def postgresql_only(host: Any) -> None:
    if kind_of(host) != "PostgreSQL":
        not_applicable("this control is about PostgreSQL, and the host has MariaDB")


@pytest.mark.control("DB-01")
def check_database_listens_where_it_should(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    kind = kind_of(host)
    found = settings(host)
    given = found["listen_addresses" if kind == "PostgreSQL" else "bind_address"]
    allowed = {"localhost", "127.0.0.1", "::1", *expectations.texts("addresses")}
    others = {word.strip() for word in given.split(",") if word.strip()} - allowed
    verdict(not others, observed=f"{kind} listens on {given or 'its socket alone'}", expected=f"only {listed(allowed)}")


@pytest.mark.control("DB-02")
def check_nobody_is_trusted(host: Any, verdict: Verdict) -> None:
    if kind_of(host) == "MariaDB":
        bare = [f"{row[0] or 'anonymous'}@{row[1]}" for row in asked(host, _MARIADB_ACCOUNTS)]
        verdict(not bare, observed=f"without a password: {listed(bare)}", expected="without a password: none")
        return
    rules = hba(host)
    trusted = [str(r) for r in rules if r.method == "trust" and (r.kind, r.users) != ("local", "postgres")]
    verdict(
        bool(rules) and not trusted,
        observed=f"trusted: {listed(trusted)}; {len(rules)} rules in pg_hba.conf",
        expected="trusted: none but postgres over the local socket",
    )


@pytest.mark.control("DB-03")
def check_database_passwords_are_hashed_well(host: Any, verdict: Verdict) -> None:
    postgresql_only(host)
    encryption = settings(host)["password_encryption"]
    weak = [str(rule) for rule in hba(host) if rule.method in ("md5", "password")]
    verdict(
        encryption == "scram-sha-256" and not weak,
        observed=f"password_encryption {encryption}; weak: {listed(weak)}",
        expected="password_encryption scram-sha-256; no rule with md5 or password",
    )


@pytest.mark.control("DB-04")
def check_remote_connections_are_encrypted(host: Any, verdict: Verdict) -> None:
    found = settings(host)
    if kind_of(host) == "MariaDB":
        value = found["require_secure_transport"]
        on = value.lower() in ("1", "on")
        verdict(on, observed=f"require_secure_transport {value}", expected="require_secure_transport ON")
        return
    plain = [str(r) for r in hba(host) if r.remote and r.kind != "hostssl" and r.method != "reject"]
    verdict(
        found["ssl"] == "on" and not plain,
        observed=f"ssl {found['ssl']}; remote without TLS: {listed(plain)}",
        expected="ssl on; every remote line of pg_hba.conf is hostssl",
    )


@pytest.mark.control("DB-05")
def check_data_directory_is_the_databases(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    owner = "postgres" if kind_of(host) == "PostgreSQL" else "mysql"
    directory = settings(host)["data_directory"]
    allowed = int(expectations.text("mode"), 8)
    (shown,) = lines(host, "stat -L -c '%%U %%a' %s", directory)
    user, mode = shown.split()
    verdict(
        user == owner and not int(mode, 8) & ~allowed,
        observed=f"{directory} {user} {mode}",
        expected=f"{directory} {owner}, {allowed:04o} or stricter",
    )
