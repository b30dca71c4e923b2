"""What counts as a request that a homeserver signed for us."""

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.types import SigningKey

from sydent_py.errors import Forbidden
from sydent_py.federation.x_matrix import (
    MAX_AUTHORIZATION_CHARACTERS,
    MAX_CREDENTIALS,
    Credentials,
    SignedRequest,
    authorization,
    is_for,
    parse,
    verify,
)
from sydent_py.identifiers import ServerName
from sydent_py.signing import Signer
from tests.fakes.homeserver import Onbind, x_matrix

URI = "/_matrix/identity/v2/3pid/unbind"
CONTENT = {"mxid": "@alice:hs.test", "threepid": {"medium": "email", "address": "alice@example.org"}}
OWN_NAMES = ("id.test", "old.id.test")
KEY, OTHER_KEY = generate_signing_key("a_1"), generate_signing_key("a_2")
SIGNATURE = base64.b64encode(bytes(range(64))).decode().rstrip("=")
HEADER = f'X-Matrix origin="hs.test",destination="id.test",key="ed25519:a_1",sig="{SIGNATURE}"'
PARSED = Credentials(ServerName.parse("hs.test"), "id.test", "ed25519:a_1", bytes(range(64)))

SERVER_NAMES = st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,9})?\.[a-z]{2,9}(:[1-9][0-9]{0,3})?", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), JSON, max_size=4)


def signed(key: SigningKey = KEY, *, destination: str = "id.test", **options: Any) -> str:
    """The header of an unbind, as Synapse signs it."""
    return x_matrix(key, "hs.test", method="POST", uri=URI, content=CONTENT, destination=destination, **options)


def check(header: str, *keys: SigningKey, content: Any = CONTENT, method: str = "POST", uri: str = URI) -> str:
    """The id of the key that signed, if it is one of those the homeserver publishes."""
    published = {f"ed25519:{key.version}": VerifyKey(bytes(get_verify_key(key))) for key in keys or (KEY,)}
    return verify(SignedRequest(method, uri, content, header), parse(header), OWN_NAMES, published).key_id


class TestForm:
    @pytest.mark.parametrize(
        "header",
        [
            HEADER,
            f"X-Matrix origin=hs.test,destination=id.test,key=ed25519:a_1,sig={SIGNATURE}",
            f'x-matrix ORIGIN="hs.test",Destination="id.test",KEY="ed25519:a_1",sIg="{SIGNATURE}"',
            f'X-MATRIX   origin = hs.test ,\tdestination= "id.test" , key ="ed25519:a_1",  sig="{SIGNATURE}"  ',
            f'X-Matrix sig="{SIGNATURE}==",key="ed25519:a_1",destination="id.test",origin="hs.test"',
            f'X-Matrix origin="h\\s.t\\est",destination="\\i\\d.test",key="ed25519:a\\_1",sig="{SIGNATURE}"',
            HEADER + ',unknown="a, b=\\"c\\" X-Matrix origin=d",other=\xe9',
            HEADER + ",",
            ", ," + HEADER + " , ,",
        ],
        ids=["quoted", "unquoted", "any case", "spaces", "padded, any order", "escapes", "unknown", "comma", "commas"],
    )
    def test_every_spelling_means_the_same(self, header: str) -> None:
        assert parse(header) == (PARSED,)

    def test_a_destination_may_be_missing_or_empty(self) -> None:
        [absent] = parse(HEADER.replace('destination="id.test",', ""))
        [empty] = parse(HEADER.replace('"id.test"', '""'))
        assert (absent.destination, empty.destination) == (None, "")

    @pytest.mark.parametrize("separator", [",", ", ", " ,\t"])
    def test_several_headers_come_joined(self, separator: str) -> None:
        second = HEADER.replace("a_1", "a_2")
        assert [each.key_id for each in parse(HEADER + separator + second)] == ["ed25519:a_1", "ed25519:a_2"]

    def test_the_first_few_of_many_keys_are_tried(self) -> None:
        header = ",".join(HEADER.replace("a_1", f"a_{number}") for number in range(MAX_CREDENTIALS + 1))
        assert [each.key_id for each in parse(header)] == [f"ed25519:a_{number}" for number in range(MAX_CREDENTIALS)]

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "X-Matrix",
            "X-Matrix ",
            "Bearer abc",
            HEADER.replace("X-Matrix ", ""),
            HEADER.replace("X-Matrix ", "X-Matrix\n"),
            HEADER.replace("X-Matrix", "X-Matri\u212a"),
            "Bearer abc," + HEADER,
            HEADER + ",Bearer abc",
            HEADER + ",X-Matrix",
            HEADER + ',origin="hs.test"',
            HEADER + ',ORIGIN="hs.test"',
            HEADER + ",unknown=1,unknown=1",
            HEADER + " nonsense",
            HEADER + '"',
            HEADER[:-1],
            HEADER[:-1] + "\\",
            HEADER.replace('"hs.test"', '""'),
            HEADER.replace('"hs.test"', ""),
            HEADER.replace('"hs.test"', '"hs.test" "'),
            HEADER.replace('"hs.test"', '"hs.test/"'),
            HEADER.replace('"hs.test"', '"https://hs.test"'),
            HEADER.replace('"hs.test"', '"user@hs.test"'),
            HEADER.replace('"hs.test"', '"2130706433"'),
            HEADER.replace('"hs.test"', '"hs.test:0"'),
            HEADER.replace('"hs.test"', '"\uff48s.test"'),
            HEADER.replace('origin="hs.test",', ""),
            HEADER.replace('key="ed25519:a_1",', ""),
            HEADER.replace("ed25519:a_1", "ed25519:"),
            HEADER.replace("ed25519:a_1", "ed25519"),
            HEADER.replace("ed25519:a_1", "rsa:a_1"),
            HEADER.replace("ed25519:a_1", "ED25519:a_1"),
            HEADER.replace("ed25519:a_1", "ed25519:a 1"),
            HEADER.replace("ed25519:a_1", "ed25519:" + "a" * 200),
            HEADER.replace(",sig=", ",signature="),
            HEADER.replace(SIGNATURE, ""),
            HEADER.replace(SIGNATURE, SIGNATURE[:-1]),
            HEADER.replace(SIGNATURE, SIGNATURE + "A"),
            HEADER.replace(SIGNATURE, SIGNATURE + "="),
            HEADER.replace(SIGNATURE, SIGNATURE + "==="),
            HEADER.replace(SIGNATURE, SIGNATURE[:-1] + "x"),
            HEADER.replace(SIGNATURE, SIGNATURE[:40] + " " + SIGNATURE[40:]),
            HEADER.replace(SIGNATURE, SIGNATURE[:40] + "!" + SIGNATURE[40:]),
            HEADER.replace(SIGNATURE, "\xe9" * 86),
            HEADER + "," + HEADER.replace("hs.test", "other.test"),
            HEADER + "," + HEADER.replace(SIGNATURE, "AAAA"),
        ],
    )
    def test_everything_else_is_forbidden(self, header: str) -> None:
        with pytest.raises(Forbidden) as refusal:
            parse(header)
        assert refusal.value.status == 403

    @pytest.mark.parametrize(
        "unit", [" ", ",", "=", '"', "\\", '\\"', "a=", "a=b,", 'a="', "X-Matrix ", "a", "a ", "X-Matrix a=b,"]
    )
    @pytest.mark.parametrize("before", ["", HEADER, HEADER + ",", HEADER + ",a=", HEADER + ',a="'])
    def test_hostile_repetition_is_forbidden_before_anybody_notices(self, before: str, unit: str) -> None:
        fitting = (MAX_AUTHORIZATION_CHARACTERS - len(before)) // len(unit) - 1
        for header in (before + unit * fitting + "\x00", before + unit * 10**6 + "\x00"):
            with pytest.raises(Forbidden):
                parse(header)

    @given(
        st.text()
        | st.text('Xx-Matrix origkeysd="\\, \t:.')
        | st.lists(st.sampled_from([HEADER, ",", " ", "X-Matrix ", "origin=", "a=b", '"', "\\", "=", "\x00", "é"])).map(
            "".join
        )
    )
    def test_no_text_does_anything_but_parse_or_be_forbidden(self, text: str) -> None:
        try:
            credentials = parse(text)
        except Forbidden:
            return
        assert 1 <= len(credentials) <= MAX_CREDENTIALS

    @given(
        SERVER_NAMES,
        st.none() | st.text(st.characters(codec="latin-1"), max_size=20),
        st.from_regex(r"ed25519:[A-Za-z0-9_]{1,20}", fullmatch=True),
        st.binary(min_size=64, max_size=64),
    )
    def test_what_is_written_is_read(self, origin: str, destination: str | None, key_id: str, signature: bytes) -> None:
        parameters = {"origin": origin, "key": key_id, "sig": base64.b64encode(signature).decode()}
        if destination is not None:
            parameters["destination"] = destination
        escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
        expected = Credentials(ServerName.parse(origin), destination, key_id, signature)
        assert parse("X-Matrix " + ",".join(f'{name}="{value}"' for name, value in escaped.items())) == (expected,)


class TestSignature:
    @pytest.mark.parametrize("member", ["destination_is", "destination"])
    def test_synapse_and_the_specification_are_both_right(self, member: str) -> None:
        check(signed(member=member))

    @pytest.mark.parametrize("destination", ["id.test", "ID.test", "id.test/", "id.test:443", "Id.Test:443/", "old.id.test"])
    def test_our_name_is_verified_as_it_was_spelled(self, destination: str) -> None:
        check(signed(destination=destination))

    @pytest.mark.parametrize("destination", OWN_NAMES)
    @pytest.mark.parametrize("member", ["destination_is", "destination"])
    def test_a_header_without_a_destination_may_mean_any_of_our_names(self, destination: str, member: str) -> None:
        check(signed(destination=destination, member=member, names_destination=False))

    @pytest.mark.parametrize("destination", ["", "other.test", "id.test:8448", "sub.id.test", "id.test/path", "id.test//"])
    @pytest.mark.parametrize("names_destination", [True, False])
    def test_what_was_signed_for_another_server_is_forbidden(self, destination: str, *, names_destination: bool) -> None:
        with pytest.raises(Forbidden):
            check(signed(destination=destination, names_destination=names_destination))

    def test_a_header_cannot_turn_a_request_to_another_server_into_one_to_us(self) -> None:
        header = signed(destination="other.test", names_destination=False) + ',destination="id.test"'
        with pytest.raises(Forbidden):
            check(header)

    def test_one_known_key_of_several_suffices(self) -> None:
        assert check(signed(OTHER_KEY) + "," + signed(KEY)) == "ed25519:a_1"
        assert check(signed(KEY) + "," + signed(OTHER_KEY)) == "ed25519:a_1"
        assert check(signed(OTHER_KEY) + "," + signed(KEY), KEY, OTHER_KEY) == "ed25519:a_2"

    def test_an_unknown_key_is_forbidden(self) -> None:
        with pytest.raises(Forbidden):
            check(signed(OTHER_KEY))

    def test_a_key_under_the_id_of_another_is_forbidden(self) -> None:
        impostor = generate_signing_key("a_1")
        with pytest.raises(Forbidden):
            check(signed(impostor))

    @pytest.mark.parametrize(
        "altered",
        [
            {"method": "PUT"},
            {"method": "post"},
            {"uri": URI + "?"},
            {"uri": URI.replace("unbind", "%75nbind")},
            {"content": None},
            {"content": {}},
            {"content": {**CONTENT, "mxid": "@bob:hs.test"}},
            {"content": {**CONTENT, "more": 1}},
            {"content": {**CONTENT, "nan": float("nan")}},
            {"content": {**CONTENT, "surrogate": "\ud800"}},
            {"content": {**CONTENT, "object": object()}},
        ],
    )
    def test_an_altered_request_is_forbidden(self, altered: dict[str, Any]) -> None:
        with pytest.raises(Forbidden):
            check(signed(), **altered)

    def test_endless_content_is_forbidden(self) -> None:
        endless: list[Any] = []
        for _ in range(100_000):
            endless = [endless]
        with pytest.raises(Forbidden):
            check(signed(), content={"endless": endless})

    def test_no_content_and_empty_content_are_two_things(self) -> None:
        request = {"method": "GET", "uri": URI, "destination": "id.test"}
        check(x_matrix(KEY, "hs.test", content=None, **request), method="GET", content=None)
        check(x_matrix(KEY, "hs.test", content={}, **request), method="GET", content={})
        with pytest.raises(Forbidden):
            check(x_matrix(KEY, "hs.test", content={}, **request), method="GET", content=None)

    @given(st.text("GETPOSUx", min_size=1), st.text(st.characters(codec="latin-1")), st.none() | OBJECTS)
    def test_any_request_that_was_signed_verifies(self, method: str, uri: str, content: dict[str, Any] | None) -> None:
        header = x_matrix(KEY, "hs.test", method=method, uri=uri, content=content, destination="id.test")
        check(header, method=method, uri=uri, content=content)

    @given(st.data())
    def test_every_changed_character_of_the_header_is_forbidden_or_means_the_same(self, data: st.DataObject) -> None:
        header = signed()
        position = data.draw(st.integers(0, len(header) - 1))
        changed = header[:position] + data.draw(st.characters(codec="latin-1")) + header[position + 1 :]
        try:
            check(changed)
        except Forbidden:
            return
        same = [Credentials(each.origin, None, each.key_id, each.signature) for each in parse(header)]
        assert [Credentials(each.origin, None, each.key_id, each.signature) for each in parse(changed)] == same
        assert all(is_for(each, OWN_NAMES) for each in parse(changed))

    @given(st.binary(min_size=64, max_size=64))
    def test_no_other_signature_verifies(self, signature: bytes) -> None:
        header = re.sub(r'sig="[^"]*"', f'sig="{base64.b64encode(signature).decode()}"', signed())
        with pytest.raises(Forbidden):
            check(header)


class TestOurOwnRequests:
    SIGNER = Signer("id.test", (KEY, OTHER_KEY))

    @given(SERVER_NAMES, OBJECTS)
    def test_they_are_signed_as_the_specification_says(self, destination: str, content: dict[str, Any]) -> None:
        request = {"method": "PUT", "uri": "/_matrix/federation/v1/3pid/onbind", "destination": destination}
        header = authorization(self.SIGNER, content=content, **request)
        assert Onbind("PUT", content, header).is_signed_by("id.test", get_verify_key(KEY), destination)
        assert [(each.origin.text, each.destination, each.key_id) for each in parse(header)] == [
            ("id.test", destination, "ed25519:a_1")
        ]

    def test_one_without_content_signs_none(self) -> None:
        header = authorization(self.SIGNER, method="GET", uri=URI, destination="id.test", content=None)
        check(header, method="GET", content=None)
