"""The homeserver finds out where the master keys that it serves are not those that its users have published."""

from tests.fakes.key_owner import cross_signing_key, master_key, public
from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import Person
from tests.synapse.test_keys import Client, Publisher
from tests.synapse.waiting import eventually


def compared(synapse: ModuleSynapse) -> dict[str, object]:
    """What a comparison that begins now finds."""
    before = synapse.status()["keys"].get("finished_ms", 0)
    synapse.reconcile()
    return dict(eventually(lambda: (found := synapse.status()["keys"]).get("finished_ms", 0) > before and found, "keys"))


def test_users_whose_keys_differ_are_reported(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, bob: Person
) -> None:
    served, other = master_key(f"served to {alice.user_id}"), master_key("never seen by the homeserver")
    before = compared(synapse)
    for person in (alice, bob):
        Client(person).upload(served)
    found = compared(synapse)
    assert found["unpublished"] == before.get("unpublished", 0) + 2
    for person, key in ((alice, served), (bob, other)):
        keys = {"master": cross_signing_key(person.user_id, key)}
        Publisher.of(person, identity).state("publish", keys, key)
    found = compared(synapse)
    assert (found["match"], found["differs"]) == (before.get("match", 0) + 1, before.get("differs", 0) + 1)
    assert bob.user_id in found["examples"]
    assert alice.user_id not in found["examples"]
    assert len(synapse.warnings(f"are not those that they have published, that of {found['examples'][0]}")) == 1
    assert "sydent_py_module_keys_differing 1.0" in synapse.metrics()
    Client(bob).upload(other)
    found = compared(synapse)
    assert (found["match"], found["differs"], public(other) in str(found)) == (before.get("match", 0) + 2, 0, False)
