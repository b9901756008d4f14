from pathlib import Path

import pytest

from meterhouse.api.routes import ROUTES
from meterhouse.config import OWN_PATHS, Config
from meterhouse.errors import ConfigError
from meterhouse.proxies import Proxies
from meterhouse.settings import OPTIONS, RATE_LIMITS, SETTINGS

NOTHING: dict[str, str] = {}


def read(**options: object) -> Config:
    return Config.read(options, NOTHING)


def test_the_defaults_need_no_setting() -> None:
    config = Config.read({}, NOTHING)
    folder = Path("meterhouse-data").absolute()
    assert config == Config(
        host="127.0.0.1",
        port=12111,
        uds=None,
        data_dir=folder,
        database_url=f"sqlite:///{folder}/ledger.db",
        clickhouse_url=f"chdb://{folder}/usage",
        clickhouse_cluster="",
        mismatched_stores="refuse",
        role="all",
        partitions=1,
        processes=1,
        operator_token="",
        api_keys=(),
        limits="off",
        rate_limits=RATE_LIMITS,
        deduplication_days=35,
        values="decimal",
        private_destinations="auto",
        invoice_finalization_delay=3_600,
        invoice_upcoming_days=7,
        late_usage="report",
        audit_days=400,
        public_url="",
        invoice_fonts=(),
        embed_origins="",
        base_path="",
        trusted_proxies=Proxies.read("127.0.0.0/8,::1,unix"),
        metrics="local",
        standby=False,
        log_format="text",
        log_level="info",
    )


@pytest.mark.parametrize(
    ("setting", "local", "in_test", "in_live"),
    [
        ("auto", True, True, False),
        ("auto", False, False, False),
        ("open", False, True, True),
        ("closed", True, False, False),
    ],
)
def test_private_destinations(setting: str, local: bool, in_test: bool, in_live: bool) -> None:
    config = Config.read({"private_destinations": setting}, NOTHING)
    assert config.private_destinations_open(livemode=False, local=local) == in_test
    assert config.private_destinations_open(livemode=True, local=local) == in_live


def test_an_option_wins_over_the_environment() -> None:
    environment = {"METERHOUSE_PORT": "1000", "METERHOUSE_HOST": "::1"}
    config = Config.read({"port": "2000", "host": None}, environment)
    assert (config.port, config.host) == (2000, "::1")


def test_an_empty_variable_counts_as_none() -> None:
    assert Config.read({}, {"METERHOUSE_PORT": " "}).port == 12111


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHOUSE_VALUES", "whole")
    assert Config.read().values == "whole"


def test_both_stores_follow_the_data_folder(tmp_path: Path) -> None:
    config = read(data_dir=tmp_path)
    assert config.database_url == f"sqlite:///{tmp_path}/ledger.db"
    assert config.clickhouse_url == f"chdb://{tmp_path}/usage"


@pytest.mark.parametrize("name", ["data_dir", "uds"])
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("~/x", "/home/ada/x"),
        ("~", "/home/ada"),
        ("./~", "{here}/~"),
        ("/x/~", "/x/~"),
        ("/x/my%20data", "/x/my%20data"),
        (" x ", "{here}/ x "),
    ],
)
def test_a_path_is_the_one_that_was_named(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, path: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    expected = Path(path.format(here=Path.cwd()))
    assert getattr(read(**{name: text}), name) == expected
    assert getattr(Config.read({}, {f"METERHOUSE_{name.upper()}": text}), name) == expected


def test_a_home_that_nobody_has_is_told() -> None:
    with pytest.raises(ConfigError, match="METERHOUSE_DATA_DIR is '~nobody-at-all/x', but"):
        read(data_dir="~nobody-at-all/x")


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_may_have_the_brackets_of_a_url(host: str) -> None:
    config = read(host=host)
    assert (config.host, config.loopback) == ("::1", True)


def test_api_keys_are_a_list() -> None:
    keys = read(api_keys=" sk_test_aaaa , sk_live_bbbb,").api_keys
    assert keys == ("sk_test_aaaa", "sk_live_bbbb")


SECRETS = {
    "operator_token": f"operator_{'x' * 32}\n",
    "api_keys": "sk_test_aaaa,\nsk_live_bbbb\n",
    "database_url": "postgresql://ada:hidden@db/meterhouse\n",
    "clickhouse_url": "clickhouse://ada:hidden@db\n",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRETS[name])
    said = SECRETS[name].replace("\n", "")
    variable = f"METERHOUSE_{name.upper()}"
    wanted = Config.read({}, {variable: said})
    other = {variable: SECRETS[name].replace("hidden", "other").replace("aaaa", "cccc").strip()}
    for config in (
        Config.read({}, {f"{variable}_FILE": str(file)}),
        Config.read({f"{name}_file": file}, NOTHING),
        Config.read({f"{name}_file": str(file)}, other),
        Config.read({name: said}, {f"{variable}_FILE": str(file)}),
        Config.read({}, {f"{variable}_FILE": str(file), variable: ""}),
    ):
        assert config == wanted
    sentence = f"{variable} and {variable}_FILE are both set; set one of them."
    for options, environment in (
        ({name: said, f"{name}_file": file}, NOTHING),
        ({}, {variable: said, f"{variable}_FILE": str(file)}),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Config.read(options, environment)


@pytest.mark.parametrize("held", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, held: bytes | None) -> None:
    file = tmp_path / "secret"
    if held is not None:
        file.write_bytes(held)
    with pytest.raises(ConfigError, match=f"METERHOUSE_API_KEYS_FILE is '{file}', which"):
        Config.read({}, {"METERHOUSE_API_KEYS_FILE": str(file)})


def test_keys_are_no_option() -> None:
    """Whoever is on the machine reads options in the list of processes."""
    names = {setting.name for setting in OPTIONS}
    assert not names & {"api_keys", "operator_token"}
    assert {f"{name}_file" for name in SECRETS} < names


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("port", "x", "METERHOUSE_PORT is 'x', but must be a whole number from 0 to 65535."),
        ("port", "65536", "METERHOUSE_PORT is '65536', but"),
        ("port", "-1", "METERHOUSE_PORT is '-1', but"),
        ("deduplication_days", "0", "must be a whole number from 1 to 3650."),
        ("role", "worker", "but several processes share a ledger on PostgreSQL and a ClickHouse"),
        ("role", "boss", "METERHOUSE_ROLE is 'boss', but must be one of: all, api, worker."),
        ("partitions", "8", "METERHOUSE_PARTITIONS is '8', but a ledger on SQLite has one part"),
        (
            "operator_token",
            "operator_short",
            "must be operator_ and at least 32 letters and digits",
        ),
        ("processes", "65", "METERHOUSE_PROCESSES is '65', but must be a whole number from 1 to"),
        ("limits", "on", "must be one of: off, stripe."),
        ("rate_limits", "basic=1", "METERHOUSE_RATE_LIMITS holds 'basic=1', but must be a list"),
        ("rate_limits", "basic.live", "METERHOUSE_RATE_LIMITS is '', but must be a whole number"),
        ("rate_limits", "basic.live=0", "must be a whole number from 1 to"),
        ("values", "float", "must be one of: decimal, whole."),
        ("log_format", "xml", "must be one of: text, json."),
        ("log_level", "loud", "must be one of: debug, info, warning, error."),
        ("database_url", "http://[::1", "METERHOUSE_DATABASE_URL must be a URL that begins with"),
        ("database_url", "mysql://x", "METERHOUSE_DATABASE_URL must be a URL that begins with"),
        ("clickhouse_url", "duckdb://x", "METERHOUSE_CLICKHOUSE_URL must be a URL that begins"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**{name: value})
    assert sentence in str(caught.value)


ON_SERVERS = {"database_url": "postgresql://db/meterhouse", "clickhouse_url": "clickhouse://db"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {},
            (
                "METERHOUSE_PROCESSES is 4, but a ledger on SQLite belongs to one process. Name a "
                "PostgreSQL database with METERHOUSE_DATABASE_URL, or leave it at 1."
            ),
        ),
        (
            {"database_url": "postgresql://db/meterhouse"},
            (
                "METERHOUSE_PROCESSES is 4, but a usage store in a folder belongs to one process. "
                "Name a ClickHouse server with METERHOUSE_CLICKHOUSE_URL, or leave it at 1."
            ),
        ),
    ],
)
def test_several_processes_need_stores_on_servers(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(processes="4", **settings)
    assert str(caught.value) == sentence
    assert read(processes="4", **ON_SERVERS).processes == 4


SERVERS = {"database_url": "postgresql://h/m", "clickhouse_url": "clickhouse://h/m"}


@pytest.mark.parametrize("role", ["api", "worker"])
def test_several_processes_need_servers_for_both_stores(role: str) -> None:
    assert read(role=role, **SERVERS).role == role
    for one, url in SERVERS.items():
        with pytest.raises(ConfigError, match=f"METERHOUSE_ROLE is '{role}'.*at 'all'"):
            read(role=role, **{one: url})
    with pytest.raises(ConfigError, match="one process alone can do"):
        read(role=role, mismatched_stores="accept", **SERVERS)


def test_partitions_of_a_ledger_on_postgresql() -> None:
    assert read(**SERVERS).partitions == 8
    assert read(partitions="1024", **SERVERS).partitions == 1_024
    with pytest.raises(ConfigError, match="from 1 to 1024"):
        read(partitions="0", **SERVERS)


def test_a_setting_changes_rows_of_the_rate_limits() -> None:
    rates = read(rate_limits=" meter_events.live=2000, basic.test=50 ,").rate_limits
    assert rates == {**RATE_LIMITS, "meter_events.live": 2_000, "basic.test": 50}


@pytest.mark.parametrize("key", ["rk_test_aaaa", "sk_test_", "sk_test_aaa", "whatever"])
def test_a_wrong_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="METERHOUSE_API_KEYS") as caught:
        read(api_keys=key)
    assert key not in str(caught.value).replace("sk_test_ or", "")


def test_the_url_of_the_usage_store_tells_its_cluster() -> None:
    for url, told in (
        ("clickhouse://ada:hidden@db", "clickhouse://ada:hidden@db?cluster=main"),
        ("https://db/x?compress=0", "https://db/x?compress=0&cluster=main"),
    ):
        options = {"clickhouse_url": url, "clickhouse_cluster": "main"}
        assert Config.read(options, NOTHING).clickhouse_url == told
    for url, name in (("", "main"), ("clickhouse://db", "it's")):
        with pytest.raises(ConfigError, match="METERHOUSE_CLICKHOUSE_CLUSTER is"):
            Config.read({"clickhouse_url": url, "clickhouse_cluster": name}, NOTHING)


@pytest.mark.parametrize("name", ["database_url", "clickhouse_url"])
def test_a_wrong_url_is_not_shown(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**{name: "mysql://user:hidden@host"})
    assert "hidden" not in str(caught.value)


def test_every_setting_has_help_and_a_default_that_reads() -> None:
    for setting in SETTINGS:
        assert setting.help.endswith("."), setting.name
        assert setting.variable == f"METERHOUSE_{setting.name.upper()}"
        assert not setting.choices or setting.default in setting.choices


@pytest.mark.parametrize(
    ("text", "path"),
    [("", ""), ("//", ""), ("/metering", "/metering"), ("/a-b/c_d~/", "/a-b/c_d~")],
)
def test_a_base_path(text: str, path: str) -> None:
    assert read(base_path=text).base_path == path


@pytest.mark.parametrize(
    "text", ["metering", "/a//b", "/a b", "/a?", "/..%2f", "/v1", "/v2/x", "/dashboard", "/é"]
)
def test_a_base_path_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match="METERHOUSE_BASE_PATH is"):
        read(base_path=text)


@pytest.mark.parametrize(
    ("options", "pages"),
    [
        ({}, "http://127.0.0.1:12111"),
        ({"host": "::1", "port": "80", "base_path": "/m"}, "http://[::1]:80/m"),
        ({"host": "localhost", "role": "api"}, "http://localhost:12111"),
        ({"port": "0"}, ""),
        ({"host": "192.0.2.1"}, ""),
        ({"role": "worker"}, ""),
        ({"role": "worker", "public_url": "https://b.example/m/"}, "https://b.example/m"),
    ],
)
def test_links_to_pages_begin_where_people_reach_them(options: dict[str, str], pages: str) -> None:
    stores = {
        "database_url": "postgresql://x@db/x",
        "clickhouse_url": "clickhouse://x@ch/x",
    }
    assert read(**(stores | options)).pages == pages


@pytest.mark.parametrize(
    "text", ["billing.example.com", "ftp://x", "https://x/?a=b", "https://x/<"]
)
def test_a_public_url_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match="METERHOUSE_PUBLIC_URL is"):
        read(public_url=text)


def test_fonts_are_files(tmp_path: Path) -> None:
    one, other = tmp_path / "a b.ttf", tmp_path / "other.OTF"
    for font in (one, other):
        font.touch()
    config = read(invoice_fonts=f"{one}, {other}")
    assert config.invoice_fonts == (one, other)
    assert config.open_settings()["invoice_fonts"] == f"{one},{other}"
    for wrong in (tmp_path, tmp_path / "none.ttf", tmp_path / "a b.txt"):
        with pytest.raises(ConfigError, match="METERHOUSE_INVOICE_FONTS holds"):
            read(invoice_fonts=f"{one},{wrong}")


def test_no_base_path_begins_as_a_path_of_the_server() -> None:
    assert {route.path.split("/")[1] for route in ROUTES} < set(OWN_PATHS)


@pytest.mark.parametrize("text", ["proxy", "10.0.0.0/33", "::1,10.0.0.256", "unix none"])
def test_trusted_proxies_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match=f"holds '{text.rpartition(',')[2]}', but"):
        read(trusted_proxies=text)
