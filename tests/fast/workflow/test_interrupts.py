import signal
import subprocess
import sys
import time

import pytest

from pr12.workflow import address, interrupts

FOREVER = """
import time
open("begun", "w").close()
time.sleep(60)
from pr12.workflow import step
"""


@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [
        (signal.SIGINT, 130, "interrupted; run the same command again\n"),
        (signal.SIGTERM, 143, "ended by SIGTERM; run the same command again\n"),
    ],
)
def test_a_command_that_is_still_importing_ends_with_one_sentence(tmp_path, number, code, sentence):
    package = tmp_path / "pr12"
    (package / "workflow").mkdir(parents=True)
    source = address.SRC / "pr12"
    for name in ("__init__.py", "workflow/__init__.py", "workflow/interrupts.py"):
        (package / name).write_bytes((source / name).read_bytes())
    (package / "slow.py").write_text(FOREVER)
    process = subprocess.Popen(
        [sys.executable, "-m", "pr12.slow"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, message = process.communicate(timeout=30)
    assert (process.returncode, message) == (code, sentence)


def test_a_library_that_imports_pr12_keeps_its_signals():
    handlers = "signal.getsignal(signal.SIGTERM), sys.excepthook"
    code = f"import signal, sys; a = {handlers}; import pr12; sys.exit(a != ({handlers}))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(address.SRC)})
    assert done.returncode == 0


def test_other_errors_are_told_as_ever(monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    before = signal.getsignal(signal.SIGTERM)
    try:
        interrupts.answer()
        sys.excepthook(ValueError, ValueError("a fault of ours"), None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "ValueError: a fault of ours" in capsys.readouterr().err
