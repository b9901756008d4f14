"""Another commit of this repository, with an environment of its own, kept under `.cache`."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_KEPT = _ROOT / ".cache" / "revisions"


def name_of(revision: str) -> str:
    """Return the full name of a commit; raises `RuntimeError` where there is none."""
    return _run(["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], _ROOT)


def python_of(commit: str) -> str:
    """Return the interpreter that has the program of a commit, whose full name this is.

    What is not there is made as that commit says, which takes a minute or two.
    """
    tree = _KEPT / commit
    if not (tree / "Makefile").exists():
        tree.mkdir(parents=True, exist_ok=True)
        archive = tree.with_suffix(".tar")
        _run(["git", "archive", "--output", str(archive), commit], _ROOT)
        _run(["tar", "--extract", "--file", str(archive)], tree)
        archive.unlink()
    _run(["make", "--silent", ".venv/ready"], tree)
    return str(tree / ".venv" / "bin" / "python")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or f"it ended with {done.returncode}").split("\n")[-1]
        raise RuntimeError(f"`{' '.join(command)}` failed: {last}")
    return done.stdout.strip()
