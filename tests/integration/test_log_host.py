"""Logs on their way: from a host to the log host, over TLS, to the holder of the right certificate alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from opsctl import lab
from opsctl.ansible.runner import run_playbook
from tests.integration.ground import Ground, ground, wait_until

pytestmark = pytest.mark.lab

SENDER, LOG_HOST = "host-01", "host-02"
CERTIFICATE = """\
set -e
mkdir -p /etc/opsctl; cd /etc/opsctl; umask 077
ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $ec -days 30 -subj '/CN=A test' -keyout ca.key -out ca.crt
for name in log.lab other.lab; do
  printf "subjectAltName=DNS:$name\\n" > names
  openssl req $ec -subj /CN=$name -keyout $name.key -out $name.csr
  openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -days 30 -out $name.crt
done 2> /dev/null
cp log.lab.key loghost.key; cp log.lab.crt loghost.crt
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    plan = lab.generic(2)
    plan = replace(plan, hosts=(plan.hosts[0], replace(plan.hosts[1], role="loghost")))
    with ground(tmp_path_factory.mktemp("loghost"), plan) as found:
        found.inside(LOG_HOST, CERTIFICATE)
        authority = found.inside(LOG_HOST, "cat /etc/opsctl/ca.crt")
        found.inside(
            SENDER, f"echo '{authority}' > /usr/local/share/ca-certificates/a-test.crt; update-ca-certificates"
        )
        address = found.host(LOG_HOST).address
        found.inside(SENDER, f"sed -i 's/ log.lab//' /etc/hosts; echo '{address} log.lab' >> /etc/hosts")
        run = run_playbook(
            "provision",
            [found.host(SENDER), found.host(LOG_HOST)],
            transport=found.transport,
            inventory=found.inventory,
            settings=found.settings,
            tags=["base", "logging", "loghost"],
        )
        assert run.good, run.output
        yield found


def arrived(place: Ground, text: str) -> bool:
    file = f"/var/log/hosts/{place.host(SENDER).address}.log"
    return text in place.inside(LOG_HOST, f"cat {file} 2> /dev/null || true")


def test_a_message_reaches_the_log_host_encrypted_and_is_not_for_everyone(place: Ground) -> None:
    place.inside(SENDER, "logger first-message")
    wait_until(lambda: arrived(place, "first-message"), 120, "the message on the log host")
    assert place.inside(LOG_HOST, "stat -c %a /var/log/hosts /var/log/hosts/*.log").split() == ["750", "640"]
    assert "6514" in place.inside(LOG_HOST, "ss -Htln")


def test_what_is_sent_while_the_log_host_is_another_waits_until_it_is_itself_again(place: Ground) -> None:
    swap = "cd /etc/opsctl; cp {0}.key loghost.key; cp {0}.crt loghost.crt; systemctl restart rsyslog"
    place.inside(LOG_HOST, swap.format("other.lab"))
    place.inside(SENDER, "systemctl restart rsyslog; logger second-message")
    refused = "journalctl -u rsyslog --no-pager | grep -ci 'peer name\\|not permitted\\|certificate' || true"
    wait_until(lambda: int(place.inside(SENDER, refused)) > 0, 120, "the refusal of another's certificate")
    assert not arrived(place, "second-message")
    place.inside(LOG_HOST, swap.format("log.lab"))
    wait_until(lambda: arrived(place, "second-message"), 240, "the message that waited")
