"""Train the networks that read house numbers, all seeds of the case one after the other (Sec. 4.2).

The paper: stochastic gradient descent for 400,000 batches of 128, a rate of 0.01, a tenth of it
every 80,000, weight decay 0.0005, localisation nets at a tenth of the rate. The loss is the sum of
five cross-entropies.
"""

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism
from pr12.stn.data import digit_splits, saved_nets, sequence_files
from pr12.stn.model import epochs, sequence_training
from pr12.stn.model.sequence_networks import Architecture, Network, normalised
from pr12.stn.params import TrainSequences as Params
from pr12.workflow import files, step


def start(params: Params, size: int, seed: int) -> tuple[Network, torch.optim.Optimizer]:
    """Build one seed's network and its optimiser; the draws of dropout start here too.

    Parameters
    ----------
    params : Params
        The case's.
    size : int
        Of the images, in pixels.
    seed : int
        The replica's.
    """
    torch.manual_seed(determinism.generator(seed, "sequences").initial_seed())
    network = Network(architecture_of(params, size)).to(determinism.device())
    network = network.to(memory_format=torch.channels_last)
    optimiser = epochs.optimiser_of(
        network, ("transformers.",), params.optimiser, params.learning_rate,
        params.localisation_rate, params.momentum, params.weight_decay,
    )  # fmt: skip
    return network, optimiser


def architecture_of(params: Params, size: int) -> Architecture:
    """Return the case's architecture.

    Parameters
    ----------
    params : Params
        The case's.
    size : int
        Of the images, in pixels.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> kind = {"network": "cnn", "width_scale": 1.0, "fully_connected": 2, "dropout": 0.5}
    >>> architecture_of(SimpleNamespace(**kind), 64).size
    64
    """
    return Architecture(
        params.network, size, params.width_scale, params.fully_connected, params.dropout
    )


def task(params: Params, images: Tensor, labels: Tensor) -> epochs.Task:
    """Return what the case learns, for `epochs.train`.

    Parameters
    ----------
    params : Params
        The case's.
    images, labels : Tensor
        uint8 (N, 3, S, S) and int64 (N, 5), on the device that computes.
    """

    def inputs(rows: Tensor, stream: torch.Generator) -> Tensor:
        return normalised(images[rows]).contiguous(memory_format=torch.channels_last)

    def rate(epoch: int, batch: int) -> float:
        schedule = params.learning_rate, params.warmup_batches, params.decay_epochs
        return sequence_training.rate(*schedule, epoch, batch)

    return epochs.Task(
        labels,
        params.batch_size,
        params.epochs,
        lambda seed: start(params, images.shape[-1], seed),
        inputs,
        rate,
        sequence_training.loss,
        params.bfloat16,
    )


def main(job: step.Job) -> None:
    """Train all seeds of the case; what was reached survives a kill."""
    params, paths = job.params, job.paths
    determinism.deterministic(but_sampling=True)
    digit_splits.check_distinct(params, "seeds")
    split = sequence_files.load(paths["train"])
    images, labels = split.images.to(determinism.device()), split.labels.to(determinism.device())
    learnt = task(params, images, labels)
    state = checkpoints.resumed(
        job,
        lambda state: epochs.train(learnt, params.seeds, state),
        total=len(params.seeds) * params.epochs,
        describe=epochs.describe,
        done=lambda state: len(state["history"]),
    )
    description = architecture_of(params, images.shape[-1])._asdict()
    description |= {"seeds": list(params.seeds)}
    saved_nets.write_replicas(paths["model"], state["finished"], description)
    written = {"history": state["history"], "provenance": job.provenance()}
    files.write_json(paths["history"], written)


if __name__ == "__main__":
    with step.start(Params, reads=["train"], writes=["model", "history"]) as job:
        main(job)
