"""Options that several verbs of the inventory share."""

from __future__ import annotations

import click

tenant_option = click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="Only this tenant.")
