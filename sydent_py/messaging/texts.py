"""The words of the text message with a code, in the reader's language."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sydent_py.settings import ConfigurationError
from sydent_py.sms_settings import Sms

PACKAGE_FILE = Path(__file__).parent / "texts.toml"


@dataclass(frozen=True)
class Texts:
    """Writes the text message with a code.

    ``webotp_host`` is the site whose page may read the code from the message: https://wicg.github.io/sms-one-time-codes/
    """

    by_language: Mapping[str, str]
    default_language: str
    service_name: str
    webotp_host: str

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language there is a text in, the default first."""
        others = sorted(set(self.by_language) - {self.default_language})
        return self.default_language, *others

    def write(self, code: str, language: str) -> str:
        """The message with ``code``; in the default language where ``language`` is none of ``languages``."""
        text = self.by_language.get(language) or self.by_language[self.default_language]
        said = text.replace("{service}", self.service_name).replace("{code}", code)
        return f"{said}\n\n@{self.webotp_host} #{code}"


def build(settings: Sms, server_name: str, host: str) -> Texts:
    """The package's texts, an operator's own before them; ``ConfigurationError`` for a default language without a text.

    ``server_name`` and ``host`` stand where the settings name no service and no site.
    """
    by_language = {**tomllib.loads(PACKAGE_FILE.read_text(encoding="utf-8")), **settings.texts}
    if settings.language not in by_language:
        raise ConfigurationError(f"sms.language: there is no text in {settings.language!r}; add one to sms.texts")
    return Texts(by_language, settings.language, settings.service_name or server_name, settings.webotp_host or host)
