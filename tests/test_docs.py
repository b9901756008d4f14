"""The pages: nothing that the program has is missing, and no link leads nowhere.

`tests/cli/test_settings.py` looks after the page of settings.
"""

import re
from pathlib import Path

import pytest

from meterhouse.api.routes import ROUTES, Route
from meterhouse.config import Config
from meterhouse.ledger.audit import ACTIONS
from meterhouse.ledger.tables import metadata
from meterhouse.metrics import Metrics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_ENDINGS = {"counter": "_total", "info": "_info"}
METRICS = [
    metric.name + _ENDINGS.get(metric.type, "")
    for metric in Metrics().registry.collect()
    if metric.name.startswith("meterhouse_")
]
DECISION_LINES_MAX = 40

_LINK = re.compile(r"\[[^\]]+\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_ENDPOINT = re.compile(r"^\| `([A-Z]+) (/\S+)` \|", re.MULTILINE)
_CLIENT = re.compile(r"StripeClient\(.*?\)", re.DOTALL)
_ADDRESS = re.compile(r"127\.0\.0\.1:([0-9]+)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for path, anchor in _LINK.findall(_CODE.sub("", page.read_text())):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_client_that_is_shown_tries_again_and_asks_our_port(page: Path) -> None:
    text = page.read_text()
    for client in _CLIENT.findall(text):
        assert "max_network_retries=2" in client
    assert set(_ADDRESS.findall(text)) <= {str(Config.read({}, {}).port)}


def test_both_commands_stand_at_the_top() -> None:
    top = (ROOT / "README.md").read_text().partition("## What you get")[0]
    (fence,) = _CODE.findall(top)
    assert re.findall(r"^make \w+", fence, re.MULTILINE) == ["make serve", "make test"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_in_the_table_of_endpoints(route: Route) -> None:
    page = (DOCS / "compatibility.md").read_text()
    assert f"| `{route.method} {route.path}` |" in page


def test_every_endpoint_of_the_table_is_a_route() -> None:
    told = _ENDPOINT.findall((DOCS / "compatibility.md").read_text())
    assert set(told) == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_in_the_table_of_metrics(name: str) -> None:
    assert f"| `{name}` |" in (DOCS / "operations.md").read_text()


@pytest.mark.parametrize(("action", "when"), ACTIONS.items())
def test_every_action_of_the_audit_log_is_in_its_table(action: str, when: str) -> None:
    assert f"| `{action}` | {when} |" in (DOCS / "extensions.md").read_text()


@pytest.mark.parametrize("name", metadata.tables)
def test_every_table_of_the_ledger_is_in_the_architecture(name: str) -> None:
    assert f"`{name}`" in (DOCS / "architecture.md").read_text()


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").iterdir()), ids=lambda page: page.name)
def test_a_decision_is_numbered_and_short(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert "**Context.**" in text
    assert "**Decision.**" in text
    assert "**Consequences.**" in text
    assert len(text.splitlines()) <= DECISION_LINES_MAX
