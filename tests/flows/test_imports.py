"""A run starts at once, and a machine without a GPU deploys GPU flows: nothing heavy is loaded before it is used."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "diffusers", "datasets", "matplotlib"}


@pytest.mark.parametrize(
    "modules",
    [
        "flows.wikistyle, flows.collect, flows.publish, flows.watch",
        "flows.finetune, flows.showcase, flows.common.gpu_pool",
        # beside the training's own process
        "tasks.finetune.process.launch, tasks.finetune.result, tasks.finetune.pages",
    ],
)
def test_flows_load_nothing_heavy(modules: str):
    code = f"import sys, {modules}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_command_line_loads_no_prefect_before_there_is_a_home_for_it():
    """Prefect makes its home folder when it is loaded, but none above it, and warns."""
    code = "import sys, flows.cli, flows.common.run_folder, flows.common.preflight; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
