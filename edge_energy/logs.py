"""Where the daemon's log goes: JSON with priorities for journald, key=value for people."""

from __future__ import annotations

import json as json_module
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

# syslog's numbers, which journald reads from the beginning of a line
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}


def configure(level: str, *, json: bool | None = None) -> None:
    """Send everything at `level` and above to stderr; what libraries log, at warning and above.

    Without `json`, stderr decides: JSON where it is journald's. May be called again, when the level changes.
    """
    # Imported here, because it costs a tenth of a second that the short-lived commands need not pay.
    import structlog  # noqa: PLC0415

    journald = _is_journald()
    processors: list[Processor] = [structlog.processors.add_log_level]
    if not journald:
        processors.append(structlog.processors.TimeStamper("iso", key="time"))
    # The standard library's traceback: it shows no local variables, among which there may be secrets.
    processors.append(structlog.processors.format_exc_info)
    processors.append(_json if json or (json is None and journald) else _plain)
    if journald:
        processors.append(_prioritise)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,  # or a change of the level would not reach the loggers in use
    )
    # gRPC writes to stderr by itself; it looks at this once, when it is imported, which is later.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[_Forward()], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


class _Stderr:
    """stderr as it is now; a log that cannot be written must not stop the house."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class _Forward(logging.Handler):
    """Hands over what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        import structlog  # noqa: PLC0415 - as above

        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            logger = structlog.get_logger()
            logger.log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a message that cannot be formatted is its library's defect
            self.handleError(record)


def _is_journald() -> bool:
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def _json(_logger: Any, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return json_module.dumps({**first, **event}, default=str, ensure_ascii=False)


def _plain(_logger: Any, _method: str, event: EventDict) -> str:
    trace = event.pop("exception", None)
    words = [event.pop("time", ""), f"{event.pop('level'):<7}", _readable(event.pop("event"))]
    words += [f"{key}={_readable(value, quoted=True)}" for key, value in event.items()]
    return " ".join(filter(None, words)) + (f"\n{trace}" if trace else "")


def _readable(value: object, *, quoted: bool = False) -> str:
    """Keep a value on its line: names of devices and messages of servers may contain anything."""
    text = str(value)
    escaped = json_module.dumps(text, ensure_ascii=False)
    if quoted and (not text or any(character in text for character in ' ="')):
        return escaped
    return text if text.isprintable() else escaped


def _prioritise(_logger: Any, method: str, text: Any) -> str:
    prefix = f"<{_PRIORITIES.get(method, 6)}>"
    return prefix + str(text).replace("\n", f"\n{prefix}")
