"""Web servers: TLS versions, certificates, keys, and what clear-text HTTP still does.

nginx is read with `nginx -T`, Apache from its own files; only nginx is tested. Where a load balancer ends TLS for the
hosts behind it, these checks judge nothing of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from machine import listeners, units
from reading import lines, output

GOOD = {"tlsv1.2", "tlsv1.3"}
_APACHE = (
    "cat /etc/apache2/apache2.conf /etc/apache2/ports.conf /etc/apache2/mods-enabled/*.conf "
    "/etc/apache2/conf-enabled/*.conf /etc/apache2/sites-enabled/* /etc/httpd/conf/httpd.conf /etc/httpd/conf.d/*.conf "
    "2>/dev/null; true"
)


def configuration(host: Any) -> tuple[str, str]:
    """(nginx or apache, its settings without comments)."""
    nginx, apache, httpd = units(host, "nginx.service", "apache2.service", "httpd.service")
    apache_there = apache.there or httpd.there
    if nginx.there and apache_there:
        raise CannotJudge("both nginx and Apache are installed: one result cannot be about two servers")
    if not nginx.there and not apache_there:
        not_applicable("neither nginx nor Apache is installed")
    text = output(host, "nginx -T 2>/dev/null" if nginx.there else _APACHE)
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return ("nginx" if nginx.there else "apache"), bare


def settings(text: str, name: str) -> Iterator[str]:
    """The values of each line with this setting."""
    for found in re.finditer(rf"(?mi)(?:^|[;{{])\s*{name}\s+([^;\n{{}}]+)", text):
        yield found[1].strip().strip('"')


def tls(host: Any) -> tuple[str, str]:
    kind, text = configuration(host)
    speaks = any(" ssl" in f" {value}" for value in settings(text, "listen")) or any(
        value.lower() == "on" for value in settings(text, "(?:ssl|SSLEngine)")
    )
    if not speaks:
        not_applicable(f"{kind} speaks no TLS here (WEB-04 judges what it says in clear text)")
    return kind, text


def versions(kind: str, text: str) -> set[str]:
    """The versions that any setting allows, in lower case; what it is where nothing is set."""
    if kind == "nginx":
        given = [set(value.lower().split()) for value in settings(text, "ssl_protocols")]
        # nginx before 1.23.4 allows these where nothing is said (its documentation of ssl_protocols).
        return set().union(*given) if given else {"tlsv1", "tlsv1.1", "tlsv1.2"}
    allowed: set[str] = set()
    for value in settings(text, "SSLProtocol"):
        words = value.lower().split()
        every = {"tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"}
        here = every if "all" in words else {word.lstrip("+") for word in words if word[0] != "-"}
        allowed |= here - {word[1:] for word in words if word[0] == "-"}
    return allowed or {"tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"}


def names(expectations: Expectations, text: str) -> list[str]:
    """The names by which residents ask for the sites: the inventory's, else those of the server's settings."""
    given = [name for name in expectations.texts("site_names") if name]
    own = [word for value in settings(text, "(?:server_name|ServerName)") for word in value.split()]
    found = given or [name for name in own if re.fullmatch(r"[a-z0-9.-]+", name) and "." in name]
    if not found:
        raise CannotJudge("neither the inventory (https addresses of services) nor the server's settings name a site")
    return sorted(set(found))


# A client that would speak whatever version is asked for, however weak.
_HANDSHAKE = (
    "timeout 10 openssl s_client -connect 127.0.0.1:443 -cipher 'ALL:@SECLEVEL=0' %s -brief </dev/null 2>&1 | "
    "grep -aE '^(Protocol version|CONNECTION ESTABLISHED|.*alert|.*refused|.*error)' | head -n 3; true"
)


@pytest.mark.control("WEB-01")
def check_only_current_tls(host: Any, verdict: Verdict) -> None:
    kind, text = tls(host)
    allowed = versions(kind, text)
    old, new = (output(host, _HANDSHAKE, flag) for flag in ("-tls1_1", "-tls1_2"))
    refused, speaks = "ESTABLISHED" not in old, "ESTABLISHED" in new
    verdict(
        allowed <= GOOD and refused and speaks,
        observed=f"{kind} allows {listed(allowed)}; a TLSv1.1 handshake {'fails' if refused else 'succeeds'}, "
        f"one of TLSv1.2 {'succeeds' if speaks else 'fails'}",
        expected=f"only {listed(GOOD)}; a TLSv1.1 handshake fails, one of TLSv1.2 succeeds",
    )


_CHAIN = "timeout 10 openssl s_client -connect 127.0.0.1:443 -servername %s -verify_hostname %s </dev/null 2>/dev/null"


@pytest.mark.control("WEB-02")
def check_certificate_is_valid(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    _, text = tls(host)
    least = expectations.number("days_min")
    bad, seen = [], []
    for name in names(expectations, text):
        served = host.run(_CHAIN, name, name).stdout
        code = re.search(r"Verify return code: (\d+ \(.*?\))", served)
        said = code[1] if code else "nothing served"
        ends = host.run(f"{_CHAIN} | openssl x509 -noout -enddate", name, name).stdout
        days = _days_left(ends)
        seen.append(f"{name}: {said}, {'no end known' if days is None else f'{days:.0f} days left'}")
        if not said.startswith("0 ") or days is None or days <= least:
            bad.append(seen[-1])
    verdict(
        not bad,
        observed=listed(bad or seen),
        expected=f"each served chain verifies for its name (0 (ok)), more than {least} days left",
    )


def _days_left(printed: str) -> float | None:
    found = re.search(r"notAfter=(.+ GMT)", printed)
    if not found:
        return None
    ends = datetime.strptime(found[1], "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    return (ends - datetime.now(UTC)).total_seconds() / 86400


@pytest.mark.control("WEB-03")
def check_private_keys_are_protected(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    _, text = tls(host)
    allowed = int(expectations.text("mode"), 8)
    files = sorted(
        {value for value in settings(text, "(?:ssl_certificate_key|SSLCertificateKeyFile)") if "$" not in value}
    )
    if not files:
        raise CannotJudge("no private key is named in the server's settings")
    shown = [
        line.split(" ", 2)
        for line in lines(host, "stat -L -c '%%U %%a %%n' " + " ".join(["%s"] * len(files)), *files, ok=(0, 1))
    ]
    wrong = [f"{path} {user} {mode}" for user, mode, path in shown if user != "root" or int(mode, 8) & ~allowed]
    missing = set(files) - {path for _, _, path in shown}
    verdict(
        not wrong and not missing,
        observed=f"open: {listed(wrong)}; missing: {listed(missing)}; keys: {listed(files)}",
        expected=f"each key owned by root, {allowed:04o} or stricter",
    )


_PLAIN = "curl -s -m 10 -o /dev/null -w '%%{http_code} %%{redirect_url}' -H %s http://127.0.0.1/"
_SECURE = "curl -sk -m 10 -D - -o /dev/null --resolve %s https://%s/"


@pytest.mark.control("WEB-04")
def check_clear_text_only_redirects(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    _, text = configuration(host)
    open_ports = {one.port for one in listeners(host) if one.protocol == "tcp" and not one.loopback}
    if not open_ports & {80, 443}:
        not_applicable("nothing answers on ports 80 and 443")
    wrong = []
    for name in names(expectations, text):
        if 80 in open_ports:
            code, _, where = output(host, _PLAIN, f"Host: {name}", ok=tuple(range(100))).strip().partition(" ")
            if code not in ("301", "308") or not where.startswith("https://"):
                wrong.append(f"{name}: http answers {code or 'nothing'} {where}".strip())
        head = output(host, _SECURE, f"{name}:443:127.0.0.1", name, ok=tuple(range(100)))
        if not re.search(r"(?mi)^strict-transport-security:\s*max-age=[1-9]", head):
            wrong.append(f"{name}: https without Strict-Transport-Security")
    verdict(
        not wrong,
        observed=listed(wrong, none="http answers 301 or 308 to https, https carries Strict-Transport-Security"),
        expected="http answers 301 or 308 to https, https carries Strict-Transport-Security",
    )
