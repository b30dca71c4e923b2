"""Bindings: proof in, signed association out."""
