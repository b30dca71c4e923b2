"""An implementation that is not ours, installed by ``make test`` where there is a Python 3.12 for it."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-tlog" / "bin" / "python"

Ask = Callable[..., Any]


class Refused(Exception):
    """The independent implementation does not take it."""


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python that has it."""
    if not PYTHON.exists():
        pytest.skip(
            f"NO INDEPENDENT IMPLEMENTATION IS TESTED: {PYTHON} is not there; `make test` installs it for Python 3.12"
        )
    return PYTHON


@pytest.fixture(scope="package")
def ask(python: Path) -> Iterator[Ask]:
    """Has a function of ``independent.py`` called: its value, or ``Refused``."""
    with subprocess.Popen(
        [python, HERE / "independent.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin
        assert process.stdout
        requests, answers = process.stdin, process.stdout

        def ask(do: str, **arguments: Any) -> Any:
            requests.write(json.dumps({"do": do, **arguments}) + "\n")
            requests.flush()
            answer = json.loads(answers.readline())
            if "refused" in answer:
                raise Refused(answer["refused"])
            return answer["is"]

        yield ask
        requests.close()
        assert process.wait(10) == 0
