"""What is replaced before it is written, and what is left alone."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.state.redaction import HIDDEN, Redactor, canonical, looks_secret


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "vault_password",
        "vaultPassword",
        "NETBOX-TOKEN",
        "api_key",
        "apiKey",
        "ansible_become_pass",
        "secrets",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["host_key", "public_key", "passwordauthentication", "fingerprint", "tokenizer", "package", "keys"]
)
def test_names_that_only_resemble_secrets_are_left_alone(name: str) -> None:
    assert not looks_secret(name)


def test_values_under_secret_names_are_hidden_at_every_depth() -> None:
    found = Redactor().value({"a": [{"vault_password": "hunter2"}], "token": 5}, judge_names=True)
    assert found == {"a": [{"vault_password": HIDDEN}], "token": HIDDEN}


def test_flags_and_empty_values_under_secret_names_say_nothing_and_stay() -> None:
    document = {"password_login": True, "password": None, "token": ""}
    assert Redactor().value(document, judge_names=True) == document


def test_a_known_secret_is_hidden_in_text_keys_and_the_usual_encodings() -> None:
    secret = "canary/secret+1"
    redactor = Redactor([secret])
    encoded = base64.b64encode(secret.encode()).decode()
    document = json.dumps({secret: [f"x {secret} y", encoded, "canary%2Fsecret%2B1"]})
    assert "canary" not in redactor.json(document)
    assert encoded.rstrip("=") not in redactor.json(document)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----",
        "https://anna:hunter2hunter2@netbox.example/api",
        "Authorization: Bearer hunter2hunter2",
        "nbt_abcdefABCDEF.hunter2hunter2hunter2hunter2hunter2hunt",
        "root:$6$saltsalt$hunter2hunter2hunter2:19000:",
        "$y$j9T$hunter2hunter2$hunter2",
    ],
)
def test_what_has_the_shape_of_a_secret_is_hidden_everywhere(text: str) -> None:
    found = Redactor().text(text)
    assert "hunter2" not in found
    assert "b3Blbn" not in found


def test_secrets_assigned_within_a_message_are_hidden_in_the_ledger() -> None:
    found = Redactor().value({"error": "login failed: db_password=hunter2!, user=anna"}, judge_names=True)
    assert found == {"error": f"login failed: db_password={HIDDEN}, user=anna"}


@given(st.text(min_size=8), st.text(), st.text())
def test_no_known_secret_survives_in_any_surrounding(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    plain = secret.strip()
    if len(plain) >= 4 and plain not in HIDDEN:
        written = redactor.json(json.dumps({"t": before + secret + after}))
        assert plain not in json.loads(written)["t"].replace(HIDDEN, "\0")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_json_value_has_one_canonical_text_in_utf8(value: object) -> None:
    cleaned = Redactor().value(value, judge_names=False)
    text = canonical(cleaned)
    text.encode()
    assert canonical(json.loads(text)) == text
