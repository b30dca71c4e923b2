"""The module as Synapse loads it: configuration in, callbacks registered, background work started."""

import logging
from typing import Any

from synapse.config import ConfigError
from synapse.module_api import ModuleApi

from sydent_py.synapse import config as configuration
from sydent_py.synapse import metrics, pending
from sydent_py.synapse.background import Background, nothing
from sydent_py.synapse.client import Client
from sydent_py.synapse.config import Config
from sydent_py.synapse.consent import Consent
from sydent_py.synapse.deliver import Deliver
from sydent_py.synapse.errands import PULL, REVOKE
from sydent_py.synapse.internals import Exchange, Internals
from sydent_py.synapse.invitations import Pull, Revoke, once
from sydent_py.synapse.invite_policy import InvitePolicy, RegistrationPolicy
from sydent_py.synapse.keys import CompareKeys
from sydent_py.synapse.login import Login
from sydent_py.synapse.lookups import Lookup
from sydent_py.synapse.outage import Outage
from sydent_py.synapse.pending import Following
from sydent_py.synapse.queue import Change
from sydent_py.synapse.reading import Misconfigured
from sydent_py.synapse.reconcile import Backfill, Reconcile
from sydent_py.synapse.run_errands import Errands, Run
from sydent_py.synapse.search import PeopleSearch
from sydent_py.synapse.self_test import SelfTest
from sydent_py.synapse.status import RECONCILE_PATH, STATUS_PATH, ReconcileResource, StatusResource
from sydent_py.synapse.storage import Storage
from sydent_py.synapse.sync import Sync
from sydent_py.synapse.wire import Identity

STEP_MS = 1_000

logger = logging.getLogger(__name__)


class SydentModule:
    """Keeps the homeserver and the identity server in step."""

    def __init__(self, config: Config, api: ModuleApi) -> None:
        self._config = config
        self._api = api
        self._internals = Internals(api)
        self._storage = Storage(api, sqlite=self._internals.has_sqlite())
        signing_key = self._internals.signing_key(config.server.signing_key_path)
        identity = Identity(api.server_name, config.server.name, signing_key)
        self._client = Client(config.server, identity, self._internals.reactor)
        self._register_sync()
        self._register_lookups()
        self._register_policies()
        self._exchange = self._guarded_exchange() if config.invites.pull else None
        if config.status:
            api.register_web_resource(STATUS_PATH, StatusResource(api, self._storage, config))
            api.register_web_resource(RECONCILE_PATH, ReconcileResource(api, self._storage))
        if self._internals.is_background_worker():
            api.looping_background_call(self._background().step, STEP_MS, desc="sydent_py")

    @staticmethod
    def parse_config(content: dict[str, Any]) -> Config:
        """What ``config:`` says; ``ConfigError`` names the key and the fix."""
        try:
            return configuration.parse(content)
        except Misconfigured as error:
            raise ConfigError(error.message, error.path) from error

    def _register_sync(self) -> None:
        publish = self._config.publish
        if not publish.is_on or publish.dry_run:
            return
        sync = Sync(self._storage, Consent(publish))
        self._api.register_third_party_rules_callbacks(
            on_add_user_third_party_identifier=sync.added,
            on_remove_user_third_party_identifier=sync.removed,
            on_user_deactivation_status_changed=sync.deactivation_changed,
        )
        self._api.register_account_data_callbacks(on_account_data_updated=sync.account_data_updated)

    def _register_lookups(self) -> None:
        settings = self._config.lookups
        lookup = Lookup(self._client, settings)
        if settings.people_search:
            search = PeopleSearch(self._api, lookup, self._internals.spam_check())
            self._internals.wrap_search(search.around)
        if settings.login and self._may_have_a_say("lookups.login"):
            login = Login(self._api, self._storage, lookup, self._internals.password_check())
            self._api.register_password_auth_provider_callbacks(check_3pid_auth=login.check_3pid_auth)

    def _register_policies(self) -> None:
        config = self._config
        if config.invites.has_policy or config.follows_invites:
            policy = InvitePolicy(self._storage, config.invites, config.registration.invite_days)
            self._api.register_spam_checker_callbacks(user_may_send_3pid_invite=policy.user_may_send_3pid_invite)
        if config.registration.require_invite and self._may_have_a_say("registration.require_invite"):
            registration = RegistrationPolicy(self._storage, config.registration)
            self._api.register_password_auth_provider_callbacks(is_3pid_allowed=registration.is_3pid_allowed)

    def _may_have_a_say(self, key: str) -> bool:
        """Whether login and registration are the homeserver's own: Synapse takes no such callbacks otherwise."""
        if self._internals.delegates_login():
            logger.warning("%s is off: people log in and register with Matrix Authentication Service", key)
            return False
        return True

    def _background(self) -> Background:
        config, storage, client = self._config, self._storage, self._client
        outage = Outage(storage)
        publishes = config.publish.is_on and not config.publish.dry_run
        pull = self._pull() if config.invites.pull else None
        deliver = Deliver(storage, client, outage, pull.on_bound if pull else _forget) if publishes else nothing
        run: dict[str, Run] = {REVOKE: Revoke(client), **({PULL: pull} if pull else {})}
        consent, dry_run = Consent(config.publish), config.publish.dry_run
        is_on = config.publish.is_on
        return Background(
            storage,
            outage,
            at_start=SelfTest(storage, client, config) if config.asks else nothing,
            backfill=Backfill(storage, consent, deliver, dry_run) if is_on else nothing,
            deliver=deliver,
            errands=Errands(storage, outage, run) if config.invites.revoke or pull else nothing,
            follow=self._follower() if config.follows_invites else nothing,
            reconcile=Reconcile(storage, client, dry_run) if is_on else nothing,
            reconcile_hours=config.publish.reconcile_hours if is_on else 0,
            compare_keys=CompareKeys(storage, client),
            compare_keys_hours=config.keys.compare_hours,
        )

    def _guarded_exchange(self) -> Exchange:
        membership = self._internals.membership()
        return self._internals.wrap_exchange(lambda exchange: once(exchange, membership))

    def _pull(self) -> Pull:
        assert self._exchange is not None
        return Pull(self._api, self._storage, self._client, self._exchange, self._config.invites.join)

    def _follower(self) -> Any:
        config, position = self._config, self._internals.persisted_up_to()
        following = Following(position(), self._api.server_name, config.server.url, config.invites.revoke)

        async def follow() -> None:
            count = await self._storage.run("follow", pending.follow, position(), following)
            metrics.INVITES.labels(result="revoked_here").inc(count)

        return follow


async def _forget(_change: Change) -> None:
    """Nobody wants to know of new bindings."""
