"""Services that no ordinary server needs: clear-text access, desktops, file sharing, mail for others."""

from __future__ import annotations

from typing import Any

import pytest
from judging import Expectations, Verdict, listed, not_applicable
from machine import listeners, packages


def absent(host: Any, verdict: Verdict, names: tuple[str, ...]) -> None:
    found = packages(host, *names, whole=False)
    there = (f"{name} {version}" for name, version in found.items())
    verdict(not found, observed=f"installed: {listed(there)}", expected=f"installed: none of {listed(names)}")


def unless_role(expectations: Expectations) -> None:
    """The hosts of one role are there for this very thing."""
    if expectations.text("role") == expectations.text("unless_role"):
        not_applicable(f"the host has the role {expectations.text('role')}")


@pytest.mark.control("SRV-01")
def check_no_clear_text_clients(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    absent(host, verdict, expectations.texts("packages"))


@pytest.mark.control("SRV-02")
def check_no_clear_text_servers(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    absent(host, verdict, expectations.texts("packages"))


@pytest.mark.control("SRV-03")
def check_no_desktop_services(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    absent(host, verdict, expectations.texts("packages"))


@pytest.mark.control("SRV-04")
def check_no_file_sharing(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    unless_role(expectations)
    absent(host, verdict, expectations.texts("packages"))


@pytest.mark.control("SRV-05")
def check_mail_from_the_host_itself_only(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    unless_role(expectations)
    ports = expectations.texts("ports")
    mail = [one for one in listeners(host) if one.protocol == "tcp" and str(one.port) in ports]
    verdict(
        all(one.loopback for one in mail),
        observed=f"mail listens: {listed(map(str, mail), none='nowhere')}",
        expected=f"tcp ports {listed(ports)} on loopback addresses only",
    )


@pytest.mark.control("WEB-05")
def check_no_web_server_without_the_role(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    unless_role(expectations)
    absent(host, verdict, expectations.texts("packages"))
