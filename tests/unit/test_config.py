"""Settings: default < file < environment < option, each with its origin; and whose workspace is trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from opsctl import config
from opsctl.config import BY_NAME, OPTIONS, Value, example, find_workspace, load, prepare_runtime
from opsctl.documents import NAME
from opsctl.errors import ConfigError


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "opsctl.yml").write_text("version: 1\n", encoding="utf-8")
    return tmp_path


def write(workspace: Path, text: str) -> None:
    (workspace / "opsctl.yml").write_text(text, encoding="utf-8")


def faults(workspace: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(workspace, environ or {})
    return [str(problem).rpartition("/")[2] for problem in caught.value.problems]


def test_each_layer_wins_over_the_one_before_and_is_named(workspace: Path) -> None:
    assert load(workspace, {}).origin["ssh.user"] == "default"
    write(workspace, "version: 1\nssh:\n  user: from-file\n")
    found = load(workspace, {})
    assert (found.text("ssh.user"), found.origin["ssh.user"]) == ("from-file", f"{workspace}/opsctl.yml:3")
    environ = {"OPSCTL_SSH_USER": "from-environment"}
    found = load(workspace, environ)
    assert (found.text("ssh.user"), found.origin["ssh.user"]) == ("from-environment", "OPSCTL_SSH_USER")
    found = load(workspace, environ, {"ssh.user": "from-option"})
    assert (found.text("ssh.user"), found.origin["ssh.user"]) == ("from-option", "option")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("keys/id", "{workspace}/keys/id"),
        ("/etc/ops/id", "/etc/ops/id"),
        ("~/keys/id", "/home/anna/keys/id"),
        ("~nobody-has-this-name/id", "{workspace}/~nobody-has-this-name/id"),
    ],
)
def test_a_path_is_the_workspaces_or_a_homes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    write(workspace, f"version: 1\nssh: {{identity: {written}}}\n")
    assert str(load(workspace, {}).path("ssh.identity")) == meant.format(workspace=workspace)


def test_every_option_but_lists_can_come_from_the_environment(workspace: Path) -> None:
    def other(option: config.Option) -> str:
        if option.choices:
            return option.choices[-1]
        if option.form is not None:
            return "7" if option.form.fullmatch("7") else "other"
        return str(option.low or 5) if isinstance(option.default, int) else "other"

    given = {option: other(option) for option in OPTIONS if not isinstance(option.default, tuple)}
    found = load(workspace, {option.variable: value for option, value in given.items()})
    assert {name: found.origin[name] for name in BY_NAME} == {
        option.name: option.variable if option in given else "default" for option in OPTIONS
    }
    assert {option.name: str(found.values[option.name]) for option in given} == {o.name: v for o, v in given.items()}


def test_variables_of_others_change_nothing(workspace: Path) -> None:
    assert load(workspace, {"OPSCTL_DEBUG_X": "1", "SSH_USER": "x"}).values == load(workspace, {}).values


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("OPSCTL_SSH_PARALLEL", "many", "OPSCTL_SSH_PARALLEL: 'many' is not allowed (a whole number from 1 to 256)"),
        ("OPSCTL_SSH_PARALLEL", "0", "OPSCTL_SSH_PARALLEL: '0' is not allowed (a whole number from 1 to 256)"),
        ("OPSCTL_PATCH_REBOOT", "yes", "OPSCTL_PATCH_REBOOT: 'yes' is not known (one of: never, if-required, always)"),
        ("OPSCTL_WORKSPACE_ID", "a b", "OPSCTL_WORKSPACE_ID: 'a b' is not a name (lower-case letters"),
        ("OPSCTL_PATCH_FAILURE_BUDGET", "0%", "OPSCTL_PATCH_FAILURE_BUDGET: '0%' is not allowed (a number of hosts"),
        ("OPSCTL_MONITOR_HOST_LABEL", "a-b", "OPSCTL_MONITOR_HOST_LABEL: 'a-b' is not allowed (the name of a label"),
        ("OPSCTL_STATE_PATH", "", "OPSCTL_STATE_PATH: is empty (unset it, and state.path is .state)"),
        ("OPSCTL_SSH_USER", "a\nb", "OPSCTL_SSH_USER: holds control characters"),
        ("OPSCTL_VAULT_PASSWORD_COMMAND", "cat x", "OPSCTL_VAULT_PASSWORD_COMMAND: a list cannot come from"),
    ],
)
def test_a_bad_variable_is_told_with_what_is_allowed(workspace: Path, variable: str, value: str, fault: str) -> None:
    assert len(found := faults(workspace, {variable: value})) == 1
    assert found[0].startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("version: 2\n", "opsctl.yml:1: version: '2' is not allowed"),
        ("version: 1\nstate: {path: ''}\n", "opsctl.yml:2: path is empty (the default is .state)"),
        ("version: 1\nssh: {user: [a]}\n", "opsctl.yml:2: user is not a single value"),
        ("version: 1\nworkspace: {id: Ånge}\n", "opsctl.yml:2: id: 'Ånge' is not allowed"),
        ("version: 1\nnetpox: {}\n", "opsctl.yml:2: 'netpox' is not known here"),
    ],
)
def test_a_fault_in_the_file_is_told_with_its_line(workspace: Path, text: str, fault: str) -> None:
    write(workspace, text)
    assert faults(workspace)[0].startswith(fault)


def test_an_option_that_is_not_known_is_told_with_all_that_are_whatever_the_file_gives(workspace: Path) -> None:
    write(workspace, "version: 1\nnetbox:\n  url: https://netbox.example\n  ownr: field:owner\n")
    (told,) = faults(workspace)
    assert "opsctl.yml:4: 'ownr' is not known here" in told
    assert all(
        f" {option.name.removeprefix('netbox.')}" in told for option in OPTIONS if option.name.startswith("netbox.")
    )


def test_all_faults_of_file_and_environment_come_at_once(workspace: Path) -> None:
    write(workspace, "version: 1\nssh: {parallel: x, colour: blue}\n")
    assert len(faults(workspace, {"OPSCTL_PATCH_TIMEOUT": "soon"})) == 3


def test_an_id_is_made_from_the_folder_and_stays_the_same(workspace: Path) -> None:
    assert load(workspace, {}).id == load(workspace, {}).id
    assert NAME.fullmatch(load(workspace, {}).id)


def test_the_example_configuration_is_what_the_defaults_are(workspace: Path) -> None:
    write(workspace, example())
    found = load(workspace, {})
    assert {o.name: found.values[o.name] for o in OPTIONS if o.name != "workspace.id"} == {
        o.name: o.default for o in OPTIONS if o.name != "workspace.id"
    }


def test_the_example_with_every_line_uncommented_reads_back_the_same(workspace: Path) -> None:
    values = {option.name: option.default for option in OPTIONS} | {"workspace.id": "demo"}
    write(workspace, example(values))
    found = load(workspace, {})
    assert found.values == values
    assert all(origin.startswith(str(workspace)) for origin in found.origin.values())


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")))
def test_any_text_given_to_the_example_is_read_back_by_yaml(value: str) -> None:
    given: dict[str, Value] = {"ssh.user": value, "vault.password_command": (value, "x")}
    found = yaml.safe_load(example(given))
    assert found["ssh"]["user"] == value
    assert found["vault"]["password_command"] == [value, "x"]


# Which folder is the workspace, and is it safe.


def test_the_workspace_is_found_upward(workspace: Path) -> None:
    below = workspace / "a" / "b"
    below.mkdir(parents=True)
    assert find_workspace(below, {}) == workspace


def test_a_named_workspace_wins_and_must_be_one(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ConfigError, match="in it"):
        find_workspace(workspace, {"OPSCTL_WORKSPACE": str(other)})
    (other / "opsctl.yml").touch()
    assert find_workspace(workspace, {"OPSCTL_WORKSPACE": str(other)}) == other


def test_no_workspace_is_said_with_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        find_workspace(Path("/"), {})
    assert "opsctl init DIR" in caught.value.hint


@pytest.mark.parametrize("what", [".", "..", "opsctl.yml"])
def test_what_everybody_can_write_is_refused(tmp_path: Path, what: str) -> None:
    workspace = tmp_path / "up" / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "opsctl.yml").touch()
    assert find_workspace(workspace, {}) == workspace
    path = (workspace / what).resolve()
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(ConfigError, match=f"{path} can be written by everyone") as caught:
        find_workspace(workspace, {})
    assert caught.value.hint == f"chmod o-w {path}"


def test_a_workspace_below_a_sticky_folder_is_fine_and_the_sticky_folder_itself_is_not(tmp_path: Path) -> None:
    sticky = tmp_path / "tmp"
    (sticky / "mine").mkdir(parents=True)
    sticky.chmod(0o1777)
    (sticky / "mine" / "opsctl.yml").touch()
    assert find_workspace(sticky / "mine", {}) == sticky / "mine"
    (sticky / "opsctl.yml").touch()
    with pytest.raises(ConfigError, match="can be written by everyone"):
        find_workspace(sticky, {})


def test_a_link_does_not_hide_a_folder_that_everybody_can_write(tmp_path: Path) -> None:
    (tmp_path / "open" / "workspace").mkdir(parents=True)
    (tmp_path / "open" / "workspace" / "opsctl.yml").touch()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "workspace")
    with pytest.raises(ConfigError, match="open can be written by everyone"):
        find_workspace(tmp_path / "link", {})


@pytest.mark.parametrize("what", ["inventories", "inventories/ange", "inventories/ange/pins", "roles"])
def test_content_that_everybody_can_write_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "opsctl.yml").touch()
    (tmp_path / "inventories/ange").mkdir(parents=True)
    (tmp_path / "inventories/ange/pins").touch()
    (tmp_path / "inventories/ange/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "roles").mkdir()
    assert find_workspace(tmp_path, {}) == tmp_path
    path = tmp_path / what
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(ConfigError, match=f"{path} can be written by everyone"):
        find_workspace(tmp_path, {})


def test_a_workspace_is_the_same_one_through_a_link(tmp_path: Path) -> None:
    """Its name is what hosts know the installation by, and what keeps two runs of it apart."""
    (tmp_path / "drift").mkdir()
    (tmp_path / "drift/opsctl.yml").write_text("version: 1\n")
    (tmp_path / "link").symlink_to(tmp_path / "drift")
    assert load(tmp_path / "link", {}).id == load(tmp_path / "drift", {}).id


# The folder for sockets.


def test_a_runtime_folder_that_others_could_replace_is_not_used(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "run"
    base.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    settings = load(workspace, {})
    assert settings.runtime.is_relative_to(base)
    base.chmod(0o777)
    assert not settings.runtime.is_relative_to(base)
    base.chmod(0o1777)
    assert settings.runtime.is_relative_to(base)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_does_not_use_the_runtime_folder_of_the_person_it_came_from(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "run"
    base.mkdir(mode=0o700)
    os.chown(base, 65534, 65534)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    assert not load(workspace, {}).runtime.is_relative_to(base)


def test_the_runtime_folder_is_ours_alone(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    settings = load(workspace, {})
    made = prepare_runtime(settings)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert prepare_runtime(settings) == made


def test_a_runtime_folder_of_others_is_refused(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    settings = load(workspace, {})
    prepare_runtime(settings).chmod(0o750)
    with pytest.raises(ConfigError, match="not a private folder"):
        prepare_runtime(settings)
    prepared = settings.runtime
    prepared.rmdir()
    prepared.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not a private folder"):
        prepare_runtime(settings)
