"""The archive of a back-up: a tar file, compressed with zstd, with a list of checksums as its last.

What a reader may rely on:

- It begins with `meterhouse.json`, which tells its format and how much is in it, and ends with
  `SHA256SUMS`, in the form of sha256sum: `tar --zstd -xf` and `sha256sum -c` read it, too.
- What lies between has the layout of a data folder, without links.
- An archive has its name only once it is whole and on disk. Nobody but its owner may read it.
- `unpack` returns only if every byte of every file is as it was written.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.config import shown
from meterhouse.errors import StoreError

HEADER = "meterhouse.json"
SUMS = "SHA256SUMS"
FORMAT = 1

_PIECE_BYTES = 1_048_576
_NAME = re.compile(r"ledger\.db|usage/store(/[\w.\-%]+)+")

Told = Callable[[int], None]  # how many bytes more are done


class Header(msgspec.Struct, frozen=True):
    """What an archive tells first: its format, who made it and when, and how much is in it."""

    format: int
    version: str
    created: int
    files: int
    bytes: int


class Member(NamedTuple):
    """A file to put into an archive, and its name there."""

    name: str
    path: Path


def write(path: Path, header: Header, members: Sequence[Member], told: Told) -> None:
    """Write an archive; raises `OSError` where that fails, and leaves nothing behind."""
    with (
        _new(path) as file,
        pa.CompressedOutputStream(pa.PythonFile(file), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        sums = [(HEADER, _add(tar, HEADER, header.created, msgspec.json.encode(header)))]
        for member in members:
            with member.path.open("rb") as source:
                entry = _entry(member.name, header.created, os.fstat(source.fileno()).st_size)
                hashed = _Hashed(source, told)
                tar.addfile(entry, cast("IO[bytes]", hashed))
            sums.append((member.name, hashed.digest.hexdigest()))
        _add(tar, SUMS, header.created, _listed(sums))


def read_header(path: Path) -> Header:
    """Return what an archive tells first; raises `StoreError` when it is none that we can read."""
    with _opened(path) as tar:
        return _header(path, tar)


def unpack(path: Path, folder: Path, told: Told) -> None:
    """Unpack an archive below `folder`.

    Raises `StoreError` when it is damaged; what was unpacked until then is there.
    """
    with _opened(path) as tar:
        header = _header(path, tar)
        sums = [(HEADER, hashlib.sha256(msgspec.json.encode(header)).hexdigest())]
        while entry := tar.next():
            source = tar.extractfile(entry) if entry.isreg() else None
            if source is None:
                raise _damaged(path, f"it holds {entry.name!r}, which is no file")
            if entry.name == SUMS:
                if source.read() != _listed(sums):
                    raise _damaged(path, "its checksums are other ones than those of its files")
                if tar.next() is not None:
                    raise _damaged(path, "it goes on after its checksums")
                return
            if not _NAME.fullmatch(entry.name) or ".." in entry.name.split("/"):
                raise _damaged(path, f"it holds {entry.name!r}, which belongs to no data folder")
            sums.append((entry.name, _extract(source, folder / entry.name, told)))
        raise _damaged(path, "it ends before its checksums")


class _Hashed:
    """A file that is read, and hashed by the way."""

    def __init__(self, source: IO[bytes], told: Told) -> None:
        self.digest = hashlib.sha256()
        self._source = source
        self._told = told

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.digest.update(piece)
        self._told(len(piece))
        return piece


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name once the block has ended and everything is on disk."""
    unnamed = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            yield file
        with unnamed.open("rb") as file:  # the compressor has closed the other one
            os.fsync(file.fileno())
        unnamed.rename(path)
        parent = os.open(path.parent, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)
    finally:
        unnamed.unlink(missing_ok=True)


def _entry(name: str, created: int, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, created // 1000, 0o600
    return entry


def _add(tar: tarfile.TarFile, name: str, created: int, body: bytes) -> str:
    tar.addfile(_entry(name, created, len(body)), io.BytesIO(body))
    return hashlib.sha256(body).hexdigest()


def _listed(sums: Sequence[tuple[str, str]]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digest in sums).encode()


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Read an archive from its beginning; whatever is wrong with it is a `StoreError`."""
    try:
        with (
            pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            yield tar
    except FileNotFoundError as error:
        raise StoreError(f"There is no archive at {shown(path)}.") from error
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise _damaged(path, f"it cannot be read: {error}") from error


def _header(path: Path, tar: tarfile.TarFile) -> Header:
    entry = tar.next()
    source = tar.extractfile(entry) if entry is not None and entry.name == HEADER else None
    if source is None:
        raise StoreError(f"{shown(path)} is no back-up that `meterhouse backup` made.")
    header = msgspec.json.decode(source.read(), type=Header)
    if header.format != FORMAT:
        raise StoreError(
            f"{shown(path)} was made by another Meterhouse ({header.version}), in a form that "
            "this one does not know. Restore it with that version."
        )
    return header


def _extract(source: IO[bytes], path: Path, told: Told) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed = _Hashed(source, told)
    with path.open("xb") as file:
        while piece := hashed.read(_PIECE_BYTES):
            file.write(piece)
    return hashed.digest.hexdigest()


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(f"{shown(path)} is damaged, and nothing was restored: {why}.")
