import os
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest

from meterhouse import zones

PACKAGED = zones.newest([zones._PACKAGED])


def folder(path: Path, version: str | None, name: str = "tzdata.zi") -> Path:
    path.mkdir(parents=True)
    if version is not None:
        (path / name).write_text(version)
    return path


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("tzdata.zi", "# version 2025b\n# ddeps backzone\n", "2025b"),
        ("tzdata.zi", "# version 2025b-dirty\n", "2025b-dirty"),
        ("+VERSION", "2025b\n", "2025b"),
        ("+VERSION", "2026za", "2026za"),
        ("+VERSION", "none", ""),
        ("tzdata.zi", "", ""),
        ("tzdata.zi", "R A 1 2\n" * 1000, ""),
    ],
)
def test_the_version_of_a_folder(tmp_path: Path, name: str, text: str, version: str) -> None:
    assert zones.newest([folder(tmp_path / "zones", text, name)]).version == version


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        (["2026f", "2025b"], 0),
        (["2025b", "2026f"], 1),
        (["2026f", "2026f"], 0),
        (["2026a", "2025z"], 0),
        (["2025z", "2025za"], 1),
        (["2026f", None], 0),
        ([None, "2020a"], 1),
    ],
)
def test_the_newest_rules_are_chosen(
    tmp_path: Path, versions: list[str | None], chosen: int
) -> None:
    folders = [
        folder(tmp_path / str(number), version and f"# version {version}\n")
        for number, version in enumerate(versions)
    ]
    assert zones.newest([*folders, tmp_path / "absent"]).folder == folders[chosen]


def test_all_zones_of_a_folder_are_read_and_nothing_else(tmp_path: Path) -> None:
    berlin = (zones._PACKAGED / "Europe" / "Berlin").read_bytes()
    for name in ("Here", "There/Where/Else", "localtime", "posixrules", "posix/Here", "right/Here"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(berlin)
    (tmp_path / "zone.tab").write_text("DE +5230+01322 Europe/Berlin")
    (tmp_path / "empty").touch()
    found = zones.read(tmp_path)
    assert found.keys() == {"Here", "There/Where/Else"}
    assert found["Here"].key == "Here"


ASK = """
from meterhouse import zones
print(zones.rules().version, "Pacific/Apia" in zones.names())
from datetime import datetime
print(zones.zone("Europe/Berlin").utcoffset(datetime(2026, 1, 1)))
"""


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("2099a", "2099a False\n5:45:00\n"),
        ("1999z", f"{PACKAGED.version} True\n1:00:00\n"),
    ],
)
def test_newer_rules_of_the_system_win_for_every_zone(
    tmp_path: Path, version: str, told: str
) -> None:
    """Given rules of the system that know one zone, on the clock of another."""
    (folder(tmp_path / "zones", f"# version {version}\n") / "Europe").mkdir()
    kathmandu = (zones._PACKAGED / "Asia" / "Kathmandu").read_bytes()
    (tmp_path / "zones" / "Europe" / "Berlin").write_bytes(kathmandu)
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | {"PYTHONTZPATH": str(tmp_path / "zones")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == told


def test_the_rules_in_use_are_those_of_one_folder() -> None:
    """Python would take the system's, however old, and the package's for what these lack."""
    rules = zones.rules()
    assert rules.version >= PACKAGED.version >= "2026f"
    assert zones.names() == zones.read(rules.folder).keys()
    assert zones.names() >= available_timezones() - {"localtime"}
    assert zones.zone("Europe/Berlin").key == "Europe/Berlin"
    assert isinstance(zones.zone("UTC"), ZoneInfo)
    if rules.folder == zones._PACKAGED:
        assert rules.source == "package tzdata"
    else:
        assert rules.source == f"system, {rules.folder}"
