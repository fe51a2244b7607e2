"""Job templates, images and the compose file, as far as they can be judged without an engine to run them."""

import json
import re

import pytest
import yaml

from deployments.render import CPU_POOL, GPU_POOL
from deployments.server import HERE, job_template
from flows.common.settings import ROOT

PLACES = (
    "WIKISTYLE_HOME",
    "WIKISTYLE_STORE",
    "WIKISTYLE_TRAINING",
    "WIKISTYLE_RUNS",
    "PREFECT_LOCAL_STORAGE_PATH",
    "HF_HOME",
)


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
@pytest.mark.parametrize("pool", [CPU_POOL, GPU_POOL])
def test_a_template_fills_all_its_placeholders(kind, pool):
    """Filled as a worker fills it, but for the name and command, which belong to each run."""
    from prefect.utilities.templating import apply_values

    template = job_template(kind, pool)
    assert template is not None
    properties = template["variables"]["properties"]
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(properties)
    defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
    filled = apply_values(template["job_configuration"], defaults)
    assert all(filled["env"][place].startswith("/data/") for place in PLACES)


def test_the_gpu_templates_ask_for_a_gpu_and_shared_memory():
    from prefect.utilities.templating import apply_values

    def filled(kind: str) -> dict:
        template = job_template(kind, GPU_POOL)
        assert template is not None
        defaults = {n: p["default"] for n, p in template["variables"]["properties"].items() if "default" in p}
        return apply_values(template["job_configuration"], defaults)

    create = filled("docker")["container_create_kwargs"]
    assert create["device_requests"] == [{"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu"]]}]
    assert create["shm_size"] == "8g"
    manifest = filled("kubernetes")["job_manifest"]["spec"]
    pod = manifest["template"]["spec"]
    (container,) = pod["containers"]
    assert manifest["backoffLimit"] == 0
    assert (
        container["resources"]["limits"]["nvidia.com/gpu"] == container["resources"]["requests"]["nvidia.com/gpu"] == 1
    )
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/dev/shm"}
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}} in pod["volumes"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("part", ["cpu", "gpu"])
def test_an_image_is_pinned_and_runs_its_own_pool_without_root(part):
    lines = (HERE / f"Dockerfile.{part}").read_text()
    (base,) = re.findall(r"^FROM (.*)$", lines, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    (user,) = re.findall(r"^USER (.*)$", lines, re.MULTILINE)
    assert user == "wikistyle"
    command = json.loads(re.findall(r"^CMD (.*)$", lines, re.MULTILINE)[0])
    assert command[command.index("--pool") + 1] == f"wikistyle-{part}"
    for copied in re.findall(r"^COPY (?:--\S+ )?(\S+) ", lines, re.MULTILINE):
        assert (ROOT / copied).exists()
    for place in PLACES:  # nothing that a run makes lies in the container, where it would end with it
        assert re.search(rf"{place}=/data/", lines), place


def test_an_image_gets_the_code_and_no_secrets(tmp_path):
    """By the rules of Docker's own Python client."""
    from docker.utils import exclude_paths

    ours = ["deployments/Dockerfile.cpu", "deployments/profiles/sample.yaml", "flows/cli.py", "tasks/common/store.py",
            "samples/models/base/model_index.json", "prefect.yaml", "pyproject.toml", "requirements.txt",
            "README.md"]  # fmt: skip
    others = [".env", "deployments/.env", "deployments/.env.prod", "mine.env", "deployments/mine.env", ".git/config",
              "runs/latest/summary.json", ".wikistyle/store/key", "mine.yaml", ".venv/bin/python",
              "flows/__pycache__/cli.pyc", "tests/conftest.py", "wikistyle.egg-info/PKG-INFO"]  # fmt: skip
    for name in [*ours, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    taken = exclude_paths(str(tmp_path), (ROOT / ".dockerignore").read_text().splitlines())
    assert {name for name in taken if (tmp_path / name).is_file()} == set(ours)


def test_compose_starts_server_database_s3_and_both_workers():
    compose = yaml.safe_load((HERE / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "server", "s3", "deploy", "cpu-worker", "gpu-worker"}
    for name, service in services.items():
        assert re.search(r":[^:]*\d", service["image"]), name
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other], other
        if "build" in service:
            assert (HERE / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
    for worker in ("cpu", "gpu"):
        service = services[f"{worker}-worker"]
        assert f"wikistyle-{worker}" in service["command"]
        assert service["environment"]["WIKISTYLE_STORE"].startswith("s3://")
        assert service["volumes"] == ["data:/data"]
    (device,) = services["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    asked = set(re.findall(r"\${(\w+)", (HERE / "compose.yaml").read_text()))
    assert asked == set(re.findall(r"^(\w+)=", (HERE / "compose.env.example").read_text(), re.MULTILINE))


def test_the_automations_are_what_prefect_understands():
    from prefect.events.schemas.automations import AutomationCore

    names = []
    for path in sorted((HERE / "automations").glob("*.yaml")):
        names.append(AutomationCore.model_validate(yaml.safe_load(path.read_text())).name)
    assert len(set(names)) == len(names) == 2
