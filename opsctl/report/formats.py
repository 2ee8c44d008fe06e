"""The forms in which a report can be written, in the order in which they are."""

from __future__ import annotations

FORMATS = ("html", "pdf", "json", "junit", "csv", "oscal")
USUAL = ("html", "json")
# What speaks a language; the others are for programs.
SPOKEN = ("html", "pdf")
