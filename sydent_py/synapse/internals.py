"""Everything that is asked of Synapse beyond its module API, in one place, and refused at the start where it is not there."""

from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Any

from signedjson.key import read_signing_keys
from signedjson.types import SigningKey
from synapse.config import ConfigError
from synapse.module_api import ModuleApi

Search = Callable[[str, str, int], Awaitable[dict[str, Any]]]

# Sender, invited user, room, what the identity server has signed.
Exchange = Callable[[str, str, str, dict[str, Any]], Awaitable[None]]
Membership = Callable[[str, str], Awaitable[str | None]]


class Internals:
    """Attributes of Synapse that no version from 1.79 to the newest one tested has moved. ``ConfigError`` where one has."""

    def __init__(self, api: ModuleApi) -> None:
        self._api = api
        self._hs: Any = _attribute(api, "_hs", "Use a version of sydent_py for this Synapse.")
        self.reactor: Any = self._call("get_reactor", "Use a version of sydent_py for this Synapse.")

    def signing_key(self, path: str) -> SigningKey:
        """The first key in the file at ``path``, or the homeserver's own where there is none."""
        if not path:
            key: SigningKey = _attribute(self._hs, "signing_key", "Name the homeserver's key file in `signing_key_path`.")
            return key
        try:
            with open(path) as stream:  # noqa: PTH123 - Synapse itself reads it so
                return read_signing_keys(stream)[0]
        except (OSError, ValueError, IndexError) as error:
            raise ConfigError(f"no signing key can be read from {path}: {error}", ("signing_key_path",)) from error

    def is_background_worker(self) -> bool:
        """Whether this process is the one of all workers that does what is done once (``api`` says so from 1.89 on)."""
        if hasattr(self._api, "should_run_background_tasks"):
            return bool(self._api.should_run_background_tasks())
        return bool(self._hs.config.worker.run_background_tasks)

    def has_sqlite(self) -> bool:
        """Whether Synapse's database is SQLite, and not PostgreSQL."""
        return bool(self._hs.get_datastores().main.db_pool.engine.module.__name__ == "sqlite3")

    def delegates_login(self) -> bool:
        """Whether people log in elsewhere (Matrix Authentication Service), so that no module may have a say in it."""
        if getattr(self._api, "_auth_delegation_enabled", False):
            return True
        experimental = getattr(self._hs.config, "experimental", None)
        return bool(getattr(getattr(experimental, "msc3861", None), "enabled", False))

    def password_check(self) -> Callable[[str, str], Awaitable[str | None]]:
        """Compares a password with that of a local user: the user ID as it is spelled here, or None."""
        fix = "Turn `lookups.login` off."
        check: Any = _attribute(self._call("get_auth_handler", fix), "_check_local_password", fix)
        return check  # type: ignore[no-any-return]

    def wrap_search(self, wrap: Callable[[Search], Search]) -> None:
        """Put ``wrap`` around the search of the user directory."""
        fix = "Turn `lookups.people_search` off."
        handler = self._call("get_user_directory_handler", fix)
        handler.search_users = wrap(_attribute(handler, "search_users", fix))

    def spam_check(self) -> Callable[[dict[str, Any], str], Awaitable[bool]]:
        """Whether other modules keep a profile out of what a user finds; of two kinds, by the version."""
        callbacks = getattr(self._api, "_callbacks", None) or getattr(self._hs, "get_module_api_callbacks", dict)()
        checker = getattr(callbacks, "spam_checker", None)
        if checker is None:
            checker = self._call("get_spam_checker", "Turn `lookups.people_search` off.")
        check: Callable[..., Awaitable[bool]] = checker.check_username_for_spam

        takes_searcher = len(signature(check).parameters) > 1

        async def is_spam(profile: dict[str, Any], searcher: str) -> bool:
            return await (check(profile, searcher) if takes_searcher else check(profile))

        return is_spam

    def wrap_exchange(self, wrap: Callable[[Exchange], Exchange]) -> Exchange:
        """Put ``wrap`` around what Synapse does with each invitation that an identity server tells it of."""
        fix = "Turn `invites.pull` off."
        handler = self._call("get_federation_handler", fix)
        handler.exchange_third_party_invite = wrap(_attribute(handler, "exchange_third_party_invite", fix))
        wrapped: Exchange = handler.exchange_third_party_invite
        return wrapped

    def membership(self) -> Membership:
        """What a local user is in a room, as far as this homeserver knows."""
        find: Any = self._in_store("get_local_current_membership_for_user_in_room", "Turn `invites.pull` off.")

        async def membership(user_id: str, room_id: str) -> str | None:
            found = await find(user_id, room_id)
            return found[0] if found else None

        return membership

    def persisted_up_to(self) -> Callable[[], int]:
        """The stream position up to which all events are in the database."""
        position: Any = self._in_store("get_room_max_stream_ordering", "Turn `invites.revoke` and `registration` off.")
        return position  # type: ignore[no-any-return]

    def _in_store(self, name: str, fix: str) -> Any:
        return _attribute(self._call("get_datastores", fix).main, name, fix)

    def _call(self, name: str, fix: str) -> Any:
        return _attribute(self._hs, name, fix)()


def _attribute(owner: Any, name: str, fix: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise ConfigError(
            f"this version of Synapse is not one that sydent_py knows: {type(owner).__name__}.{name} is gone. {fix}"
        ) from error
