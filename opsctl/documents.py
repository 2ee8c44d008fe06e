"""YAML files that people write, read with the line of every fault.

`read(path)` gives a `Section`; its readers (`text`, `number`, `one_of`, ...) return typed values and note a
`Problem` with file:line for what is missing, wrong or unknown. Nothing is raised until `finish`, so one run shows
every fault of a file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from opsctl.errors import ConfigError, Problem, SetupError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NAME_RULE = "lower-case letters, digits and inner hyphens, at most 63"
# Names that mean something to Ansible, ssh or the resolver: never a host's or a tenant's.
RESERVED = frozenset({"all", "ungrouped", "localhost", "none", "any", "default", "self", "example"})

DEEPEST = 500

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Problems:
    """Collects the faults of one or more files; `finish` raises them together."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def note(self, where: str, what: str, allowed: str = "") -> None:
        self.found.append(Problem(where=where, what=what, allowed=allowed))

    def finish(self, error: type[SetupError] = ConfigError, message: str = "") -> None:
        if self.found:
            count = len(self.found)
            raise error(message or f"{count} fault{'s' if count > 1 else ''} found", problems=tuple(self.found))


def read(path: Path, problems: Problems) -> Section:
    """The mapping at the top of a YAML file; a file that cannot be read is a problem, and an empty section."""
    empty = yaml.MappingNode("tag:yaml.org,2002:map", [])
    try:
        text = path.read_text(encoding="utf-8")
        if _too_deep(text):
            problems.note(str(path), f"more than {DEEPEST} levels within each other")
            return Section(empty, path, problems, broken=True)
        node = yaml.compose(text, Loader=_Loader)
    except FileNotFoundError:
        problems.note(str(path), "no such file")
        return Section(empty, path, problems, broken=True)
    except (OSError, UnicodeDecodeError) as error:
        problems.note(str(path), f"cannot be read: {error}")
        return Section(empty, path, problems, broken=True)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problems.note(f"{path}:{mark.line + 1}" if mark else str(path), f"not YAML: {error.problem}")
        return Section(empty, path, problems, broken=True)
    except yaml.YAMLError as error:
        problems.note(str(path), f"not YAML: {error}")
        return Section(empty, path, problems, broken=True)
    if node is None:
        return Section(empty, path, problems)
    if not isinstance(node, yaml.MappingNode):
        problems.note(f"{path}:{node.start_mark.line + 1}", "not a mapping of options")
        return Section(empty, path, problems, broken=True)
    return Section(node, path, problems)


_NOTHING = yaml.MappingNode("tag:yaml.org,2002:map", [])


def nowhere(name: str, problems: Problems) -> Section:
    """An empty section for what was read from no file; `name` stands for it in faults."""
    return Section(_NOTHING, name, problems, broken=True)


def _too_deep(text: str) -> bool:
    """libyaml composes by recursion in C and crashes some ten thousand levels down; no file of ours has a hundred.

    Its parser does not recurse, but is slow: it is asked only where the text might be deep. Brackets within quotes are
    often foreign words, and mean nothing.
    """
    depth = 0
    for mark in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if mark.group() in "[{" else max(depth - 1, 0)
        if depth > DEEPEST:
            return _parsed_too_deep(text)
    long_lines = (line for line in text.splitlines() if len(line) > DEEPEST)
    return any(len(re.findall(r"[-?]\s", line)) > DEEPEST for line in long_lines) and _parsed_too_deep(text)


def _parsed_too_deep(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            return True
    return False


class Section:
    """One mapping of a file. Every reader takes the key away; `done` notes what nobody asked for."""

    def __init__(self, node: yaml.MappingNode, path: Path | str, problems: Problems, *, broken: bool = False) -> None:
        self.path = path
        self.problems = problems
        self.broken = broken
        self._node = node
        self._asked: set[str] = set()
        self._values: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in self._values:
                problems.note(self._place(key), f"{name} is given twice")
            self._values[name] = (key, value)

    def _place(self, node: yaml.Node | None = None) -> str:
        mark = (node or self._node).start_mark
        return f"{self.path}:{mark.line + 1}" if mark is not None else str(self.path)

    @property
    def where(self) -> str:
        """file:line of this section."""
        return self._place()

    def line_of(self, key: str) -> str:
        """file:line of a key, or of the section where the key is not given."""
        pair = self._values.get(key)
        return self._place(pair[0] if pair else None)

    def wrong(self, key: str, what: str, allowed: str = "") -> None:
        """Note a fault at a key that was read already."""
        self.problems.note(self.line_of(key), what, allowed)

    def _value(self, key: str, *, required: bool = False) -> yaml.Node | None:
        self._asked.add(key)
        pair = self._values.get(key)
        if pair is None or (isinstance(pair[1], yaml.ScalarNode) and pair[1].tag.endswith(":null")):
            if required and not self.broken:
                self.problems.note(self.line_of(key), f"{key} is missing")
            return None
        return pair[1]

    def has(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        return tuple(self._values)

    def _scalar(self, key: str, *, required: bool) -> str | None:
        node = self._value(key, required=required)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            self.problems.note(self._place(node), f"{key} is not a single value")
            return None
        return str(node.value)

    def text(
        self,
        key: str,
        default: str = "",
        *,
        required: bool = False,
        pattern: re.Pattern[str] | None = None,
        allowed: str = "",
    ) -> str:
        found = self._scalar(key, required=required)
        if found is None:
            return default
        if pattern is not None and not pattern.fullmatch(found):
            self.wrong(key, f"{key}: {found!r} is not allowed", allowed or f"must match {pattern.pattern}")
            return default
        if _CONTROL.search(found):
            self.wrong(key, f"{key} holds control characters")
            return default
        return found

    def name(self, key: str, default: str = "", *, required: bool = False) -> str:
        found = self.text(key, default, required=required, pattern=NAME, allowed=NAME_RULE)
        if found in RESERVED:
            self.wrong(key, f"{key}: {found!r} is a reserved word")
        return found

    def one_of(self, key: str, choices: tuple[str, ...], default: str) -> str:
        found = self.text(key, default)
        if found not in choices:
            self.wrong(key, f"{key}: {found!r} is not known", "one of: " + ", ".join(choices))
            return default
        return found

    def number(self, key: str, default: int, *, low: int, high: int) -> int:
        found = self._scalar(key, required=False)
        if found is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,12}", found) or not low <= int(found) <= high:
            self.wrong(key, f"{key}: {found!r} is not allowed", f"a whole number from {low} to {high}")
            return default
        return int(found)

    def flag(self, key: str, *, default: bool) -> bool:
        found = self._scalar(key, required=False)
        if found is None:
            return default
        if found.lower() not in ("true", "false", "yes", "no", "on", "off"):
            self.wrong(key, f"{key}: {found!r} is not allowed", "true or false")
            return default
        return found.lower() in ("true", "yes", "on")

    def address(self, key: str, default: str = "", *, required: bool = False) -> str:
        """An IPv4 or IPv6 address, in its normal form."""
        found = self.text(key, default, required=required)
        if not found:
            return default
        try:
            return str(ipaddress.ip_address(found))
        except ValueError:
            self.wrong(key, f"{key}: {found!r} is not an IP address")
            return default

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        node = self._value(key)
        if node is None:
            return default
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(v, yaml.ScalarNode) for v in node.value):
            self.problems.note(self._place(node), f"{key} is not a list of values")
            return default
        return tuple(str(v.value) for v in node.value)

    def values(self) -> dict[str, int | str | tuple[str, ...]]:
        """Every key with a number, a text or a list of texts, for mappings whose keys the file itself decides."""
        found: dict[str, int | str | tuple[str, ...]] = {}
        for key, (_, node) in self._values.items():
            if isinstance(node, yaml.SequenceNode):
                found[key] = self.texts(key)
            elif isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int"):
                found[key] = self.number(key, 0, low=0, high=1_000_000_000)
            else:
                found[key] = self.text(key)
        return found

    def section(self, key: str) -> Section:
        """A mapping below this one; an empty one where the key is not given."""
        node = self._value(key)
        if isinstance(node, yaml.MappingNode):
            return Section(node, self.path, self.problems)
        if node is not None:
            self.problems.note(self._place(node), f"{key} is not a mapping")
        return Section(yaml.MappingNode("tag:yaml.org,2002:map", []), self.path, self.problems, broken=True)

    def sections(self, key: str) -> Iterator[Section]:
        """The mappings of a list, one after the other."""
        node = self._value(key)
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.problems.note(self._place(node), f"{key} is not a list")
            return
        for item in node.value:
            if isinstance(item, yaml.MappingNode):
                yield Section(item, self.path, self.problems)
            else:
                self.problems.note(self._place(item), f"an entry of {key} is not a mapping")

    def done(self, known: Iterable[str] = ()) -> None:
        """Note every key that no reader asked for; `known`: keys that are asked for only where they are given."""
        all_known = self._asked.union(known)
        for key in self._values:
            if key not in all_known:
                self.problems.note(
                    self.line_of(key), f"{key!r} is not known here", f"known: {', '.join(sorted(all_known))}"
                )
