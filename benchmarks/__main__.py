"""`make bench`: run every benchmark module's `measure()` and write `benchmarks/results.json`."""

import importlib
import json
import platform
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run the modules named as arguments, or all of them; merge what they measured into the results."""
    names = sys.argv[1:] or sorted(p.stem for p in HERE.glob("[!_]*.py") if p.stem not in ("sidebyside", "apart"))
    path = HERE / "results.json"
    results = {row["name"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    for name in names:
        for row in importlib.import_module(f"benchmarks.{name}").measure():
            results[row.name] = row.__dict__ | {"machine": f"{platform.machine()}, {_cores()} cores"}
    path.write_text(json.dumps(list(results.values()), indent=1) + "\n")
    print(f"{'name':40} {'ours':>10} {'theirs':>10} {'ratio':>7} unit")
    for row in results.values():
        print(f"{row['name']:40} {row['ours']:>10.3g} {row['theirs']:>10.3g} {row['ratio']:>7.2f} {row['unit']}")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
