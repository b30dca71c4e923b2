import pytest
from signedjson.key import decode_verify_key_base64
from signedjson.sign import verify_signed_json

from sydent_py.errors import NotFound
from sydent_py.files import KeyFileError
from sydent_py.signing import Signer, create_key_file, new_key_line, read_key_file

# Appendices, "Cryptographic Test Vectors".
VECTOR_KEY = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
VECTOR_SIGNATURE = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"


@pytest.fixture
def signer(tmp_path) -> Signer:
    path = tmp_path / "signing.key"
    path.write_text(f"{new_key_line('new')}\n{VECTOR_KEY}\n")
    return Signer("domain", read_key_file(path))


def test_the_specifications_vector(tmp_path) -> None:
    path = tmp_path / "signing.key"
    path.write_text(VECTOR_KEY)
    content = {"one": 1, "two": "Two"}
    assert Signer("domain", read_key_file(path)).sign(content)["signatures"] == {"domain": {"ed25519:1": VECTOR_SIGNATURE}}
    assert content == {"one": 1, "two": "Two"}


def test_the_first_key_signs_and_every_key_stays_valid(signer: Signer) -> None:
    signed = signer.sign({"a": 1})
    assert list(signed["signatures"]["domain"]) == ["ed25519:new"]
    verify_signed_json(signed, "domain", decode_verify_key_base64("ed25519", "new", signer.public_key("ed25519:new")))
    assert signer.owns(signer.public_key("ed25519:1"))


@pytest.mark.parametrize("key_id", ["ed25519:2", "ed25519", "", "curve25519:1", "ed25519:1:"])
def test_other_key_ids_are_not_found(signer: Signer, key_id: str) -> None:
    with pytest.raises(NotFound):
        signer.public_key(key_id)


def test_a_public_key_is_known_in_either_alphabet_and_with_its_plus_lost(signer: Signer) -> None:
    public_key = signer.public_key("ed25519:1")
    for text in (public_key, public_key + "=", public_key.replace("+", "-").replace("/", "_"), public_key.replace("+", " ")):
        assert signer.owns(text)
    for text in ("", "A", "nonsense!", public_key[:-2], "A" * 43, "ü"):
        assert not signer.owns(text)


@pytest.mark.parametrize("content", ["", "ed25519 0", "ed25519 0 short", "rsa 0 AAAA", f"{VECTOR_KEY}\n{VECTOR_KEY}", "ü"])
def test_a_bad_key_file_is_refused_by_name(tmp_path, content: str) -> None:
    path = tmp_path / "signing.key"
    path.write_text(content)
    with pytest.raises(KeyFileError, match=r"signing\.key"):
        read_key_file(path)


def test_a_key_file_that_cannot_be_read_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(KeyFileError, match=tmp_path.name):
        read_key_file(tmp_path)


def test_a_missing_key_file_says_how_to_make_one(tmp_path) -> None:
    with pytest.raises(KeyFileError, match="migrate"):
        read_key_file(tmp_path / "signing.key")


def test_a_new_key_file_can_be_read(tmp_path) -> None:
    create_key_file(tmp_path / "signing.key")
    assert [key.version for key in read_key_file(tmp_path / "signing.key")] == ["0"]
