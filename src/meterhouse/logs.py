"""Log lines: one for each request, and whatever else the program has to tell.

What a reader may rely on:

- A line never holds a payload, and no secret that is not masked (`masking`): of a request it tells
  the path without its query. Libraries are heard from `warning` on.
- One record is one line, whatever bytes a sender put into its path. Only the traceback of an error
  goes on below its line in the text format; in the JSON format it is a member.
- Lines of requests are gathered and written in chunks: when enough of them wait, shortly after
  the first of them, with the next other line, and at exit. Lines keep their order.
- When the reader of the log is slower than the server, the server waits; no line is dropped.
"""

import json
import logging
import os
import re
import select
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from meterhouse.config import LogFormat
from meterhouse.limits import (
    LOG_FLUSH_MILLISECONDS,
    LOG_LINES_WAITING_MAX,
    LOG_PATH_CHARS_MAX,
    LOG_PATHS_CACHED_MAX,
)
from meterhouse.masking import masked

# Marks a question of our own pages, which leaves no line. It stands in the extensions of the ASGI
# scope, where no client can put it.
WITHIN = "meterhouse.within"

_STANDARD_ERROR = 2
_EVERYTHING_PLAIN = re.compile(r"[!#-~]+").fullmatch  # no space, no quote, nothing unprintable


class AnsweredRequest(msgspec.Struct, frozen=True, gc=False):
    """A request that was answered at `now` (milliseconds) after `seconds`.

    `account` is empty and `livemode` None when nobody knows whose request it was.
    """

    now: int
    method: str
    path: str
    status: int
    seconds: float
    request: str
    account: str
    livemode: bool | None


NoteRequest = Callable[[AnsweredRequest], None]


def note_nothing(_: AnsweredRequest) -> None:
    """Note no request at all."""


class Lines:
    """Writes lines to a file descriptor, in chunks. Every method may be called from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()
        self._some = threading.Event()
        self._closed = threading.Event()
        self._flusher = threading.Thread(target=self._keep_flushing, name="log", daemon=True)
        self._flusher.start()

    def put(self, line: str) -> None:
        """Take a line, which ends in a newline."""
        self._waiting.append(line)
        if len(self._waiting) >= LOG_LINES_WAITING_MAX:
            self.flush()
        elif not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write every line that was put before this call."""
        with self._writing:
            waiting = self._waiting
            chunk = "".join([waiting.popleft() for _ in range(len(waiting))])
            if chunk:
                _write(self._descriptor, chunk.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Write what waits and end the thread; the descriptor stays open."""
        self._closed.set()
        self._some.set()
        self._flusher.join()
        self.flush()

    def _keep_flushing(self) -> None:
        while not self._closed.is_set():
            self._some.wait()
            self._some.clear()
            self._closed.wait(LOG_FLUSH_MILLISECONDS / 1000)
            self.flush()


def _write(descriptor: int, chunk: bytes) -> None:
    """Write all of `chunk`, or as much as a descriptor takes that nobody reads any more."""
    left = memoryview(chunk)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            select.select((), (descriptor,), ())
        except OSError:
            return


class RequestLog:
    """The log of requests: `note` writes one line for each."""

    def __init__(self, lines: Lines, log_format: LogFormat) -> None:
        self._put = lines.put
        self._second = -1
        self._time = ""
        self.note: NoteRequest = self._note_json if log_format == "json" else self._note_text

    def _note_text(self, one: AnsweredRequest) -> None:
        owner = f" account={one.account} livemode={_boolean(one.livemode)}" if one.account else ""
        self._put(
            f"{self._stamp(one.now)} INFO request method={one.method} "
            f"path={_path_as_text(one.path[:LOG_PATH_CHARS_MAX])} status={one.status} "
            f"ms={one.seconds * 1000:.1f} request={one.request}{owner}\n"
        )

    def _note_json(self, one: AnsweredRequest) -> None:
        owner = (
            f',"account":"{one.account}","livemode":{_boolean(one.livemode)}' if one.account else ""
        )
        self._put(
            f'{{"time":"{self._stamp(one.now)}","level":"info","message":"request",'
            f'"method":"{one.method}","path":{_path_as_json(one.path[:LOG_PATH_CHARS_MAX])},'
            f'"status":{one.status},"ms":{one.seconds * 1000:.1f},'
            f'"request":"{one.request}"{owner}}}\n'
        )

    def _stamp(self, now: int) -> str:
        second, millisecond = divmod(now, 1000)
        if second != self._second:
            self._time = _seconds_text(second)
            self._second = second
        return f"{self._time}.{millisecond:03}Z"


def _boolean(value: bool | None) -> str:
    return "true" if value else "false"


@lru_cache(LOG_PATHS_CACHED_MAX)
def _path_as_text(path: str) -> str:
    shown = masked(path)
    return shown if _EVERYTHING_PLAIN(shown) else json.dumps(shown)


@lru_cache(LOG_PATHS_CACHED_MAX)
def _path_as_json(path: str) -> str:
    return json.dumps(masked(path))


def _seconds_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Handler(logging.Handler):
    """Writes every other record at once, behind the requests that came before it."""

    def __init__(self, lines: Lines, log_format: LogFormat) -> None:
        super().__init__()
        self._lines = lines
        self._render = _record_as_json if log_format == "json" else _record_as_text

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = self._render(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not stop anybody
            self.handleError(record)
        else:
            self._lines.put(line)
            self._lines.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._lines.flush()

    def close(self) -> None:
        """Write what waits and end."""
        self._lines.close()
        super().close()


_tracebacks = logging.Formatter()


def _record_as_text(record: logging.LogRecord) -> str:
    message = masked(record.getMessage()).replace("\n", "\\n")
    line = f"{_record_time(record)} {record.levelname} {record.name} {message}\n"
    return f"{line}{_traceback(record)}\n" if record.exc_info else line


def _record_as_json(record: logging.LogRecord) -> str:
    members: dict[str, Any] = {
        "time": _record_time(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": masked(record.getMessage()),
    }
    if record.exc_info:
        members["traceback"] = _traceback(record)
    return json.dumps(members, ensure_ascii=False) + "\n"


def _traceback(record: logging.LogRecord) -> str:
    return masked(_tracebacks.formatException(record.exc_info)) if record.exc_info else ""


def _record_time(record: logging.LogRecord) -> str:
    second, millisecond = divmod(int(record.created * 1000), 1000)
    return f"{_seconds_text(second)}.{millisecond:03}Z"


def configure(log_format: LogFormat, level: str, descriptor: int = _STANDARD_ERROR) -> NoteRequest:
    """Send every log line of this process to `descriptor`; return what notes the requests.

    `level` is `debug`, `info`, `warning` or `error`; requests are noted up to `info`. What was
    set up before is closed. What waits is written at exit.
    """
    lines = Lines(descriptor)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(_Handler(lines, log_format))
    own = logging.getLogger("meterhouse")
    own.setLevel(level.upper())
    root.setLevel(max(own.level, logging.WARNING))
    # A sender who speaks no HTTP hears so; that is no warning for the operator.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return RequestLog(lines, log_format).note if own.isEnabledFor(logging.INFO) else note_nothing
