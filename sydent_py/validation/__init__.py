"""Proving that someone controls an email address or a phone number."""
