"""What admins see."""

import pytest

from tests.synapse.module.homeserver import RECONCILE, STATUS, ModuleSynapse, TrustingServer
from tests.synapse.person import Person
from tests.synapse.waiting import eventually


def test_the_status_is_for_admins(synapse: ModuleSynapse, alice: Person) -> None:
    for method, path in (("GET", STATUS), ("POST", RECONCILE)):
        body = {} if method == "POST" else None
        assert synapse.request(method, path, body=body)[0] == 401
        assert synapse.request(method, path, "wrong", body)[0] == 401
        assert synapse.request(method, path, alice.access_token, body)[0] == 403


def test_the_status_and_the_metrics_say_how_things_stand(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str
) -> None:
    synapse.give(alice, address)
    synapse.wait_until_told()
    status = eventually(lambda: (found := synapse.status())["self_test"] and found, "a self-test")
    assert status["self_test"]["problems"] == []
    assert status["self_test"]["identity_server"]["server_name"] == identity.name
    assert status["published"] > 0
    assert status["features"]["publish"]["media"] == ["email", "msisdn"]
    metrics = synapse.metrics()
    assert 'sydent_py_module_changes_total{action="bind",result="done"}' in metrics
    assert "sydent_py_module_outage 0.0" in metrics


def test_an_address_that_the_identity_server_refuses_is_reported_and_refuses_no_other(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str
) -> None:
    before = synapse.status()["refused"]
    synapse.give(alice, address, "123")
    account = alice.account_at(identity)
    eventually(lambda: synapse.status()["refused"] == before + 1, "a refusal")
    eventually(lambda: account.lookup(address) == alice.user_id, "the other address is published")
    assert synapse.status()["refusals"][-1]["example"] == alice.user_id
    synapse.give(alice, address)
    synapse.wait_until_told()
    assert synapse.status()["refused"] == before


def test_each_outage_is_one_warning(synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str) -> None:
    before = len(synapse.warnings("does not serve us"))
    with identity.unreachable():
        for number in range(3):
            synapse.give(alice, f"{number}.{address}")
        outage = eventually(lambda: synapse.status()["outage"], "an outage")
        assert "identity_server" in outage["advice"]
        eventually(lambda: "sydent_py_module_outage 1.0" in synapse.metrics(), "the metric")
    synapse.wait_until_told()
    assert synapse.status()["outage"] == {}
    assert len(synapse.warnings("does not serve us")) == before + 1


def test_an_identity_server_that_does_not_trust_the_homeserver_is_one_warning_that_says_what_to_do(
    configured: ModuleSynapse, synapse: ModuleSynapse
) -> None:
    configured.configure(synapse.module)
    configured.start()
    outage = eventually(lambda: configured.status()["outage"], "a refusal")
    assert outage["reason"].startswith("403 M_FORBIDDEN")
    assert "[[trusted_homeservers]]" in outage["advice"]
    assert len(configured.warnings("[[trusted_homeservers]]")) == 1


def test_where_people_log_in_elsewhere_the_module_has_no_say_in_it(
    configured: ModuleSynapse, synapse: ModuleSynapse
) -> None:
    delegation = {"enabled": True, "endpoint": "http://localhost:1/", "secret": "between the two"}
    elsewhere = {"matrix_authentication_service": delegation, "password_config": {"enabled": False}}
    configured.configure(synapse.module, **elsewhere, enable_registration=False)
    configured.launch()
    configured.wait_until_up()
    for key in ("lookups.login", "registration.require_invite"):
        assert len(configured.warnings(f"{key} is off")) == 1


@pytest.mark.parametrize(
    ("change", "path", "fix"),
    [
        ({"publish": {"medai": ["email"]}}, "config.publish.medai", "correct it to one of"),
        ({"identity_server": "http://id.example.org"}, "config.identity_server", "use https://"),
        ({"ca_file": "/nowhere.pem"}, "", "no certificates can be read from /nowhere.pem"),
    ],
)
def test_a_wrong_configuration_stops_the_start_and_says_what_to_do(
    configured: ModuleSynapse, change: dict[str, object], path: str, fix: str
) -> None:
    configured.configure({"identity_server": "https://localhost:1", **change})
    configured.launch()
    assert configured._process.wait(30) != 0
    output = configured.log.read_text()
    assert path in output
    assert fix in output
