"""What the module does without a homeserver and without a network."""

import json
import random
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.sign import verify_signed_json

from sydent_py.homeservers.digest import binding_hash, buckets_of
from sydent_py.identifiers import ThreePid
from sydent_py.synapse import wire
from sydent_py.synapse.backoff import FIRST_MS, LAST_MS, Backoff, pause_ms
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.config import parse
from sydent_py.synapse.consent import Consent
from sydent_py.synapse.digest import Digest
from sydent_py.synapse.expectations import problems
from sydent_py.synapse.terms import address_in

CONTENT: dict[str, Any] = {"identity_server": "https://id.example.org"}
ANSWER = {"server_name": "id.example.org", "now_ms": 1, "media": ["email"], "domains": [], "lookups": True}

bindings = st.builds(
    Binding,
    st.sampled_from(["email", "msisdn"]),
    st.from_regex(r"[a-z]{1,5}@[a-z]{1,5}\.org", fullmatch=True),
    st.from_regex(r"@[a-z]{1,3}:hs", fullmatch=True),
)


@given(st.integers(1, 1000))
def test_pauses_grow_to_five_minutes_and_differ(failures: int) -> None:
    shortest, longest = pause_ms(failures, lambda: 0), pause_ms(failures, lambda: 1)
    assert FIRST_MS // 2 <= shortest < longest <= LAST_MS
    assert longest == min(LAST_MS, FIRST_MS * 2 ** (failures - 1))


def test_back_off_honours_what_the_server_asks_for_and_starts_over() -> None:
    backoff = Backoff(random.random)
    assert backoff.is_due(0)
    assert backoff.failed(1_000, at_least_ms=60_000) == 60_000
    assert (backoff.is_due(60_999), backoff.is_due(61_000)) == (False, True)
    assert backoff.failed(61_000, at_least_ms=10**12) == LAST_MS
    assert backoff.is_due(61_000 - 10 * LAST_MS)  # the clock was set back
    backoff.succeeded()
    assert backoff.is_due(61_000)


@given(st.sets(bindings), st.sets(bindings))
def test_digests_differ_exactly_where_the_sets_do(ours: set[Binding], theirs: set[Binding]) -> None:
    differing = Digest.of(ours).differing(json.loads(json.dumps(Digest.of(theirs).wire)))
    assert set(differing) == {binding.bucket for binding in ours ^ theirs}


@given(st.sets(bindings))
def test_both_servers_make_the_same_digest(some: set[Binding]) -> None:
    theirs = buckets_of(binding_hash(ThreePid(each.medium, each.address), each.user_id) for each in some)
    assert Digest.of(some).wire == {name: asdict(bucket) for name, bucket in theirs.items()}


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("alice@example.org", ("email", "alice@example.org")),
        (" Alice@Example.ORG ", ("email", "alice@example.org")),
        ("+44 7400 123456", ("msisdn", "447400123456")),
        ("+1 (202) 555-0143", ("msisdn", "12025550143")),
        ("alice", None),
        ("alice@example", None),
        ("@alice:example.org", None),
        ("alice@a.org bob@b.org", None),
        ("07400 123456", None),
        ("+", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_only_whole_addresses_are_looked_up(term: object, found: tuple[str, str] | None) -> None:
    assert address_in(term) == found


@pytest.mark.parametrize(
    ("publish", "medium", "address", "expected"),
    [
        ({}, "email", "a@example.org", False),
        ({"media": ["email"]}, "email", "a@example.org", True),
        ({"media": ["email"]}, "msisdn", "447400123456", False),
        ({"media": ["email"], "domains": ["Example.org"]}, "email", "a@EXAMPLE.org", True),
        ({"media": ["email"], "domains": ["example.org"]}, "email", "a@sub.example.org", False),
        ({"media": ["email", "msisdn"], "domains": ["example.org"]}, "msisdn", "447400123456", True),
    ],
)
def test_the_admin_says_what_is_published(publish: Any, medium: str, address: str, expected: object) -> None:
    assert Consent(parse({**CONTENT, "publish": publish}).publish).covers(medium, address) is expected


@pytest.mark.parametrize(
    ("consent", "said", "expected"),
    [
        ("opt_out", None, True),
        ("opt_out", {}, True),
        ("opt_out", {"publish": False}, False),
        ("opt_out", {"publish": "false"}, False),
        ("opt_in", None, False),
        ("opt_in", {}, False),
        ("opt_in", {"publish": True}, True),
    ],
)
def test_users_have_the_last_word(consent: str, said: Any, expected: object) -> None:
    assert (
        Consent(parse({**CONTENT, "publish": {"media": ["email"], "consent": consent}}).publish).is_given(said) is expected
    )


def test_a_request_is_signed_as_between_homeservers() -> None:
    key = generate_signing_key("a")
    content = {"ts": 1, "id": "0" * 32}
    header = wire.Identity("hs.test", "id.test", key).authorization("/uri", content)
    fields = dict(field.split("=", 1) for field in header.removeprefix("X-Matrix ").split(","))
    assert (fields["origin"], fields["destination"], fields["key"]) == ('"hs.test"', '"id.test"', '"ed25519:a"')
    signed = {
        "method": "POST",
        "uri": "/uri",
        "origin": "hs.test",
        "destination": "id.test",
        "content": content,
        "signatures": {"hs.test": {"ed25519:a": fields["sig"].strip('"')}},
    }
    verify_signed_json(signed, "hs.test", get_verify_key(key))


def test_a_refusal_is_read_whatever_the_answer_is() -> None:
    refusal = wire.refusal(429, {"errcode": "M_LIMIT_EXCEEDED", "error": "Slowly.", "retry_after_ms": 5})
    assert (str(refusal), refusal.retry_after_ms, refusal.is_temporary) == ("429 M_LIMIT_EXCEEDED: Slowly.", 5, True)
    refusal = wire.refusal(403, ["what"])
    assert (refusal.errcode, refusal.retry_after_ms, refusal.is_temporary) == ("M_UNKNOWN", 0, False)


@pytest.mark.parametrize(
    ("content", "answer", "problem"),
    [
        ({"publish": {"media": ["email"]}, "lookups": {"login": True}}, {}, None),
        ({}, {"server_name": "other"}, "set server_name"),
        ({}, {"now_ms": 400_000}, "clocks are 399 s apart"),
        ({"publish": {"media": ["email", "msisdn"]}}, {}, "takes no msisdn"),
        ({"publish": {"media": ["email"]}}, {"domains": ["a.org"]}, "set publish.domains"),
        ({"publish": {"media": ["email"], "domains": ["a.org"]}}, {"domains": ["a.org", "b.org"]}, None),
        ({"lookups": {"people_search": True}}, {"lookups": False}, "lookups = true"),
    ],
)
def test_the_self_test_names_each_mismatch_and_its_fix(content: Any, answer: Any, problem: str | None) -> None:
    found = problems(parse({**CONTENT, **content}), {**ANSWER, **answer}, now_ms=1_000)
    assert len(found) == (problem is not None)
    assert all(problem in each for each in found if problem)
