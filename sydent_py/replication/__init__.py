"""Peers: identity servers that follow our log, and whose logs we follow."""
