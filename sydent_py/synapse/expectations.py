"""Whether what the identity server says of itself goes with the configuration."""

from typing import Any

from sydent_py.synapse.config import Config

MAX_SKEW_MS = 60_000


def problems(config: Config, answer: dict[str, Any], now_ms: int) -> list[str]:
    """What ``answer`` says that does not go with the configuration; each with what to do."""
    found = []
    if answer.get("server_name") != config.server.name:
        found.append(
            f"it calls itself {answer.get('server_name')!r}; set server_name to that, unless it is one of its aliases"
        )
    skew_ms = now_ms - answer.get("now_ms", now_ms)
    if abs(skew_ms) > MAX_SKEW_MS:
        found.append(f"the clocks are {abs(skew_ms) // 1000} s apart; from 5 min on it refuses everything: set them right")
    found += _refused_media(config, answer)
    if config.lookups.is_on and not answer.get("lookups"):
        found.append("it answers no lookups: set `lookups = true` for this homeserver there, or turn `lookups` off here")
    return found


def _refused_media(config: Config, answer: dict[str, Any]) -> list[str]:
    media, domains = answer.get("media") or [], answer.get("domains") or []
    lacking = [medium for medium in config.publish.media if medium not in media]
    found = [f"it takes no {medium}: add it to `media` for this homeserver there, or take it out here" for medium in lacking]
    if "email" in config.publish.media and domains and not set(config.publish.domains or [""]) <= set(domains):
        found.append(
            f"it takes email of {', '.join(domains)} alone: set publish.domains to these, or add those that lack there"
        )
    return found
