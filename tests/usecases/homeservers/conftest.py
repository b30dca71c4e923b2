"""A server that trusts hs.test for email addresses and phone numbers, and other.test for email addresses."""

import pytest

from tests.conftest import Launch
from tests.driver import Driver
from tests.fakes.companion import Companion

TRUSTED = ({"name": "hs.test", "media": ["email", "msisdn"], "lookups": True}, {"name": "other.test", "media": ["email"]})


@pytest.fixture
def api(launch: Launch) -> Driver:
    return launch(trusted_homeservers=TRUSTED)


@pytest.fixture
def companion(api: Driver) -> Companion:
    return Companion(api)
