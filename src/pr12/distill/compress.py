"""Train mimic nets on an ensemble's labels: one generator, all problems, sizes and seeds.

One case is one curve of Bucila et al. (2006), Fig. 2. Every net makes the same number of updates
whatever the size of its transfer set, so that a larger set is not trained longer: what differs
between the points of a curve is only how many different examples a net has seen. The validation
set serves early stopping alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from pr12.distill import mimic
from pr12.shared import address, files, optimisers, progress, replicas, run, step
from pr12.shared.errors import UserError
from pr12.shared.step import Above, AtLeast, NotEmpty


@dataclass(frozen=True)
class Params:
    """Params of one curve."""

    generator: Literal["random", "nbe", "munge"]
    sizes: Annotated[tuple[int, ...], NotEmpty()]  # of the transfer set, training set included
    seeds: Annotated[tuple[int, ...], NotEmpty()]
    hidden: Annotated[int, AtLeast(1)]
    updates: Annotated[int, AtLeast(1)]
    evaluations: Annotated[int, AtLeast(1)]
    batch_size: Annotated[int, AtLeast(1)]
    learning_rate: Annotated[float, Above(0)]


class Transfer(NamedTuple):
    """A problem's examples and the ensemble's probabilities on them."""

    problem: str
    inputs: Tensor  # (N, D): the training set, then the synthetic points
    probabilities: Tensor  # (N,)
    validation_inputs: Tensor  # (M, D)
    validation_probabilities: Tensor  # (M,)


def transfer_sets(params: Params, tensors: dict[str, Tensor]) -> list[Transfer]:
    """Append the generator's points to every problem's training set.

    Parameters
    ----------
    params : Params
        The case's params.
    tensors : dict of str to Tensor
        What the step ``library`` wrote as ``transfer``.

    Raises
    ------
    UserError
        If the generator is missing there, or the sizes do not increase or are out of range.
    """
    sets = []
    for problem in sorted({name.split("/")[0] for name in tensors}):
        parts = ("train", params.generator)
        if f"{problem}/{params.generator}/inputs" not in tensors:
            raise UserError(
                f"transfer holds no points of {params.generator} for {problem}; name it in the "
                "generators of the step library"
            )
        inputs = torch.cat([tensors[f"{problem}/{part}/inputs"] for part in parts])
        probabilities = torch.cat([tensors[f"{problem}/{part}/probabilities"] for part in parts])
        least = len(tensors[f"{problem}/train/inputs"])
        sizes = params.sizes
        if any(a >= b for a, b in pairwise(sizes)) or sizes[0] < least or sizes[-1] > len(inputs):
            raise UserError(
                f"--params.sizes is {list(sizes)}; it must increase and lie between {least}, the "
                f"training set of {problem}, and {len(inputs)}, all points of {params.generator}"
            )
        validation = (
            tensors[f"{problem}/validation/{what}"] for what in ("inputs", "probabilities")
        )
        moved = (tensor.to(run.device()) for tensor in (inputs, probabilities, *validation))
        sets.append(Transfer(problem, *moved))
    return sets


def train(
    params: Params, transfer: Transfer, state: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Train a problem's nets, all sizes and seeds at once; yield the state at each evaluation.

    Every net starts from its seed's parameters, whatever its size, and has its own stream of
    batches: fresh permutations of the first `size` points.

    Parameters
    ----------
    params : Params
        The case's params.
    transfer : Transfer
        The problem.
    state : dict, optional
        A state yielded before: training goes on from it.

    Yields
    ------
    dict
        ``parameters``, ``optimiser``, ``streams``, ``history`` and ``best``: for each net the
        parameters with the least validation RMSE to the ensemble so far (early stopping).

    Raises
    ------
    UserError
        If a loss is not finite.
    """
    nets = list(product(params.sizes, params.seeds))
    width = transfer.inputs.shape[1]
    module, parameters = replicas.stack(
        lambda generator: mimic.MimicNet(width, params.hidden, generator),
        [seed for _, seed in nets],
    )
    optimiser = optimisers.Adam(parameters.values(), lr=params.learning_rate, fused=True)
    streams = [
        run.generator(seed, f"shuffle {transfer.problem} {size}", run.device())
        for size, seed in nets
    ]
    history: list[dict[str, Any]] = []
    best = {"rmse": [float("inf")] * len(nets), "parameters": detached(parameters)}
    if state:
        restore(state, parameters, optimiser, streams)
        history, best = state["history"], state["best"]
    ends = [params.updates * (i + 1) // params.evaluations for i in range(params.evaluations)]
    for evaluation in range(len(history), params.evaluations):
        begin = ends[evaluation - 1] if evaluation else 0
        steps = ends[evaluation] - begin
        order = batch_order([size for size, _ in nets], steps * params.batch_size, streams)
        total = torch.zeros(len(nets), device=order.device)
        for update, rows in enumerate(order.split(params.batch_size, dim=1), start=begin):
            optimiser.param_groups[0]["lr"] = params.learning_rate * (1 - update / params.updates)
            outputs = replicas.forward(module, parameters, transfer.inputs[rows])
            losses = (outputs - transfer.probabilities[rows]).square().mean(dim=-1)
            optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()  # the sum gives every net the gradient of its own loss
            optimiser.step()
            total += losses.detach()
        outputs = replicas.forward_shared(module, parameters, transfer.validation_inputs)
        row = {
            "updates": ends[evaluation],
            "train/loss": (total / steps).tolist(),
            "validation/rmse": mimic.rmse(outputs, transfer.validation_probabilities).tolist(),
        }
        if not torch.isfinite(total).all():
            last = history[-1]["train/loss"] if history else "none"
            raise UserError(
                f"{transfer.problem}: the loss is not finite by update {ends[evaluation]} (at the "
                f"evaluation before: {last}); lower learning_rate and run again"
            )
        history = [*history, row]
        best = keep_best(best, parameters, row["validation/rmse"])
        yield {
            "parameters": detached(parameters),
            "optimiser": optimiser.state_dict(),
            "streams": [stream.get_state() for stream in streams],
            "history": history,
            "best": best,
        }


def detached(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy parameters as they are now."""
    return {name: value.detach().clone() for name, value in parameters.items()}


def restore(
    state: dict[str, Any],
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    streams: list[torch.Generator],
) -> None:
    """Put parameters, optimiser and streams back, in place, to a state yielded by `train`."""
    for name, value in parameters.items():
        value.data.copy_(state["parameters"][name])
    optimiser.load_state_dict(state["optimiser"])
    for stream, saved in zip(streams, state["streams"], strict=True):
        stream.set_state(saved.cpu())


def batch_order(sizes: list[int], length: int, streams: list[torch.Generator]) -> Tensor:
    """Draw each net's order of examples: permutations of its first `size` points, end to end.

    Parameters
    ----------
    sizes : list of int
        One per net.
    length : int
        Examples to draw.
    streams : list of torch.Generator
        One per net.

    Returns
    -------
    Tensor
        int64, shape (nets, length).

    Examples
    --------
    >>> batch_order([2], 4, [torch.Generator()]).sort().values
    tensor([[0, 0, 1, 1]])
    """
    orders = []
    for size, stream in zip(sizes, streams, strict=True):
        passes = [
            torch.randperm(size, generator=stream, device=stream.device)
            for _ in range(-(-length // size))
        ]
        orders.append(torch.cat(passes)[:length])
    return torch.stack(orders)


def keep_best(
    best: dict[str, Any], parameters: dict[str, Tensor], validation_rmse: list[float]
) -> dict[str, Any]:
    """Keep, for each net, the parameters of the evaluation with the least RMSE so far."""
    for net, value in enumerate(validation_rmse):
        if value < best["rmse"][net]:
            best["rmse"][net] = value
            for name, tensor in parameters.items():
                best["parameters"][name][net] = tensor.detach()[net]
    return best


def describe(problem: str, row: dict[str, Any]) -> str:
    """Say one evaluation in a line: means over the nets."""
    loss, error = row["train/loss"], row["validation/rmse"]
    return (
        f"{problem}  update {row['updates']}  loss {sum(loss) / len(loss):.5f}  "
        f"validation RMSE to the ensemble {sum(error) / len(error):.4f}"
    )


def main(job: step.Job) -> None:
    """Train the nets of every problem; a finished evaluation survives a kill."""
    params, paths = job.params, job.paths
    run.deterministic()
    sets = transfer_sets(params, run.read_tensors(paths["transfer"]))
    inputs = job.provenance()["inputs"]
    fingerprint = address.digest(job.command, address.source_digest(job.module), inputs)
    model = {"sizes": torch.tensor(params.sizes)}
    history, checkpoints = [], []
    for transfer in sets:
        name = transfer.problem
        checkpoints.append(paths["model"].with_name(f"resume_{name}.pt"))
        state = run.load_state(checkpoints[-1], fingerprint)
        done = len(state["history"]) if state else 0
        for state in progress.follow(
            train(params, transfer, state),
            params.evaluations,
            lambda state, name=name: describe(name, state["history"][-1]),
            done,
        ):
            run.save_state(checkpoints[-1], state, fingerprint)
        shape = (len(params.sizes), len(params.seeds))
        for key, value in state["best"]["parameters"].items():
            model[f"{name}/{key}"] = value.unflatten(0, shape)
        history.append({"problem": name, "evaluations": state["history"]})
    run.write_tensors(paths["model"], model)
    nets = [list(net) for net in product(params.sizes, params.seeds)]
    files.write_json(
        paths["history"],
        {"nets": nets, "history": history, "provenance": job.provenance()},
    )
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    with step.start(Params, reads=["transfer"], writes=["model", "history"]) as job:
        main(job)
