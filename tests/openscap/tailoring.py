"""A profile of exactly the rules that the catalogue maps, with the values of the content's CIS profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

PROFILE = "xccdf_opsctl_profile_mapped"
VALUES_OF = "xccdf_org.ssgproject.content_profile_cis_level2_server"
PREFIX = "xccdf_org.ssgproject.content_rule_"
_XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Tailoring xmlns="http://checklists.nist.gov/xccdf/1.2" id="xccdf_opsctl_tailoring_mapped">\n'
    '<version time="2026-01-01T00:00:00">1</version>\n'
    f'<Profile id="{PROFILE}"><title>Rules that the catalogue maps</title>\n'
)


def tailoring(stream: Path, rules: Iterable[str]) -> str:
    """The tailoring file for these rules, given without their prefix. Raises ValueError for rules that there are not.

    A rule is only judged when every group around it is selected too, and no profile selects those of all these rules.
    """
    known: set[str] = set()
    lines: list[str] = []
    for element in _elements(stream):
        if element.tag == f"{_XCCDF}Rule":
            known.add(element.get("id", ""))
        elif element.tag == f"{_XCCDF}Group":
            lines.append(_select(element.get("id", "")))
        elif element.get("id") == VALUES_OF:
            lines += [_refine(one) for one in element.iter(f"{_XCCDF}refine-value")]
    wanted = {PREFIX + rule for rule in rules}
    if missing := wanted - known:
        raise ValueError(f"the content has no rules {', '.join(sorted(missing))}")
    lines += [_select(rule) for rule in sorted(wanted)]
    return _HEAD + "".join(sorted(lines)) + "</Profile>\n</Tailoring>\n"


def _elements(stream: Path) -> Iterator[ElementTree.Element]:
    for _, element in ElementTree.iterparse(stream):  # a package of Debian's, not a host's word
        if element.tag in (f"{_XCCDF}Rule", f"{_XCCDF}Group", f"{_XCCDF}Profile"):
            yield element


def _select(name: str) -> str:
    return f'<select idref={quoteattr(name)} selected="true"/>\n'


def _refine(value: ElementTree.Element) -> str:
    name, selector = value.get("idref", ""), value.get("selector", "")
    return f"<refine-value idref={quoteattr(name)} selector={quoteattr(selector)}/>\n"
