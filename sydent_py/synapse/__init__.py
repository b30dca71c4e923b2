"""The companion module that Synapse loads as ``sydent_py.synapse.SydentModule``: the standard library and Synapse only."""

from importlib import import_module
from typing import Any

__all__ = ["SydentModule"]


def __getattr__(name: str) -> Any:
    """The module itself, once it is asked for: what is pure in this package can be read and tested without Synapse."""
    if name == "SydentModule":
        return import_module("sydent_py.synapse.module").SydentModule
    raise AttributeError(name)
