"""What the program is installed with: linted by the tools of each kind, and true to the program.

No container is started here.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml  # type: ignore[import-untyped]

from meterhouse.settings import SETTINGS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = sorted(set(KUBERNETES.glob("*.yaml")) - {KUBERNETES / "kustomization.yaml"})
VARIABLES = {setting.variable for setting in SETTINGS}


def run(tool: str, *arguments: str | Path) -> None:
    """Run a tool that is installed beside Python, and expect that it finds nothing."""
    ended = subprocess.run(
        [Path(sys.executable).parent / tool, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def test_the_dockerfile_has_no_bad_habits() -> None:
    run("hadolint", "--no-color", "Dockerfile")


def test_the_compose_file_has_the_shape_that_compose_reads() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_manifests_have_the_shape_that_kubernetes_reads() -> None:
    run("kubernetes-validate", "--strict", *MANIFESTS)


def test_the_yaml_is_clean() -> None:
    run("yamllint", "--strict", "compose.yaml", "deploy")


def test_the_image_has_what_is_locked_and_nothing_else() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    kept = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
        for source in line.split()
    ]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / source).exists() for source in copied)
    assert dockerfile.index("USER 10001") < dockerfile.index("ENTRYPOINT")
    locked = (ROOT / "requirements" / "cluster.txt").read_text()
    assert "psycopg-binary==" in locked
    of_one_process = (ROOT / "requirements" / "serve.txt").read_text()
    assert set(pins(of_one_process)) < set(pins(locked))


def pins(requirements: str) -> Iterator[str]:
    for line in requirements.splitlines():
        if "==" in line:
            yield line.partition(" \\")[0]


def test_the_compose_file_names_what_there_is() -> None:
    [compose] = documents(ROOT / "compose.yaml")
    services, volumes = compose["services"], set(compose["volumes"])
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in volumes
        assert ours(service.get("environment", {})) <= VARIABLES, name
    assert {services[name]["environment"]["METERHOUSE_ROLE"] for name in ("api", "worker")} == {
        "api",
        "worker",
    }


def ours(environment: dict[str, str]) -> set[str]:
    return {
        name
        for name in environment
        if name.startswith("METERHOUSE_") and name != "METERHOUSE_REPLICA"  # it is ClickHouse's
    }


def test_the_manifests_name_what_there_is() -> None:
    [kustomization] = documents(KUBERNETES / "kustomization.yaml")
    example = KUBERNETES / "secret.example.yaml"
    assert {KUBERNETES / name for name in kustomization["resources"]} == {*MANIFESTS} - {example}
    found = [one for path in MANIFESTS for one in documents(path)]
    named = {(one["kind"], one["metadata"]["name"]) for one in found}
    pods = [one["spec"]["template"] for one in found if one["kind"] in ("Deployment", "Job")]
    assert len(pods) == 3
    for pod in pods:
        [container] = pod["spec"]["containers"]
        for source in container["envFrom"]:
            [(kind, one)] = source.items()
            kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
            assert (kinds[kind], one["name"]) in named
        assert {one["name"] for one in container.get("env", ())} <= VARIABLES
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in named
    for one in found:
        if one["kind"] in ("ConfigMap", "Secret"):
            assert set(one.get("data") or one["stringData"]) <= VARIABLES
        selector = one.get("spec", {}).get("selector")
        labels = selector and selector.get("matchLabels", selector)
        assert not labels or any(
            labels.items() <= pod["metadata"]["labels"].items() for pod in pods
        )


def test_pods_may_do_next_to_nothing() -> None:
    """Then a namespace of the strictest kind takes them."""
    for name in ("api", "migrate", "worker"):
        spec = documents(KUBERNETES / f"{name}.yaml")[0]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.glob("clickhouse/*.xml")), ids=lambda path: path.name
)
def test_the_configuration_of_clickhouse_is_xml(path: Path) -> None:
    assert ET.parse(path).getroot().tag == "clickhouse"  # noqa: S314 - a file of ours


def test_kustomize_makes_all_of_it() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    made = subprocess.run(
        [kubectl, "kustomize", KUBERNETES], capture_output=True, text=True, check=True
    )
    assert "image: meterhouse\n" not in made.stdout
