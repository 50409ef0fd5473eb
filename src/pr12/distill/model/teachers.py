"""The teacher of one problem of model compression: fitted, asked for labels, and measured."""

import zlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pr12.distill.data import problems, synthetic
from pr12.distill.model import library_models, selection
from pr12.distill.params import Library
from pr12.workflow.errors import UserError


def synthesise(
    params: Library, problem: problems.Problem, generator: str, count: int
) -> synthetic.Array:
    """Draw `count` synthetic points of a problem; fewer are a prefix of more for MUNGE."""
    rng = np.random.default_rng([params.seed, zlib.crc32(f"{problem.name}/{generator}".encode())])
    train = problem.train.attributes
    if generator == "munge":
        k = -(-count // len(train))
        points = synthetic.munge(
            train, problem.nominal, k, params.swap_probability, params.local_variance, rng
        )
        return points[:count]
    if generator == "nbe":
        return synthetic.naive_bayes_estimate(
            train,
            problem.validation.attributes,
            problem.nominal,
            count,
            params.nbe_components,
            rng,
        )
    return synthetic.random_marginals(train, count, rng)


def labelled(teacher: selection.Teacher, inputs: NDArray[np.float32]) -> dict[str, Tensor]:
    """Return inputs and the ensemble's probabilities on them, as tensors to be written."""
    probabilities = selection.probabilities(teacher.ensemble, inputs)
    return {
        "inputs": torch.from_numpy(inputs),
        "probabilities": torch.from_numpy(probabilities.astype(np.float32)),
    }


class Product(NamedTuple):
    """What the step makes of one problem."""

    transfer: dict[str, Tensor]
    test: dict[str, Tensor]
    metrics: dict[str, float]


def produce(params: Library, problem: problems.Problem) -> Product:
    """Teach, label and measure one problem.

    Returns
    -------
    Product
        ``transfer``: ``<problem>/<part>/inputs`` (N, D) and ``.../probabilities`` (N,) of the
        parts train, validation and each generator, and the first two's ``.../targets`` (N,);
        ``test``: ``<problem>/inputs``, ``.../targets`` and the predictions of the teacher,
        ``.../ensemble``, ``.../best_net``, ``.../best_single``; metrics without the problem's
        name.

    Raises
    ------
    UserError
        If the training set has fewer than three examples of a class.
    """
    name, levels = problem.name, problem.levels
    inputs = {
        split: problems.one_hot(getattr(problem, split).attributes, levels)
        for split in ("train", "validation", "test")
    }
    teacher = _teach(params, problem, inputs)
    predictors = {key: getattr(teacher, key) for key in ("ensemble", "best_net", "best_single")}
    metrics: dict[str, float] = {
        "library/models": teacher.candidates,
        "ensemble/models": len(teacher.ensemble.models),
        "ensemble/size_bytes": selection.size_bytes(teacher.ensemble),
        "best_net/size_bytes": selection.size_bytes(teacher.best_net),
    }
    transfer = {}
    test = {f"{name}/inputs": torch.from_numpy(inputs["test"])}
    test[f"{name}/targets"] = torch.from_numpy(problem.test.targets)
    for split, values in inputs.items():
        targets = getattr(problem, split).targets
        if split != "test":
            transfer |= _keyed(f"{name}/{split}", labelled(teacher, values))
            transfer[f"{name}/{split}/targets"] = torch.from_numpy(targets)
        for key, predictor in predictors.items():
            probabilities = selection.probabilities(predictor, values)
            metrics[f"{split}/rmse_{key}"] = float(selection.rmse(probabilities, targets))
            if split == "test":
                test[f"{name}/{key}"] = torch.from_numpy(probabilities.astype(np.float32))
    for generator in params.generators:
        points = synthesise(params, problem, generator, params.sizes[-1] - params.sizes[0])
        points = labelled(teacher, problems.one_hot(points, levels))
        transfer |= _keyed(f"{name}/{generator}", points)
    return Product(transfer, test, metrics)


def _teach(
    params: Library, problem: problems.Problem, inputs: dict[str, NDArray[np.float32]]
) -> selection.Teacher:
    """Fit the library to the training set and select on the validation set."""
    if min(np.bincount(problem.train.targets, minlength=2)) < 3:
        raise UserError(
            f"{problem.name} has fewer than 3 training examples of one class, too few to calibrate "
            "an SVM by cross-validation; raise the first of sizes"
        )
    count, seed = params.sizes[0], params.seed
    return selection.teach(
        library_models.candidates(count, params.trees, params.network_iterations, seed),
        (inputs["train"], problem.train.targets),
        (inputs["validation"], problem.validation.targets),
        params.selection_rounds,
    )


def _keyed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{key}": value for key, value in tensors.items()}


def collect(products: dict[str, Product]) -> dict[str, list[float]]:
    """Return the metrics of all problems: each problem's, and their mean over problems.

    Parameters
    ----------
    products : dict of str to Product
        By problem.

    Examples
    --------
    >>> one, two = ({"test/rmse_ensemble": value} for value in (0.25, 0.75))
    >>> collect({"a": Product({}, {}, one), "b": Product({}, {}, two)})["test/rmse_ensemble"]
    [0.5]
    """
    first = next(iter(products.values())).metrics
    metrics = {}
    for key in first:
        split, quantity = key.split("/")
        stem, unit = (quantity[:-6], "_bytes") if quantity.endswith("_bytes") else (quantity, "")
        values = {name: product.metrics[key] for name, product in products.items()}
        metrics[key] = [float(np.mean(list(values.values())))]
        metrics |= {f"{split}/{stem}_{name}{unit}": [value] for name, value in values.items()}
    return metrics
