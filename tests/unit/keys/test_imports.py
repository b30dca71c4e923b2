"""Whoever verifies published keys needs PyNaCl, and nothing else of what the server is made of."""

import subprocess
import sys

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

ALLOWED = sys.stdlib_module_names | {"nacl", "cffi", "_cffi_backend", "sydent_py"}
OURS = {"keys", "keys.canonical", "keys.chain", "keys.compare", "keys.entry", "keys.statement", "keys.verify", "log", "log.leaf"}


class Wall(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        ours = name.removeprefix("sydent_py.")
        if name.partition(".")[0] not in ALLOWED or (ours != name and ours not in OURS and ours.partition(".")[0] != "tlog"):
            raise ImportError(f"{name} is not here")


sys.meta_path.insert(0, Wall())
import sydent_py.keys.compare
import sydent_py.keys.verify

for name in ("flask", "canonicaljson", "sydent_py.errors"):
    try:
        __import__(name)
    except ImportError:
        print(name)
"""


def test_the_verifier_is_imported_where_there_is_nothing_but_pynacl() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["flask", "canonicaljson", "sydent_py.errors"]
