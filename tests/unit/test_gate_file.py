"""Gates and budgets of a tenant.yml: read with the line of every fault, written and read back the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.documents import Problems
from opsctl.inventory import document, emit
from opsctl.inventory.tenantfile import read_tenant
from opsctl.model.gate import After, GateKind
from opsctl.model.host import Tenant

HEAD = "version: 1\nname: ange\nrings: [canary, broad]\n"
GOOD = """\
gates:
  - {name: night, soak_minutes: 30, rings: [canary]}
  - {name: quiet, alerts: true}
  - {name: page, http: "https://e.example/health?x=1", status: 204, text: "Å OK", after: wave, seconds: 5}
  - {name: kiosk, command: [/usr/bin/check, --quick, "a b"]}
  - {name: hard, compliance: [SSH-01, FW-01]}
failure_budget: 5%
wave_budget: 1
"""


def read(tmp_path: Path, text: str) -> tuple[Tenant, list[str]]:
    folder = tmp_path / "ange"
    folder.mkdir(exist_ok=True)
    (folder / "tenant.yml").write_text(HEAD + text, encoding="utf-8")
    problems = Problems()
    tenant = read_tenant(folder / "tenant.yml", problems).tenant
    return tenant, [str(one).replace(f"{folder}/", "") for one in problems.found]


def test_each_kind_is_read_in_the_order_of_the_file_with_its_defaults(tmp_path: Path) -> None:
    tenant, faults = read(tmp_path, GOOD)
    assert faults == []
    assert [(one.name, one.kind, one.after, one.seconds) for one in tenant.gates] == [
        ("night", GateKind.SOAK, After.WAVE, 1800),
        ("quiet", GateKind.ALERTS, After.BATCH, 180),
        ("page", GateKind.HTTP, After.WAVE, 5),
        ("kiosk", GateKind.COMMAND, After.BATCH, 60),
        ("hard", GateKind.COMPLIANCE, After.WAVE, 0),
    ]
    assert (tenant.failure_budget, tenant.wave_budget, tenant.gates[2].status) == ("5%", "1", 204)


def test_what_the_emitter_writes_is_read_back_the_same(tmp_path: Path) -> None:
    tenant, _ = read(tmp_path, GOOD)
    (tmp_path / "ange" / "tenant.yml").write_text(emit.tenant_file(tenant), encoding="utf-8")
    problems = Problems()
    again = read_tenant(tmp_path / "ange" / "tenant.yml", problems).tenant
    assert problems.found == []
    assert again == tenant


def test_the_parsed_copy_keeps_gates_and_their_order(tmp_path: Path) -> None:
    tenant, _ = read(tmp_path, GOOD)
    copy = document.decode({**document.encode([tenant], []), "quarantined": []}, "d").tenants[0]
    assert copy.gates == tenant.gates
    assert document.canonical([tenant], []) != document.canonical([], [])


def test_a_tenant_without_gates_has_the_digest_that_it_always_had() -> None:
    found = document.encode([Tenant(name="ange", title="Ånge")], [])["tenants"][0]
    assert not {"gates", "failure_budget", "wave_budget"} & found.keys()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{name: a}", "tenant.yml:5: the gate a has nothing to ask"),
        ("{name: a, alerts: true, soak_minutes: 5}", "the gate a has soak_minutes and alerts"),
        ("{name: a, alerts: false}", "alerts: false asks nothing"),
        ("{name: a, alerts: true, rings: [night]}", "rings: 'night' is no ring of this tenant"),
        ("{name: a, command: check}", "command is not a list of values"),
        ("{name: a, command: [check]}", "command: there is no program with its path"),
        ("{name: a, command: []}", "command: there is no program with its path"),
        ("{name: a, http: e.example}", "http: 'e.example' is no address"),
        ("{name: a, http: 'https://u:p@e.example'}", "is no address"),
        ("{name: a, http: 'https://e.example', status: 99}", "status: '99' is not allowed"),
        ("{name: a, alerts: true, status: 200}", "the gate a is no http gate"),
        ("{name: a, compliance: [ssh]}", "compliance: 'ssh' is no control"),
        ("{name: a, compliance: []}", "compliance: no control is named"),
        ("{name: a, soak_minutes: 0}", "soak_minutes: '0' is not allowed"),
        ("{name: a, soak_minutes: 5, after: batch}", "a soak is always after the wave"),
        ("{name: a, soak_minutes: 5, seconds: 5}", "a gate of soak_minutes takes no seconds"),
        ("{name: a, alerts: true, after: rollout}", "after: 'rollout' is not known"),
        ("{name: a, alerts: true, colour: red}", "'colour' is not known here"),
        ("{alerts: true}", "name is missing"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    _, faults = read(tmp_path, f"gates:\n  - {line}\n")
    assert any(told in fault and "tenant.yml:5" in fault for fault in faults), faults


def test_a_name_may_be_there_once(tmp_path: Path) -> None:
    _, faults = read(tmp_path, "gates:\n  - {name: a, alerts: true}\n  - {name: a, soak_minutes: 5}\n")
    assert faults == ["tenant.yml:6: gates: 'a' is there twice"]


@pytest.mark.parametrize("text", ["0", "five", "0%", "101%"])
def test_a_budget_is_a_number_or_a_share(tmp_path: Path, text: str) -> None:
    _, faults = read(tmp_path, f"failure_budget: {text}\n")
    assert len(faults) == 1
    assert "tenant.yml:4: failure_budget" in faults[0]
