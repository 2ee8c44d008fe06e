"""Reports on patching as people meet them: in a real Chromium, wide and narrow, light and dark, judged by axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from opsctl.errors import HostFailed
from opsctl.model.probing import Probed, Probing
from opsctl.patch import sheets
from opsctl.patch.story import story
from opsctl.report.words import LANGUAGES
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.pages import Browser, browser, read_by_everybody
from tests.unit import test_patch_account as periods
from tests.unit import test_patch_story as rollouts
from tests.unit.test_rollout_drive import START, STOCK, World


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def test_the_judge_finds_what_is_wrong_with_a_page(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<html><body><h1>A</h1><h3 style="width:2000px">B</h3><img src="http://192.0.2.1/a.png"></body></html>'
    )
    found = " ".join(read_by_everybody(chromium, page, widths=(320,), schemes=("light",)))
    for fault in ("html-has-lang", "document-title", "image-alt", "heading-order", "wider than", "asks for http"):
        assert fault in found


@pytest.mark.parametrize("language", LANGUAGES)
def test_everybody_can_read_the_report_of_a_rollout(chromium: Browser, tmp_path: Path, language: str) -> None:
    """One with all that a page of it may hold: an emergency, a failure, a rehearsal, services that were away."""
    seen = Probing(
        at=START, services=(Probed(service="db", target="tcp 192.0.2.9:5432", hosts=("ange.db1",), answered=9),)
    )
    with Store.open(tmp_path / "state") as store:
        state = rollouts.with_packages(store, emergency="CVE-2027-0001 is exploited")
        rollouts.rehearsed(store, state)
        failed: list[Exception] = [HostFailed("ange.web1", "its post-install script failed")]
        rollouts.run(store, state, rollouts.Keeps(World(), trouble={("install", "ange.web1"): failed}))
        told = replace(story(store, Ledger(store), STOCK, state.plan.id, START), probing=seen)
    page = tmp_path / "rollout.html"
    page.write_text(sheets.story_page(told, language), encoding="utf-8")
    assert read_by_everybody(chromium, page) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_everybody_can_read_the_report_of_a_year(chromium: Browser, tmp_path: Path, language: str) -> None:
    with Store.open(tmp_path / "state") as store:
        stock = periods.year(store, hosts=60, each=12)
        text = sheets.account_page(periods.account(store, tmp_path, stock), language)
    page = tmp_path / "year.html"
    page.write_text(text, encoding="utf-8")
    assert read_by_everybody(chromium, page) == []
