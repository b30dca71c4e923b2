"""The one signed, append-only log of everything this server vouches for."""
