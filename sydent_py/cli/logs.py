"""How the server logs: one line an event, for people on a terminal and as JSON elsewhere."""

import logging
import sys

import structlog


def configure_logs() -> None:
    """Write events to standard error. Both renderers escape control characters, so that one event stays one line.

    Tracebacks are plain: richer ones show local variables, and with them addresses and tokens.
    """
    renderer: structlog.typing.Processor
    renderer = _for_people() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    if not sys.stderr.isatty():
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _for_people() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(repr_native_str=True, exception_formatter=structlog.dev.plain_traceback)
