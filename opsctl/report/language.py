"""The languages of the reports for auditors: English in the templates, all others from gettext catalogues.

The catalogues lie in templates/locale as .po files, which translators read and write; they are read as they are, so
nothing has to be compiled first.
"""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path

from opsctl import content
from opsctl.errors import ConfigError

SOURCE = "en"
DOMAIN = "reports"


@cache
def translations(language: str, own: Path | None = None) -> gettext.NullTranslations:
    """The translations of a language. Raises ConfigError where its catalogue cannot be read."""
    if language == SOURCE:
        return gettext.NullTranslations()
    # Reading a catalogue takes 0.1 s: only where a report is written.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import PoFileError, read_po

    file = catalogue(language, own)
    compiled = io.BytesIO()
    try:
        with file.open("rb") as stream:
            write_mo(compiled, read_po(stream, locale=language, abort_invalid=True))
    except (OSError, PoFileError, ValueError) as error:
        raise ConfigError(
            f"the translations of the reports cannot be read: {file}: {error}", hint="install the opsctl wheel again"
        ) from error
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def catalogue(language: str, own: Path | None = None) -> Path:
    """The file of a language's translations."""
    return content.folder("templates", own) / "locale" / language / "LC_MESSAGES" / f"{DOMAIN}.po"
