"""The usage store as it was at one moment: hard links to parts of tables, which never change.

The folder that `freeze` makes has the layout of the store's own, without its links, which `folder`
puts back. What a merge replaces meanwhile keeps its place on the disk until `thaw`.
"""

from pathlib import Path
from shutil import copy2, rmtree

from meterhouse.errors import StoreError
from meterhouse.usage.store import UsageStore

_NAME = "meterhouse"

_TABLES = """
SELECT name, data_paths[1] AS path
FROM system.tables
WHERE database = currentDatabase()
ORDER BY name
"""


def freeze(store: UsageStore) -> str:
    """Keep every table as it is now; return the folder. What was kept before is let go.

    A table alone is kept as of one moment; whoever wants one of all sees to it that none changes.
    """
    thaw(store)
    path = _path(store)
    frozen = _frozen(path)
    for table in store.columns(_TABLES, {}).to_pylist():
        store.change(f"ALTER TABLE {table['name']} FREEZE WITH NAME '{_NAME}'", {}, {})
        _copy(Path(table["path"]) / "format_version.txt", path, frozen)
    for definition in (path / "metadata" / "default").resolve().glob("*.sql"):
        _copy(definition, path, frozen)
    return str(frozen)


def thaw(store: UsageStore) -> None:
    """Let go what was kept."""
    rmtree(_frozen(_path(store)), ignore_errors=True)


def _path(store: UsageStore) -> Path:
    if store.path is None:
        raise StoreError("The usage store is not a folder.")
    return store.path.resolve()


def _frozen(path: Path) -> Path:
    return path / "shadow" / _NAME


def _copy(file: Path, path: Path, frozen: Path) -> None:
    target = frozen / file.resolve().relative_to(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    copy2(file, target)
