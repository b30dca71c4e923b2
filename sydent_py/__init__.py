"""A federated Matrix identity server. Imports nothing: Synapse loads this package."""

__version__ = "0.1.0"
