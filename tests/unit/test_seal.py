"""The seal of a report folder: what it proves, to whom, and that no byte of it can be changed unseen."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsctl.errors import Refused, StoreError
from opsctl.report import seal, verify
from opsctl.state import reportkey
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LINKS = (("run-1", "1" * 64), ("run-2", "2" * 64), ("run-3", "3" * 64))
# RFC 8032, section 7.1: secret key (not needed here), public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.fixture(scope="module", name="key")
def _key(tmp_path_factory: pytest.TempPathFactory) -> reportkey.ReportKey:
    return reportkey.make(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module", name="sealed")
def _sealed(tmp_path_factory: pytest.TempPathFactory, key: reportkey.ReportKey) -> Path:
    return made(tmp_path_factory.mktemp("report") / "report", key)


def made(folder: Path, key: reportkey.ReportKey | None, links: tuple[seal.Link, ...] = LINKS) -> Path:
    (folder / "pages").mkdir(parents=True)
    (folder / "compliance.json").write_text('{"a": "å"}\n', encoding="utf-8")
    (folder / "pages" / "host-ange-web1.html").write_text("<p>report</p>\n", encoding="utf-8")
    seal.seal(folder, run=links[-1][0], links=links, key=key)
    return folder


def public(key: reportkey.ReportKey) -> bytes:
    return verify.public_key(key.public.encode())


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_are_judged_as_rfc_8032_wants_it(key: str, message: str, signature: str) -> None:
    octets, text, good = (bytes.fromhex(part) for part in (key, message, signature))
    assert verify.signature_holds(octets, text, good)
    assert not verify.signature_holds(octets, text + b"x", good)
    for place in (0, 31, 32, 63):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        assert not verify.signature_holds(octets, text, bad)
    # The same number again, larger by the order of the group, is refused (5.1.7, step 1).
    larger = (int.from_bytes(good[32:], "little") + verify._L).to_bytes(32, "little")
    assert not verify.signature_holds(octets, text, good[:32] + larger)
    assert not verify.signature_holds(octets, text, good[:63])
    assert not verify.signature_holds(b"\xff" * 32, text, good)


def test_a_sealed_report_is_verified_with_the_key_that_one_has(sealed: Path, key: reportkey.ReportKey) -> None:
    found = verify.verify(sealed, public(key))
    assert (found.faults, found.trusted, found.run, found.files) == ([], True, "run-3", 7)
    assert found.message.startswith("verified: 7 files of run run-3, signed with the key that you gave")


def test_without_a_key_it_is_intact_and_nobody_knows_whose(sealed: Path) -> None:
    found = verify.verify(sealed)
    assert (found.faults, found.trusted) == ([], False)
    assert found.message.startswith("intact, signer not verified")


def test_another_key_does_not_do(sealed: Path, tmp_path: Path) -> None:
    found = verify.verify(sealed, public(reportkey.make(tmp_path)))
    assert found.faults == ["the signature does not hold with the key that you gave"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_breaks_it(sealed: Path, key: reportkey.ReportKey, data: st.DataObject) -> None:
    files = sorted(path for path in sealed.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    whole = file.read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    try:
        assert verify.verify(sealed, public(key)).faults
        assert verify.verify(sealed).faults, "also for whoever has no key"
    finally:
        file.write_bytes(whole)
    assert not verify.verify(sealed, public(key)).faults


def test_a_file_more_a_file_less_and_a_link_break_it(sealed: Path, key: reportkey.ReportKey, tmp_path: Path) -> None:
    for name, told in (("pages/more.html", "'pages/more.html' is not part"), (".hidden", "'.hidden' is not part")):
        (sealed / name).write_text("")
        assert told in verify.verify(sealed, public(key)).faults[0]
        (sealed / name).unlink()
    page = sealed / "pages" / "host-ange-web1.html"
    page.rename(tmp_path / "aside")
    assert verify.verify(sealed, public(key)).faults == ["pages/host-ange-web1.html is missing"]
    page.symlink_to(tmp_path / "aside")
    assert verify.verify(sealed, public(key)).faults == ["pages/host-ange-web1.html is missing"]
    page.unlink()
    (tmp_path / "aside").rename(page)
    assert not verify.verify(sealed, public(key)).faults


def test_who_takes_the_signature_away_gains_nothing(sealed: Path, key: reportkey.ReportKey, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sealed, tmp_path / "copy"))
    (copy / verify.SIGNATURE).unlink()
    assert verify.verify(copy, public(key)).faults
    (copy / verify.SIGNER).unlink()
    seal.seal(copy, run="run-3", links=LINKS, key=None)
    assert verify.verify(copy, public(key)).faults == ["it is not signed"]
    bare = verify.verify(copy)
    assert (bare.faults, bare.trusted, bare.message[:18]) == ([], False, "intact, not signed")


def test_the_chain_goes_on_from_an_earlier_report_or_does_not(key: reportkey.ReportKey, tmp_path: Path) -> None:
    earlier = made(tmp_path / "one", key, LINKS[:1])
    later = made(tmp_path / "three", key, LINKS)
    rewritten = made(tmp_path / "other", key, (("run-1", "9" * 64), *LINKS[1:]))
    assert not verify.verify(later, public(key), str(earlier)).faults
    assert not verify.verify(later, public(key), seal.head(LINKS[:2])).faults
    assert "cut out or rewritten" in verify.verify(rewritten, public(key), str(earlier)).faults[0]
    assert "cut out or rewritten" in verify.verify(earlier, public(key), str(later)).faults[0]
    assert "neither a report nor a chain" in verify.verify(later, public(key), "nothing").faults[0]


def test_the_same_report_and_key_give_the_same_bytes(sealed: Path, key: reportkey.ReportKey, tmp_path: Path) -> None:
    again = made(tmp_path / "again", key)
    assert (again / verify.SUMS).read_bytes() == (sealed / verify.SUMS).read_bytes()
    assert (again / verify.SIGNATURE).read_bytes() == (sealed / verify.SIGNATURE).read_bytes()


def test_the_program_beside_the_report_needs_the_standard_library_alone(
    sealed: Path, key: reportkey.ReportKey, tmp_path: Path
) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text(key.public)
    program = [sys.executable, "-I", "-S", str(sealed / seal.PROGRAM)]

    def ran(*words: str) -> tuple[int, str]:
        done = subprocess.run([*program, *words], capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    code, said = ran("--key", str(pem), "--previous", seal.head(LINKS[:1]))
    assert (code, said.splitlines()[0][:9]) == (0, "verified:"), said
    code, said = ran()
    assert (code, said[:27]) == (1, "intact, signer not verified")
    copy = Path(shutil.copytree(sealed, tmp_path / "copy"))
    (copy / "compliance.json").write_text('{"a": "a"}\n')
    code, said = ran(str(copy), "--key", str(pem))
    assert (code, said.splitlines()[:2]) == (1, ["BROKEN: 1 fault", "  compliance.json was changed"])
    pem.write_text("nothing")
    assert ran("--key", str(pem))[0] == 1


def commands(sealed: Path) -> list[str]:
    """The command lines of the text for auditors, as it stands beside the report."""
    text = (sealed / seal.STEPS).read_text(encoding="utf-8")
    return [line.strip() for line in re.findall(r"(?m)^ {5}(\S.*)$", text)]


def test_the_steps_for_auditors_work_word_for_word(sealed: Path, key: reportkey.ReportKey, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sealed, tmp_path / "copy"))
    steps = commands(copy)
    assert [step.split()[0] for step in steps] == ["sha256sum", "openssl", "openssl", "python3", "python3"]
    steps = [step.replace("CHAIN-OR-FOLDER-OF-AN-EARLIER-REPORT", seal.head(LINKS[:2]))
             for step in steps]  # fmt: skip
    (tmp_path / "key.pem").write_text(key.public)

    def ran(step: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", step], cwd=copy, capture_output=True, text=True, check=False)

    done = [ran(step) for step in steps]
    assert [one.returncode for one in done] == [0] * 5, [one.stderr for one in done]
    assert len(done[0].stdout.splitlines()) == 7
    assert done[1].stdout.split()[0] == verify.fingerprint(public(key))
    assert done[1].stdout.split()[0] in (copy / seal.STEPS).read_text()
    assert "Signature Verified Successfully" in done[2].stdout
    sums = (copy / verify.SUMS).read_text()
    (copy / "compliance.json").write_text("{}\n")
    assert ran(steps[0]).returncode != 0
    (copy / verify.SUMS).write_text(sums.replace("a", "b", 1))
    assert ran(steps[2]).returncode != 0


def test_a_folder_with_somebody_elses_files_is_neither_cleared_nor_sealed(sealed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sealed, tmp_path / "copy"))
    (copy / "notes.txt").write_text("precious")
    with pytest.raises(Refused, match=r"holds notes\.txt, which is no part of a report"):
        seal.clear(copy)
    (copy / "notes.txt").unlink()
    seal.clear(copy)
    assert [file.name for file in copy.iterdir()] == [seal.UNSEALED]
    seal.clear(tmp_path / "not there")


def test_what_a_kill_left_half_written_is_no_report_and_stands_in_nobodys_way(
    key: reportkey.ReportKey, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    seal.clear(folder)
    (folder / "page.html").write_text("half")
    assert "'.unsealed' is not part of the report" in verify.verify(folder).faults
    seal.clear(folder)
    (folder / "page.html").write_text("whole")
    seal.seal(folder, run="run-3", links=LINKS, key=key)
    assert verify.verify(folder, public(key)).faults == []
    (aside,) = tmp_path.glob("report.unfinished-*")
    assert (aside / "page.html").read_text() == "half"


def test_the_chain_is_the_ledgers_runs_in_order(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        ledger = Ledger(store)
        for number, tenants in enumerate((("ange", "sundsvall"), ("sundsvall",), ("ange",))):
            with ledger.act("comply", (), {}, "anna", lambda: NOW) as act:
                parts = {tenant: {"report_sha256": f"{number}" * 63 + tenant[0]} for tenant in tenants}
                act.detail |= {"run": f"run-{number}", "report_sha256": f"{number}" * 64, "parts": parts}
        with ledger.act("provision", (), {}, "anna", lambda: NOW):
            pass
        whole = seal.chain(ledger, "run-1", "1" * 64)
        assert whole == (("run-0", "0" * 64), ("run-1", "1" * 64)), "later ones are none of its"
        part = seal.chain(ledger, "run-2", "2" * 63 + "a", "ange")
        assert part == (("run-0", "0" * 63 + "a"), ("run-2", "2" * 63 + "a"))
        killed = seal.chain(ledger, "run-9", "9" * 64)
        assert killed[-1] == ("run-9", "9" * 64)
        assert len(killed) == 4


def test_the_key_is_made_once_and_read_by_nobody_else(tmp_path: Path) -> None:
    assert reportkey.load(tmp_path) is None
    made_once = reportkey.make(tmp_path)
    path = tmp_path / reportkey.FILE
    assert path.stat().st_mode & 0o777 == 0o640
    assert "PRIVATE" not in repr(made_once)
    assert [file.name for file in tmp_path.iterdir()] == [reportkey.FILE]
    with pytest.raises(Refused, match="is there already"):
        reportkey.make(tmp_path)
    found = reportkey.load(tmp_path)
    assert found is not None
    assert found.public == made_once.public
    path.chmod(0o644)
    with pytest.raises(StoreError, match="can be read by everybody"):
        reportkey.load(tmp_path)
    path.chmod(0o640)
    path.write_text("nothing")
    with pytest.raises(StoreError, match="is damaged"):
        reportkey.load(tmp_path)


def test_the_seal_says_which_report_came_before(sealed: Path) -> None:
    document = json.loads((sealed / verify.SEAL).read_text())
    assert document["previous"] == {"run": "run-2", "chain": seal.head(LINKS[:2])}
    assert document["chain"] == seal.head(LINKS)
