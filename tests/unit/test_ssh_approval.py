"""Who is approved, who is refused, and that both fingerprints are told. Pure."""

import pytest

from opsctl.model.host import Host
from opsctl.ssh.approval import judge
from opsctl.ssh.fingerprints import Fingerprint
from opsctl.ssh.hostkeys import Key

HOST = Host(name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12")
ED = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt")
OTHER = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIBikCek31nKkxThCSHJE9AdL18rH1ijpi4iue1HnBJDY")
RSA = Key(kind="ssh-rsa", base64="AAAAB3NzaC1yc2EAAAADAQABAAAAQQDExampleExampleExampleExample1")


def said(key: Key, name: str = "ange-web1", family: str = "") -> Fingerprint:
    return Fingerprint(digest=key.fingerprint, name=name, family=family, source="keys.txt:1")


def test_an_equal_key_is_approved_with_its_source() -> None:
    found = judge(HOST, [ED], [said(ED)], [], replace=False)
    assert (found.verdict, found.keys, found.source) == ("approve", (ED,), "keys.txt:1")
    assert found.to_pin


def test_another_key_is_refused_with_both_fingerprints() -> None:
    found = judge(HOST, [ED], [said(OTHER)], [], replace=False)
    assert found.verdict == "refused"
    assert ED.fingerprint in found.reason
    assert OTHER.fingerprint in found.reason


@pytest.mark.parametrize("replace", [False, True])
def test_the_fingerprint_of_another_host_approves_nothing(replace: bool) -> None:
    found = judge(HOST, [ED], [said(ED, name="ange-web2")], [], replace=replace)
    assert found.failed
    assert "no fingerprint of it" in found.reason


def test_only_the_keys_that_were_handed_over_are_pinned() -> None:
    assert judge(HOST, [ED, RSA], [said(ED)], [], replace=False).keys == (ED,)
    assert judge(HOST, [ED, RSA], [said(ED), said(RSA)], [], replace=False).keys == (ED, RSA)


def test_one_wrong_key_of_a_named_kind_refuses_the_whole_host() -> None:
    given = [said(OTHER, family="ED25519"), said(RSA, family="RSA")]
    found = judge(HOST, [ED, RSA], given, [], replace=False)
    assert found.verdict == "refused"
    assert ED.fingerprint in found.reason


def test_a_key_that_is_approved_already_needs_nothing() -> None:
    assert judge(HOST, [ED], [said(ED)], [ED], replace=False).verdict == "same"
    assert judge(HOST, [ED], [said(ED)], [ED, RSA], replace=True).verdict == "same"


def test_another_kind_of_key_joins_the_approved_one() -> None:
    found = judge(HOST, [RSA], [said(RSA)], [ED], replace=False)
    assert (found.verdict, found.keys) == ("approve", (RSA,))


def test_an_approved_key_is_replaced_only_when_asked_to() -> None:
    refused = judge(HOST, [OTHER], [said(OTHER)], [ED], replace=False)
    assert refused.verdict == "refused"
    assert ED.fingerprint in refused.reason
    assert OTHER.fingerprint in refused.reason
    assert "--replace" in refused.reason
    assert judge(HOST, [OTHER], [said(OTHER)], [ED], replace=True).verdict == "replace"


def test_replace_alone_is_no_reason_to_trust() -> None:
    assert judge(HOST, [OTHER], [said(ED)], [ED], replace=True).verdict == "refused"


def test_a_host_that_shows_no_key_is_refused() -> None:
    assert "no key that we know" in judge(HOST, [], [said(ED)], [], replace=False).reason
