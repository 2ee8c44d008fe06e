"""Frozen values to JSON documents and back, by their type hints: what the store keeps of plans and states.

Known are frozen dataclasses, enums, aware datetimes, tuples of one type, optional values and plain scalars. A document
that does not fit its type raises StoreError: a state is never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from opsctl.errors import StoreError

T = TypeVar("T")
# By far the most of what a document holds; asked first.
_PLAIN = frozenset({str, int, bool, float, NoneType})


def as_document(value: object) -> Any:
    """What JSON can hold of a value; times in UTC."""
    kind: type = type(value)
    if kind in _PLAIN:
        return value
    if names := _names(kind):
        return {name: as_document(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(name): as_document(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_document(item) for item in value]
    return value


def dumps(value: object) -> str:
    """Canonical JSON: sorted keys, no blanks; the same value always gives the same text."""
    return as_text(as_document(value))


def as_text(document: object) -> str:
    """Canonical JSON of what `as_document` gave."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def loads(kind: type[T], text: str) -> T:
    """The value of type `kind` that `dumps` wrote. Raises StoreError."""
    try:
        return from_document(kind, json.loads(text))
    except (TypeError, ValueError, KeyError) as error:
        raise StoreError(f"a stored {kind.__name__} cannot be read: {error}") from error


def from_document(kind: type[T], document: Any) -> T:
    """The value of type `kind`. Raises TypeError, ValueError or KeyError where the document does not fit."""
    value = _decode(kind, document)
    assert isinstance(value, kind)
    return value


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


@cache
def _hints(kind: type) -> dict[str, tuple[Any, bool]]:
    hints = get_type_hints(kind)
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    return {f.name: (hints[f.name], f.name in required) for f in fields(kind)}


def _decode(kind: Any, document: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        if document is None:
            return None
        return _decode(next(k for k in get_args(kind) if k is not NoneType), document)
    if origin is tuple:
        return tuple(_decode(get_args(kind)[0], item) for item in document)
    if is_dataclass(kind) and isinstance(kind, type):
        return _decode_fields(kind, document)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(document)
    if kind is datetime:
        return datetime.fromisoformat(document)
    if not isinstance(document, kind) or (kind is int and isinstance(document, bool)):
        raise TypeError(f"{document!r} is no {kind.__name__}")
    return document


def _decode_fields(kind: type, document: Any) -> Any:
    if not isinstance(document, dict):
        raise TypeError(f"{document!r} is no {kind.__name__}")
    given = {}
    for name, (hint, required) in _hints(kind).items():
        if name in document:
            given[name] = _decode(hint, document[name])
        elif required:
            raise KeyError(name)
    return kind(**given)
