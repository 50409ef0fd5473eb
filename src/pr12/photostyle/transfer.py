"""Give a photograph the look of another, and keep it a photograph (Luan et al. 2017).

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

Ctrl-C keeps what is reached: it is finished and written, with exit code 130; a second one ends at
once and writes nothing. With --resume the same command goes on from there, or from where a killed
run was.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from torch import Tensor

from pr12.photostyle import local_affine, transfer_inputs, transfer_output, transfer_stages
from pr12.photostyle.transfer_inputs import Inputs
from pr12.photostyle.transfer_stages import Reached
from pr12.shared import address, files, progress, run, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, NotEmpty

FETCHED = Path("data/raw/weights/squeezenet1_0_deep_compression.safetensors")
EVERY = 20  # iterations between checkpoints
# Of the local affine maps that carry a result to full size: small windows, so that little is lost
CARRIED = {"radius": 4, "epsilon": 1e-4}


@dataclass(frozen=True)
class Settings:
    """Params of a transfer; not called Params, for no workflow runs this step."""

    architecture: str  # of torchvision
    pooling: Literal["average", "max"]
    normalise: Literal["layer", "filter", "nothing"]  # whose mean activation is 1
    bfloat16: bool  # convolve with 8 bits of each number: faster where the processor knows it
    style_layers: Annotated[tuple[str, ...] | None, NotEmpty()]  # null: those of the network
    content_layers: Annotated[tuple[str, ...] | None, NotEmpty()]
    content_weight: Annotated[float, AtLeast(0)]  # alpha
    style_weight: Annotated[float, AtLeast(0)]  # Gamma
    photorealism: Annotated[float, AtLeast(0)]  # lambda; 0: no second stage
    size: Annotated[int, AtLeast(1)]  # longest side that is optimised, pixels
    iterations: Annotated[int, AtLeast(1)]  # of the first stage
    photorealistic_iterations: Annotated[int, AtLeast(0)]  # of the second
    history: Annotated[int, AtLeast(1)]  # of L-BFGS
    start: Literal["content", "noise"]
    seed: int  # of the noise, and of untrained weights
    smoothing_radius: Annotated[int, AtLeast(0)]  # of local affine smoothing, pixels; 0: none
    smoothing_epsilon: Annotated[float, Above(0)]
    resume: bool  # as --resume


DEFAULTS = {
    "architecture": "squeezenet1_0",
    "pooling": "average",
    "normalise": "layer",
    "bfloat16": False,
    "style_layers": None,
    "content_layers": None,
    "content_weight": 100.0,
    "style_weight": 100.0,
    "photorealism": 1e4,
    "size": 700,
    "iterations": 60,
    "photorealistic_iterations": 60,
    "history": 20,
    "start": "content",  # from noise, 700 pixels would need some 300 iterations to become sharp
    "seed": 0,
    "smoothing_radius": 15,
    "smoothing_epsilon": 1e-5,
    "resume": False,
}


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
        given = json.loads(rest[place])
    except (IndexError, ValueError):
        return rest
    if isinstance(given, dict):
        rest[place] = json.dumps(DEFAULTS | given | resume)
    return rest


def main(job: step.Job) -> None:
    """Read, optimise, carry to full size and write."""
    settings, output = job.params, job.paths["output"]
    sources = {name: path for name, path in job.paths.items() if name != "output"}
    transfer_output.check_output(output, list(sources.values()))
    weights = _weights(settings, sources.get("weights"))
    inputs = transfer_inputs.read(sources, settings.size)
    for text in (*inputs.warnings, *transfer_output.lost(output, inputs.whole)):
        print(f"warning: {text}", file=sys.stderr)
    run.deterministic()
    checkpoint = output.with_name(f".{output.stem}.resume.pt")
    fingerprint = _fingerprint(settings, sources | ({"weights": weights} if weights else {}))
    state = _state(checkpoint, fingerprint) if settings.resume else None
    prepared = transfer_stages.problem(inputs, settings, weights)
    total = settings.iterations + settings.photorealistic_iterations * (settings.photorealism > 0)
    rows = transfer_stages.steps(prepared, settings, inputs.content, state)
    reached = state
    try:
        for last in progress.follow(rows, total, _told, done=_done(state, settings)):
            reached = transfer_stages.state_of(last)
            if last.step.iteration % EVERY == 0:
                run.save_state(checkpoint, reached, fingerprint)
    except KeyboardInterrupt:
        if reached is None:
            _end("nothing is reached yet and nothing is written")
        print(f"interrupted; finishing {output}; Ctrl-C again ends at once", file=sys.stderr)
        run.save_state(checkpoint, reached, fingerprint)
        _write(reached["step"]["image"], inputs, settings, output)
        _end(f"wrote {output} as far as it is; the same command with --resume goes on")
    # Where no step lowers the loss, as for a style that is the content, that is the result
    image = reached["step"]["image"] if reached else prepared.content
    _write(image, inputs, settings, output)
    checkpoint.unlink(missing_ok=True)
    print(f"wrote {output}", file=sys.stderr)


def _weights(settings: Settings, given: Path | None) -> Path | None:
    """Choose the file of weights, and say which, or that the network is untrained."""
    fetched = address.SRC.parent / FETCHED
    if given is None and settings.architecture == "squeezenet1_0" and fetched.is_file():
        given = fetched
    if given is None:
        print(
            f"warning: there are no weights of {settings.architecture}, so it stays untrained, "
            "which gives a weaker style; give weights=FILE (see README.md)",
            file=sys.stderr,
        )
    return given


def _fingerprint(settings: Settings, sources: Mapping[str, Path]) -> str:
    """Give the digest of all that the result depends on: source, params and files."""
    params = dataclasses.asdict(settings)
    del params["resume"]
    try:
        contents = {name: files.sha256(path) for name, path in sources.items()}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    return address.digest([address.source_digest("pr12.photostyle.transfer"), params, contents])


def _state(checkpoint: Path, fingerprint: str) -> Mapping[str, Any] | None:
    """Read how far the run before came."""
    state = run.load_state(checkpoint, fingerprint)
    if state is None and checkpoint.is_file():
        raise UserError(
            f"{checkpoint} belongs to other images, masks, weights, params or source code; give "
            "those again, or leave out --resume to start afresh"
        )
    if state is None:
        print(f"warning: there is no {checkpoint} to go on from; starting afresh", file=sys.stderr)
    return state


def _done(state: Mapping[str, Any] | None, settings: Settings) -> int:
    if state is None:
        return 0
    return state["step"]["iteration"] + settings.iterations * (state["stage"] - 1)


def _told(reached: Reached) -> str:
    return f"stage {reached.stage}  loss {reached.step.parts['loss']:.2f}"


def _write(image: Tensor, inputs: Inputs, settings: Settings, output: Path) -> None:
    """Smooth a result, carry it to the size of the content, and write it."""
    pixels = image[0].detach().cpu().permute(1, 2, 0).numpy()
    whole = inputs.whole.pixels
    if settings.smoothing_radius:
        how = {"radius": settings.smoothing_radius, "epsilon": settings.smoothing_epsilon}
    else:
        how = CARRIED
    if settings.smoothing_radius or whole.shape != pixels.shape:
        found = local_affine.coefficients(inputs.content, pixels, **how)
        pixels = local_affine.carried(found, whole)
    transfer_output.write_photograph(output, inputs.whole._replace(pixels=pixels))


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
