"""How a command ends that is interrupted or told to end: one sentence, the shell's exit code.

`pr12.workflow.step` answers for what a step does; this answers from the first import on, which may
take seconds. Only processes that were started as ``python -m pr12...`` ask for it.
"""

import os
import signal
import sys
from types import FrameType, TracebackType


def answer() -> None:
    """Answer Ctrl-C with exit code 130 and SIGTERM with 143, each with one sentence."""
    process = os.getpid()
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
            return
        print("interrupted; run the same command again", file=sys.stderr, flush=True)
        os._exit(130)

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker, which was forked and is to end without a word
            os._exit(128 + number)
        print("ended by SIGTERM; run the same command again", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)

    sys.excepthook = hook
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
