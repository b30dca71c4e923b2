"""The terms file: the policies that people must accept, with their versions and translations."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sydent_py.setting_types import Section
from sydent_py.settings import ConfigurationError, explain, read_toml


class Translation(Section):
    """The policy in one language."""

    name: str
    url: str


class Policy(BaseModel):
    """``[policies.ID]`` of the terms file: a version, and a translation under each language code."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Translation]

    version: str

    @model_validator(mode="after")
    def _has_a_language(self) -> Self:
        if not self.__pydantic_extra__:
            raise ValueError("a policy needs at least one language")
        return self

    @property
    def translations(self) -> dict[str, Translation]:
        """The policy in every language it has, by language code."""
        return self.__pydantic_extra__

    @property
    def urls(self) -> frozenset[str]:
        """Accepting any one of these accepts the policy."""
        return frozenset(translation.url for translation in self.translations.values())


class TermsFile(Section):
    """The whole terms file."""

    policies: dict[str, Policy] = Field(default_factory=dict)


def load_terms(path: Path | None) -> TermsFile:
    """The policies in the terms file; none where no file is named."""
    if path is None:
        return TermsFile()
    try:
        return TermsFile(**read_toml(path, "terms.file"))
    except ValidationError as error:
        raise ConfigurationError("\n".join([f"The terms file {path} cannot be used:", *explain(error)])) from error
