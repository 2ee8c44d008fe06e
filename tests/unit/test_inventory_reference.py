"""docs/reference/inventory.md names every field that the files can hold, and its examples can be read."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from opsctl.documents import RESERVED
from opsctl.inventory.hostfile import STATUSES
from opsctl.model.host import (
    CRITICALITIES,
    Account,
    Cluster,
    Host,
    Organisation,
    OutLimit,
    PatchPolicy,
    Service,
    Site,
    Tenant,
    Window,
)

PAGE = (Path(__file__).parents[2] / "docs/reference/inventory.md").read_text(encoding="utf-8")
KINDS = (Host, Service, Tenant, Account, Cluster, Organisation, OutLimit, PatchPolicy, Site, Window)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_is_on_the_page(kind: type[Host]) -> None:
    for field in fields(kind):
        if field.name != "tenant":
            assert f"`{field.name}`" in PAGE, field.name


def test_every_word_that_is_allowed_or_reserved_is_on_the_page() -> None:
    for word in (*STATUSES, *CRITICALITIES, *RESERVED):
        assert f"`{word}`" in PAGE, word


def test_the_page_has_an_example_of_each_file() -> None:
    assert len(re.findall(r"```yaml\nversion: 1\n", PAGE)) == 2
