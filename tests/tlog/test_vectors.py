"""The committed vectors are what the independent implementation makes."""

import json
import subprocess
from pathlib import Path

from tests.tlog.conftest import HERE
from tests.vectors.reading import read


def test_the_committed_vectors_are_made_by_the_independent_implementation(python: Path) -> None:
    made = subprocess.run([python, HERE / "vectors.py"], capture_output=True, check=True, encoding="utf-8").stdout
    assert json.loads(made) == read("aics_tlog")
