from pathlib import Path
from shutil import copytree, rmtree

import pytest

from meterhouse.errors import StoreError
from meterhouse.usage import folder

UUID = "078577ef-e5b1-4266-ab36-713b1f068804"
DATABASE = "a4df802c-eefa-477b-a170-cd852b3465fb"


def make(path: Path) -> Path:
    """Make a store as the engine does, of one table."""
    definitions = path / "store" / "a4d" / DATABASE
    part = path / "store" / "078" / UUID / "202611_1_1_0"
    for one in (definitions, part, path / "metadata", path / "data" / "default"):
        one.mkdir(parents=True)
    (definitions / "events.sql").write_text(f"ATTACH TABLE _ UUID '{UUID}'\n(...)")
    (part / "data.bin").write_bytes(b"1" * 100_000)
    (part / "checksums.txt").write_text("sums")
    (path / "metadata" / "default").symlink_to(f"../store/a4d/{DATABASE}")
    (path / "data" / "default" / "events").symlink_to(f"../../store/078/{UUID}")
    return path


def assert_whole(path: Path) -> None:
    assert (path / "metadata" / "default").readlink() == Path(f"../store/a4d/{DATABASE}")
    events = path / "data" / "default" / "events"
    assert not events.exists() or events.readlink() == Path(f"../../store/078/{UUID}")
    assert {one.name for one in path.iterdir()} == {"data", "metadata", "store"}


def follow_all(path: Path, copy: Path) -> None:
    copytree(path, copy)


def follow_metadata(path: Path, copy: Path) -> None:
    copytree(path, copy, symlinks=True)
    (copy / "metadata" / "default").unlink()
    copytree(path / "metadata" / "default", copy / "metadata" / "default")


def leave_out(path: Path, copy: Path) -> None:
    copytree(path, copy, symlinks=True)
    (copy / "metadata" / "default").unlink()
    (copy / "data" / "default" / "events").unlink()


def leave_out_folders_too(path: Path, copy: Path) -> None:
    copytree(path, copy, symlinks=True)
    rmtree(copy / "metadata")
    (copy / "data" / "default" / "events").unlink()


def empty(path: Path, copy: Path) -> None:
    leave_out(path, copy)
    (copy / "metadata" / "default").mkdir()
    (copy / "data" / "default" / "events").mkdir()


def lead_away(path: Path, copy: Path) -> None:
    copytree(path, copy, symlinks=True)
    (copy / "metadata" / "default").unlink()
    (copy / "metadata" / "default").symlink_to("/nowhere")


def keep(path: Path, copy: Path) -> None:
    copytree(path, copy, symlinks=True)


@pytest.mark.parametrize(
    "copied",
    [follow_all, follow_metadata, leave_out, leave_out_folders_too, empty, lead_away, keep],
)
def test_links_that_were_lost_are_put_back(tmp_path: Path, copied: object) -> None:
    assert callable(copied)
    path = make(tmp_path / "original")
    copied(path, tmp_path / "copy")
    for _ in range(2):
        folder.mend(tmp_path / "copy")
        assert_whole(tmp_path / "copy")


def other_definition(copy: Path) -> None:
    (copy / "metadata" / "default" / "events.sql").write_text("another")


def part_that_came_later(copy: Path) -> None:
    (copy / "store" / "078" / UUID / "202611_2_2_0").mkdir()
    (copy / "store" / "078" / UUID / "202611_2_2_0" / "data.bin").write_text("1")


def other_size(copy: Path) -> None:
    (copy / "data" / "default" / "events" / "202611_1_1_0" / "data.bin").write_text("1")


def table_without_definition(copy: Path) -> None:
    (copy / "data" / "default" / "strange").mkdir()
    (copy / "data" / "default" / "strange" / "data.bin").write_text("1")


def rows_that_are_gone(copy: Path) -> None:
    rmtree(copy / "store" / "078")


@pytest.mark.parametrize(
    "change",
    [
        other_definition,
        part_that_came_later,
        other_size,
        table_without_definition,
        rows_that_are_gone,
    ],
)
def test_a_copy_that_says_two_things_is_refused(tmp_path: Path, change: object) -> None:
    assert callable(change)
    copy = copytree(make(tmp_path / "original"), tmp_path / "copy")
    change(copy)
    with pytest.raises(StoreError, match="holds something else than store"):
        folder.mend(copy)


@pytest.mark.parametrize("found", [0, 2])
def test_a_copy_whose_definitions_are_not_known_is_refused(tmp_path: Path, found: int) -> None:
    path = make(tmp_path / "original")
    copy = copytree(path, tmp_path / "copy")
    rmtree(copy / "store" / "a4d")
    for number in range(found):
        copytree(path / "store" / "a4d", copy / "store" / f"a4{number}")
    with pytest.raises(StoreError, match=f"{found} folders of it look like"):
        folder.mend(copy)


def test_what_is_no_store_yet_stays_as_it_is(tmp_path: Path) -> None:
    folder.mend(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    (tmp_path / "begun" / "store").mkdir(parents=True)
    folder.mend(tmp_path / "begun")
    assert [path.name for path in (tmp_path / "begun").rglob("*")] == ["store"]


def test_a_url_tells_the_folder(tmp_path: Path) -> None:
    assert folder.path_of(f"chdb://{tmp_path}") == tmp_path
    assert folder.is_blank(tmp_path)
    make(tmp_path / "made")
    assert not folder.is_blank(tmp_path / "made")
    assert folder.path_of("clickhouse://default@nowhere") is None
