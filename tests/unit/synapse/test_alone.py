"""The module has nothing of the server, and the server nothing of the module."""

import ast
import sys
from pathlib import Path

import pytest

import sydent_py

PACKAGE = Path(sydent_py.__file__).parent / "synapse"
SOURCES = sorted(PACKAGE.glob("*.py"))

# What Synapse itself needs, and so has in its virtual environment.
SYNAPSE_BRINGS = {"synapse", "twisted", "signedjson", "canonicaljson", "prometheus_client"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_it_imports_the_standard_library_and_what_synapse_brings(path: Path) -> None:
    # Synapse runs on Python 3.10, too.
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for name in names:
        ours = name == "sydent_py" or name.startswith("sydent_py.synapse")
        assert ours or name.partition(".")[0] in sys.stdlib_module_names | SYNAPSE_BRINGS, name
