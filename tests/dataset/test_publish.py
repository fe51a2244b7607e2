"""Publishing with the real client to a hub on loopback: what is sent, what is not, and what goes wrong."""

import json
import os
import subprocess
import sys

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from tasks.common.store import StoreError
from tasks.dataset.publish import PublishError, check_publishable, publish
from tests.dataset.rows import SOURCE, Builder, row
from tests.hub.server import Hub, hub_for

REPO = "tester/drawings"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_for(monkeypatch, tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def send(hub: Hub, builder: Builder):
    def send(rows, token="hf_writer", **settings):
        builder.settings = builder.settings.model_copy(update={"repo_id": REPO, **settings})
        return publish(builder.build(rows), builder.settings, token, builder.store, hub.url)

    return send


def uploads(hub: Hub) -> int:
    return sum(line.startswith("PUT 200 /lfs/") for line in hub.requests)


def commits(hub: Hub) -> int:
    return len(hub.dataset(REPO).commits)


def test_load_dataset_gets_what_was_published(hub: Hub, builder: Builder, send, tmp_path):
    ref = send(builder.rows(*range(30)))
    assert (ref.repo_id, ref.revision) == (REPO, hub.dataset(REPO).head)
    assert hub.dataset(REPO).private
    script = f"""
import json
from datasets import load_dataset
rows = load_dataset("{REPO}", revision="v1", split="train", token="hf_writer")
print(json.dumps([len(rows), rows[0]["image"].size, sorted(rows["text"])[0]]))
"""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [30, [64, 48], "a drawing of number 0"]


def test_nothing_new_makes_no_commit_and_few_requests(hub: Hub, builder: Builder, send):
    first = send(builder.rows(*range(30)))
    sent, before, count = uploads(hub), commits(hub), len(hub.requests)
    again = send(builder.rows(*range(30)))
    assert again == first
    assert (uploads(hub), commits(hub)) == (sent, before)
    assert len(hub.requests) - count <= 6
    assert not any(line.startswith("POST") for line in hub.requests[count:])
    assert list(hub.dataset(REPO).tags) == ["v1"]


def test_one_new_picture_uploads_one_file_and_the_card_says_so(hub: Hub, builder: Builder, send):
    first = send(builder.rows(*range(60)))
    sent = uploads(hub)
    second = send(builder.rows(*range(60), 100))
    assert uploads(hub) - sent == 1
    card = hub.dataset(REPO).commits[hub.dataset(REPO).head].files["README.md"].data.decode()
    assert f"Since revision `{first.revision[:12]}`: 1 added, 0 removed, 0 changed." in card
    assert "- added: File:Drawing 100.png" in card
    assert hub.dataset(REPO).tags == {"v1": first.revision, "v2": second.revision}
    assert hub.dataset(REPO).commits[hub.dataset(REPO).head].summary == "1 added, 0 removed, 0 changed drawings"


def test_removed_and_changed_pictures(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(60)))
    rows = [row(5, builder.store, text="a new caption"), *builder.rows(*range(6, 60))]
    ref = send(rows)
    files = hub.dataset(REPO).commits[hub.dataset(REPO).head].files
    card = files["README.md"].data.decode()
    assert "0 added, 5 removed, 1 changed." in card
    assert "- changed: File:Drawing 5.png" in card
    assert {path for path in files if path.startswith("data/")} == {f.path for f in ref.files if f.path != "README.md"}


def test_new_words_on_the_card_alone_send_the_card_alone(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(30)))
    sent, before = uploads(hub), commits(hub)
    send(builder.rows(*range(30)), takedown_contact="bob@wiki.example")
    assert (uploads(hub) - sent, commits(hub) - before) == (0, 1)


def test_other_files_in_the_repository_stay(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(10)))
    api = HfApi(endpoint=hub.url, token="hf_writer")
    note = CommitOperationAdd("notes.txt", b"mine")
    api.create_commit(REPO, [note], commit_message="note", repo_type="dataset")
    send(builder.rows(*range(11)))
    assert "notes.txt" in hub.dataset(REPO).commits[hub.dataset(REPO).head].files


def another_writer(hub: Hub):
    repo = hub.dataset(REPO)
    files = repo.commits[repo.head].files
    repo.commit("another run", {"README.md": files["README.md"]} if "README.md" in files else {}, [])


def test_another_writer_in_between_is_not_overwritten(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(10)))
    hub.before_commit.append(lambda: another_writer(hub))
    ref = send(builder.rows(*range(12)))
    assert any(line.startswith("POST 412") for line in hub.requests)
    commits = hub.dataset(REPO).commits
    parent = commits[ref.revision].parent
    assert parent
    assert commits[parent].summary == "another run"


def test_a_crowded_repository_is_one_line(hub: Hub, builder: Builder, send):
    hub.before_commit += [lambda: another_writer(hub)] * 3
    with pytest.raises(PublishError, match=r"^tester/drawings was changed by another writer 3 times.*run again later$"):
        send(builder.rows(1))


def test_a_run_that_died_before_its_tag_is_made_good(hub: Hub, builder: Builder, send):
    send(builder.rows(1))
    hub.dataset(REPO).tags.clear()
    ref = send(builder.rows(1))
    assert hub.dataset(REPO).tags == {"v1": ref.revision}


def test_a_strangers_repository_is_left_alone(hub: Hub, builder: Builder, send):
    api = HfApi(endpoint=hub.url, token="hf_writer")
    api.create_repo(REPO, repo_type="dataset")
    files = [CommitOperationAdd("data/train-0.parquet", b"other data"), CommitOperationAdd("README.md", b"# Other")]
    api.create_commit(REPO, files, commit_message="other", repo_type="dataset")
    with pytest.raises(PublishError, match=r"holds data/train-0\.parquet .*choose another repo_id"):
        send(builder.rows(1))


@pytest.mark.parametrize(
    ("repo", "token", "message"),
    [
        (REPO, None, "no token to publish to tester/drawings; set HF_TOKEN"),
        (REPO, "hf_secretsecret", "the hub refuses the token; use one that may write there"),
        (REPO, "hf_reader", "this token can't make tester/drawings"),
        ("stranger/drawings", "hf_writer", "this token can't make stranger/drawings"),
    ],
)
def test_what_would_fail_is_found_before_anything_is_made(hub: Hub, builder: Builder, repo, token, message):
    settings = builder.settings.model_copy(update={"repo_id": repo})
    with pytest.raises(PublishError) as caught:
        check_publishable(settings, token, hub.url)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not token or token not in str(caught.value)
    assert hub.repos == {}


def test_no_permission_on_a_repository_that_is_there(hub: Hub, builder: Builder, send):
    send(builder.rows(1))
    with pytest.raises(PublishError, match="the hub refuses the token; use one that may write there"):
        check_publishable(builder.settings, "hf_reader", hub.url)


def test_ready_to_publish(hub: Hub, builder: Builder, send):
    for repo in (REPO, "team/drawings"):
        check_publishable(builder.settings.model_copy(update={"repo_id": repo}), "hf_writer", hub.url)
    send(builder.rows(1))
    check_publishable(builder.settings, "hf_writer", hub.url)
    check_publishable(builder.settings.model_copy(update={"repo_id": ""}), None, "http://127.0.0.1:9")


def test_no_contact(hub: Hub, builder: Builder, send):
    with pytest.raises(PublishError, match="set takedown_contact"):
        send(builder.rows(1), takedown_contact="")


def test_unreachable_or_offline_hub_is_one_line(hub: Hub, builder: Builder, monkeypatch):
    settings = builder.settings.model_copy(update={"repo_id": REPO})
    with pytest.raises(PublishError, match=r"can't publish tester/drawings: the hub can't be reached") as caught:
        check_publishable(settings, "hf_writer", "http://127.0.0.1:9")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match=r"can't be reached .*offline"):
        check_publishable(settings, "hf_writer", hub.url)


def test_a_damaged_store_is_not_called_a_network_error(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(10)))
    ref = builder.build(builder.rows(*range(20)))
    for file in ref.files:
        builder.store.path(file.key).write_bytes(b"damage")
    with pytest.raises(StoreError, match="damaged"):
        publish(ref, builder.settings, "hf_writer", builder.store, hub.url)


def test_a_try_out_does_not_empty_a_repository(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(60)))
    before = commits(hub)
    message = r"^can't publish tester/drawings: 55 of its 60 rows would be removed, more than 20%; .*dataset\.replace"
    with pytest.raises(PublishError, match=message):
        send(builder.rows(*range(5)))
    assert commits(hub) == before
    send(builder.rows(*range(50)))  # a wiki that lost a sixth of its files is no slip
    send(builder.rows(*range(5)), replace=True)
    assert commits(hub) == before + 2


def test_another_wikis_dataset_is_refused(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(10)))
    builder.source = SOURCE.model_copy(update={"wiki": "https://other.example/api.php"})
    with pytest.raises(
        PublishError, match=r"holds a dataset of https://wiki\.example/api\.php, this one is of https://o"
    ):
        send(builder.rows(*range(10)))
    assert commits(hub) == 2  # the empty repository and the first dataset
    send(builder.rows(*range(10)), replace=True)


@pytest.mark.parametrize("fault", ["status 500", "cut off"])
def test_an_upload_that_fails_is_one_line_and_changes_nothing(hub: Hub, builder: Builder, send, fault, monkeypatch):
    send(builder.rows(*range(10)))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # the client's own back-off
    before, hub.upload_fault = commits(hub), fault
    with pytest.raises(PublishError, match=r"^can't publish tester/drawings: ") as caught:
        send(builder.rows(*range(12)))
    assert "\n" not in str(caught.value)
    assert "hf_writer" not in str(caught.value)
    assert commits(hub) == before
    hub.upload_fault = ""
    send(builder.rows(*range(12)))
    assert commits(hub) == before + 1


def test_two_publishers_at_once_each_get_a_tag(hub: Hub, builder: Builder, send):
    send(builder.rows(*range(10)))
    hub.before_tag.append(lambda: hub.dataset(REPO).tags.update(v2="another's"))
    ref = send(builder.rows(*range(11)))
    assert hub.dataset(REPO).tags["v3"] == ref.revision
