"""Transparency logs as C2SP describes them: hashes, proofs and texts, with no I/O and nothing of ours in them."""
