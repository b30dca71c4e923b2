"""Accounts: an OpenID token of a homeserver becomes an access token of ours; terms of service."""
