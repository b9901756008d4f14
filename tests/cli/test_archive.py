import hashlib
import io
import resource
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from meterhouse.cli import archive
from meterhouse.cli.archive import HEADER, SUMS, Header, Member
from meterhouse.errors import StoreError

FILES = {
    "ledger.db": b"the ledger" * 1_000,
    "usage/store/a4d/a4df802c/events.sql": b"ATTACH TABLE _",
    "usage/store/078/078577ef/202611_1_1_0/data.bin": bytes(range(256)) * 5_000,
    "usage/store/078/078577ef/202611_1_1_0/%2Eempty.bin": b"",
}
SIZE = sum(map(len, FILES.values()))
HEAD = Header(archive.FORMAT, "0.1.0", 1_796_000_000_000, len(FILES), SIZE)


def nobody(_: int) -> None:
    pass


def written(folder: Path, told: Callable[[int], None] = nobody) -> Path:
    members = []
    for name, body in FILES.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        members.append(Member(name, path))
    made = folder / "made.tar.zst"
    archive.write(made, HEAD, members, told)
    return made


@contextmanager
def packed(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Make an archive of anything."""
    with (
        pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):

        def add(name: str, body: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))

        yield add


def pack(path: Path, *files: tuple[str, bytes], header: Header = HEAD) -> None:
    """Make an archive whose checksums are right, whatever is in it."""
    listed = ""
    with packed(path) as add:
        for name, body in ((HEADER, msgspec.json.encode(header)), *files):
            add(name, body)
            listed += f"{hashlib.sha256(body).hexdigest()}  {name}\n"
        add(SUMS, listed.encode())


def test_what_was_written_is_unpacked(tmp_path: Path) -> None:
    done: list[int] = []
    made = written(tmp_path, done.append)
    assert sum(done) == SIZE
    assert archive.read_header(made) == HEAD
    done.clear()
    archive.unpack(made, tmp_path / "target", done.append)
    assert sum(done) == SIZE
    assert contents(tmp_path / "target") == FILES
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [made.name]


def test_common_tools_read_it(tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    with pa.CompressedInputStream(pa.OSFile(str(written(tmp_path))), "zstd") as stream:
        plain.write_bytes(stream.read())
    with tarfile.open(plain) as tar:
        tar.extractall(tmp_path / "target", filter="data")
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=tmp_path / "target", check=True)  # noqa: S607 - found by the system


def unpacked(made: Path, target: Path) -> dict[str, bytes] | None:
    """Return what was unpacked, None where the archive was found to be damaged."""
    try:
        archive.unpack(made, target, nobody)
    except StoreError:
        return None
    return contents(target)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_bit_that_is_not_as_it_was_is_found(tmp_path: Path) -> None:
    """Given any bit, then it is found, unless it is between the files."""
    made = written(tmp_path)
    whole = made.read_bytes()
    found = []
    for place in range(0, len(whole), len(whole) // 60):
        body = bytearray(whole)
        body[place] ^= 4
        made.write_bytes(body)
        found.append(unpacked(made, tmp_path / f"target-{place}"))
    assert all(one in (None, FILES) for one in found)
    assert found.count(None) > len(found) // 2


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_an_archive_that_ends_early_is_damaged(tmp_path: Path, share: float) -> None:
    made = written(tmp_path)
    body = made.read_bytes()
    made.write_bytes(body[: int(len(body) * share)])
    with pytest.raises(StoreError, match=r"made\.tar\.zst is (damaged|no back-up)"):
        archive.unpack(made, tmp_path / "target", nobody)


NAMES = [
    "../ledger.db",
    "/etc/passwd",
    "usage/../../x",
    "usage/store/../../x",
    "usage/store",
    "server.json",
    "ledger.db/x",
    "usage/metadata/default",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_belongs_to_no_data_folder_is_refused(tmp_path: Path, name: str) -> None:
    pack(tmp_path / "made", (name, b""))
    with pytest.raises(StoreError, match="which belongs to no data folder"):
        archive.unpack(tmp_path / "made", tmp_path / "target", nobody)
    assert not (tmp_path / "x").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    with (
        pa.CompressedOutputStream(pa.OSFile(str(tmp_path / "made"), "wb"), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        head = tarfile.TarInfo(HEADER)
        body = msgspec.json.encode(HEAD)
        head.size = len(body)
        tar.addfile(head, io.BytesIO(body))
        link = tarfile.TarInfo("ledger.db")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(StoreError, match=r"'ledger\.db', which is no file"):
        archive.unpack(tmp_path / "made", tmp_path / "target", nobody)


def test_a_file_that_is_missing_or_too_much_is_found(tmp_path: Path) -> None:
    body = b"x"
    line = f"{hashlib.sha256(body).hexdigest()}  ledger.db\n"
    with packed(tmp_path / "made") as add:
        add(HEADER, msgspec.json.encode(HEAD))
        add(SUMS, line.encode())
    with pytest.raises(StoreError, match="its checksums are other ones"):
        archive.unpack(tmp_path / "made", tmp_path / "target", nobody)
    with packed(tmp_path / "made") as add:
        add(HEADER, msgspec.json.encode(HEAD))
        add("ledger.db", body)
    with pytest.raises(StoreError, match="it ends before its checksums"):
        archive.unpack(tmp_path / "made", tmp_path / "target", nobody)


def test_a_format_that_is_not_known_names_the_version(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(HEAD, format=archive.FORMAT + 1, version="9.9")
    pack(tmp_path / "made", header=newer)
    with pytest.raises(StoreError, match=r"made by another Meterhouse \(9\.9\)"):
        archive.read_header(tmp_path / "made")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no archive at"):
        archive.read_header(tmp_path / "missing")
    with pytest.raises(StoreError, match="is damaged"):
        archive.read_header(tmp_path)
    with packed(tmp_path / "other") as add:
        add("readme.txt", b"")
    with pytest.raises(StoreError, match="is no back-up"):
        archive.read_header(tmp_path / "other")


def test_an_archive_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(_: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))

    try:
        with pytest.raises(OSError, match="File too large"):
            written(tmp_path, full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
