"""Measure mimic nets on the test sets: the curves of Bucila et al. (2006), Fig. 2, and Table 2."""

import torch
from torch import Tensor

from pr12.core import determinism, replicas, tensor_files
from pr12.distill.model import mimic
from pr12.distill.params import EvaluateCompression as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def errors(model: dict[str, Tensor], test: dict[str, Tensor], problem: str) -> Tensor:
    """Return the test RMSE of a problem's mimic nets.

    Parameters
    ----------
    model : dict of str to Tensor
        What the step ``compress`` wrote: ``<problem>/<parameter>``, each (sizes, seeds, ...).
    test : dict of str to Tensor
        What the step ``library`` wrote as ``test``.
    problem : str
        Its name.

    Returns
    -------
    Tensor
        float64, shape (sizes, seeds).
    """
    parameters = {
        name.partition("/")[2]: tensor.flatten(0, 1)
        for name, tensor in model.items()
        if name.startswith(f"{problem}/")
    }
    _, width, hidden = parameters["w1"].shape
    module = mimic.MimicNet(width, hidden, torch.Generator())
    outputs = replicas.forward_shared(module, parameters, test[f"{problem}/inputs"])
    shape = model[f"{problem}/w1"].shape[:2]
    return mimic.rmse(outputs.double(), test[f"{problem}/targets"]).reshape(shape)


def check(model: dict[str, Tensor], test: dict[str, Tensor], problems: list[str]) -> None:
    """Check that both files hold what is needed of every problem, and fit each other.

    Raises
    ------
    UserError
        If not.
    """
    if "sizes" not in model:
        raise UserError("model has no sizes; give a file that distill.compress wrote")
    for problem in problems:
        for name, tensors, parts in (
            ("model", model, ("w1", "b1", "w2", "b2")),
            ("test", test, ("inputs", "targets", "ensemble", "best_net", "best_single")),
        ):
            missing = [part for part in parts if f"{problem}/{part}" not in tensors]
            if missing:
                raise UserError(
                    f"{name} has no {problem}/{missing[0]}; give the {name} of distill."
                    f"{'compress' if name == 'model' else 'library'}"
                )
        nets, inputs = model[f"{problem}/w1"], test[f"{problem}/inputs"]
        if nets.dim() != 4 or len(nets) != len(model["sizes"]) or inputs.dim() != 2:
            raise UserError(f"the nets or inputs of {problem} are of another shape; make them anew")
        if nets.shape[2] != inputs.shape[1] or not len(inputs):
            raise UserError(
                f"the nets of {problem} take {nets.shape[2]} inputs and test has {len(inputs)} "
                f"examples of {inputs.shape[1]}; both must come from one run of the step library"
            )


def retained_gain(net: Tensor, best_net: Tensor, ensemble: Tensor) -> Tensor:
    """Return the share of the ensemble's gain over the best net that a mimic net retains (Table 2).

    Parameters
    ----------
    net, best_net, ensemble : Tensor
        RMSEs; for the paper's average, RMSEs that were averaged over problems before (its 97 %).

    Examples
    --------
    The average row of Table 2, from its rounded RMSEs (unrounded ones gave the paper's 0.97):

    >>> retained_gain(*torch.tensor([0.264, 0.282, 0.263], dtype=torch.float64)).round(decimals=2)
    tensor(0.9500, dtype=torch.float64)
    """
    return (net - best_net) / (ensemble - best_net)


def measure(model: dict[str, Tensor], test: dict[str, Tensor]) -> dict[str, list[float]]:
    """Return the metrics of a curve, each a value per seed.

    Parameters
    ----------
    model, test : dict of str to Tensor
        As for `errors`.

    Returns
    -------
    dict of str to list of float
        ``test/rmse_<problem>_<size>``, their mean over problems ``test/rmse_<size>`` and, where
        the ensemble beats the best net at all, ``test/retained_gain_<size>``; for comparison
        ``test/rmse_ensemble``, ``..._best_net`` and ``..._best_single``, also means over problems
        and of one value each, since the library has one seed.

    Raises
    ------
    UserError
        If the two files are not of the same problems, or of another kind.
    """
    problems = sorted({name.split("/")[0] for name in model} - {"sizes"})
    others = sorted({name.split("/")[0] for name in test})
    if problems != others:
        raise UserError(
            f"model is of {', '.join(problems)} and test of {', '.join(others)}; both must come "
            "from one run of the step library"
        )
    check(model, test, problems)
    curves = {problem: errors(model, test, problem) for problem in problems}
    teachers = {
        key: torch.stack(
            [mimic.rmse(test[f"{p}/{key}"].double(), test[f"{p}/targets"]) for p in problems]
        ).mean()
        for key in ("ensemble", "best_net", "best_single")
    }
    average = torch.stack(list(curves.values())).mean(dim=0)
    metrics = {f"test/rmse_{key}": [float(value)] for key, value in teachers.items()}
    for i, size in enumerate(model["sizes"].tolist()):
        metrics[f"test/rmse_{size}"] = average[i].tolist()
        for problem, values in curves.items():
            metrics[f"test/rmse_{problem}_{size}"] = values[i].tolist()
        if teachers["ensemble"] < teachers["best_net"]:
            gain = retained_gain(average[i], teachers["best_net"], teachers["ensemble"])
            metrics[f"test/retained_gain_{size}"] = gain.tolist()
    return metrics


def main(job: step.Job) -> None:
    """Measure one case."""
    determinism.deterministic()
    model, test = (tensor_files.read_tensors(job.paths[name]) for name in ("model", "test"))
    metrics = measure(model, test)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "test"], writes=["metrics"]) as job:
        main(job)
