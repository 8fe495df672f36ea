import threading

import pytest

from crossmodal.pipeline.turns import taking_turns


@pytest.fixture
def at_the_same_time():
    """Start what another run would do meanwhile."""
    threads = []

    def start(function):
        threads.append(threading.Thread(target=function))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def make(folder, key, made, inside=None):
    with taking_turns(folder, key, "teacher"):
        if inside:
            inside()
        made.append(key)


def test_who_needs_the_same_waits_and_is_told(tmp_path, capsys, at_the_same_time):
    made = []
    with taking_turns(tmp_path / "locks", "key", "teacher"):
        at_the_same_time(lambda: make(tmp_path / "locks", "key", made))
        while not (said := capsys.readouterr().out):
            pass
        assert made == []
    assert said == "teacher: another run makes the same; waiting for its result\n"


def test_who_needs_something_else_does_not(tmp_path, capsys):
    made = []
    with taking_turns(tmp_path, "key", "teacher"):
        make(tmp_path, "other", made)
    assert made == ["other"]
    assert capsys.readouterr().out == ""


def test_after_a_failure_the_next_one_has_its_turn(tmp_path):
    def fail():
        raise OSError("no space left on device")

    made = []
    with pytest.raises(OSError, match="no space left"):
        make(tmp_path, "key", made, fail)
    make(tmp_path, "key", made)
    assert made == ["key"]
