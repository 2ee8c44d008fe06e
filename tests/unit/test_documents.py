"""YAML that people write: every fault with its line, and typed values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsctl.documents import RESERVED, Problems, Section, read
from opsctl.errors import ConfigError, InventoryError


@pytest.fixture
def problems() -> Problems:
    return Problems()


def document(tmp_path: Path, problems: Problems, text: str | bytes) -> Section:
    file = tmp_path / "x.yml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(file, problems)


def told(problems: Problems) -> list[str]:
    """The problems as printed, without the folder."""
    return [str(problem).rpartition("/")[2] for problem in problems.found]


def test_typed_values_are_read(tmp_path: Path, problems: Problems) -> None:
    found = document(
        tmp_path,
        problems,
        "text: Ånge kommun\nname: ange-web1\nkind: b\ncount: -3\nflag: no\naddress: 2001:DB8::0001\n"
        "list: [a, 2]\nbelow: {x: 1}\nmany:\n  - {n: 1}\n  - {n: 2}\n",
    )
    assert found.text("text") == "Ånge kommun"
    assert found.name("name") == "ange-web1"
    assert found.one_of("kind", ("a", "b"), "a") == "b"
    assert found.number("count", 1, low=-5, high=5) == -3
    assert found.flag("flag", default=True) is False
    assert found.address("address") == "2001:db8::1"
    assert found.texts("list") == ("a", "2")
    assert found.section("below").number("x", 0, low=0, high=9) == 1
    assert [one.number("n", 0, low=0, high=9) for one in found.sections("many")] == [1, 2]
    found.done()
    problems.finish()


def test_defaults_stand_in_for_what_is_not_given(tmp_path: Path, problems: Problems) -> None:
    found = document(tmp_path, problems, "text:\n")
    assert found.text("text", "d") == "d"
    assert found.one_of("kind", ("a", "b"), "a") == "a"
    assert found.number("count", 7, low=0, high=9) == 7
    assert found.flag("flag", default=True) is True
    assert found.texts("list", ("x",)) == ("x",)
    assert list(found.sections("many")) == []
    assert found.section("below").text("x", "d") == "d"
    assert not problems.found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("count: many", "x.yml:1: count: 'many' is not allowed (a whole number from 0 to 9)"),
        ("count: 10", "x.yml:1: count: '10' is not allowed (a whole number from 0 to 9)"),
        ("count: ٣", "x.yml:1: count: '٣' is not allowed (a whole number from 0 to 9)"),
        ("count: [1]", "x.yml:1: count is not a single value"),
        ("\nflag: maybe", "x.yml:2: flag: 'maybe' is not allowed (true or false)"),
        ("kind: c", "x.yml:1: kind: 'c' is not known (one of: a, b)"),
        ("address: 10.0.0.256", "x.yml:1: address: '10.0.0.256' is not an IP address"),
        ("name: -oProxyCommand=id", "x.yml:1: name: '-oProxyCommand=id' is not allowed (lower-case letters,"),
        ("name: all", "x.yml:1: name: 'all' is a reserved word"),
        ('text: "a\\eb"', "x.yml:1: text holds control characters"),
        ("list: x", "x.yml:1: list is not a list of values"),
        ("list: [[x]]", "x.yml:1: list is not a list of values"),
        ("below: 1", "x.yml:1: below is not a mapping"),
        ("many: 1", "x.yml:1: many is not a list"),
        ("many:\n- 1", "x.yml:2: an entry of many is not a mapping"),
        ("colour: blue", "x.yml:1: 'colour' is not known here (known: address, below,"),
        ("flag: yes\nflag: no", "x.yml:2: flag is given twice"),
    ],
)
def test_each_fault_is_told_with_its_line(tmp_path: Path, problems: Problems, text: str, fault: str) -> None:
    found = document(tmp_path, problems, text)
    found.number("count", 1, low=0, high=9)
    found.flag("flag", default=True)
    found.one_of("kind", ("a", "b"), "a")
    found.address("address")
    found.name("name")
    found.text("text")
    found.texts("list")
    found.section("below")
    assert not list(found.sections("many"))
    found.done()
    assert len(problems.found) == 1
    assert told(problems)[0].startswith(fault)


def test_a_required_value_that_is_missing_is_told_at_its_section(tmp_path: Path, problems: Problems) -> None:
    found = document(tmp_path, problems, "\n\nhosts:\n- {address: 192.0.2.1}\n")
    for host in found.sections("hosts"):
        host.name("name", required=True)
    assert told(problems) == ["x.yml:4: name is missing"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a: [1\nb: 2\n", "not YAML"),
        (b"a: 1\n--- \nb: 2\n", "not YAML"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"a: \x00", "not YAML"),
        (b"- a\n", "not a mapping"),
        (b"just text", "not a mapping"),
        (b"a: *nowhere\n", "not YAML"),
    ],
)
def test_what_is_no_document_is_one_problem_and_an_empty_section(
    tmp_path: Path, problems: Problems, content: bytes, fault: str
) -> None:
    found = document(tmp_path, problems, content)
    # What stands in no document is not reported as missing on top of that.
    assert found.text("a", required=True) == ""
    assert len(problems.found) == 1
    assert fault in problems.found[0].what


def test_a_missing_file_is_a_problem(tmp_path: Path, problems: Problems) -> None:
    read(tmp_path / "none.yml", problems)
    assert told(problems) == ["none.yml: no such file"]


def test_an_empty_file_is_an_empty_section(tmp_path: Path, problems: Problems) -> None:
    assert document(tmp_path, problems, "# only a comment\n").keys() == ()
    assert not problems.found


def test_tags_make_no_objects(tmp_path: Path, problems: Problems) -> None:
    found = document(tmp_path, problems, "a: !!python/object/apply:os.system ['touch owned']\n")
    assert found.text("a") == ""
    assert told(problems) == ["x.yml:1: a is not a single value"]
    assert not (tmp_path / "owned").exists()


def test_all_problems_are_raised_together_as_the_named_error(tmp_path: Path, problems: Problems) -> None:
    found = document(tmp_path, problems, "a: x\nb: y\n")
    found.done()
    with pytest.raises(InventoryError, match="2 faults found") as caught:
        problems.finish(InventoryError)
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="not usable"):
        problems.finish(ConfigError, "opsctl.yml is not usable")


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_words_with_a_meaning_elsewhere_are_no_names(tmp_path: Path, problems: Problems, word: str) -> None:
    document(tmp_path, problems, f"name: {word}\n").name("name")
    assert len(problems.found) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_content_whatever_ends_in_anything_but_problems(tmp_path: Path, content: bytes) -> None:
    found = document(tmp_path, Problems(), content)
    keys = found.keys()
    for key in keys:
        found.text(key)
        found.section(key)
        list(found.sections(key))
    found.done()


@pytest.mark.parametrize("text", ["x: '" + "[" * 600 + "'\n", "x: '" + "]" * 600 + "'\n", "x: '" + " - " * 600 + "'\n"])
def test_brackets_in_quotes_are_words(tmp_path: Path, problems: Problems, text: str) -> None:
    assert document(tmp_path, problems, text).has("x")
    assert not problems.found


@pytest.mark.parametrize(
    "text", ["x: " + "[" * 100_000, "y: '" + "]" * 100_000 + "'\nx: " + "[" * 100_000, "- " * 100_000]
)
def test_a_file_that_is_deep_is_a_fault_and_no_crash(tmp_path: Path, problems: Problems, text: str) -> None:
    document(tmp_path, problems, text)
    assert "levels within each other" in told(problems)[0]
