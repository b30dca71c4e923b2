import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.files import KeyFileError
from sydent_py.sealing import SealBroken, Sealer, create_key_file, read_key_file

SEALER = Sealer(bytes(32))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_what_is_sealed_comes_back(value: str) -> None:
    assert SEALER.unseal(SEALER.seal(value, "t.c"), "t.c") == value


def test_two_seals_of_one_value_differ() -> None:
    assert SEALER.seal("a@example.org", "t.c") != SEALER.seal("a@example.org", "t.c")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: (SEALER, sealed, "t.other"),
        lambda sealed: (Sealer(b"\x01" * 32), sealed, "t.c"),
        lambda sealed: (SEALER, sealed[:-1] + bytes([sealed[-1] ^ 1]), "t.c"),
        lambda sealed: (SEALER, b"\x02" + sealed[1:], "t.c"),
        lambda _sealed: (SEALER, b"", "t.c"),
        lambda sealed: (SEALER, sealed[:10], "t.c"),
    ],
)
def test_another_purpose_key_or_content_breaks_the_seal(spoil) -> None:
    sealer, sealed, purpose = spoil(SEALER.seal("secret", "t.c"))
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, purpose)


@given(st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4))
def test_an_index_stands_for_exactly_its_parts(one: list[str], other: list[str]) -> None:
    assert (SEALER.index("p", *one) == SEALER.index("p", *other)) == (one == other)


def test_an_index_depends_on_purpose_and_key() -> None:
    assert SEALER.index("p", "x") != SEALER.index("q", "x")
    assert SEALER.index("p", "x") != Sealer(b"\x01" * 32).index("p", "x")
    assert SEALER.lookup_keys(["x"]) != Sealer(b"\x01" * 32).lookup_keys(["x"])


def test_lookup_keys_are_16_bytes_in_order() -> None:
    keys = SEALER.lookup_keys(["a", "b", "a"])
    assert keys[0] == keys[2] != keys[1]
    assert {len(key) for key in keys} == {16}


def test_a_key_file_is_for_its_owner_and_never_overwritten(tmp_path) -> None:
    path = tmp_path / "sealing.key"
    create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = read_key_file(path)
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert read_key_file(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["sealing.key"]


@pytest.mark.parametrize("content", ["", "zz", "ab" * 31, "ab" * 33, "ü"])
def test_other_key_files_are_refused_by_name(tmp_path, content: str) -> None:
    path = tmp_path / "sealing.key"
    path.write_text(content)
    with pytest.raises(KeyFileError, match=r"sealing\.key"):
        read_key_file(path)


def test_a_start_that_was_killed_does_not_stop_the_next(tmp_path) -> None:
    (tmp_path / ".sealing.key.half").write_text("5e")
    create_key_file(tmp_path / "sealing.key")
    assert len(read_key_file(tmp_path / "sealing.key")) == 32
