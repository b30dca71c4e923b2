"""What notes, keys, checkpoints and proofs can be made of."""

from hypothesis import strategies as st

from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.merkle import EMPTY_ROOT
from sydent_py.tlog.note import COSIGNATURE, ED25519, Note, Signature, VerifierKey
from sydent_py.tlog.proof import Proof

# Cc are controls, of which all but the line ends from U+0080 may be in names; Z are spaces; Cs cannot be in UTF-8.
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"], exclude_characters="+"), min_size=1, max_size=30)
LINES = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=30)
TEXTS = st.lists(LINES, max_size=5).map(lambda lines: "".join(f"{line}\n" for line in lines) or "\n")
SEEDS = st.binary(min_size=32, max_size=32)
HASHES = st.binary(min_size=32, max_size=32)
SIZES = st.integers(0, 300) | st.integers(0, 2**63 - 1)
KEYS = st.builds(VerifierKey, NAMES, st.sampled_from([ED25519, COSIGNATURE]), HASHES)
SIGNATURES = st.builds(Signature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
CHECKPOINTS = st.builds(
    lambda origin, size, root, extensions: Checkpoint(origin, size, root if size else EMPTY_ROOT, tuple(extensions)),
    LINES.filter(bool), SIZES, HASHES, st.lists(LINES.filter(bool), max_size=3),
)  # fmt: skip


def notes(texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Note]:
    """Notes whose signatures nobody has made."""
    return st.builds(Note, texts, st.lists(SIGNATURES, min_size=1, max_size=4).map(tuple))


PROOFS = st.builds(
    Proof,
    index=SIZES,
    path=st.lists(HASHES, max_size=63).map(tuple),
    checkpoint=notes(CHECKPOINTS.map(str)),
    extra=st.none() | st.binary(min_size=1, max_size=80),
)
