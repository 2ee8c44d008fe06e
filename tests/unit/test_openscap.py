"""The comparison with OpenSCAP, as far as no host is needed: reading, comparing, its profile, the page of reasons."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from opsctl.compliance import catalogue as catalogues
from tests.openscap.explained import EXPLAINED, table
from tests.openscap.scanner import mapped
from tests.openscap.tailoring import PREFIX, tailoring
from tests.openscap.verdicts import Disagreement, compare, of_control, read

PAGE = Path(__file__).parents[2] / "docs/explanation/openscap.md"
XCCDF = "http://checklists.nist.gov/xccdf/1.2"
STREAM = f"""\
<x:Benchmark xmlns:x="{XCCDF}">
  <x:Profile id="xccdf_org.ssgproject.content_profile_cis_level2_server">
    <x:select idref="{PREFIX}other" selected="true"/>
    <x:refine-value idref="value_umask" selector="027"/>
  </x:Profile>
  <x:Profile id="xccdf_org.ssgproject.content_profile_standard">
    <x:refine-value idref="value_umask" selector="077"/>
  </x:Profile>
  <x:Group id="outer"><x:Group id="inner"><x:Rule id="{PREFIX}wanted"/><x:Rule id="{PREFIX}other"/></x:Group></x:Group>
</x:Benchmark>
"""


def test_results_are_read_line_by_line_and_the_unknown_is_an_error() -> None:
    output = f"{PREFIX}one:pass\n{PREFIX}kernel_module_usb-storage_disabled:fail\nWARNING: x\n{PREFIX}three:unknown\n"
    assert read(output) == {"one": "pass", "kernel_module_usb-storage_disabled": "fail", "three": "error"}


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ({"a": "pass", "b": "pass"}, "pass"),
        ({"a": "pass", "b": "fail"}, "fail"),
        ({"a": "pass", "b": "notapplicable"}, "pass"),
        ({"a": "notapplicable", "b": "notapplicable"}, "notapplicable"),
        ({"a": "error", "b": "pass"}, "error"),
        ({"a": "pass"}, "notchecked"),
    ],
)
def test_a_control_passes_when_every_rule_that_applies_does(results: dict[str, str], verdict: str) -> None:
    assert of_control(("a", "b"), results) == verdict


def test_only_what_both_judged_is_compared() -> None:
    rules = {"X-1": ("a",), "X-2": ("b",), "X-3": ("c",), "X-4": ("d",)}
    ours = {"X-1": "pass", "X-2": "pass", "X-3": "notapplicable", "X-4": "fail"}
    both, found = compare(ours, rules, {"a": "pass", "b": "fail", "c": "fail", "d": "notapplicable"})
    assert both == ["X-1", "X-2"]
    assert found == [Disagreement(control="X-2", ours="pass", theirs="fail", rules=("b",))]


def test_the_profile_selects_the_rules_all_groups_and_the_values_of_cis(tmp_path: Path) -> None:
    (tmp_path / "stream.xml").write_text(STREAM)
    profile = ElementTree.fromstring(tailoring(tmp_path / "stream.xml", ["wanted"])).find(f"{{{XCCDF}}}Profile")
    assert profile is not None
    selected = {one.get("idref") for one in profile.iter(f"{{{XCCDF}}}select")}
    assert selected == {"outer", "inner", f"{PREFIX}wanted"}
    assert [one.get("selector") for one in profile.iter(f"{{{XCCDF}}}refine-value")] == ["027"]
    with pytest.raises(ValueError, match="never"):
        tailoring(tmp_path / "stream.xml", ["never"])


def test_the_page_gives_the_same_reasons_as_the_comparison_accepts() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition("|---|---|---|---|\n")[2] == table()
    named = [(control, row.ours, row.theirs) for row in EXPLAINED for control in row.controls]
    assert len(named) == len(set(named))
    assert {control for control, _, _ in named} <= set(mapped())
    assert len(mapped()) == sum(1 for one in catalogues.load().controls if one.maps.get("ssg_rule")) == 96
