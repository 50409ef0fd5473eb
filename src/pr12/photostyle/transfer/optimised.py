"""The optimisation of a person's photograph: steps, checkpoints, and what Ctrl-C leaves."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from pr12.core import determinism
from pr12.photostyle.transfer import checkpoint as checkpoints
from pr12.photostyle.transfer import inputs as transfer_inputs
from pr12.photostyle.transfer import output as transfer_output
from pr12.photostyle.transfer import problem, stages
from pr12.photostyle.transfer.checkpoint import warn
from pr12.photostyle.transfer.settings import Settings
from pr12.workflow import progress, step
from pr12.workflow.errors import UserError

EVERY = 20  # iterations between checkpoints


def run(job: step.Job, settings: Settings, sources: Mapping[str, Path], output: Path) -> None:
    """Read, optimise, carry to full size and write.

    Parameters
    ----------
    job : Job
        Of the command.
    settings : Settings
        Its params.
    sources : mapping of str to Path
        Photographs, masks and weights.
    output : Path
        The result.

    Raises
    ------
    UserError
        If something of it cannot be.
    SystemExit
        With code 130 after Ctrl-C.
    """
    weights = problem.weights_file(settings.architecture, sources.get("weights"))
    inputs = transfer_inputs.read(sources, settings.size)
    for text in (*inputs.warnings, *transfer_output.lost(output, inputs.whole)):
        warn(text)
    print(f"classes: {inputs.classes}", file=sys.stderr)
    determinism.deterministic()
    checkpoint = checkpoints.beside(output, job, weights)
    state = checkpoints.read(checkpoint) if settings.resume else None
    prepared = problem.problem(inputs, settings, weights)
    rows = stages.steps(prepared, settings, inputs, state)
    try:
        for reached in progress.follow(
            rows, stages.total(settings), stages.describe, done=stages.done(state)
        ):
            state = stages.state_of(reached)
            if reached.step.iteration % EVERY == 0:
                checkpoints.save(checkpoint, state)
    except KeyboardInterrupt:
        if state is None:
            _end("nothing is reached yet and nothing is written")
        print(f"interrupted; finishing {output}; Ctrl-C again ends at once", file=sys.stderr)
        goes_on = _goes_on(checkpoints.save(checkpoint, state))
        transfer_output.write_result(output, state["step"]["image"], inputs, settings)
        _end(f"wrote {output} as far as it is; {goes_on}")
    if state is None:
        raise UserError(
            f"no step lowers the loss of the start, so nothing is done and {output} is not "
            f"written; give a style that is not the content, or smaller or more equal weights than "
            f"style_weight {settings.style_weight:g} and content_weight {settings.content_weight:g}"
        )
    try:
        transfer_output.write_result(output, state["step"]["image"], inputs, settings)
    except KeyboardInterrupt:
        _end(f"{output} is not written; {_goes_on(checkpoints.save(checkpoint, state))}")
    except UserError:
        checkpoints.save(checkpoint, state)  # so that the optimisation is not lost with the disk
        raise
    checkpoint.path.unlink(missing_ok=True)
    print(f"wrote {output}{stages.stopped(state, settings)}", file=sys.stderr)


def _goes_on(saved: bool) -> str:
    """Say whether the same command can go on from here."""
    if saved:
        return "the same command with --resume goes on"
    return "with --resume the same command goes on from the checkpoint before, if there is one"


def _end(text: str) -> NoReturn:
    print(f"interrupted; {text}", file=sys.stderr)
    raise SystemExit(130)
