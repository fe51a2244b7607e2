"""Waits end with what is waited for, or when nothing moves; not when a minute is over."""

import itertools
import subprocess
import sys

import pytest

from tests import waiting
from tests.waiting import left_of, run_to_end, tree_of, wait_for, wait_for_async, work_of


def test_something_slow_that_moves_is_waited_for():
    steps = itertools.count()
    assert wait_for(lambda: next(steps) > 40, "forty steps", lambda: next(steps), still=0.3, every=0.05)


async def test_something_that_stands_still_is_given_up_and_says_what_was_seen():
    with pytest.raises(AssertionError, match=r"a miracle: not after .* last seen: step 3"):
        wait_for(lambda: False, "a miracle", lambda: "step 3", still=0.3, every=0.05)
    with pytest.raises(AssertionError, match="a miracle"):
        await wait_for_async(lambda: False, "a miracle", lambda: "step 3", still=0.3, every=0.05)


def test_a_program_is_waited_for_while_it_works(monkeypatch):
    monkeypatch.setattr(waiting, "WORK", 0.05)
    busy = "import time\nuntil = time.process_time() + 1\nwhile time.process_time() < until: pass\nprint('done')"
    done = run_to_end([sys.executable, "-c", busy], still=20)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_program_that_hangs_is_ended():
    with pytest.raises(AssertionError, match="end of"):
        run_to_end([sys.executable, "-c", "import time; time.sleep(3000)"], still=1)


def test_work_counts_what_children_did(monkeypatch):
    monkeypatch.setattr(waiting, "WORK", 0.1)
    inner = "import time\nuntil = time.process_time() + 1\nwhile time.process_time() < until: pass"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}]); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        tree = tree_of(process.pid)
        assert work_of(tree) >= 9
        assert left_of(tree, still=0.5) == tree
        process.kill()
    assert left_of(tree) == tree_of(process.pid) == []
