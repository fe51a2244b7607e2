"""Which crashed runs are taken up again."""

from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Running

from flows.rescue import MOST_RUNS, CrashesAgain, reason_to_leave


def run(**changes) -> FlowRun:
    return FlowRun(flow_id=uuid4(), **({"deployment_id": uuid4(), "state": Crashed(), "run_count": 1} | changes))


def test_a_crashed_run_of_a_deployment_is_taken_up():
    assert reason_to_leave(run()) == ""
    assert reason_to_leave(run(run_count=MOST_RUNS - 1)) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": Running()}, "not crashed"),
        ({"state": Completed()}, "not crashed"),
        ({"parent_task_run_id": uuid4()}, "started it"),
        ({"deployment_id": None}, "no deployment"),
    ],
)
def test_others_are_left_alone(changes, reason):
    assert reason in reason_to_leave(run(**changes))


def test_what_crashes_again_and_again_is_given_up_loudly():
    with pytest.raises(CrashesAgain, match=f"crashed {MOST_RUNS} times"):
        reason_to_leave(run(run_count=MOST_RUNS))
