"""The format of Sydent's pushes."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedjson.sign import sign_json

from sydent_py.bindings.register import Claim, Retraction
from sydent_py.errors import BadJson, NotJson
from sydent_py.identifiers import ThreePid
from sydent_py.peer_settings import Scope, read_verify_key
from sydent_py.replication import sydent_v1
from sydent_py.replication.entries import AHEAD_MS, Unacceptable
from sydent_py.replication.sydent_v1 import NotTaken, Row, SydentPeer
from tests.fakes.sydent import HUNDRED_YEARS_MS, TS, FakeSydent, body_of

SYDENT = FakeSydent()
NOW_MS = TS + 1000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def peer(**scope: Any) -> SydentPeer:
    return SydentPeer(SYDENT.name, *read_verify_key(SYDENT.verify_key), Scope(**scope))


def read(row: Any, **scope: Any) -> Claim | Retraction:
    [parsed] = sydent_v1.parse(body_of({1: row}))
    return sydent_v1.read(peer(**scope), parsed, NOW_MS)


def test_a_binding_is_a_claim() -> None:
    claim = read(SYDENT.row("alice@example.org", "@alice:hs.test"))
    threepid = ThreePid("email", "alice@example.org")
    assert claim == Claim(threepid, "@alice:hs.test", TS, TS, TS + HUNDRED_YEARS_MS)


def test_a_row_without_a_user_is_a_retraction() -> None:
    assert read(SYDENT.row("447400123456", None, medium="msisdn")) == Retraction(ThreePid("msisdn", "447400123456"))


def test_a_removal_may_be_dated_as_it_likes_and_be_of_any_address() -> None:
    gone = SYDENT.row("alice@example.org", None, NOW_MS + 10 * AHEAD_MS)
    assert isinstance(read(gone, domains=["example.net"], media=["msisdn"]), Retraction)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Alice@Example.ORG", "alice@example.org"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("a@xn--strae-oqa.example", "a@xn--strae-oqa.example"),
    ],
)
def test_an_address_becomes_the_one_that_we_would_have_bound(written: str, canonical: str) -> None:
    assert read(SYDENT.row(written, "@a:hs.test")).threepid.address == canonical


@pytest.mark.parametrize(
    ("medium", "address"),
    [
        ("email", ""),
        ("email", "nobody"),
        ("email", "a@b.test, c@d.test"),
        ("email", " a@b.test"),
        ("email", "a@ｂ.test"),
        ("msisdn", "+447400123456"),
        ("msisdn", "44 7400 123456"),
        ("msisdn", "12"),
        ("carrier pigeon", "coo"),
        (None, "a@b.test"),
        ("email", None),
        ("email", ["a@b.test"]),
    ],
)
def test_an_address_that_we_would_not_bind_is_refused(medium: Any, address: Any) -> None:
    with pytest.raises(Unacceptable, match="address"):
        read(SYDENT.row(address, "@a:hs.test", medium=medium))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mxid": "alice"}, "user ID"),
        ({"mxid": 5}, "user ID"),
        ({"mxid": ""}, "user ID"),
        ({"mxid": "@a:b c"}, "user ID"),
        ({"ts": None}, "no ts"),
        ({"ts": -1}, "no ts"),
        ({"ts": True}, "no ts"),
        ({"ts": "1"}, "no ts"),
        ({"not_before": None}, "no not_before"),
        ({"not_after": None}, "no not_after"),
        ({"ts": NOW_MS + AHEAD_MS + 1}, "future"),
        ({"not_before": NOW_MS + AHEAD_MS + 1}, "future"),
    ],
)
def test_a_signed_row_that_says_nothing_we_can_repeat_takes_back_what_was_said_before(
    changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotTaken, match=reason) as refused:
        read(SYDENT.row("alice@example.org", "@alice:hs.test", **changed))
    assert refused.value.threepid == ThreePid("email", "alice@example.org")


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ({"homeservers": ["other.test"]}, "homeserver"),
        ({"domains": ["other.test"]}, "domain"),
        ({"media": ["msisdn"]}, "email"),
        ({"kinds": ["unbind"]}, "bind"),
    ],
)
def test_a_peer_speaks_for_whom_the_configuration_says(scope: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTaken, match=reason):
        read(SYDENT.row("alice@example.org", "@alice:hs.test"), **scope)


def test_a_peer_that_may_not_take_back_does_not() -> None:
    with pytest.raises(Unacceptable, match="unbind"):
        read(SYDENT.row("alice@example.org", None), kinds=["bind"])


def test_what_a_peer_may_say_is_taken() -> None:
    row = SYDENT.row("alice@example.org", "@alice:hs.test")
    assert isinstance(read(row, homeservers=["hs.test"], domains=["example.org"], media=["email"], kinds=["bind"]), Claim)


def forged() -> list[Any]:
    """Rows that the peer has not signed as they stand."""
    row = SYDENT.row("alice@example.org", "@alice:hs.test")
    stranger = FakeSydent()
    signature = row["signatures"][SYDENT.name]["ed25519:0"]
    return [
        {**row, "mxid": "@mallory:hs.test"},
        {**row, "mxid": None},
        {**row, "extra": 1},
        {**row, "extra": 1.5},
        {name: value for name, value in row.items() if name != "signatures"},
        *(
            {**row, "signatures": wrong}
            for wrong in (None, 5, [], {}, {SYDENT.name: None}, {SYDENT.name: {}}, {"x.test": {}})
        ),
        {**row, "signatures": {"other.test": {"ed25519:0": signature}}},
        *({**row, "signatures": {SYDENT.name: {"ed25519:0": wrong}}} for wrong in (None, 5, "", "x", "ü", signature[:-4])),
        {**row, "signatures": {SYDENT.name: {"ed25519:1": signature}}},
        stranger.row("alice@example.org", "@alice:hs.test"),
        sign_json({"medium": "email"}, "other.test", SYDENT.key),
    ]


@pytest.mark.parametrize("row", forged())
def test_a_row_that_the_peer_has_not_signed_changes_nothing(row: Any) -> None:
    with pytest.raises(Unacceptable, match=r"signature|signed") as refused:
        read(row)
    assert not isinstance(refused.value, NotTaken)


@pytest.mark.parametrize("row", [None, 5, "row", [], {"mxid": "@\0:b"}, {"mxid": "\ud800"}, {"n": 2**60}, {"n": 1e999}])
def test_a_row_that_could_not_be_kept_is_refused_alone(row: Any) -> None:
    good = SYDENT.row("alice@example.org", "@alice:hs.test")
    first, second = sydent_v1.parse(json.dumps({"sgAssocs": {"7": row, "8": good}}).encode().replace(b"Infinity", b"1e999"))
    with pytest.raises(Unacceptable):
        sydent_v1.read(peer(), first, NOW_MS)
    assert second.content == good


def test_a_row_that_is_nested_deeply_is_refused_alone() -> None:
    first, second = sydent_v1.parse(b'{"sgAssocs": {"1": {"a": %s1%s}, "2": {}}}' % (b"[" * 40, b"]" * 40))
    assert (first.content, second.content) == (None, {})


def test_rows_come_in_the_order_of_their_ids_as_numbers() -> None:
    assert [row.id for row in sydent_v1.parse(body_of({10: {}, 9: {}, 100: {}, 0: {}}))] == [0, 9, 10, 100]


@pytest.mark.parametrize("row_id", ["", "-1", "01", "1.0", "x", " 1", "1 ", "١", "9223372036854775808", "1" * 5000])
def test_an_id_that_is_none_is_bad_json(row_id: str) -> None:
    with pytest.raises(BadJson):
        sydent_v1.parse(json.dumps({"sgAssocs": {row_id: {}}}).encode())


@pytest.mark.parametrize("body", [b"", b"x", b"\xff", b"{", b"[" * 100_000, b'{"sgAssocs": {"1": ' + b"9" * 5000 + b"}}"])
def test_what_is_not_json_is_said(body: bytes) -> None:
    with pytest.raises(NotJson):
        sydent_v1.parse(body)


@pytest.mark.parametrize(
    "body", [b"5", b"[]", b"null", b"{}", b'{"sgAssocs": []}', b'{"sgAssocs": null}', b'{"sgAssocs": {"1": {}, "1": {}}}']
)
def test_what_is_no_push_is_said(body: bytes) -> None:
    with pytest.raises(BadJson):
        sydent_v1.parse(body)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with suppress(NotJson, BadJson):
        assert all(isinstance(row, Row) for row in sydent_v1.parse(body))


@given(st.dictionaries(st.integers(0, 2**63 - 1), JSON, max_size=4))
def test_any_row_is_read_or_refused(rows: dict[int, Any]) -> None:
    for row in sydent_v1.parse(body_of(rows)):
        with pytest.raises(Unacceptable):
            sydent_v1.read(peer(), row, NOW_MS)


@given(JSON, st.sampled_from(["medium", "address", "mxid", "ts", "not_before", "not_after", "unsigned", "extra"]))
def test_any_signed_value_is_taken_or_refused(value: Any, name: str) -> None:
    with suppress(ValueError):  # some cannot be signed; and what is not taken is Unacceptable, which is one
        assert isinstance(read(SYDENT.row("alice@example.org", "@alice:hs.test", **{name: value})), Claim | Retraction)


ENTRY = {"medium": "email", "address": "a@b.test", "mxid": "@a:hs.test", "ts": TS, "not_before": TS, "not_after": TS + 1}


def test_a_bind_entry_is_a_removal_and_a_binding_under_two_ids() -> None:
    removal, binding = sydent_v1.rows_of(0, "bind", {**ENTRY, "signatures": {"id.test": {}}})
    nobody = {"mxid": None, "not_before": None, "not_after": None}
    assert removal == Row(1, {"medium": "email", "address": "a@b.test", "ts": TS, **nobody})
    assert binding == Row(2, ENTRY)


def test_an_unbind_entry_is_a_removal() -> None:
    [removal] = sydent_v1.rows_of(7, "unbind", {name: ENTRY[name] for name in ("medium", "address", "mxid", "ts")})
    assert removal.id == 16
    assert removal.content is not None
    assert removal.content["mxid"] is None


def test_other_entries_are_not_told() -> None:
    assert sydent_v1.rows_of(0, "erase", {"erased": [], "ts": TS}) == []


@given(st.lists(st.sampled_from(["bind", "unbind", "erase"]), max_size=30))
def test_ids_ascend_and_none_is_used_twice(kinds: list[str]) -> None:
    rows = [row for index, kind in enumerate(kinds) for row in sydent_v1.rows_of(index, kind, ENTRY)]
    ids = [row.id for row in rows]
    assert ids == sorted(set(ids))
    assert [row.id for row in sydent_v1.parse(sydent_v1.write(rows))] == ids


def test_the_push_is_written_as_sydent_writes_it() -> None:
    row = SYDENT.row("wire@x.test", "@w:hs.test")
    body = sydent_v1.write([Row(352, row)])
    assert json.loads(body) == {"sgAssocs": {"352": row}}
    assert sydent_v1.parse(body) == [Row(352, row)]
