"""Count and time what transformers and deformable convolutions add to a CNN.

Counts are the same on every machine; times are written apart, and as ratios of medians over steps
that were timed in turn.
"""

import torch

from pr12.core import determinism
from pr12.stn.model import (
    deformable,
    distortions,
    grids,
    operation_counts,
    sequence_networks,
    step_times,
    transformer,
)
from pr12.stn.params import Cost as Params
from pr12.workflow import files, step

SEQUENCE_NETWORKS = ("cnn", "single", "multi")


def measured(params: Params) -> dict[str, float]:
    """Time sampling alone, and training steps with and without what samples.

    Parameters
    ----------
    params : Params
        The step's.

    Returns
    -------
    dict of str to float
        Milliseconds, and ratios to the step of the plain net.
    """
    stream = determinism.generator(0, "cost")
    count, side = params.batch_size, distortions.DISTORTIONS["R"].side
    nets = operation_counts.table_nets(params.parameters)
    inputs = torch.rand(count, 1, side, side, generator=stream)
    targets = torch.randint(10, (count,), generator=stream)
    layer, inner = operation_counts.deformable_layer(nets["deformable"]), (side - 8) // 2
    theta = nets["st_cnn"].transformers.transformers[0].theta.bias.detach().expand(count, -1)
    features = torch.rand(count, layer.convolution.in_channels, inner, inner, generator=stream)
    kernel = layer.convolution.kernel_size[0]
    positions = inner - kernel + 1
    offsets = torch.randn(count, 2 * kernel * kernel, positions, positions, generator=stream)
    often = params.warmup, params.repeats
    with torch.inference_mode():
        sampling = {
            "transformer/milliseconds_sampling": lambda: transformer.sample(
                inputs, grids.affine_grid(theta, (side, side))
            ),
            "deformable/milliseconds_sampling": lambda: deformable.deform_conv2d(
                features, offsets, layer.convolution.weight, layer.convolution.bias
            ),
        }
        times = step_times.medians(sampling, *often)
    steps = {f"{name}/milliseconds_step": step_times.mnist_step(net, inputs, targets)
             for name, net in nets.items()}  # fmt: skip
    times |= step_times.medians(steps, *often)
    size = params.sequence_size
    inputs = torch.rand(params.sequence_batch, 3, size, size, generator=stream)
    targets = torch.randint(11, (params.sequence_batch, 5), generator=stream)
    steps = {}
    for name in SEQUENCE_NETWORKS:
        shape = sequence_networks.Architecture(name, size, params.sequence_width, 2, 0.5)
        net = sequence_networks.Network(shape).to(memory_format=torch.channels_last)
        steps[f"sequences_{name}/milliseconds_step"] = step_times.sequence_step(
            net, inputs, targets
        )
    times |= step_times.medians(steps, *often)
    for name, base in (
        ("st_cnn", "cnn"),
        ("deformable", "cnn"),
        ("sequences_single", "sequences_cnn"),
        ("sequences_multi", "sequences_cnn"),
    ):
        times[f"{name}/ratio_step"] = step_times.ratio(times, f"{name}/milliseconds_step", base)
    return times


def main(job: step.Job) -> None:
    """Count and time; times go apart from what is the same on every machine."""
    params = job.params
    torch.manual_seed(0)
    torch.set_num_threads(1)
    nets = operation_counts.table_nets(params.parameters)
    side = distortions.DISTORTIONS["R"].side
    counts = {"transformer": operation_counts.transformer_counts(nets["st_cnn"], side)}
    counts["deformable"] = operation_counts.deformable_counts(
        operation_counts.deformable_layer(nets["deformable"]), (side - 8) // 2
    )
    metrics = {
        f"{name}/{key}": [value] for name, count in counts.items() for key, value in count.items()
    }
    for key in ("predicted", "sampling_multiply_adds", "prediction_multiply_adds"):
        metrics[f"deformable/times_{key}"] = [
            counts["deformable"][key] / counts["transformer"][key]
        ]
    job.times.update({key: [value] for key, value in measured(params).items()})
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, writes=["metrics"]) as job:
        main(job)
