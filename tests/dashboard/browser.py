"""Debian's chromium, driven by playwright, and somebody who signs in to the dashboard with it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "correct horse battery"

expect.set_options(timeout=60_000)  # chromium and the server may share one core


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run the browser until the end of the block."""
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def make_user(data_dir: Path, name: str = "ada", role: str = "admin") -> None:
    """Make a user."""
    command(data_dir, "users", "create", name, "--role", role, "--password-stdin")


def command(data_dir: Path, *arguments: str) -> None:
    """Run a command, to which a password is typed."""
    subprocess.run(
        [sys.executable, "-m", "meterhouse", *arguments, "--data-dir", str(data_dir)],
        input=PASSWORD + "\n",
        text=True,
        check=True,
        capture_output=True,
    )


def sign_in(page: Page, password: str, name: str = "ada") -> None:
    """Fill the form in and send it."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
