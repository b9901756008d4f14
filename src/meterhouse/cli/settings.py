"""`docs/settings.md`, printed from the table of settings."""

import typer

from meterhouse.settings import SETTINGS, Setting

app = typer.Typer(add_completion=False)

_HEAD = """\
# Settings

Every setting is an option of `meterhouse serve` and an environment variable; the option wins.
A secret belongs into a file or into the environment: options can be read by all users of a machine,
in its list of processes.

This page is made from the table in `src/meterhouse/settings.py`: run `make docs` after a change.

| option | environment variable | default | what it does |
|---|---|---|---|
"""


def settings_page() -> str:
    """Return the page as Markdown."""
    rows = [row for setting in SETTINGS for row in (setting, setting.file) if row]
    return _HEAD + "".join(map(_row, rows))


@app.command(hidden=True)
def print_settings() -> None:
    """Print the table of settings as a page of the documentation."""
    typer.echo(settings_page(), nl=False)


def _row(setting: Setting) -> str:
    option = f"`--{setting.name.replace('_', '-')}`" if setting.option else ""
    default = f"`{setting.default}`" if setting.default else ""
    choices = ", ".join(f"`{choice}`" for choice in setting.choices)
    text = f"{setting.help} One of {choices}." if choices else setting.help
    return f"| {option} | `{setting.variable}` | {default} | {text} |\n"
