"""The tour of the README, line by line, against a real server.

Fences marked `tour` are run in order: `make serve` starts the server here, shell fences share one
shell, Python fences run in that shell's environment. The `text` fence behind one is what must come
back; `…` stands for anything, and white space does not count.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

README = Path(__file__).parents[1] / "README.md"

_FENCE = re.compile(
    r"^```(?P<kind>\w+)(?P<tour> tour)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_DEFAULT_PORT = "12111"
_END = "end of the step"
_STOP_SECONDS_MAX = 60


class Step(NamedTuple):
    """What a reader types or pastes, and what the README says comes back."""

    kind: str
    text: str
    expected: str | None


def steps(page: str) -> list[Step]:
    fences = list(_FENCE.finditer(page))
    found: list[Step] = []
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        if fence["tour"]:
            told = following is not None and following["kind"] == "text"
            found.append(
                Step(
                    fence["kind"], fence["text"], following["text"] if following and told else None
                )
            )
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def pattern(expected: str) -> str:
    return ".*?".join(map(re.escape, squeezed(expected).split("…")))


def until(last: str, stream: IO[str]) -> str:
    """Return the lines before the one that is `last`."""
    lines: list[str] = []
    for line in stream:
        if line == last:
            return "".join(lines)
        lines.append(line)
    raise AssertionError(f"ended early after {lines}")


class Reader:
    """Somebody who follows the tour: one terminal with the server, another with a shell."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        self.folder = folder
        self.server: subprocess.Popen[str] | None = None
        self.environment = {k: v for k, v in os.environ.items() if "METERHOUSE" not in k}
        self.environment |= {
            "METERHOUSE_PORT": self.port,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "URL": f"http://127.0.0.1:{self.port}",
        }
        self.shell: subprocess.Popen[str] | None = None

    def follow(self, step: Step) -> str:
        """Do what a step says and return what it printed."""
        if step.text == "make serve\n":
            return self._serve()
        if step.kind == "python":
            return self._type(f"python - <<'PYTHON'\n{step.text}\nPYTHON\n")
        return self._type(step.text)

    def stop(self) -> None:
        for process in (self.shell, self.server):
            if process is not None:
                process.terminate()
                process.communicate(timeout=_STOP_SECONDS_MAX)

    def _serve(self) -> str:
        if self.server is not None:  # it was killed
            self.server.communicate(timeout=_STOP_SECONDS_MAX)
        with (self.folder / "log.txt").open("a") as log:
            self.server = self._start([sys.executable, "-m", "meterhouse", "serve"], log.fileno())
        assert self.server.stdout is not None
        printed = until("\n", self.server.stdout)
        key = re.search(r"sk_test_\w+", printed)
        if key:
            self.environment["KEY"] = key[0]
        return printed.replace(self.port, _DEFAULT_PORT)

    def _type(self, text: str) -> str:
        if self.shell is None:
            self.shell = self._start(["bash"], subprocess.STDOUT)
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{text}\necho; echo {_END}\n")
        self.shell.stdin.flush()
        return until(f"{_END}\n", self.shell.stdout)

    def _start(self, command: list[str], errors: int) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


@contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    reader = Reader(folder)
    try:
        yield reader
    finally:
        reader.stop()


def test_every_step_of_the_tour_prints_what_the_page_says(tmp_path: Path) -> None:
    tour = steps(README.read_text())
    with reading(tmp_path) as reader:
        for step in tour:
            printed = reader.follow(step)
            if step.expected is not None:
                came = re.fullmatch(pattern(step.expected), squeezed(printed))
                assert came, f"{step.text}\nprinted\n{printed}\nnot\n{step.expected}"
    assert {step.kind for step in tour} == {"sh", "python"}
