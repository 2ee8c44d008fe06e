"""The scripts that patch: what they read from apt, dpkg, the kernel and HAProxy."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl.hostside import drain, health, install, pending, reboot

SIMULATION = """\
Reading package lists...
The following packages have been kept back:
  linux-image-amd64 other
The following packages will be upgraded:
  openssl libssl3:i386
Inst libssl3:i386 [3.0.20-1] (3.0.22-1 Debian-Security:12/oldstable-security [i386]) []
Inst openssl [3.0.20-1~deb12u2] (3.0.22-1~deb12u2 Debian:12.9/oldstable, Debian-Security:12/oldstable-security [amd64])
Inst tzdata [2026b-0] (2026f-0 Debian:12-updates/oldstable-updates [all]) [base:amd64 ]
Inst opslab-extra (1.0-1 Debian-Security:12/oldstable-security [all])
Remv mailx [8.1]
Conf openssl (3.0.22-1~deb12u2 Debian-Security:12/oldstable-security [amd64])
"""


def test_the_simulation_gives_versions_origin_new_and_removed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "run", lambda *words, check=False: SIMULATION)
    transaction, text = pending.simulate("dist-upgrade")
    assert [(p["name"], p["installed"], p["candidate"], p["security"]) for p in transaction["packages"]] == [
        ("libssl3:i386", "3.0.20-1", "3.0.22-1", True),
        ("openssl", "3.0.20-1~deb12u2", "3.0.22-1~deb12u2", True),
        ("tzdata", "2026b-0", "2026f-0", False),
        ("opslab-extra", "", "1.0-1", True),
    ]
    assert transaction["removed"] == ["mailx"]
    assert transaction["packages"][2]["origin"] == "Debian:12-updates/oldstable-updates"
    assert pending.below(pending.KEPT_BACK, text) == ["linux-image-amd64", "other"]
    assert pending.below(pending.PHASED, text) == []


def test_a_brief_reading_asks_for_nothing_but_what_bears_upon_the_planned_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, ...]] = []

    def command(*words: str) -> subprocess.CompletedProcess[bytes]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, b"", b"")

    monkeypatch.setattr(pending, "command", command)
    found = pending.main({"planned": [{"name": "openssl", "version": "3"}], "brief": True})
    assert [words[0] for words in asked] == ["apt-get", "dpkg-query", "dpkg"]
    assert "openssl=3" in asked[0]
    assert (found["pending"], found["held"], found["mirrors"]) == (None, None, None), "not looked at is never none"


def test_a_package_is_one_of_those_asked_for_with_or_without_its_architecture() -> None:
    package = {"name": "libssl3:i386"}
    assert pending.is_one_of(package, ["libssl3"])
    assert pending.is_one_of(package, ["libssl3:i386"])
    assert not pending.is_one_of(package, ["libssl"])


def test_a_name_that_is_not_installed_is_told_with_names_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "run", lambda *words: "ii \topenssl\nrc \topensl\nun \tnginx\nhi \tcurl\n")
    assert pending.unknown(["openssl", "curl:amd64", "opensl", "nginx"]) == [
        {"name": "opensl", "like": ["openssl"]},
        {"name": "nginx", "like": []},
    ]


def test_who_holds_apts_lock_is_told_by_program_and_process_alone() -> None:
    """What a reading holds is kept in the store; a command line may hold a password."""
    words = [sys.executable, "-c", "print(flush=True); input()", "--password=canary"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()  # before that it may still bear its parent's name
        told = pending.described(holder.pid)
        holder.communicate(b"\n")
    assert told.startswith("python")
    assert told.endswith(f" (process {holder.pid})")
    assert "canary" not in told
    assert pending.described(2**22 + 1) == ""


def test_a_listening_socket_is_read_as_the_kernel_writes_it() -> None:
    assert health.readable("0100007F", socket.AF_INET) == "127.0.0.1"
    assert health.readable("00000000000000000000000001000000", socket.AF_INET6) == "::1"


def test_a_port_answers_only_while_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert health.answers(port, {("0.0.0.0", port)})
    assert not health.answers(port, {("127.0.0.1", port)})
    assert not health.answers(port, set())


# --- install ---------------------------------------------------------------------------------------------------------

PACKAGES = [{"name": "openssl", "version": "3.0.22-1~deb12u2"}]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, str]]:
    """A host whose commands answer from a table; what is not in it ends with 0 and says nothing."""
    answers: dict[str, tuple[int, str]] = {}
    monkeypatch.setattr(install, "BASE", str(tmp_path))
    monkeypatch.setattr(install, "FOLDER", str(tmp_path / "install"))
    monkeypatch.setattr(install, "command", lambda *words: answers.get(words[0], (0, "")))
    return answers


def start(**more: object) -> dict[str, object]:
    words = {"action": "start", "id": "patch-1", "packages": PACKAGES}
    return install.main({**words, **more})


def test_a_transaction_with_more_than_the_plan_is_refused(host: dict[str, tuple[int, str]]) -> None:
    host["apt-get"] = (0, "Inst openssl [3.0] (3.0.22-1~deb12u2 X [amd64])\nInst libextra (1.0 X [amd64])\n")
    told = start()
    assert told["state"] == "refused"
    assert "it would also install libextra=1.0" in str(told["why"])


def test_a_version_that_is_gone_from_the_mirror_is_refused_in_apts_words(host: dict[str, tuple[int, str]]) -> None:
    host["apt-get"] = (100, "Reading...\nE: Version '3.0.22-1~deb12u2' for 'openssl' was not found\n")
    assert "was not found" in str(start()["why"])


def test_a_second_start_attaches_to_what_runs(host: dict[str, tuple[int, str]], tmp_path: Path) -> None:
    host["apt-get"] = (0, "Inst openssl [3.0] (3.0.22-1~deb12u2 X [amd64])\n")
    host["systemctl"] = (0, "active\n")
    assert start()["state"] == "running"
    script = (tmp_path / "install/patch-1/run.sh").read_text()
    assert "install openssl=3.0.22-1~deb12u2" in script
    assert "--no-remove" in script
    host["apt-get"] = (100, "E: asked again")
    assert start()["state"] == "running"


def test_a_start_is_waited_for_once_the_fence_has_let_go(host: dict[str, tuple[int, str]], tmp_path: Path) -> None:
    host["apt-get"] = (0, "Inst openssl [3.0] (3.0.22-1~deb12u2 X [amd64])\n")
    host["systemctl"] = (0, "active\n")
    words = {"id": "patch-1", "packages": PACKAGES, "wait": 30}
    answer, folder = start(), tmp_path / "install/patch-1"
    (folder / "log").touch()
    (folder / "exit.part").write_text("0\n")
    threading.Timer(0.1, (folder / "exit.part").replace, [folder / "exit"]).start()
    assert install.afterwards(words, answer)["state"] == "ended"
    assert install.afterwards({**words, "wait": 0}, {"state": "refused"}) == {"state": "refused"}


def test_one_that_goes_on_is_told_so_when_the_wait_is_over(host: dict[str, tuple[int, str]]) -> None:
    host["apt-get"] = (0, "Inst openssl [3.0] (3.0.22-1~deb12u2 X [amd64])\n")
    host["systemctl"] = (0, "active\n")
    words = {"id": "patch-1", "packages": PACKAGES, "wait": 0.05}
    assert install.afterwards(words, start())["state"] == "running"


def test_one_whose_unit_is_gone_without_an_end_was_cut_off(host: dict[str, tuple[int, str]]) -> None:
    host["apt-get"] = (0, "Inst openssl [3.0] (3.0.22-1~deb12u2 X [amd64])\n")
    host["systemctl"] = (0, "active\n")
    answer = start()
    host["systemctl"] = (3, "inactive\n")
    assert install.afterwards({"id": "patch-1", "packages": PACKAGES, "wait": 30}, answer)["state"] == "cut-off"


def test_an_ended_installation_keeps_its_exit_code_and_kept_files(
    host: dict[str, tuple[int, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "install/patch-1"
    folder.mkdir(parents=True)
    (folder / "log").write_text("Configuration file '/etc/nginx/nginx.conf'\n ==> Keeping old config file\n")
    (folder / "exit").write_text("0\n")
    host["dpkg-query"] = (0, "openssl\tamd64\tinstalled\t3.0.22-1~deb12u2\n")
    told = start()
    assert (told["state"], told["exit_code"], told["missing"]) == ("ended", 0, [])
    assert told["kept_files"] == ["/etc/nginx/nginx.conf"]


def test_what_was_cut_off_begins_again_with_a_repair(host: dict[str, tuple[int, str]], tmp_path: Path) -> None:
    folder = tmp_path / "install/patch-1"
    folder.mkdir(parents=True)
    (folder / "begun").write_text("boot")
    (folder / "automatic").write_text("openssl\n")
    host["systemctl"] = (3, "inactive\n")
    host["apt-get"] = (100, "E: dpkg was interrupted")
    assert start()["state"] == "cut-off"
    assert (folder / "repair").exists()
    assert (folder / "automatic").read_text() == "openssl\n"


def test_a_host_with_the_planned_versions_already_begins_nothing(
    host: dict[str, tuple[int, str]], tmp_path: Path
) -> None:
    host["dpkg-query"] = (0, "openssl\tamd64\tinstalled\t3.0.22-1~deb12u2\n")
    assert start()["state"] == "none"
    assert not (tmp_path / "install/patch-1").exists()


@pytest.mark.parametrize(("state", "restarts"), [("stopping", True), ("running", False)])
def test_a_restart_that_is_under_way_already_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, state: str, restarts: bool
) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def run(words: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        if words[0] == "systemctl":
            return subprocess.CompletedProcess(words, 1, f"{state}\n", "")
        return subprocess.CompletedProcess(words, 1, "", "Transaction for opsctl-reboot.service/start is destructive")

    monkeypatch.setattr(subprocess, "run", run)
    if restarts:
        assert reboot.main({"boot_id": boot_id}) == {"boot_id": boot_id, "restarting": True}
    else:
        with pytest.raises(RuntimeError, match="destructive"):
            reboot.main({"boot_id": boot_id})


def test_a_restart_for_which_there_is_no_bus_any_more_is_to_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    gone = "Failed to connect to bus: Connection refused"
    monkeypatch.setattr(subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 1, "", gone))
    assert reboot.main({"boot_id": boot_id}) == {"boot_id": boot_id, "restarting": False}


@pytest.mark.parametrize("bad", ["../../etc", "", "a b", "A"])
def test_an_id_that_is_no_id_is_refused(host: dict[str, tuple[int, str]], bad: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        start(id=bad)


@pytest.mark.parametrize("bad", [{"name": "a;b", "version": "1"}, {"name": "openssl", "version": "1 --force"}])
def test_a_package_that_is_no_package_never_reaches_apt(host: dict[str, tuple[int, str]], bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not a package version"):
        start(packages=[bad])


def test_a_package_half_installed_is_not_as_planned(host: dict[str, tuple[int, str]]) -> None:
    host["dpkg-query"] = (0, "openssl\tamd64\thalf-configured\t3.0.22-1~deb12u2\n")
    assert install.missing(PACKAGES) == ["openssl is half-configured 3.0.22-1~deb12u2, planned 3.0.22-1~deb12u2"]


# --- drain -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A runtime socket that knows one backend; `state` is what it shows of each server."""
    path, state = str(tmp_path / "s"), {"web1": "UP", "web2": "UP", "sessions": "0"}
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen()
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with server.accept()[0] as one:
                if line := one.recv(4096).decode().strip():
                    one.sendall(_answer(line, state).encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path, state
    over.set()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
        last.connect(path)
    thread.join(5)
    server.close()


def _answer(line: str, state: dict[str, str]) -> str:
    words = line.split()
    if words[:2] == ["set", "server"]:
        name = words[2].partition("/")[2]
        state[name] = {"drain": "DRAIN", "ready": "UP"}[words[4]]
        return "\n"
    rows = [f"webb,{name},{state['sessions']},{state[name]}" for name in ("web1", "web2")]
    return "\n".join(["# pxname,svname,scur,status", *rows, ""])


def balance(path: str, action: str, seconds: float) -> dict[str, object]:
    """As opsctl does: ask for it, then wait for it."""
    words = {"socket": path, "server": "web1", "action": action, "seconds": seconds}
    assert drain.main({**words, "ask": True}) == {"ok": True, "why": ""}
    return drain.main(words)


def test_drain_and_ready_are_asked_for_and_proved(haproxy: tuple[str, dict[str, str]]) -> None:
    path, state = haproxy
    told = balance(path, "drain", 2)
    assert (told["ok"], told["status"], state["web2"]) == (True, {"webb/web1": "DRAIN"}, "UP")
    told = balance(path, "ready", 2)
    assert (told["ok"], state["web1"]) == (True, "UP")


def test_to_wait_for_a_drain_asks_for_none(haproxy: tuple[str, dict[str, str]]) -> None:
    """Waiting does not go through the fence, and so must change nothing."""
    path, state = haproxy
    assert drain.main({"socket": path, "server": "web1", "action": "drain", "seconds": 0})["ok"] is False
    assert state["web1"] == "UP"


def test_sessions_that_do_not_end_are_told_of_and_not_cut(haproxy: tuple[str, dict[str, str]]) -> None:
    path, state = haproxy
    state["sessions"] = "3"
    told = balance(path, "drain", 0.3)
    assert (told["ok"], told["sessions"]) == (False, 3)


def test_a_server_that_no_backend_knows_is_said_so(haproxy: tuple[str, dict[str, str]]) -> None:
    told = drain.main({"socket": haproxy[0], "server": "web9", "action": "drain"})
    assert told == {"ok": False, "why": "no backend has a server called web9"}


POLICY = """\
opslab-library:
  Installed: 1.0-2
  Candidate: 1.0-3
  Version table:
     1.0-3 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
 *** 1.0-2 100
        100 /var/lib/dpkg/status
     1.0-1 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
libssl3:i386:
  Installed: 3.0-1
  Candidate: 3.0-1
  Version table:
 *** 3.0-1 -1
        500 http://mirror.example/debian bookworm/main i386 Packages
        100 /var/lib/dpkg/status
"""


def wanted(name: str, version: str) -> dict[str, str]:
    return {"name": name, "version": version}


def test_a_version_is_offered_where_a_mirror_has_it_and_not_where_it_is_only_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending, "run", lambda *words, check=False: POLICY)
    asked = [wanted("opslab-library", "1.0-2"), wanted("libssl3:i386", "3.0-1"), wanted("opslab-extra", "1.0")]
    assert pending.not_offered(asked, None) == ["opslab-library", "opslab-extra"]
    assert pending.not_offered([wanted("opslab-library", "1.0-1"), wanted("opslab-library", "1.0-3")], None) == []


def test_a_kept_copy_counts_for_a_downgrade_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "run", lambda *words, check=False: POLICY)
    for script in (pending, install):
        monkeypatch.setattr(script, "KEPT", str(tmp_path))
    copy = tmp_path / "opslab-library_1%3a1.0-2_all.deb"
    copy.touch()
    package = wanted("opslab-library", "1:1.0-2")
    assert pending.not_offered([package], downgrade=True) == []
    assert pending.not_offered([package], downgrade=False) == ["opslab-library"]
    assert pending.spec(package, downgrade=True) == install.spec(package, downgrade=True) == str(copy)
    assert pending.spec(package, downgrade=False) == install.spec(package, None) == "opslab-library=1:1.0-2"


def test_the_mirrors_states_are_the_hash_and_date_of_what_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "LISTS", str(tmp_path))
    (tmp_path / "m_dists_bookworm_InRelease").write_text("Origin: Debian\nDate: Sun, 22 Nov 2026 03:00:00 UTC\n")
    (tmp_path / "m_dists_own_Release").write_text("no date\n")
    (tmp_path / "m_dists_bookworm_main_binary-amd64_Packages").touch()
    found = pending.mirrors()
    assert [(one["name"], one["date"]) for one in found] == [
        ("m_dists_bookworm", "2026-11-22T03:00:00+00:00"), ("m_dists_own", None),
    ]  # fmt: skip
    assert len(found[0]["sha256"]) == 64


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Sun, 22 Nov 2026 03:00:00 UTC", "2026-11-22T03:00:00+00:00"),
        ("Sun,  1 Nov 2026 03:00:00 GMT", "2026-11-01T03:00:00+00:00"),
        ("Sun, 1 Nov 2026 03:00:00 +0000", "2026-11-01T03:00:00+00:00"),
        ("Sun, 22 Nov 2026 03:00:00 +0100", "2026-11-22T02:00:00+00:00"),
        ("Sun, 22 Nox 2026 03:00:00 UTC", None),
        ("yesterday", None),
    ],
)
def test_the_date_of_a_release_is_read_as_mirrors_write_it(written: str, read: str | None) -> None:
    assert pending.iso(written) == read


def test_a_snapshot_takes_the_mirrors_place_in_sources_of_the_transactions_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "etc/sources.list"
    (tmp_path / "etc/sources.list.d").mkdir(parents=True)
    sources.write_text("deb http://m/debian/ bookworm main\ndeb http://m/debian-security bookworm-security main\n")
    (tmp_path / "etc/sources.list.d/own.sources").write_text("Types: deb\nURIs: http://m/debian\nSuites: x\n")
    monkeypatch.setattr(install, "SOURCES", str(sources))
    monkeypatch.setattr(install, "APT", str(tmp_path / "apt"))
    asked: list[tuple[str, ...]] = []

    def command(*words: str) -> tuple[int, str]:
        asked.append(words)
        return 0, ""

    monkeypatch.setattr(install, "command", command)
    install.fetch_lists("patch-1", [["http://m/debian", "http://s/20261122/debian"]])
    made = tmp_path / "apt/patch-1/sources"
    assert (made / "sources.list.list").read_text() == (
        "deb http://s/20261122/debian bookworm main\ndeb http://m/debian-security bookworm-security main\n"
    )
    assert "URIs: http://s/20261122/debian\n" in (made / "own.sources").read_text()
    assert f"Dir::Etc::sourceparts={made}" in asked[0]
    assert sources.read_text().count("http://m/") == 2
    with pytest.raises(install.Refuse, match="none of its package sources is http://other"):
        install.fetch_lists("patch-1", [["http://other", "http://s"]])
