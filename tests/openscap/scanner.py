"""Judges a booted lab host with OpenSCAP, on the host itself: from outside, file rules pass without looking."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from opsctl import lab
from opsctl.compliance import catalogue as catalogues
from opsctl.lab.place import Place
from tests.openscap import content, verdicts
from tests.openscap.tailoring import PROFILE, tailoring

_FOLDER = "/var/tmp/openscap"
_INSTALL = """\
set -e
export DEBIAN_FRONTEND=noninteractive
mkdir -p {folder}; cd {folder}
apt-get -qq update
apt-get -qq -y --no-install-recommends install {packages} >/dev/null
for file in stream.xml tailoring.xml; do curl -sSfO {mirror}/openscap/$file; done
"""
_REMOVE = "rm -r {folder}; apt-get -qq -y purge --autoremove {packages} >/dev/null"
_EVALUATE = "cd {folder} && oscap xccdf eval --progress --tailoring-file tailoring.xml --profile {profile} stream.xml"


def mapped() -> dict[str, tuple[str, ...]]:
    """The rules of each control that the catalogue maps to some."""
    found = {control.id: control.maps.get("ssg_rule", ()) for control in catalogues.load().controls}
    return {control: tuple(rules) for control, rules in found.items() if rules}


def offer(name: str, rules: Iterable[str]) -> None:
    """Puts the scanner, the content and the profile of these rules on the lab's mirror."""
    place = Place(name=name)
    judge = content.of_lab(place)
    lab.stock(name, judge.debs)
    folder = place.mirror / "openscap"
    folder.mkdir()
    shutil.copyfile(judge.stream, folder / "stream.xml")
    (folder / "tailoring.xml").write_text(tailoring(judge.stream, rules), encoding="utf-8")


def results(name: str, host: str) -> dict[str, str]:
    """Rule and result of one host, which afterwards is without the scanner again."""
    words = {"folder": _FOLDER, "packages": " ".join(content.SCANNER), "profile": PROFILE}
    words["mirror"] = lab.description(name).mirror
    _inside(name, host, _INSTALL.format(**words))
    try:
        ran = lab.execute(name, host, ["sh", "-c", _EVALUATE.format(**words)], timeout=600)
        assert ran.returncode in (0, 2), ran.stderr  # oscap(8): 2 when a rule failed
        return verdicts.read(ran.stdout)
    finally:
        _inside(name, host, _REMOVE.format(**words))


def _inside(name: str, host: str, script: str) -> None:
    ran = lab.execute(name, host, ["sh", "-c", script], timeout=600)
    assert ran.returncode == 0, ran.stderr
