"""Memory that is freed and asked for again is not faulted in again."""

import subprocess
import sys

PROGRAM = """
import resource, sys
import numpy as np
if sys.argv[1] == "keep":
    from tasks.common.allocator import keep_freed_memory
    assert keep_freed_memory()
def work():
    for _ in range(50):
        buffers = [np.ones(1 << 20) for _ in range(3)]  # 8 MiB each
        del buffers
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_memory_is_kept():
    assert page_faults("keep") * 20 < page_faults("leave")
