"""A worker that does nothing but sequence, until it is killed."""

from sydent_py import wiring
from sydent_py.settings import Settings


def sequence_for_ever(settings: Settings) -> None:
    built = wiring.build(settings)
    while True:
        built.sequencer()
