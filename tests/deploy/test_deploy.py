"""What deploy/ holds, as far as it can be held to something without a cluster, a registry or a booted systemd."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvseg_serve.cli import main
from lvseg_serve.ending import Exit
from lvseg_serve.running import BEYOND_GRACE_S

DEPLOY = Path(__file__).parents[2] / "deploy"
GRACE_S = next(option.default for option in main.params if option.name == "grace_s")


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """Those of the manifest, by kind."""
    return {found["kind"]: found for found in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def pod(objects: dict[str, Any]) -> Any:
    return objects["Deployment"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod: Any) -> Any:
    (container,) = pod["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def environment(container: Any) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_the_manifest_holds_what_the_api_calls_so(objects: dict[str, Any]) -> None:
    assert {kind: found["apiVersion"] for kind, found in objects.items()} == {
        "Deployment": "apps/v1",
        "Service": "v1",
        "PodDisruptionBudget": "policy/v1",
        "NetworkPolicy": "networking.k8s.io/v1",
    }


def test_every_selector_finds_the_pods(objects: dict[str, Any], pod: Any) -> None:
    labels = pod["metadata"]["labels"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_environment_is_what_the_command_takes(environment: dict[str, str]) -> None:
    arguments = []
    for name, value in environment.items():
        option = f"--{name.removeprefix('LVSEG_SERVE_').lower().replace('_', '-')}"
        arguments += [option] if value == "true" else [option, value]
    main.make_context("lvseg-serve", arguments)


def test_ports_and_probes_are_those_that_are_listened_on(
    objects: dict[str, Any], container: Any, environment: dict[str, str]
) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert environment["LVSEG_SERVE_LISTEN"] == f"0.0.0.0:{ports['grpc']}"
    assert environment["LVSEG_SERVE_METRICS"] == f"0.0.0.0:{ports['metrics']}"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": ports["grpc"]}
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} <= set(ports)
    rules = objects["NetworkPolicy"]["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == set(ports)


def test_a_pod_is_given_the_time_that_stopping_takes(
    pod: Any, container: Any, environment: dict[str, str]
) -> None:
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    needed = float(seconds) + float(environment["LVSEG_SERVE_GRACE_S"]) + BEYOND_GRACE_S
    assert pod["spec"]["terminationGracePeriodSeconds"] > needed


def test_a_pod_may_do_nothing_but_serve(pod: Any, container: Any) -> None:
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert not pod["spec"]["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"]: "/tmp" for volume in pod["spec"]["volumes"]}


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that there is."""
    text = (DEPLOY / "lvseg-serve.service").read_text()
    path = tmp_path / "lvseg-serve.service"
    path.write_text(text.replace("/opt/lvseg/bin/lvseg-serve", sys.executable))
    return path


def _analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    run = _analyze("verify", unit)
    assert (run.returncode, run.stderr) == (0, "")


def test_systemd_calls_the_units_exposure_low(unit: Path) -> None:
    run = _analyze("security", "--offline=true", "--threshold=20", unit)  # of 100
    assert run.returncode == 0, run.stdout


def test_the_unit_agrees_with_how_the_server_stops_and_ends() -> None:
    lines = (DEPLOY / "lvseg-serve.service").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert float(settings["TimeoutStopSec"].removesuffix("s")) > GRACE_S + BEYOND_GRACE_S
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert settings["RestartPreventExitStatus"] == str(Exit.UNUSABLE.value)
    assert settings["Type"] == "notify"


def test_the_image_ends_without_root_and_without_what_builds() -> None:
    final = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "\nUSER 65532:65532\n" in final
    assert "pip uninstall" in final
    assert not [word for word in ("apt-get", "pip install", "gcc", "make ") if word in final]
