"""`opsctl inventory sync` against a real NetBox: the seeded fleet, narrow tokens, and every fault on the way to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.inventory import files
from tests.integration.netbox.test_changes import VMS, Api
from tests.netbox import real
from tests.netbox.played import Fault, over_tls
from tests.netbox.proxy import Proxy, Silence, in_front_of
from tests.netbox.real import Real

pytestmark = pytest.mark.netbox
Capture = pytest.CaptureFixture[str]
HTML = "text/html; charset=utf-8"


def sync(*words: str) -> int:
    return run(["inventory", "sync", "--yes", *words])


def texts(workspace: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in (workspace / "inventories").rglob("*.yml")}


def test_the_seeded_fleet_comes_over_and_the_next_syncs_change_nothing(
    real: Real, workspace: Path, capsys: Capture
) -> None:
    api = Api(real.address)
    api.patch(VMS, api.vm()["id"], comments="a changelog that is not empty: the seed leaves no entries")
    assert sync("-o", "json") == 0
    first = json.loads(capsys.readouterr().out)
    assert len(first["diff"]["added"]) == 56
    assert len(first["quarantined"]) == 11
    hosts = files.load(config.load(workspace, {}))
    web = hosts.host("ange-web00")
    assert (web.ring, web.cluster, web.owner, web.criticality) == ("canary", "web", "ange förvaltning 0", "low")
    assert (web.region, web.vm_cluster, web.site) == ("vasternorrland", "ange-pve", "ange-hall")
    assert [(s.name, s.port) for s in web.services] == [("http", 80), ("http", 443)]
    assert json.loads(web.context)["syslog"] == {"host": "log.ange.example"}
    assert hosts.host("ange-v6").address == "2001:db8:20::10"
    written = texts(workspace)
    assert sync() == 0
    capsys.readouterr()
    assert sync("-o", "json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["read"] == "0 changes"
    assert again["written"] is False
    assert sync("--full") == 0
    assert texts(workspace) == written


def test_hostile_values_are_data_in_every_listing(workspace: Path, capsys: Capture) -> None:
    sync()
    for words in (["inventory", "list"], ["inventory", "quarantine"], ["inventory", "show", "ange-template"]):
        capsys.readouterr()
        assert run(words) == 0
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err
        assert "uid=" not in shown.out
    host = files.load(config.load(workspace, {})).host("ange-template")
    assert "lookup" in host.owner
    assert (host.port, host.jump) == (22, "")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (real.NARROW_TOKEN, "has no permission for this"),
        ("nbt_opsctltest01." + "Z" * 40, "the token is wrong"),
        ("nbt_" + "Z" * 40, "cannot read the token"),
        ("z" * 40, "the token is wrong"),
    ],
)
def test_a_token_that_may_not_is_told_as_such(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", token)
    assert sync() == 3
    shown = capsys.readouterr()
    assert said in shown.err
    assert token.partition(".")[2] not in shown.err or not token.partition(".")[2]


def test_a_token_that_was_narrowed_looks_like_deletions_and_trips_the_fuse(
    real: Real, workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync() == 0
    before = texts(workspace)
    real.shell(_NARROWED)
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", "nbt_opsctltestnp." + "C" * 40)
    capsys.readouterr()
    assert sync("--full") == 3
    shown = capsys.readouterr().err
    assert "the source is empty for ange" in shown
    assert "narrower" in shown
    assert texts(workspace) == before
    # With the mirror of the wide token the changelog tells nothing, but the counts do.
    assert sync() == 3
    assert texts(workspace) == before


_NARROWED = """
from core.models import ObjectType
from users.models import ObjectPermission, User
from dcim.models import Device, Site
from extras.models import CustomField
from ipam.models import Service
from core.models import ObjectChange
from virtualization.models import VirtualMachine
narrow = User.objects.get(username="narrow")
for models, constraints in (((Device, VirtualMachine), {"tenant__slug": "sundsvall"}),
                            ((Site, Service, CustomField, ObjectChange), None)):
    made = ObjectPermission.objects.create(name=f"narrow {len(models)}", actions=["view"], constraints=constraints)
    made.object_types.set([ObjectType.objects.get_for_model(model) for model in models])
    made.users.add(narrow)
"""


@pytest.fixture(name="proxy")
def _proxy(real: Real) -> Iterator[Proxy]:
    with in_front_of(real.address) as proxy:
        yield proxy


def _whole(fault: Fault) -> Callable[[Fault], Fault]:
    return lambda answer: fault


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_whole(Fault(status=500, body=b"{}")), "is broken (500)"),
        (_whole(Fault(status=502, body=b"<h1>Bad gateway", content_type=HTML)), "is broken (502)"),
        (_whole(Fault(status=429, headers={"Retry-After": "0"})), "asked too often (429)"),
        (lambda answer: replace(answer, cut=len(answer.body) // 2), "the answer is cut off"),
        (lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]), "cut off or broken"),
        (lambda answer: replace(answer, content_type=HTML), "not JSON"),
        (lambda answer: replace(answer, drip=0.2), "was not there after 1 seconds"),
        (lambda answer: Silence(body=answer.body, seconds=1.5), "no answer within 1 seconds"),
        (_whole(Fault(status=302, headers={"Location": "https://login.example/"})), "redirected to https://login"),
        (_whole(Fault(body=b'{"count": 0, "next": null, "results": []}')), "the source is empty for"),
    ],
    ids=["500", "502", "429", "cut", "half-json", "type", "slow", "silent", "redirect", "empty"],
)
def test_a_fault_on_the_way_has_its_message_bounded_retries_and_writes_nothing(
    workspace: Path, proxy: Proxy, capsys: Capture, monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Fault], Fault], said: str,
) -> None:  # fmt: skip
    assert sync() == 0
    before = texts(workspace)
    monkeypatch.setenv("OPSCTL_NETBOX_URL", proxy.address)
    monkeypatch.setenv("OPSCTL_NETBOX_TIMEOUT", "1" if "seconds" in said else "30")
    pages = ("virtualization/virtual-machines", "dcim/devices")
    proxy.spoil = lambda path, answer: spoil(answer) if any(page in path for page in pages) else answer
    capsys.readouterr()
    begun = time.monotonic()
    assert sync("--full") == 3
    assert time.monotonic() - begun < 90
    assert said in capsys.readouterr().err
    assert texts(workspace) == before
    assert len([path for path in proxy.asked if "virtual-machines" in path]) <= 4


def test_a_certificate_that_does_not_fit_is_refused_at_once_and_one_of_our_own_authority_is_believed(
    real: Real, workspace: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync() == 0
    before = texts(workspace)
    for named, code in (("DNS:elsewhere.example", 3), ("IP:127.0.0.1", 0)):
        with in_front_of(real.address) as proxy:
            certificate = over_tls(proxy, tmp_path, named)
            monkeypatch.setenv("OPSCTL_NETBOX_URL", proxy.address.replace("http:", "https:"))
            monkeypatch.setenv("OPSCTL_NETBOX_CA_FILE", str(certificate))
            capsys.readouterr()
            assert sync("--full") == code
            said = capsys.readouterr().err
            assert ("the certificate does not fit" in said) == (code == 3)
            assert bool(proxy.asked) == (code == 0), "what it does not trust is not told the token"
    # The links into NetBox have another address now, and nothing else.
    assert texts(workspace).keys() == before.keys()


def test_with_netbox_gone_the_copy_is_still_used(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync() == 0
    monkeypatch.setenv("OPSCTL_NETBOX_URL", "http://127.0.0.1:9")
    capsys.readouterr()
    assert sync() == 3
    assert "connection refused" in capsys.readouterr().err
    assert run(["inventory", "list"]) == 0
    assert run(["inventory", "export", "--format", "ansible"]) == 0
