"""`wikistyle gc` between runs of the whole pipeline."""

import asyncio
import json
import os
import re
import shutil
import time
from pathlib import Path

from flows.common.gc import gc
from flows.common.settings import load_profile
from flows.wikistyle import wikistyle
from tests.flows.test_wikistyle import SMALL


def test_after_it_a_kept_pipeline_run_costs_nothing_and_a_deleted_one_can_be_made_again(prefect, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "results"))
    small = [*SMALL, "scrape.max_images=12"]
    old = load_profile("sample", [*small, 'sample.prompts=["a robot"]'])
    kept = load_profile("sample", [*small, 'sample.prompts=["a cat face"]', "convert.max_side=200"])

    def run_pipeline(settings, name: str) -> dict:
        asyncio.run(wikistyle(settings, f"runs/{name}"))
        return json.loads(Path("runs", name, "summary.json").read_text())

    run_pipeline(old, "old")
    run_pipeline(kept, "kept")
    shutil.rmtree("runs/old")
    for result in (tmp_path / "results").rglob("*"):
        os.utime(result, (0, time.time() - 3600))
    assert re.search(r"gone: \d\d+ objects", gc(0, dry_run=False))
    again = {name: s["ran"] for name, s in run_pipeline(kept, "again")["stages"].items()}
    assert again == dict.fromkeys(again, 0)
    anew = run_pipeline(old, "anew")["stages"]
    assert anew["sample"]["ran"] > 0
    assert anew["finetune"]["ran"] == 1
