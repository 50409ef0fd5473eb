"""Train mimic nets on an ensemble's labels: one generator, all problems, sizes and seeds.

One case is one curve of Bucila et al. (2006), Fig. 2. Every net makes the same number of updates
whatever the size of its transfer set, so that a larger set is not trained longer: what differs
between the points of a curve is only how many different examples a net has seen. The validation
set serves early stopping alone.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pr12.core import checkpoints, determinism, replicas, tensor_files, uncompiled
from pr12.distill.model import mimic, mimic_training
from pr12.distill.params import Compress as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def train(
    params: Params, transfer: mimic_training.Transfer, state: dict[str, Any] | None = None
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
    module, parameters = replicas.stack(
        lambda g: mimic.MimicNet(transfer.inputs.shape[1], params.hidden, g), [s for _, s in nets]
    )
    optimiser = uncompiled.Adam(parameters.values(), lr=params.learning_rate, fused=True)
    streams = mimic_training.streams(transfer.problem, nets)
    history, best = mimic_training.restored(state, parameters, optimiser, streams)
    ends = [params.updates * (i + 1) // params.evaluations for i in range(params.evaluations)]
    for evaluation in range(len(history), params.evaluations):
        begin = ends[evaluation - 1] if evaluation else 0
        steps = ends[evaluation] - begin
        order = mimic.batch_order([size for size, _ in nets], steps * params.batch_size, streams)
        batches = enumerate(order.split(params.batch_size, dim=1), start=begin)
        total = learn(params, transfer, parameters, optimiser, batches)
        outputs = replicas.forward_shared(module, parameters, transfer.validation_inputs)
        rmse = mimic.rmse(outputs, transfer.validation_probabilities).tolist()
        history = [
            *history,
            mimic_training.row_of(transfer, ends[evaluation], total / steps, rmse, history),
        ]
        best = mimic_training.keep_best(best, parameters, rmse)
        yield {
            "parameters": mimic_training.detached(parameters),
            "optimiser": optimiser.state_dict(),
            "streams": [stream.get_state() for stream in streams],
            "history": history,
            "best": best,
        }


def learn(
    params: Params,
    transfer: mimic_training.Transfer,
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[int, Tensor]],
) -> Tensor:
    """Learn from batches, (number, rows (nets, B)), and return the sum of their losses, (nets,)."""
    total = torch.zeros(len(params.sizes) * len(params.seeds), device=transfer.inputs.device)
    for update, rows in batches:
        optimiser.param_groups[0]["lr"] = params.learning_rate * (1 - update / params.updates)
        outputs = mimic.forward(parameters, transfer.inputs[rows])
        losses = (outputs - transfer.probabilities[rows]).square().mean(dim=-1)
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()  # the sum gives every net the gradient of its own loss
        optimiser.step()
        total += losses.detach()
    return total


def describe(problem: str, row: dict[str, Any]) -> str:
    """Say one evaluation in a line: means over the nets."""
    loss, error = row["train/loss"], row["validation/rmse"]
    return (
        f"{problem}  update {row['updates']}  loss {sum(loss) / len(loss):.5f}  "
        f"validation RMSE to the ensemble {sum(error) / len(error):.4f}"
    )


def check(params: Params) -> None:
    """Refuse params that contradict each other.

    Raises
    ------
    UserError
        If there are more evaluations than updates.
    """
    if params.evaluations > params.updates:
        raise UserError(
            f"--params.evaluations is {params.evaluations} and --params.updates is "
            f"{params.updates}; evaluate no more often than the nets are updated"
        )


def main(job: step.Job) -> None:
    """Train the nets of every problem; a finished evaluation survives a kill."""
    params, paths = job.params, job.paths
    check(params)
    determinism.deterministic()
    sets = mimic_training.transfer_sets(
        params.generator, params.sizes, tensor_files.read_tensors(paths["transfer"])
    )
    model = {"sizes": torch.tensor(params.sizes)}
    history = []
    for transfer in sets:
        name = transfer.problem
        state = checkpoints.resumed(
            job,
            lambda state, transfer=transfer: train(params, transfer, state),
            total=params.evaluations,
            describe=lambda state, name=name: describe(name, state["history"][-1]),
            done=lambda state: len(state["history"]),
            name=f"resume_{name}.pt",
        )
        shape = (len(params.sizes), len(params.seeds))
        for key, value in state["best"]["parameters"].items():
            model[f"{name}/{key}"] = value.unflatten(0, shape)
        history.append({"problem": name, "evaluations": state["history"]})
    tensor_files.write_tensors(paths["model"], model)
    nets = [list(net) for net in product(params.sizes, params.seeds)]
    files.write_json(
        paths["history"],
        {"nets": nets, "history": history, "provenance": job.provenance()},
    )


if __name__ == "__main__":
    with step.start(Params, reads=["transfer"], writes=["model", "history"]) as job:
        main(job)
