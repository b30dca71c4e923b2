"""Inviting someone by an email address that belongs to no Matrix account yet."""
