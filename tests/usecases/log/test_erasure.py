"""Who was erased is in the log no more, and the tree still verifies."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, select, text
from unpaddedbase64 import decode_base64

from sydent_py.identifiers import ThreePid, UserId
from sydent_py.log.audit import Audit
from sydent_py.sealing import SealBroken
from tests.driver import OWN, Driver

PURPOSES = (
    *("log.payload", "log.nonce", "bindings.address", "outbox.content", "invites.address", "invites.token"),
    *("validation_sessions.address", "validation_sessions.next_link", "sms_breakers.prefix"),
)


def erase(api: Driver, token: str) -> dict[str, int]:
    answer = api.request("POST", f"{OWN}/account/erase", token)
    assert answer.status_code == 200
    return dict(answer.get_json()["erased"])


def entries(api: Driver) -> list[Any]:
    with api.services.database.begin() as db:
        return list(db.execute(text("SELECT * FROM log_entries ORDER BY entry_index")))


def payload(api: Driver, row: Any) -> dict[str, Any]:
    sealer = api.services.bindings.bind.associations.register.sealer
    return dict(json.loads(sealer.unseal(bytes(row.payload), "log.payload")))


def audit(api: Driver, seen: bytes | None = None) -> bytes:
    """What an auditor finds: the checkpoint."""
    verify = Audit(lambda path: api.log(path).data, api.services.published_log.verifier_key, lambda _done, _all: None)
    return verify(seen).encoded


def unsealed(values: list[bytes], api: Driver) -> list[str]:
    """What can be unsealed of these values with the key in hand."""
    sealer = api.services.bindings.bind.associations.register.sealer
    found = []
    for value in values:
        for purpose in (
            "log.payload",
            "log.nonce",
            "bindings.address",
            "outbox.content",
            "invites.address",
            "sessions.address",
        ):
            try:
                found.append(sealer.unseal(value, purpose))
            except SealBroken:
                continue
    return found


def test_an_erase_entry_names_what_was_erased_and_nothing_else_is(api: Driver) -> None:
    api.bound("bob@example.org", "@bob:hs.test")
    token, _ = api.bound()
    api.sequence()
    before = entries(api)
    assert erase(api, token)["log_entries"] == 2
    api.sequence()
    bob, bind, unbind, erasure = entries(api)
    assert [row.kind for row in (bob, bind, unbind, erasure)] == ["bind", "bind", "unbind", "erase"]
    assert tuple(bob) == tuple(before[0])
    for row in (bind, unbind):
        assert (row.payload, row.nonce, row.address_index, row.user_index) == (None,) * 4
    assert (bind.kind, bind.ts, bind.commitment) == (before[1].kind, before[1].ts, before[1].commitment)
    told = payload(api, erasure)
    assert [decode_base64(each) for each in told["erased"]] == [bytes(unbind.commitment), bytes(bind.commitment)]
    assert set(told) == {"erased", "ts", "signatures"}


def test_the_tree_verifies_after_an_erasure_and_continues_what_was_seen_before(api: Driver) -> None:
    token, _ = api.bound()
    api.bound("bob@example.org", "@bob:hs.test")
    api.sequence()
    seen = audit(api)
    erase(api, token)
    api.sequence()
    assert audit(api, seen) != seen


@pytest.mark.parametrize("when", ["while it waits", "once it has its place"])
def test_with_the_key_in_hand_no_table_names_who_was_erased(api: Driver, when: str) -> None:
    token, _ = api.bound("carol@secret.example", "@carol:hs.test")
    if when == "once it has its place":
        api.sequence()
    erase(api, token)
    api.sequence()
    sealer = api.services.bindings.bind.associations.register.sealer
    named = [sealer.index("log.address", "email", "carol@secret.example"), sealer.index("log.user", "@carol:hs.test")]
    values: list[bytes] = []
    with api.services.database.begin() as db:
        metadata = MetaData()
        metadata.reflect(db)
        for table in metadata.tables.values():
            for row in db.execute(select(table)):
                values += [bytes(value) for value in row if isinstance(value, bytes | memoryview)]
                assert "carol" not in str(tuple(row))
    assert values
    assert not set(named) & set(values)
    assert not [each for each in unsealed(values, api) if "carol" in each or "secret.example" in each]


def test_an_address_that_went_to_another_user_stays_theirs(api: Driver) -> None:
    alice, _ = api.bound()
    bob = api.register("@bob:hs.test")
    api.bind(bob, api.validate(bob), "@bob:hs.test")
    api.sequence()
    erase(api, alice)
    api.sequence()
    lost, taken_back, kept, erasure = entries(api)
    assert (lost.payload, taken_back.kind, taken_back.payload, erasure.kind) == (None, "unbind", None, "erase")
    assert payload(api, kept)["mxid"] == "@bob:hs.test"
    assert api.lookup(bob, "alice@example.org") == {"alice@example.org": "@bob:hs.test"}


def test_as_many_erase_entries_are_written_as_are_needed(api: Driver) -> None:
    token = api.register()
    associations = api.services.bindings.bind.associations
    with api.services.database.begin() as db:
        for number in range(150):
            content = associations.signer.sign({"medium": "email", "address": f"{number}@b.test", "mxid": "@alice:hs.test"})
            associations.log.append(db, "bind", content)
    api.sequence()
    assert erase(api, token)["log_entries"] == 150
    api.sequence()
    erasures = [payload(api, row)["erased"] for row in entries(api) if row.kind == "erase"]
    assert [len(each) for each in erasures] == [100, 50]
    assert {decode_base64(each) for some in erasures for each in some} == {
        bytes(row.commitment) for row in entries(api) if row.kind == "bind"
    }


def test_erasing_an_account_that_the_log_does_not_know_writes_no_entry(api: Driver) -> None:
    assert erase(api, api.register())["log_entries"] == 0
    api.sequence()
    assert entries(api) == []


def test_after_an_erasure_receipts_are_gone_and_proofs_stay(api: Driver) -> None:
    token = api.register()
    receipt = api.bind(token, api.validate(token)).get_json()["unsigned"]["sydent_py"]["receipt"]
    api.sequence()
    erase(api, token)
    api.sequence()
    assert api.log("proof", query_string={"commitment": receipt["commitment"]}).status_code == 200
    log = api.services.bindings.bind.associations.log
    with api.services.database.begin() as db:
        assert log.receipt(db, ThreePid("email", "alice@example.org"), UserId.parse("@alice:hs.test")) is None


def test_on_sqlite_not_a_byte_of_what_was_erased_is_left_in_the_files(api: Driver) -> None:
    if not api.services.database.is_sqlite:
        pytest.skip("PostgreSQL overwrites in its own time: see docs/operating.md")
    tokens = [api.bound(f"u{number}@example.org", f"@u{number}:hs.test")[0] for number in range(20)]
    api.sequence()
    sealed = [bytes(value) for row in entries(api) for value in (row.payload, row.nonce, row.address_index, row.user_index)]
    with api.services.database.begin() as db:
        sealed += [bytes(row.address) for row in db.execute(text("SELECT address FROM bindings"))]
    database = api.services.database.url.database
    assert database
    assert all(value in _bytes_of(database) for value in sealed)
    for token in tokens:
        erase(api, token)
    api.sequence()
    api.services.forget_expired()
    assert [value for value in sealed if value in _bytes_of(database)] == []


def _bytes_of(database: str) -> bytes:
    """The file, and what is in its write-ahead log."""
    return b"".join(Path(name).read_bytes() for name in (database, f"{database}-wal"))
