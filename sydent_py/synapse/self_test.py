"""Asking the identity server, at the start, whether it will do what the configuration expects of it."""

import logging
from dataclasses import dataclass

from sydent_py.synapse import clock
from sydent_py.synapse.client import Client
from sydent_py.synapse.config import Config
from sydent_py.synapse.expectations import problems
from sydent_py.synapse.storage import Storage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SelfTest:
    """Its problems are in the log, each with what to do, and on the status page."""

    storage: Storage
    client: Client
    config: Config

    async def __call__(self) -> None:
        """``Unreachable``, ``Refusal``"""
        answer = await self.client.ask("status", {})
        found = problems(self.config, answer, clock.now_ms())
        for problem in found:
            logger.warning("Self-test: %s", problem)
        if not found:
            logger.info("Self-test: %s (version %s) trusts this homeserver", self.config.server.name, answer.get("version"))
        await self.storage.note("self_test", {"at_ms": clock.now_ms(), "problems": found, "identity_server": answer})
