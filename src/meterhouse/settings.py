"""The table of settings.

Every setting is an option of `meterhouse serve` and an environment variable `METERHOUSE_<NAME>`;
the option wins. What may hold a secret can be read from a file instead, which
`METERHOUSE_<NAME>_FILE` names. `meterhouse.config` reads and checks them; `docs/settings.md` is
generated from the table.
"""

from collections.abc import Mapping
from typing import NamedTuple

from meterhouse.limits import (
    INVOICE_FINALIZATION_SECONDS_MAX,
    INVOICE_UPCOMING_DAYS_MAX,
    PARTITIONS_MAX,
)

PARTITIONS = 8  # of a new ledger on PostgreSQL, where no setting says otherwise

# What the limits profile `stripe` allows an account in a second, in each mode:
# https://docs.stripe.com/rate-limits, and for the others the pages about recording and analyzing
# usage.
RATE_LIMITS: Mapping[str, int] = {
    "basic.live": 100,  # requests that have no row of their own, and all with `Stripe-Account`
    "basic.test": 25,  # all requests in test mode
    "meter_events.live": 1_000,  # single meter events, those of v1 and v2 together
    "meter_event_stream.live": 10_000,  # events, not requests
    "meter_usage.live": 100,  # requests for meter usage, which count towards nothing else
    "meter_usage.test": 100,
    "search.live": 20,  # searches, which count towards nothing else
    "search.test": 20,
}


class Setting(NamedTuple):
    """One row of the table: the name, its default as a person would type it, and its help.

    A `path` is taken as it stands, with the spaces around it, but for a leading `~`. A `secret` may
    come from a file; one that is nothing but secret is no `option`, which every user of the machine
    could read in the list of processes.
    """

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()
    secret: bool = False
    path: bool = False
    option: bool = True

    @property
    def flag(self) -> bool:
        """Whether an option without a value turns the setting on."""
        return self.choices == ("off", "on")

    @property
    def variable(self) -> str:
        """The environment variable of the setting."""
        return f"METERHOUSE_{self.name.upper()}"

    @property
    def file(self) -> "Setting | None":
        """The setting that names the file of a secret."""
        help_ = f"Path of a file that holds what `{self.variable}` would."
        return Setting(f"{self.name}_file", "", help_, path=True) if self.secret else None


SETTINGS: tuple[Setting, ...] = (
    Setting("host", "127.0.0.1", "Address to listen on."),
    Setting("port", "12111", "TCP port to listen on; 0 takes a free one."),
    Setting("uds", "", "Path of a Unix socket to listen on as well.", path=True),
    Setting("data_dir", "./meterhouse-data", "Folder that holds both stores.", path=True),
    Setting(
        "database_url",
        "",
        "URL of the ledger, with `%` codes for special characters; with a password better in the "
        "environment or a file. Empty: `sqlite:///<data_dir>/ledger.db`.",
        secret=True,
    ),
    Setting(
        "clickhouse_url",
        "",
        "URL of the usage store, with `%` codes for special characters; with a password better in "
        "the environment or a file. A server has its HTTP port there (8123, or 8443 with "
        "`clickhouses://`); replicas stand with commas between them, the first that answers is "
        "used. Empty: `chdb:///<data_dir>/usage`.",
        secret=True,
    ),
    Setting(
        "clickhouse_cluster",
        "",
        "Name of the cluster that the ClickHouse server belongs to, as its `remote_servers` have "
        "it: tables are replicated, and blocks go to the shards. Empty: a single server, or the "
        "engine inside the program.",
    ),
    Setting(
        "mismatched_stores",
        "refuse",
        "What to do at a start with a ledger and a usage store that do not belong together, or of "
        "which one is behind the other, as after half a restore: `accept` makes them a pair and "
        "goes on without what is missing. For one start.",
        choices=("refuse", "accept"),
    ),
    Setting(
        "role",
        "all",
        "Which parts run in this process: `api` answers requests, `worker` processes what was "
        "acknowledged, `all` does both, alone. Any number of `api` and `worker` processes share a "
        "ledger on PostgreSQL and a ClickHouse server.",
        choices=("all", "api", "worker"),
    ),
    Setting(
        "partitions",
        "",
        "Parts of the journal, which workers share out among them: a few for each worker that "
        f"there will ever be, {PARTITIONS_MAX} at most. The first start of a new ledger decides. "
        f"Empty: {PARTITIONS} on PostgreSQL; SQLite has one.",
    ),
    Setting(
        "processes",
        "1",
        "How many processes answer behind one port, with workers beside them: one for each two. "
        "More than one needs a ledger on PostgreSQL and a usage store on a ClickHouse server. Each "
        "tells its health and metrics on 127.0.0.1, at one of the ports that follow `port`.",
    ),
    Setting(
        "operator_token",
        "",
        "What shows a server that its own operator asks, which may do everything: `operator_` and "
        "at least 32 letters and digits. Servers behind one address should have the same. Empty: "
        "each start makes one.",
        secret=True,
        option=False,
    ),
    Setting(
        "api_keys",
        "",
        "Secret keys (`sk_test_…`, `sk_live_…`) of the default account, with commas or line breaks "
        "between them. Empty: the first start makes a test key and prints it once.",
        secret=True,
        option=False,
    ),
    Setting(
        "limits",
        "off",
        "`stripe` applies Stripe's published rate and concurrency limits; `off` keeps only the "
        "protection against overload.",
        choices=("off", "stripe"),
    ),
    Setting(
        "rate_limits",
        "",
        "Rows of the profile `stripe` to change, such as `meter_events.live=2000,basic.test=50`: "
        + ", ".join(f"`{row}` ({rate})" for row, rate in RATE_LIMITS.items())
        + ". A number is what an account may do in a second, at each process that serves the API.",
    ),
    Setting(
        "deduplication_days",
        "35",
        "How many days an identifier stays taken after its event was received.",
    ),
    Setting(
        "values",
        "decimal",
        "`whole` accepts only whole-number usage values at every API version; `decimal` accepts "
        "decimals from 2026-04-22.dahlia on.",
        choices=("decimal", "whole"),
    ),
    Setting(
        "private_destinations",
        "auto",
        "Whether events may be delivered to loopback and private addresses: `open`, `closed`, or "
        "`auto`, which is open for a destination in test mode whose URL came straight from this "
        "machine, through no proxy. Where they are closed, live events go to `https` URLs only.",
        choices=("auto", "closed", "open"),
    ),
    Setting(
        "invoice_finalization_delay",
        "3600",
        "Seconds from when a period's invoice is drafted until it is finalized, for usage that "
        f"arrives late; {INVOICE_FINALIZATION_SECONDS_MAX} at most.",
    ),
    Setting(
        "invoice_upcoming_days",
        "7",
        "Days before the end of a period at which `invoice.upcoming` tells what it will come to; 0 "
        f"for not at all, {INVOICE_UPCOMING_DAYS_MAX} at most.",
    ),
    Setting(
        "late_usage",
        "report",
        "What becomes of usage that arrives, or is cancelled, after its invoice was finalized: it "
        "is only reported, billed on the subscription's next invoice, or credited to the customer "
        "where too much was billed.",
        choices=("report", "bill", "credit"),
    ),
    Setting(
        "public_url",
        "",
        "URL by which people reach the server, such as `https://billing.example.com`: the links to "
        "invoices begin with it, as they were finalized. Empty: the address that it listens on, "
        "where only this machine reaches it, else no invoice has a link.",
    ),
    Setting(
        "invoice_fonts",
        "",
        "Font files (`.ttf`, `.otf`, `.ttc`), with commas between them, for what PDFs of invoices "
        "print in Chinese, Japanese, Korean and other scripts that their own font lacks.",
    ),
    Setting(
        "audit_days",
        "400",
        "How many days an entry of the audit log is kept.",
    ),
    Setting(
        "embed_origins",
        "",
        "Origins whose pages may show `/embed/usage` in a frame, and ask the API with an embed "
        "token. With spaces between them, such as `https://app.example.com` or "
        "`https://*.example.com`; `*` allows every one. Empty: none but the server's own.",
    ),
    Setting(
        "base_path",
        "",
        "Path below which a proxy shows the server, such as `/metering`: all links begin with it. "
        "The proxy may take it away from requests or leave it there.",
    ),
    Setting(
        "trusted_proxies",
        "127.0.0.0/8,::1,unix",
        "Addresses and networks of proxies, with commas between them, whose `X-Forwarded-For`, "
        "`X-Forwarded-Proto` and `X-Forwarded-Host` are believed; `unix` stands for whoever uses "
        "the Unix socket, `none` for nobody.",
    ),
    Setting(
        "metrics",
        "local",
        "Who may read `/metrics`: `local` is this machine, through no proxy, and who shows an "
        "unrestricted secret key of the default account; `open` is everybody.",
        choices=("local", "open"),
    ),
    Setting(
        "standby",
        "off",
        "Wait while another Meterhouse has the folder or the ledger, and take over when it ends.",
        choices=("off", "on"),
    ),
    Setting("log_format", "text", "How log lines are written.", choices=("text", "json")),
    Setting(
        "log_level",
        "info",
        "The least severe log lines to write; `info` has one line for each request.",
        choices=("debug", "info", "warning", "error"),
    ),
)


# The options of `meterhouse serve`, one after the other.
OPTIONS: tuple[Setting, ...] = tuple(
    option
    for setting in SETTINGS
    for option in (setting if setting.option else None, setting.file)
    if option
)
