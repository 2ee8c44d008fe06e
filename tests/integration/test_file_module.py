"""The module opsctl_file on a real host: checked before it is put in place, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsctl import config, content, lab
from opsctl.ansible.runner import run_playbook
from opsctl.model.run import PlaybookRun
from tests.integration.ground import Ground, ground

pytestmark = pytest.mark.lab

HOST = "host-01"
TASK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Write
      opsctl_file:
        path: "{{ file }}"
        content: "{{ text }}"
        mode: "0640"
        validate: "{{ check | default('') }}"
"""


SEVERAL = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Write
      opsctl_file:
        files:
          - {path: /etc/several/one, content: "one\\n", mode: "0644"}
          - {path: /etc/several/kept, mode: "0600"}
          - {path: /etc/several, mode: "0700"}
          - {path: /etc/several/missing, mode: "0600"}
"""
UNITS = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Switch
      opsctl_units:
        running: [one.service]
        stopped: [two.service, three.service]
"""
UNIT = "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=true\\n[Install]\\nWantedBy=multi-user.target\\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("file"), lab.generic(1)) as found:
        workspace = found.settings.workspace
        (workspace / "playbooks").mkdir()
        (workspace / "roles").mkdir()
        (workspace / "playbooks/library").symlink_to(content.folder("playbooks") / "library")
        for name, text in {"write": TASK, "several": SEVERAL, "units": UNITS}.items():
            (workspace / f"playbooks/{name}.yml").write_text(text)
        yield found


def write(place: Ground, *, playbook: str = "write", check_mode: bool = False, **variables: str) -> PlaybookRun:
    return run_playbook(
        playbook,
        [place.host(HOST)],
        transport=place.transport,
        inventory=place.inventory,
        settings=config.load(place.settings.workspace, {}, {"workspace.content": "./"}),
        extra_vars=variables,
        check=check_mode,
    )


def test_a_file_is_written_with_its_folder_and_a_second_run_changes_nothing(place: Ground) -> None:
    key = place.host(HOST).key
    file, text = "/etc/new/folder/räksmörgås.conf", "{{ '{{ no template }}' }}\n"
    assert write(place, check_mode=True, file=file, text=text).outcome(key) == "changed"
    place.inside(HOST, "test ! -e /etc/new")
    first = write(place, file=file, text=text)
    assert first.outcome(key) == "changed", first.reason(key)
    assert place.inside(HOST, "cat /etc/new/folder/*; stat -c '%a %U:%G' /etc/new/folder/*").splitlines() == [
        "{{ no template }}",
        "640 root:root",
    ]
    assert write(place, file=file, text=text).outcome(key) == "ok"
    place.inside(HOST, "chmod 644 /etc/new/folder/*")
    assert write(place, file=file, text=text).outcome(key) == "changed"


def test_a_file_that_its_check_refuses_is_not_put_in_place(place: Ground) -> None:
    key = place.host(HOST).key
    run = write(place, file="/etc/sudoers.d/broken", text="opsctl ALL=(ALL\n", check="visudo -cf %s")
    assert run.failed == (key,)
    assert "is refused, and was not changed" in run.reason(key)
    assert place.inside(HOST, "ls -A /etc/sudoers.d").split() == ["README", "gammal-admin", "opsctl"]


def test_a_link_is_replaced_and_never_written_through(place: Ground) -> None:
    place.inside(HOST, "echo untouched > /root/target; ln -s /root/target /etc/link.conf")
    assert write(place, file="/etc/link.conf", text="new\n").outcome(place.host(HOST).key) == "changed"
    assert place.inside(HOST, "cat /root/target; stat -c %F /etc/link.conf") == "untouched\nregular file\n"


def test_several_files_and_folders_get_their_owner_and_mode_in_one_run(place: Ground) -> None:
    key, modes = place.host(HOST).key, "stat -c '%a %n' /etc/several /etc/several/*"
    place.inside(HOST, "mkdir /etc/several; echo kept > /etc/several/kept; chown games /etc/several/kept")
    before = place.inside(HOST, modes)
    assert write(place, playbook="several", check_mode=True).outcome(key) == "changed"
    assert place.inside(HOST, modes) == before
    assert write(place, playbook="several").outcome(key) == "changed"
    assert place.inside(HOST, modes).splitlines() == [
        "700 /etc/several", "600 /etc/several/kept", "644 /etc/several/one"
    ]  # fmt: skip
    assert place.inside(HOST, "stat -c %U /etc/several/kept; cat /etc/several/kept") == "root\nkept\n"
    assert write(place, playbook="several").outcome(key) == "ok"


def test_units_are_switched_on_and_off_together_and_a_missing_one_is_told(place: Ground) -> None:
    key = place.host(HOST).key
    missing = write(place, playbook="units")
    assert missing.failed == (key,)
    assert "not there: one.service" in missing.reason(key)
    place.inside(
        HOST,
        f"for name in one two; do printf '{UNIT}' > /etc/systemd/system/$name.service; done; "
        "systemctl daemon-reload; systemctl enable -q --now two",
    )
    state = "systemctl is-enabled one two; systemctl is-active one two; true"
    assert write(place, playbook="units", check_mode=True).outcome(key) == "changed"
    assert place.inside(HOST, state).split() == ["disabled", "enabled", "inactive", "active"]
    assert write(place, playbook="units").outcome(key) == "changed"
    assert place.inside(HOST, state).split() == ["enabled", "disabled", "active", "inactive"]
    assert write(place, playbook="units").outcome(key) == "ok"
