import io

import pytest

from pr12.workflow import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def clock(monkeypatch, *readings):
    times = iter(readings)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


def test_a_log_has_a_line_per_row_with_what_remains(monkeypatch, capsys):
    clock(monkeypatch, 100.0, 130.0, 220.0)
    assert list(progress.follow("ab", 4, "row {}".format)) == ["a", "b"]
    assert capsys.readouterr().err.splitlines() == [
        "1/4  row a  elapsed 0:30  left 1:30",  # 30 s a row, 3 to come
        "2/4  row b  elapsed 2:00  left 2:00",
    ]


def test_a_resumed_training_counts_what_was_done_but_not_its_time(monkeypatch, capsys):
    clock(monkeypatch, 0.0, 10.0)
    assert list(progress.follow("c", 60, str, done=57)) == ["c"]
    assert capsys.readouterr().err == "58/60  c  elapsed 0:10  left 0:20\n"


def test_nothing_left_to_do_says_nothing(capsys):
    assert list(progress.follow([], 3, str, done=3)) == []
    assert capsys.readouterr().err == ""


def test_a_row_is_told_before_the_next_is_made(capsys):
    def rows():
        yield "a"
        raise ValueError("broken")

    followed = progress.follow(rows(), 2, str)
    assert next(followed) == "a"
    assert capsys.readouterr().err.startswith("1/2  a")
    with pytest.raises(ValueError, match="broken"):
        next(followed)


def test_a_terminal_gets_a_bar_and_the_same_rows(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    assert list(progress.follow("abc", 5, "row {}".format, done=2)) == ["a", "b", "c"]
    assert "5/5" in terminal.getvalue()
    assert "row c" in terminal.getvalue()
