"""However changes of an address come, one by one or together, late, twice or out of order: the newest is what is so."""

import itertools
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Launch
from tests.fakes.companion import Companion, item
from tests.usecases.homeservers.conftest import TRUSTED

USERS = ("@alice:hs.test", "@bob:hs.test")
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["bind", "unbind"]), st.sampled_from(USERS), st.integers(0, 3), st.sampled_from(["a", "A", "b"])
    ),
    min_size=1,
    max_size=8,
)


def arrive(companion: Companion, story: int, changes: list[tuple[str, str, int, str]], at_once: int, order: Random) -> None:
    """Send all changes twice, shuffled, some at once; then look at what is so."""
    now_ms = companion.api.clock.now_ms()
    items = [
        item(action, f"{address}{story}@example.org", user, ts=now_ms + ts, seq=seq)
        for seq, (action, user, ts, address) in enumerate(changes)
    ]
    arriving = items * 2
    order.shuffle(arriving)
    for start in range(0, len(arriving), at_once):
        assert "refused" not in companion.change(*arriving[start : start + at_once])
    found, reader = dict(companion.listed()), companion.api.register("@reader:hs.test")
    for address in {each["address"].lower() for each in items}:
        of_address = [each for each in items if each["address"].lower() == address]
        newest = max(of_address, key=lambda each: (each["ts"], each["seq"]))
        if newest["action"] == "bind":
            assert found[address] == newest["mxid"]
        else:
            assert found.get(address) != newest["mxid"]
        assert companion.api.lookup(reader, address) == ({address: found[address]} if address in found else {})


def test_the_newest_change_is_what_is_so(launch: Launch) -> None:
    companion = Companion(launch(trusted_homeservers=TRUSTED, limits={"enabled": False}))
    stories = itertools.count()

    @given(CHANGES, st.integers(1, 4), st.randoms(use_true_random=False))
    @settings(max_examples=60, deadline=None)
    def check(changes: list[tuple[str, str, int, str]], at_once: int, order: Random) -> None:
        arrive(companion, next(stories), changes, at_once, order)

    check()
