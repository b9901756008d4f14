"""The folder of the engine inside this process, as copies leave it.

The engine keeps everything below `store/`, in folders that are named by number, and finds it
through relative links: `metadata/default` leads to the definitions of the tables, `data/default/…`
to the rows of each. Many tools follow links when they copy, and leave folders in their place, with
everything in them a second time or with nothing; others leave links out. The engine cannot open the
former, and takes the latter for new. `mend` puts the links back before it looks.
"""

import os
import re
from pathlib import Path
from shutil import rmtree
from urllib.parse import unquote

from meterhouse.config import shown
from meterhouse.errors import StoreError

_CHDB = "chdb://"
_WHOLE_BYTES_MAX = 65_536  # of files that are compared byte by byte, as the lists of checksums are
_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")


def path_of(url: str) -> Path | None:
    """Return the folder of the store at `url`, None where it is a server's."""
    return Path(unquote(url.removeprefix(_CHDB))) if url.startswith(_CHDB) else None


def is_blank(folder: Path) -> bool:
    """Tell whether a store would have to be made first."""
    return not (folder / "store").exists()


def mend(folder: Path) -> list[Path]:
    """Make links again of what a copy made folders of, or left out; return them.

    Raises `StoreError` where the folders do not hold just what the links led to.
    """
    mended: list[Path] = []
    if not (folder / "store").is_dir():
        return mended
    link = folder / "metadata" / "default"
    if not _leads(link):
        definitions = _definitions(folder, link)
        if definitions is None:
            return mended
        _relink(folder, link, definitions)
        mended.append(link)
    for copied in sorted((folder / "data" / "default").glob("*")):
        if copied.is_symlink() or not copied.is_dir():
            continue
        target = _rows(folder, link, copied.name)
        if target is not None or _files(copied):
            _relink(folder, copied, target or folder / "store")
            mended.append(copied)
    return mended


def _leads(link: Path) -> bool:
    return link.is_symlink() and link.exists()


def _definitions(folder: Path, link: Path) -> Path | None:
    """Return where the definitions of the tables are; None where there are none at all."""
    found = sorted({path.parent for path in (folder / "store").glob("*/*/*.sql")})
    if len(found) == 1:
        return found[0]
    if not found and not link.is_dir():
        return None
    raise StoreError(
        f"The usage store at {shown(folder)} is a copy that lacks its links, and {len(found)} "
        "folders of it look like what metadata/default led to. Copy it again with a tool that "
        "keeps symbolic links (cp -a, rsync -a, tar)."
    )


def _rows(folder: Path, link: Path, table: str) -> Path | None:
    """Return where the rows of a table are, as its definition says; None where there is none."""
    definition = link / f"{table}.sql"
    uuid = _UUID.search(definition.read_text()) if definition.is_file() else None
    return folder / "store" / uuid[1][:3] / uuid[1] if uuid else None


def _relink(folder: Path, copied: Path, target: Path) -> None:
    """Put a link to `target` where a folder with the same or nothing in it is, or none."""
    if copied.is_dir() and not copied.is_symlink():
        if _files(copied) and not _alike(copied, target):
            raise StoreError(
                f"The usage store at {shown(folder)} is a copy in which folders took the place of "
                f"symbolic links, and {copied.relative_to(folder)} holds something else than "
                f"{target.relative_to(folder)}: it was copied while a server ran, or has been "
                "changed since. Copy it again with a tool that keeps symbolic links (cp -a, "
                "rsync -a, tar) and with the server stopped, or use `meterhouse backup`."
            )
        aside = folder / "copied"  # without the link the next start makes it again
        rmtree(aside, ignore_errors=True)
        copied.rename(aside)
        rmtree(aside)
    copied.unlink(missing_ok=True)
    copied.parent.mkdir(parents=True, exist_ok=True)
    copied.symlink_to(os.path.relpath(target, copied.parent))


def _alike(one: Path, other: Path) -> bool:
    """Tell whether two folders hold the same files.

    Large ones are parts of tables, which have lists of their checksums beside them: their size is
    enough.
    """
    files = _files(one)
    return files == _files(other) and all(
        size > _WHOLE_BYTES_MAX or (one / name).read_bytes() == (other / name).read_bytes()
        for name, size in files.items()
    )


def _files(folder: Path) -> dict[Path, int]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.stat().st_size for path in found}
