"""`meterhouse serve`: run the server, with every setting as an option."""

import gc
from inspect import Parameter, Signature
from itertools import chain, repeat
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from meterhouse import __version__, logs, zones
from meterhouse.cli.options import option
from meterhouse.clock import SystemClock
from meterhouse.config import Config, shown
from meterhouse.errors import ConfigError
from meterhouse.listen import Listening, acquire
from meterhouse.settings import OPTIONS

app = typer.Typer(add_completion=False)

_OPEN = """
Warning: the port is open to every machine that reaches it, without TLS. Keys and passwords
can be read on their way. Put a proxy with TLS before it and name that with --trusted-proxies, or
listen on 127.0.0.1."""
_STRIPE_CLI_HOSTS = ("http://127.0.0.1:", "http://[::1]:")  # the CLI takes no others


@app.command()
def serve(*, open_dashboard: bool = False, **options: str | bool | None) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Every setting is an environment variable as well; the option wins.
    """
    config = Config.read(options)
    if open_dashboard and not config.loopback:
        raise ConfigError(
            f"--open-dashboard works on a loopback address only, and the server is to listen on "
            f"{config.host}. Make a user instead: meterhouse users create NAME --role admin."
        )
    if open_dashboard and config.processes > 1:
        raise ConfigError(
            "--open-dashboard makes a link that one process knows, and METERHOUSE_PROCESSES is "
            f"{config.processes}. Make a user: meterhouse users create NAME --role admin."
        )
    if config.processes > 1:
        from meterhouse.supervise import supervise  # noqa: PLC0415 - few servers need it

        supervise(config, announce)
        return
    clock = SystemClock()
    note = logs.configure(config.log_format, config.log_level)
    gc.disable()  # what is imported stays
    with acquire(config, clock) as resources:
        from meterhouse.server import run  # noqa: PLC0415 - the engine process is to begin first

        gc.freeze()
        gc.enable()
        run(config, resources, clock, note, announce, open_dashboard=open_dashboard)


_OPEN_DASHBOARD = typer.Option(
    "--open-dashboard",
    help="Print a link that signs in to the dashboard once, for test data; on a loopback address.",
)


serve.__signature__ = Signature(  # type: ignore[attr-defined] # what typer makes the options from
    [
        Parameter(
            setting.name,
            Parameter.KEYWORD_ONLY,
            annotation=Annotated[bool if setting.flag else str | None, option(setting)],
            default=False if setting.flag else None,
        )
        for setting in OPTIONS
    ]
    + [
        Parameter(
            "open_dashboard",
            Parameter.KEYWORD_ONLY,
            annotation=Annotated[bool, _OPEN_DASHBOARD],
            default=False,
        )
    ]
)


def announce(listening: Listening) -> None:
    """Tell on standard output where the server listens, and what to try."""
    console = Console(highlight=False, soft_wrap=True)
    where = [listening.url, *listening.others]
    if listening.uds:
        where[-1] += f" and {shown(listening.uds)}"
    facts = [("Listening on", where[0]), *(("", other) for other in where[1:])]
    if listening.dashboard is not None:
        facts.append(("Dashboard", listening.dashboard))
    facts.append(("Data in", shown(listening.data_dir)))
    facts += zip(chain(("Processes",), repeat("")), listening.nodes, strict=False)
    facts.append(("Time zones", f"{zones.rules().version} ({zones.rules().source})"))
    if listening.first_key:
        facts.append(("Test key", f"{listening.first_key}  (shown only this once)"))
    console.print(Text(f"Meterhouse {__version__}", style="bold"))
    for name, fact in facts:
        console.print(Text(f"  {name:<14}", style="dim"), Text(fact), sep="")
    if listening.open:
        console.print(Text(_OPEN, style="yellow"))
    if listening.dashboard is None:
        console.print(Text("\nA worker: its port answers /healthz, /readyz and /metrics alone.\n"))
        return
    if listening.first_key:
        console.print(Text("\nTry it:", style="bold"))
    else:
        console.print(Text("\nTry it", style="bold"), Text(" with a test key of yours:"), sep="")
    for command in commands(listening):
        console.print(Text(f"  {command}"), style="cyan")
    console.print()


def commands(listening: Listening) -> list[str]:
    """Return commands that work against this server as they stand, once a key is filled in."""
    url, key = listening.url, listening.first_key or "sk_test_…"
    curl = (
        f"curl {url}/v1/billing/meters -u {key}: -d display_name=Calls -d event_name=calls "
        '-d "default_aggregation[formula]=sum"'
    )
    python = (
        f"python -c \"import stripe; print(stripe.StripeClient('{key}', "
        f"base_addresses={{'api': '{url}'}}, max_network_retries=2)"
        ".v1.customers.create({'name': 'Ada'}))\""
    )
    stripe_cli = f"stripe billing meters list --api-key {key} --api-base {url}"
    return [curl, python, stripe_cli] if url.startswith(_STRIPE_CLI_HOSTS) else [curl, python]
