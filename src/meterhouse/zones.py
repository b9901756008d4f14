"""The rules by which the clocks of time zones are read: one version of them for all zones.

What a reader may rely on:

- Of the system's rules and those of the package `tzdata` the newer ones are in use, for every zone.
  A zone that only the older ones have is none, rather than one by other rules than its neighbours.
- They are read once, all of them, and kept: a process goes on by what it has begun with, whatever
  is installed meanwhile, and `rules()` tells what that is.
- Everything that reads a zone's clock takes it from here. The usage store knows UTC alone.
"""

import re
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]

_MAGIC = b"TZif"
_NOT_ZONES = {"localtime", "posixrules"}  # this machine's own, and a default of old programs
_TWICE = {"posix", "right"}  # folders with all zones once more, the latter with leap seconds
_VERSION = re.compile(r"# version (\S+)|(\d{4}[a-z]+)\s*")


class Rules(NamedTuple):
    """Rules of zones: IANA's version, such as `2026f`, and the folder that they are in."""

    version: str
    folder: Path

    @property
    def source(self) -> str:
        """Whose they are, for people."""
        return "package tzdata" if self.folder == _PACKAGED else f"system, {self.folder}"


_PACKAGED = Path(tzdata.__file__).parent / "zoneinfo"


def rules() -> Rules:
    """Return the rules in use."""
    return _in_use()[0]


def names() -> frozenset[str]:
    """Return the names of all zones that can be asked for."""
    return frozenset(_in_use()[1])


def zone(name: str) -> ZoneInfo:
    """Return a zone by one of the `names`."""
    return _in_use()[1][name]


@cache
def _in_use() -> tuple[Rules, Mapping[str, ZoneInfo]]:
    chosen = newest([_PACKAGED, *map(Path, zoneinfo.TZPATH)])
    return chosen, read(chosen.folder)


def newest(folders: Iterable[Path]) -> Rules:
    """Return the newest rules of some folders; of several with one version, the first."""
    # IANA counts 2025a … 2025z, 2025za: versions have the order of their texts.
    return max((Rules(_version(folder), folder) for folder in folders), key=lambda one: one.version)


def read(folder: Path) -> dict[str, ZoneInfo]:
    """Read all zones of a folder."""
    found: dict[str, ZoneInfo] = {}
    for path in _files(folder):
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                file.seek(0)
                name = path.relative_to(folder).as_posix()
                found[name] = ZoneInfo.from_file(file, key=name)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in _TWICE:
                yield from _files(path)
        elif path.name not in _NOT_ZONES:
            yield path


def _version(folder: Path) -> str:
    """Return the version of the rules in a folder, as two files tell it; empty if neither does."""
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (folder / name).open(encoding="utf-8") as file:
                found = _VERSION.match(file.readline(100))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found[1] or found[2]
    return ""
