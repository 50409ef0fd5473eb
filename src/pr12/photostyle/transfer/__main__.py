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

With fast the colours of each class are moved in closed form, as two Gaussians (Monge-Kantorovich):
seconds, no network, and no more than what colours can say.

Ctrl-C keeps what is reached: it is finished and written, with exit code 130; a second one ends at
once and writes nothing. With --resume the same command goes on from there, or from where a killed
run was, and ends in the same bytes as a run that nothing has stopped.
"""

import json
import sys
from collections.abc import Sequence

from pr12.core import parallel
from pr12.photostyle.transfer import closed_form
from pr12.photostyle.transfer import inputs as transfer_inputs
from pr12.photostyle.transfer import output as transfer_output
from pr12.photostyle.transfer.settings import DEFAULTS, Settings
from pr12.workflow import step
from pr12.workflow.errors import UserError


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
    """Read, change colours and write."""
    settings, output = job.params, job.paths["output"]
    sources = {name: path for name, path in job.paths.items() if name != "output"}
    transfer_output.check_output(output, list(sources.values()))
    if settings.style_weight == settings.content_weight == 0:
        raise UserError("style_weight and content_weight are both 0; give one above 0")
    if settings.fast and (settings.resume or "weights" in sources):
        raise UserError("fast takes no network and no time; leave weights and resume out")
    if not settings.fast:
        from pr12.photostyle.transfer import optimised  # torch: seconds that fast does not need

        optimised.run(job, settings, sources, output)
        return
    inputs = transfer_inputs.read(sources, settings.size)
    for text in (*inputs.warnings, *transfer_output.lost(output, inputs.whole)):
        print(f"warning: {text}", file=sys.stderr)
    print(f"classes: {inputs.classes}", file=sys.stderr)
    labels = inputs.content_labels, inputs.style_labels
    by_class = closed_form.maps(inputs.content, inputs.style, *labels)
    shares = closed_form.weights(inputs.content, labels[0], list(by_class))
    pixels = closed_form.applied(inputs.whole.pixels, by_class, shares, parallel.workers())
    transfer_output.write_photograph(output, inputs.whole._replace(pixels=pixels))
    print(f"wrote {output}", file=sys.stderr)


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
            print("interrupted; the output is not written", file=sys.stderr)
            raise SystemExit(130) from None
