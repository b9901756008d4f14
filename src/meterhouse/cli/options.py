"""The options of the commands, made from the table of settings."""

from typing import Annotated, Any

import typer

from meterhouse.settings import SETTINGS, Setting

_SETTINGS = {setting.name: setting for setting in SETTINGS}


def option(setting: Setting) -> Any:
    """Return the option of a setting: `--data-dir` for `data_dir`; its help names the variable.

    The option only carries what was typed: `Config.read` is the one that checks, and that reads the
    environment.
    """
    if setting.flag:
        text = f"{setting.help} Variable: {setting.variable}=on."
        return typer.Option(f"--{setting.name.replace('_', '-')}", help=text.replace("`", ""))
    default = f" Default: {setting.default}." if setting.default else ""
    return typer.Option(
        f"--{setting.name.replace('_', '-')}",
        help=f"{setting.help.replace('`', '')}{default} Variable: {setting.variable}.",
        metavar="|".join(setting.choices) or setting.name.rpartition("_")[2].upper(),
        show_default=False,
    )


DataDir = Annotated[str | None, option(_SETTINGS["data_dir"])]
DatabaseUrl = Annotated[str | None, option(_SETTINGS["database_url"])]
ClickhouseUrl = Annotated[str | None, option(_SETTINGS["clickhouse_url"])]
