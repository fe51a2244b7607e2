"""The password of `wikistyle up`: where it comes from, and what is told of it."""

import stat

import pytest

from deployments import access


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in (access.CLIENT, access.SERVER):
        monkeypatch.delenv(name, raising=False)


def test_it_is_made_once_and_told_once(tmp_path):
    home = tmp_path / "home"
    made, told = access.password(home, wanted=True)
    again, told_again = access.password(home, wanted=True)
    assert made == again
    assert made in told
    assert made not in told_again
    assert str(home / "password") in told_again
    assert len(made.partition(":")[2]) >= 24
    assert access.password(tmp_path / "another", wanted=True)[0] != made


def test_only_its_user_can_read_it(tmp_path):
    access.password(tmp_path, wanted=True)
    kept = tmp_path / "password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.chmod(0o644)
    access.password(tmp_path, wanted=True)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("name", [access.CLIENT, access.SERVER])
def test_that_of_the_environment_is_taken_and_never_told(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "me:mine")
    secret, told = access.password(tmp_path, wanted=True)
    assert secret == "me:mine"
    assert "mine" not in told
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(access.AccessError, match="--no-password"):
        access.password(tmp_path, wanted=False)


def test_without_one_the_user_is_told_what_that_means(tmp_path):
    assert access.password(tmp_path, wanted=False) == (
        "",
        "no password: every user of this machine can use this server",
    )
    assert access.SERVER not in access.server_settings(4200, "")


@pytest.mark.parametrize("content", ["", "no colon", ":empty", "me:", "me:pässword"])
def test_what_is_none_is_refused_without_being_repeated(tmp_path, content):
    (tmp_path / "password").write_text(content)
    with pytest.raises(access.AccessError) as refused:
        access.password(tmp_path, wanted=True)
    assert str(tmp_path / "password") in str(refused.value)
    assert not content or content not in str(refused.value)


def test_two_that_differ_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(access.CLIENT, "me:mine")
    monkeypatch.setenv(access.SERVER, "me:yours")
    with pytest.raises(access.AccessError, match="differ"):
        access.password(tmp_path, wanted=True)
