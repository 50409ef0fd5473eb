"""Return a photograph the look of another, and keep it a photograph (Luan et al. 2017).

    python -m pr12.photostyle.transfer content=a.jpg style=b.jpg output=out.png \
[content_mask=c.png style_mask=d.png] [weights=w.pth] [--params '{"size": 500}'] [--resume]

Images of any size: they are optimised with a longest side of `size` pixels, and the change of
colours is carried to the full size. Masks are painted in flat colours, one for each class (sky,
water, ...), the same colour in both masks; without them they are made automatically, which is
weaker. The output is PNG, JPEG or TIFF; a content of 16 bits or with transparency gives such an
output, but for JPEG.

Weights are safetensors or a state dict of torch.save; nothing in them is executed. Without
weights=, the trained SqueezeNet of data/raw/weights is used if it lies there, else the same network
untrained, which gives a weaker style. SqueezeNet is the default because VGG-19, the paper's, takes
much longer.

Pixels of alpha 0 show no colour, so what their file hides there is not used: they are of no class,
and the output keeps their alpha. Transparent pixels of a mask are one class, in both masks.

Ctrl-C keeps what is reached: it is finished and written, with exit code 130; a second one ends at
once and writes nothing. With --resume the same command goes on from there, or from where a killed
run was, and ends in the same bytes as a run that nothing has stopped.
"""

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from pr12.core import determinism
from pr12.photostyle.transfer import checkpoint as checkpoints
from pr12.photostyle.transfer import inputs as transfer_inputs
from pr12.photostyle.transfer import output as transfer_output
from pr12.photostyle.transfer import problem, stages
from pr12.photostyle.transfer.checkpoint import warn
from pr12.photostyle.transfer.settings import DEFAULTS, Settings
from pr12.workflow import progress, step
from pr12.workflow.errors import UserError

EVERY = 20  # iterations between checkpoints


def with_defaults(arguments: Sequence[str]) -> list[str]:
    """Lay a user's params over `DEFAULTS`, and turn --resume into one of them.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program; what is no JSON object is left for `step.start`.

    Examples
    --------
    >>> line = with_defaults(["output=a.png", "--resume", "--params", '{"size": 500}'])
    >>> json.loads(line[2]) == DEFAULTS | {"size": 500, "resume": True}
    True
    >>> json.loads(with_defaults(["output=a.png"])[1]) == DEFAULTS
    True
    """
    rest = [argument for argument in arguments if argument != "--resume"]
    resume = {"resume": True} if len(rest) < len(arguments) else {}
    if "--params" not in rest:
        return ["--params", json.dumps(DEFAULTS | resume), *rest]
    place = rest.index("--params") + 1
    try:
        given = json.loads(rest[place], object_pairs_hook=step.once)
    except (IndexError, ValueError, RecursionError, UserError):
        return rest  # `step.start` says what is wrong
    if isinstance(given, dict):
        rest[place] = json.dumps(DEFAULTS | given | resume)
    return rest


def main(job: step.Job) -> None:
    """Read, optimise, carry to full size and write."""
    settings, output = job.params, job.paths["output"]
    sources = {name: path for name, path in job.paths.items() if name != "output"}
    transfer_output.check_output(output, list(sources.values()))
    if settings.style_weight == settings.content_weight == 0:
        raise UserError("style_weight and content_weight are both 0; give one above 0")
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


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(__doc__, "Params and their defaults:\n", json.dumps(DEFAULTS, indent=1), sep="\n")
        raise SystemExit(0)
    with step.start(
        Settings,
        reads=["content", "style"],
        optional=["content_mask", "style_mask", "weights"],
        writes=["output"],
        arguments=with_defaults(sys.argv[1:]),
    ) as job:
        try:
            main(job)
        except KeyboardInterrupt:
            _end("the output is not written")
