"""Reading a section of the configuration strictly: what is unknown or of another kind is refused by name."""

from collections.abc import Mapping
from typing import Any


class Misconfigured(ValueError):
    """What is wrong, and how to put it right; ``path`` leads to the key."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(f"{'.'.join(path)}: {message}" if path else message)
        self.path = path
        self.message = message


class Reader:
    """One section, whose keys are taken one by one; ``finish`` refuses those that nobody took."""

    def __init__(self, content: Any, path: tuple[str, ...] = ()) -> None:
        if not isinstance(content, Mapping):
            raise Misconfigured(path, "this must be a section with keys of its own, such as `media: [email]`")
        self._content = content
        self._path = path
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return self._content.get(key) is not None

    def section(self, key: str) -> "Reader":
        """The section at ``key``, which is empty where there is none."""
        value = self._take(key)
        return Reader({} if value is None else value, (*self._path, key))

    def text(self, key: str, default: str = "") -> str:
        """Text, which may have to be quoted in YAML."""
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, f"this must be text, not {value!r}; quote it")
        return value

    def flag(self, key: str) -> bool:
        """Off unless it is turned on."""
        value = self._take(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(key, f"this must be true or false, not {value!r}")
        return value

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number."""
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, f"this must be a whole number from {least} to {most}, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, f'this must be a list, such as ["example.org"], not {value!r}')
        return tuple(value)

    def choices(self, key: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Some of ``allowed``."""
        values = self.texts(key)
        for value in values:
            if value not in allowed:
                raise self.wrong(key, f"{value!r} is not one of {', '.join(allowed)}")
        return values

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of ``allowed``, the first of which is the default."""
        value = self.text(key, allowed[0])
        if value not in allowed:
            raise self.wrong(key, f"this must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def domains(self, key: str) -> tuple[str, ...]:
        """Domains of email addresses, in lower case."""
        values = self.texts(key)
        for value in values:
            if not value or any(character in value for character in "@ /:*"):
                raise self.wrong(key, f"{value!r} is not the domain of an email address, such as example.org")
        return tuple(value.lower() for value in values)

    def finish(self) -> None:
        """Refuse the keys that are not known."""
        for key in self._content:
            if key not in self._known:
                known = ", ".join(self._known)
                raise self.wrong(str(key), f"this key is not known; take it out, or correct it to one of: {known}")

    def wrong(self, key: str, message: str) -> Misconfigured:
        """What to raise where ``key`` is wrong."""
        return Misconfigured((*self._path, key), message)

    def _take(self, key: str) -> Any:
        self._known.append(key)
        return self._content.get(key)
