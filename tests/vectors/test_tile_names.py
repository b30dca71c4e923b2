"""The paths that Tessera gives tiles."""

from typing import Any

import pytest

from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import TileName
from tests.vectors.reading import read

VECTORS = read("tile_names")


@pytest.mark.parametrize("vector", VECTORS["names"], ids=lambda vector: vector["path"])
def test_names(vector: dict[str, Any]) -> None:
    name = TileName(vector["level"], vector["index"], vector["width"])
    assert str(name) == vector["path"]
    assert TileName.parse(vector["path"]) == name


@pytest.mark.parametrize("path", VECTORS["malformed"])
def test_what_is_no_name(path: str) -> None:
    with pytest.raises(Malformed):
        TileName.parse(path)
