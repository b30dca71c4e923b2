"""The log as clients and auditors find it: receipts, checkpoint, tiles, proofs."""

import hashlib
from typing import Any
from urllib.parse import quote

import pytest
from canonicaljson import encode_canonical_json
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import verify_signed_json
from sqlalchemy import text
from unpaddedbase64 import decode_base64, encode_base64

from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, open_checkpoint
from sydent_py.tlog.note import VerifierKey
from sydent_py.tlog.proof import Proof
from tests.conftest import Launch
from tests.driver import OWN, Driver, refusal

IMMUTABLE = "public, max-age=31536000, immutable"


def vkey(api: Driver) -> VerifierKey:
    return VerifierKey.parse(api.log("vkey").text.removesuffix("\n"))


def checkpoint(api: Driver) -> Checkpoint:
    return open_checkpoint(api.log("checkpoint").data, vkey(api))


def proves(api: Driver, receipt: dict[str, Any], payload: dict[str, Any]) -> int:
    """Do what a client does with a receipt: find the entry, and check that it is about ``payload``. The entry's index."""
    nonce = decode_base64(receipt["nonce"])
    assert len(nonce) == 32
    assert encode_base64(hashlib.sha256(nonce + encode_canonical_json(payload)).digest()) == receipt["commitment"]
    proof = Proof.parse(api.log(f"proof?commitment={quote(receipt['commitment'])}").data)
    leaf = Leaf(receipt["kind"], receipt["ts"], decode_base64(receipt["commitment"])).encode()
    assert proof.extra == leaf
    assert proof.proves(leaf, vkey(api))
    return proof.index


def fill(api: Driver, count: int) -> None:
    """A log of so many entries."""
    log = api.services.bindings.bind.associations.log
    with api.services.database.begin() as db:
        for number in range(count):
            log.append(db, "bind", {"number": number})
    api.sequence()


def test_a_bind_has_a_receipt_that_leads_to_its_entry(api: Driver) -> None:
    token = api.register()
    answer = api.bind(token, api.validate(token)).get_json()
    receipt = answer.pop("unsigned")["sydent_py"]["receipt"]
    assert receipt["log"] == "id.test/log"
    assert (receipt["kind"], receipt["ts"]) == ("bind", api.clock.now_ms())
    assert "index" not in receipt
    api.sequence()
    assert proves(api, receipt, answer) == 0


def test_a_receipt_leaves_the_associations_signature_valid(api: Driver) -> None:
    token = api.register()
    answer = api.bind(token, api.validate(token)).get_json()
    assert "unsigned" in answer
    public_key = api.get("/pubkey/ed25519:0").get_json()["public_key"]
    verify_signed_json(answer, "id.test", decode_verify_key_bytes("ed25519:0", decode_base64(public_key)))


@pytest.mark.parametrize("how", ["session", "homeserver", "own"])
def test_an_unbind_has_a_receipt_and_what_it_is_for(api: Driver, how: str) -> None:
    token, sid = api.bound()
    answer = {
        "session": lambda: api.unbind(token, sid),
        "homeserver": api.signed_unbind,
        "own": lambda: api.request("DELETE", f"{OWN}/bindings/email/alice@example.org", token),
    }[how]()
    told = answer.get_json()["unsigned"]["sydent_py"]
    api.sequence()
    assert told["signed"]["mxid"] == "@alice:hs.test"
    assert told["receipt"]["kind"] == "unbind"
    assert proves(api, told["receipt"], told["signed"]) == 1


def test_receipts_can_be_asked_for_later_with_their_place(api: Driver) -> None:
    token = api.register()
    given = api.bind(token, api.validate(token)).get_json()["unsigned"]["sydent_py"]["receipt"]
    mine = f"{OWN}/bindings/mine"
    assert api.request("GET", mine, token).get_json()["bindings"][0]["receipt"] == given
    api.sequence()
    assert api.request("GET", mine, token).get_json()["bindings"][0]["receipt"] == {**given, "index": 0}


def test_the_homeserver_is_sent_the_association_without_the_receipt(api: Driver) -> None:
    api.bound()
    api.deliver()
    [(_, content)] = api.homeservers.onbinds
    assert "unsigned" not in content


def test_the_log_shows_neither_addresses_nor_users(api: Driver) -> None:
    api.bound()
    api.sequence()
    served = b"".join(api.log(path).data for path in ("checkpoint", "tile/entries/000.p/1", "tile/0/000.p/1"))
    for hidden in (b"alice", b"example", b"hs.test"):
        assert hidden not in served


def test_every_file_of_the_log_says_what_it_is_and_how_long_to_keep_it(api: Driver) -> None:
    fill(api, 258)
    expected = {
        "checkpoint": ("text/plain; charset=utf-8", "public, max-age=1"),
        "vkey": ("text/plain; charset=utf-8", "public, max-age=3600"),
        "tile/0/000": ("application/octet-stream", IMMUTABLE),
        "tile/0/001.p/2": ("application/octet-stream", IMMUTABLE),
        "tile/1/000.p/1": ("application/octet-stream", IMMUTABLE),
        "tile/entries/000": ("application/octet-stream", IMMUTABLE),
        "tile/entries/001.p/1": ("application/octet-stream", IMMUTABLE),
    }
    for path, (content_type, caching) in expected.items():
        answer = api.log(path)
        assert answer.status_code == 200, path
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (content_type, caching)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        again = api.log(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Access-Control-Allow-Origin"] == "*"
        head = api.request("HEAD", f"{OWN}/log/{path}")
        assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", answer.headers["ETag"])


def test_tiles_and_entries_make_the_tree_that_the_checkpoint_signs(api: Driver) -> None:
    fill(api, 600)
    signed = checkpoint(api)
    assert signed.size == 600
    entries = [entry for path in ("000", "001", "002.p/88") for entry in bundle(api, path)]
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    served = b"".join(api.log(f"tile/0/{path}").data for path in ("000", "001", "002.p/88"))
    assert served == b"".join(leaves)
    roots = {(1, 0): api.log("tile/1/000.p/2").data, **{(0, n): b"".join(leaves[n * 256 :][:256]) for n in range(3)}}
    assert merkle.root(600, tiles.hashes_from(lambda level, index: roots[level, index])) == signed.root


def bundle(api: Driver, path: str) -> list[bytes]:
    return tiles.parse_bundle(api.log(f"tile/entries/{path}").data)


def test_partial_tiles_of_every_width_there_was_stay_available(api: Driver) -> None:
    fill(api, 3)
    early = {width: (api.log(f"tile/0/000.p/{width}").data, bundle(api, f"000.p/{width}")) for width in (1, 2, 3)}
    fill(api, 300)
    for width, (hashes, entries) in early.items():
        assert api.log(f"tile/0/000.p/{width}").data == hashes == api.log("tile/0/000").data[: 32 * width]
        assert bundle(api, f"000.p/{width}") == entries == bundle(api, "000")[:width]


@pytest.mark.parametrize(
    "path", ["tile/0/000.p/4", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1", "tile/63/000.p/1", "tile/entries/000.p/4"]
)
def test_what_the_log_has_not_grown_to_is_not_found_and_not_kept(api: Driver, path: str) -> None:
    fill(api, 3)
    answer = api.log(path)
    assert refusal(answer) == (404, "M_NOT_FOUND")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/00/000",
            "tile/-1/000",
            "tile/64/000",
            "tile/+0/000",
        ),
        *(
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "tile/0/",
        ),
        *(
            "tile/0/000.p/1/",
            "tile/entries/0",
            "tile/data/000",
            "tile/0/٠٠٠",
            "tile/0/000%00",
            "tile/0//000",
            "tile/0/000.p/9" + "9" * 50,
        ),
        *("tile/0/" + "x999/" * 40 + "999", "", "nothing", "checkpoint/"),
    ],
)
def test_what_is_no_file_of_a_log_is_an_unknown_path(api: Driver, path: str) -> None:
    assert refusal(api.log(path)) == (404, "M_UNRECOGNIZED")


def test_tiles_far_beyond_any_log_are_not_found(api: Driver) -> None:
    assert refusal(api.log("tile/0/" + "x999/" * 6 + "999")) == (404, "M_NOT_FOUND")
    assert refusal(api.log("tile/entries/" + "x999/" * 6 + "999")) == (404, "M_NOT_FOUND")


def test_the_log_is_only_read(api: Driver) -> None:
    for path in ("checkpoint", "vkey", "proof", "tile/0/000"):
        for method in ("POST", "PUT", "DELETE"):
            assert refusal(api.request(method, f"{OWN}/log/{path}")) == (405, "M_UNRECOGNIZED")


def test_an_entry_that_waits_has_no_proof_yet(api: Driver) -> None:
    token = api.register()
    receipt = api.bind(token, api.validate(token)).get_json()["unsigned"]["sydent_py"]["receipt"]
    path = f"proof?commitment={quote(receipt['commitment'])}"
    answer = api.log(path)
    assert refusal(answer) == (404, "M_NOT_FOUND")
    assert "try again" in answer.get_json()["error"]
    api.sequence()
    assert api.log(path).status_code == 200


def test_a_commitment_is_taken_in_either_alphabet_padded_or_not(api: Driver) -> None:
    token = api.register()
    receipt = api.bind(token, api.validate(token)).get_json()["unsigned"]["sydent_py"]["receipt"]
    api.sequence()
    plain = receipt["commitment"]
    proof = api.log("proof", query_string={"commitment": plain}).data
    for spelling in (plain + "=", plain.replace("+", "-").replace("/", "_"), plain.replace("+", " ")):
        assert api.log("proof", query_string={"commitment": spelling}).data == proof


@pytest.mark.parametrize(
    "query", ["", "commitment=", "commitment=abc", "commitment=%00", "commitment=" + "A" * 44, "commitment=é"]
)
def test_what_is_no_commitment_is_refused(api: Driver, query: str) -> None:
    status, errcode = refusal(api.log(f"proof?{query}"))
    assert (status, errcode) in {(400, "M_INVALID_PARAM"), (400, "M_MISSING_PARAMS")}


def test_an_unknown_commitment_is_not_found(api: Driver) -> None:
    fill(api, 1)
    assert refusal(api.log(f"proof?commitment={'A' * 43}")) == (404, "M_NOT_FOUND")


def test_what_is_stored_and_not_yet_published_is_not_shown(api: Driver) -> None:
    fill(api, 2)
    log = api.services.bindings.bind.associations.log
    with api.services.database.begin() as db:
        receipt = log.append(db, "bind", {"number": 3})
    batch = api.services.sequencer.next_batch()
    assert batch
    assert api.services.sequencer.store(batch)
    assert checkpoint(api).size == 2
    assert refusal(api.log("tile/0/000.p/3")) == (404, "M_NOT_FOUND")
    assert refusal(api.log("tile/entries/000.p/3")) == (404, "M_NOT_FOUND")
    assert refusal(api.log(f"proof?commitment={quote(encode_base64(receipt.commitment))}")) == (404, "M_NOT_FOUND")
    api.services.sequencer.publish()
    assert checkpoint(api).size == 3
    assert api.log("tile/0/000.p/3").status_code == 200


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ("DELETE FROM log_entries WHERE entry_index = 1", "tile/entries/000.p/3"),
        ("DELETE FROM log_tiles", "tile/0/000.p/3"),
        ("DELETE FROM log_tiles", "proof"),
    ],
)
def test_a_damaged_log_is_said_to_be_so_and_not_kept_by_caches(
    api: Driver, damage: str, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(api, 3)
    with api.services.database.begin() as db:
        commitment = bytes(db.execute(text("SELECT commitment FROM log_entries WHERE entry_index = 0")).scalar_one())
        db.execute(text(damage))
    answer = api.log(f"proof?commitment={quote(encode_base64(commitment))}" if path == "proof" else path)
    assert refusal(answer) == (503, "M_UNKNOWN")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "log.damaged" in capfd.readouterr().out


def test_a_log_is_the_same_after_a_restart(launch: Launch) -> None:
    first = launch()
    first.bound()
    first.sequence()
    before = first.log("checkpoint").data
    second = launch()
    second.sequence()
    assert second.log("checkpoint").data == before
