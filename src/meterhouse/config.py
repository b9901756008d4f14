"""The settings of a process, read once, by the table of `meterhouse.settings`.

Nothing is believed as it is typed: a value that cannot work is refused with its name, what it is
and what it may be.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, cast

from meterhouse.errors import ConfigError
from meterhouse.limits import (
    INVOICE_FINALIZATION_SECONDS_MAX,
    INVOICE_UPCOMING_DAYS_MAX,
    PARTITIONS_MAX,
    PROCESSES_MAX,
    RATE_LIMIT_EVENTS_MAX,
)
from meterhouse.masking import OPERATOR_TOKEN
from meterhouse.proxies import Proxies
from meterhouse.settings import PARTITIONS, RATE_LIMITS, SETTINGS, Setting

_ORIGIN = re.compile(r"https?://[\w.\-*\[\]:]+")
_OPERATOR_TOKEN = re.compile(OPERATOR_TOKEN + r"[\w-]{32,}", re.ASCII)
_CLUSTER = re.compile(r"[\w.\-]+", re.ASCII)
_PUBLIC_URL = re.compile(r"https?://[\w.\-\[\]:]+(/[\w.~\-]+)*", re.ASCII)
_FONT_SUFFIXES = (".ttf", ".otf", ".ttc")
_BASE_PATH = re.compile(r"(/[\w.~\-]+)+", re.ASCII)

# What the server's paths begin with.
OWN_PATHS = (
    "dashboard",
    "embed",
    "healthz",
    "invoice",
    "meterhouse",
    "metrics",
    "readyz",
    "subscribe",
    "v1",
    "v2",
)

Role = Literal["all", "api", "worker"]
LimitsProfile = Literal["off", "stripe"]
Values = Literal["decimal", "whole"]
PrivateDestinations = Literal["auto", "closed", "open"]
LogFormat = Literal["text", "json"]
LateUsage = Literal["report", "bill", "credit"]
MetricsFor = Literal["local", "open"]
MismatchedStores = Literal["refuse", "accept"]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one process, checked."""

    host: str
    port: int
    uds: Path | None
    data_dir: Path
    database_url: str
    clickhouse_url: str
    clickhouse_cluster: str
    mismatched_stores: MismatchedStores
    role: Role
    partitions: int
    processes: int
    operator_token: str
    api_keys: tuple[str, ...]
    limits: LimitsProfile
    rate_limits: Mapping[str, int]
    deduplication_days: int
    values: Values
    private_destinations: PrivateDestinations
    invoice_finalization_delay: int
    invoice_upcoming_days: int
    late_usage: LateUsage
    public_url: str
    invoice_fonts: tuple[Path, ...]
    audit_days: int
    embed_origins: str
    base_path: str
    trusted_proxies: Proxies
    metrics: MetricsFor
    standby: bool
    log_format: LogFormat
    log_level: str

    @classmethod
    def read(
        cls,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "Config":
        """Read the settings: an option that is not None wins over the environment.

        Raises `ConfigError` naming the setting, its value and what it may be.
        """
        environment = os.environ if environment is None else environment
        text = {setting.name: _text(setting, options or {}, environment) for setting in SETTINGS}
        data_dir = _path("data_dir", text["data_dir"])
        shared = text["database_url"].startswith("postgresql")
        config = cls(
            host=_host(text["host"]),
            port=_whole("port", text["port"], 0, 65_535),
            uds=_path("uds", text["uds"]) if text["uds"] else None,
            data_dir=data_dir,
            database_url=_url(
                "database_url",
                text["database_url"] or f"sqlite:///{_in_url(data_dir / 'ledger.db')}",
                ("sqlite", "postgresql", "postgresql+psycopg"),
            ),
            clickhouse_url=_of_cluster(
                _url(
                    "clickhouse_url",
                    text["clickhouse_url"] or f"chdb://{_in_url(data_dir / 'usage')}",
                    ("chdb", "clickhouse", "clickhouses", "http", "https"),
                ),
                text["clickhouse_cluster"],
            ),
            clickhouse_cluster=text["clickhouse_cluster"],
            mismatched_stores=cast("MismatchedStores", text["mismatched_stores"]),
            role=_role(text),
            partitions=_partitions(text["partitions"], shared=shared),
            processes=_whole("processes", text["processes"], 1, PROCESSES_MAX),
            operator_token=_operator_token(text["operator_token"]),
            api_keys=_keys(text["api_keys"]),
            limits=cast("LimitsProfile", text["limits"]),
            rate_limits=_rates(text["rate_limits"]),
            deduplication_days=_whole("deduplication_days", text["deduplication_days"], 1, 3_650),
            values=cast("Values", text["values"]),
            private_destinations=cast("PrivateDestinations", text["private_destinations"]),
            invoice_finalization_delay=_whole(
                "invoice_finalization_delay",
                text["invoice_finalization_delay"],
                0,
                INVOICE_FINALIZATION_SECONDS_MAX,
            ),
            invoice_upcoming_days=_whole(
                "invoice_upcoming_days",
                text["invoice_upcoming_days"],
                0,
                INVOICE_UPCOMING_DAYS_MAX,
            ),
            late_usage=cast("LateUsage", text["late_usage"]),
            public_url=_public_url(text["public_url"]),
            invoice_fonts=_fonts(text["invoice_fonts"]),
            audit_days=_whole("audit_days", text["audit_days"], 1, 36_500),
            embed_origins=_origins(text["embed_origins"]),
            base_path=_base_path(text["base_path"]),
            trusted_proxies=_proxies(text["trusted_proxies"]),
            metrics=cast("MetricsFor", text["metrics"]),
            standby=text["standby"] == "on",
            log_format=cast("LogFormat", text["log_format"]),
            log_level=text["log_level"],
        )
        _check_processes(config)
        return config

    def open_settings(self) -> dict[str, str]:
        """Return every setting that is no secret, as text that differs when its value does."""
        return {row.name: _typed(getattr(self, row.name)) for row in SETTINGS if not row.secret}

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return _is_loopback(self.host)

    @property
    def pages(self) -> str:
        """The URL that links to invoices begin with; empty where nobody knows it."""
        if self.public_url:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        known = self.loopback and self.port and self.role != "worker"
        return f"http://{host}:{self.port}{self.base_path}" if known else ""

    def private_destinations_open(self, *, livemode: bool, local: bool) -> bool:
        """Whether deliveries of a mode may go to private addresses, and over plain `http`.

        `local` tells that whoever named the URL asked straight from this machine.
        """
        if self.private_destinations == "auto":
            return local and not livemode
        return self.private_destinations == "open"


assert tuple(field.name for field in fields(Config)) == tuple(row.name for row in SETTINGS)


def _typed(value: object) -> str:
    """Return the value of a setting as a person would type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(_typed, value))
    return shown(value) if isinstance(value, Path) else str(value)


def _text(setting: Setting, options: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return what an option says of a setting, else the environment, else the default."""
    given = _given(setting, options, lambda one: one.name)
    if given is None:
        given = _given(setting, environment, lambda one: one.variable) or ""
    value = given.strip() or setting.default
    if setting.path and given.strip():
        value = given
    if setting.choices and value not in setting.choices:
        raise ConfigError(
            f"{setting.variable} is '{value}', but must be one of: {', '.join(setting.choices)}."
        )
    return value


def _given(
    setting: Setting, where: Mapping[str, Any], called: Callable[[Setting], str]
) -> str | None:
    """Return what is said there, or what the file holds that is named instead; None for neither."""
    said, file = where.get(called(setting)), setting.file
    if isinstance(said, bool):
        said = "on" if said else None
    path = where.get(called(file)) if file else None
    if file is None or not path:
        return None if said is None else str(said)
    if said:
        raise ConfigError(f"{setting.variable} and {file.variable} are both set; set one of them.")
    try:
        text = _path(file.name, str(path)).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file.variable} is '{path}', which cannot be read: {error}") from error
    if not text.strip():
        raise ConfigError(f"{file.variable} is '{path}', which is empty.")
    return text


def _role(text: Mapping[str, str]) -> Role:
    role = cast("Role", text["role"])
    if role == "all":
        return role
    postgresql = text["database_url"].startswith("postgresql")
    if not postgresql or text["clickhouse_url"].partition(":")[0] in ("", "chdb"):
        raise ConfigError(
            f"METERHOUSE_ROLE is '{role}', but several processes share a ledger on PostgreSQL and "
            "a ClickHouse server. Set METERHOUSE_DATABASE_URL to postgresql://… and "
            "METERHOUSE_CLICKHOUSE_URL to clickhouse://…, or leave the role at 'all'."
        )
    if text["mismatched_stores"] != "refuse":
        raise ConfigError(
            "METERHOUSE_MISMATCHED_STORES is 'accept', which one process alone can do. Start once "
            "with METERHOUSE_ROLE 'all'."
        )
    return role


def _partitions(text: str, *, shared: bool) -> int:
    if not shared and text not in ("", "1"):
        raise ConfigError(
            f"METERHOUSE_PARTITIONS is '{text}', but a ledger on SQLite has one partition. Leave "
            "it empty, or set METERHOUSE_DATABASE_URL to postgresql://…."
        )
    return _whole("partitions", text, 1, PARTITIONS_MAX) if text else PARTITIONS if shared else 1


def _check_processes(config: Config) -> None:
    """Refuse several processes where the stores, the role or the port are for one."""
    if config.processes == 1:
        return
    reason = ""
    if config.database_url.startswith("sqlite:"):
        reason = (
            "a ledger on SQLite belongs to one process. Name a PostgreSQL database with "
            "METERHOUSE_DATABASE_URL"
        )
    elif config.clickhouse_url.startswith("chdb:"):
        reason = (
            "a usage store in a folder belongs to one process. Name a ClickHouse server with "
            "METERHOUSE_CLICKHOUSE_URL"
        )
    elif config.role != "all":
        reason = (
            f"METERHOUSE_ROLE is '{config.role}', which is one process. Start the others by "
            "themselves"
        )
    if reason:
        raise ConfigError(
            f"METERHOUSE_PROCESSES is {config.processes}, but {reason}, or leave it at 1."
        )


def _operator_token(text: str) -> str:
    if text and not _OPERATOR_TOKEN.fullmatch(text):
        raise ConfigError(
            f"METERHOUSE_OPERATOR_TOKEN must be {OPERATOR_TOKEN} and at least 32 letters and "
            f"digits: python3 -c \"import secrets; print('{OPERATOR_TOKEN}' + "
            'secrets.token_urlsafe(32))" makes one.'
        )
    return text


def _whole(name: str, text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ConfigError(
            f"METERHOUSE_{name.upper()} is '{text}', but must be a whole number "
            f"from {least} to {most}."
        )
    return number


def _host(text: str) -> str:
    """Return an address without the brackets that one of version 6 has in a URL."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _path(name: str, text: str) -> Path:
    expanded = os.path.expanduser(text)  # noqa: PTH111 - a `Path` forgets that `./~` is no home
    if text.startswith("~") and expanded == text:
        raise ConfigError(
            f"METERHOUSE_{name.upper()} is '{text}', but nobody knows that home folder. Write "
            f"'./{text}' for a path that begins with this very name."
        )
    return Path(expanded).absolute()


def _in_url(path: Path) -> str:
    """Write a path so that a URL gives it back, whatever characters it has."""
    return str(path).replace("%", "%25").replace("?", "%3F")


def shown(path: Path) -> str:
    """Return a path as text for people, even one that is no text."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _url(name: str, text: str, schemes: tuple[str, ...]) -> str:
    if text.partition("://")[0] not in schemes:
        raise ConfigError(
            f"METERHOUSE_{name.upper()} must be a URL that begins with one of: "
            f"{', '.join(scheme + '://' for scheme in schemes)}."
        )
    return text


def _of_cluster(url: str, name: str) -> str:
    """Return the URL of a usage store that tells its cluster, too."""
    if not name:
        return url
    if url.startswith("chdb:") or not _CLUSTER.fullmatch(name):
        raise ConfigError(
            f"METERHOUSE_CLICKHOUSE_CLUSTER is '{name}', but must be the name of a cluster, of "
            "letters, digits and _ - . alone, and needs METERHOUSE_CLICKHOUSE_URL to be that of a "
            "ClickHouse server."
        )
    return f"{url}{'&' if '?' in url else '?'}cluster={name}"


def _rates(text: str) -> Mapping[str, int]:
    """Return every row of the table, with the rates that `text` changes."""
    rates = dict(RATE_LIMITS)
    for item in filter(None, map(str.strip, text.split(","))):
        row, _, rate = item.partition("=")
        if row not in rates:
            raise ConfigError(
                f"METERHOUSE_RATE_LIMITS holds '{item}', but must be a list of <row>=<number>, "
                f"where <row> is one of: {', '.join(rates)}."
            )
        rates[row] = _whole("rate_limits", rate, 1, RATE_LIMIT_EVENTS_MAX)
    return rates


def _origins(text: str) -> str:
    for origin in text.split():
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"METERHOUSE_EMBED_ORIGINS holds '{origin}', but must be origins such as "
                "https://app.example.com with spaces between them, or *."
            )
    return " ".join(text.split())


def _public_url(text: str) -> str:
    url = text.rstrip("/")
    if url and not _PUBLIC_URL.fullmatch(url):
        raise ConfigError(
            f"METERHOUSE_PUBLIC_URL is '{text}', but must be a URL such as "
            "https://billing.example.com, without ? and #."
        )
    return url


def _fonts(text: str) -> tuple[Path, ...]:
    fonts = tuple(_path("invoice_fonts", one.strip()) for one in text.split(",") if one.strip())
    for font in fonts:
        if font.suffix.lower() not in _FONT_SUFFIXES or not font.is_file():
            raise ConfigError(
                f"METERHOUSE_INVOICE_FONTS holds '{shown(font)}', but must be files whose names "
                f"end in {', '.join(_FONT_SUFFIXES)}, with commas between them."
            )
    return fonts


def _base_path(text: str) -> str:
    path = text.rstrip("/")
    if path and (not _BASE_PATH.fullmatch(path) or path.split("/")[1] in OWN_PATHS):
        raise ConfigError(
            f"METERHOUSE_BASE_PATH is '{text}', but must be a path such as /metering that begins "
            f"as none of the server's own do: {', '.join(OWN_PATHS)}."
        )
    return path


def _proxies(text: str) -> Proxies:
    try:
        return Proxies.read(text)
    except ValueError as error:
        raise ConfigError(
            f"METERHOUSE_TRUSTED_PROXIES holds '{error}', but must be addresses and networks such "
            "as 10.0.0.0/8 with commas between them, unix, or none."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in re.split(r"[,\n]", text) if key.strip())
    for key in keys:
        if not key.startswith(("sk_test_", "sk_live_")) or len(key) < len("sk_test_") + 4:
            raise ConfigError(
                "METERHOUSE_API_KEYS holds a key that is not a secret key: each must begin with "
                "sk_test_ or sk_live_ and go on for at least 4 characters."
            )
    return keys
