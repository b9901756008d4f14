import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterhouse import logs
from meterhouse.config import LogFormat
from meterhouse.limits import LOG_LINES_WAITING_MAX, LOG_PATH_CHARS_MAX
from meterhouse.logs import AnsweredRequest, Lines, NoteRequest

NOW = 1_795_244_400_123  # 2026-11-21T07:00:00.123Z


def answered(
    path: str = "/v1/billing/meters",
    *,
    now: int = NOW,
    account: str = "acct_1",
    livemode: bool | None = False,
) -> AnsweredRequest:
    return AnsweredRequest(now, "POST", path, 200, 0.00123, "req_1", account, livemode)


class Log:
    """A log file, and the configured logging that writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    def configure(self, log_format: LogFormat, level: str = "info") -> NoteRequest:
        return logs.configure(log_format, level, self._descriptor)

    def read(self) -> list[str]:
        """Close the log as the end of the process does; return its lines."""
        (handler,) = logging.getLogger().handlers
        logging.getLogger().removeHandler(handler)
        handler.close()
        os.close(self._descriptor)
        return self._path.read_text().splitlines()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    root, own = logging.getLogger(), logging.getLogger("meterhouse")
    before = (root.handlers[:], root.level, own.level)
    root.handlers.clear()
    yield Log(tmp_path / "log")
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def test_a_request_is_one_line_of_text(log: Log) -> None:
    note = log.configure("text")
    note(answered())
    note(answered(now=NOW + 1_000, account="", livemode=None))
    note(answered(now=NOW + 1_001, livemode=True))
    what = "INFO request method=POST path=/v1/billing/meters status=200 ms=1.2 request=req_1"
    assert log.read() == [
        f"2026-11-21T07:00:00.123Z {what} account=acct_1 livemode=false",
        f"2026-11-21T07:00:01.123Z {what}",
        f"2026-11-21T07:00:01.124Z {what} account=acct_1 livemode=true",
    ]


def test_a_request_is_one_object_of_json(log: Log) -> None:
    note = log.configure("json")
    note(answered())
    note(answered(account="", livemode=None))
    first, second = map(json.loads, log.read())
    assert first == {
        "time": "2026-11-21T07:00:00.123Z",
        "level": "info",
        "message": "request",
        "method": "POST",
        "path": "/v1/billing/meters",
        "status": 200,
        "ms": 1.2,
        "request": "req_1",
        "account": "acct_1",
        "livemode": False,
    }
    assert "account" not in second
    assert "livemode" not in second


@pytest.mark.parametrize(
    "path",
    ["/a b", '/"', "/line\nbreak", "/\r", "/\x00", "/\x1b[2J", "/\x9b", "/\u2028", "/é", "/\ud800"],
)
def test_a_strange_path_stays_one_line_of_plain_ascii(log: Log, path: str) -> None:
    log.configure("text")(answered(path))
    log.configure("json")(answered(path))
    text, document = log.read()
    assert f"path={json.dumps(path)} status" in text
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(document)["path"] == path


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_key_in_a_path_is_masked_and_a_long_path_cut(log: Log, log_format: LogFormat) -> None:
    note = log.configure(log_format)
    note(answered("/v1/sk_live_abcDEF123/x"))
    note(answered("/v1/rk_test_abcDEF123"))
    note(answered("/" + "x" * 10_000))
    first, second, third = log.read()
    assert "/v1/sk_live_****/x" in first
    assert "/v1/rk_test_****" in second
    assert "abcDEF123" not in first + second
    assert third.count("x") < LOG_PATH_CHARS_MAX + 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_in_a_message_or_a_traceback_is_masked(log: Log, log_format: LogFormat) -> None:
    log.configure(log_format)
    try:
        raise ValueError("no sk_live_abcDEF123")  # noqa: TRY301 - it is what is logged
    except ValueError:
        logging.getLogger("meterhouse.test").exception("failed: %s", "whsec_abcDEF123")
    lines = "\n".join(log.read())
    assert "sk_live_****" in lines
    assert "failed: whsec_****" in lines
    assert "abcDEF123" not in lines


def test_lines_keep_their_order_and_nothing_waits_behind_another_record(log: Log) -> None:
    note = log.configure("text")
    note(answered("/first"))
    logging.getLogger("meterhouse.process").warning("second %d", 2)
    assert "/first" in log._path.read_text()
    assert "WARNING meterhouse.process second 2" in log._path.read_text()
    note(answered("/third"))
    assert [line.split("path=")[-1].split()[0] for line in log.read()][::2] == ["/first", "/third"]


def test_a_traceback_follows_its_line(log: Log) -> None:
    log.configure("text")
    _fail_and_log()
    lines = log.read()
    assert lines[0].endswith("ERROR meterhouse.test it failed: a\\nb")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1].startswith("ValueError: ")


def test_a_traceback_is_a_member_of_json(log: Log) -> None:
    log.configure("json")
    _fail_and_log()
    (line,) = map(json.loads, log.read())
    assert (line["level"], line["logger"]) == ("error", "meterhouse.test")
    assert line["message"] == "it failed: a\nb"
    assert "\nValueError: " in line["traceback"]


def _fail_and_log() -> None:
    try:
        int("x")
    except ValueError:
        logging.getLogger("meterhouse.test").exception("it failed: %s", "a\nb")


def test_requests_are_noted_up_to_level_info(log: Log) -> None:
    log.configure("text", "warning")(answered())
    log.configure("text", "debug")(answered())
    logging.getLogger("meterhouse.test").debug("heard")
    log.configure("text", "error")(answered())
    logging.getLogger("meterhouse.test").warning("not heard")
    assert [line.split()[1] for line in log.read()] == ["INFO", "DEBUG"]


def test_libraries_are_heard_from_warning_on(log: Log) -> None:
    log.configure("text", "debug")
    logging.getLogger("somebody").info("a statement with its parameters")
    logging.getLogger("somebody").warning("a warning")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert [line.split(" ", 2)[2] for line in log.read()] == ["somebody a warning"]


def test_a_record_that_cannot_be_formatted_stops_nobody(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("text")
    logging.getLogger("meterhouse.test").warning("%d", "no number")
    logging.getLogger("meterhouse.test").warning("next")
    assert [line.split()[-1] for line in log.read()] == ["next"]
    assert "no number" in capsys.readouterr().err


def test_a_line_is_written_shortly_after_it_was_put() -> None:
    reader, writer = os.pipe()
    lines = Lines(writer)
    lines.put("only one\n")
    assert os.read(reader, 100) == b"only one\n"
    lines.close()
    os.close(reader)
    os.close(writer)


def test_no_line_of_many_threads_is_lost_even_if_the_reader_is_slow() -> None:
    """Given a pipe that takes less than is written, when four threads write, then all arrives."""
    each = 4 * LOG_LINES_WAITING_MAX
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = Lines(writer)
    text: list[bytes] = []

    def put(thread: int) -> None:
        for number in range(each):
            lines.put(f"{thread} {number} {'x' * 100}\n")

    def read() -> None:
        while chunk := os.read(reader, 65_536):
            text.append(chunk)

    writers = [threading.Thread(target=put, args=(thread,)) for thread in range(4)]
    listener = threading.Thread(target=read)
    for one in (listener, *writers):
        one.start()
    for one in writers:
        one.join()
    lines.close()
    os.close(writer)
    listener.join()
    os.close(reader)
    arrived = [tuple(map(int, line.split()[:2])) for line in b"".join(text).splitlines()]
    assert sorted(arrived) == [(thread, number) for thread in range(4) for number in range(each)]
    for thread in range(4):
        assert [number for one, number in arrived if one == thread] == list(range(each))


def test_a_reader_that_went_away_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = Lines(writer)
    lines.put("nobody reads this\n")
    lines.close()
    os.close(writer)
