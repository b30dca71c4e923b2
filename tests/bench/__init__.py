"""The benchmark: a real server under load, beside a raw index probe in the same database."""
