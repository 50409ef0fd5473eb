"""Build the teacher of model compression and let it label: ensemble selection from a library.

Bucila et al. (2006), Sec. 2 and 4: many different models are fitted to the training set, the
ensemble is selected on the validation set, and it labels the training set and the synthetic
points. Test data go to a file of their own, which no training step reads.
"""

import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.distill.data import problems, synthetic
from pr12.distill.model import selection
from pr12.distill.params import Library as Params
from pr12.workflow import files, progress, step
from pr12.workflow.errors import UserError


def check(params: Params) -> None:
    """Refuse params that contradict each other.

    Raises
    ------
    UserError
        If sizes do not increase, the first is too small, or something is named twice.
    """
    rising = all(a < b for a, b in pairwise(params.sizes))
    if not rising or params.sizes[0] < 20 or len(params.sizes) < 2:
        raise UserError(
            f"--params.sizes is {list(params.sizes)}; it must be two or more increasing numbers "
            "that start with the size of the training set, at least 20"
        )
    for key in ("problems", "generators"):
        values = getattr(params, key)
        if len(set(values)) < len(values):
            raise UserError(f"--params.{key} names something twice: {', '.join(values)}")
    if min(params.nbe_components) < 1 or min(params.nbe_components) > params.sizes[0]:
        raise UserError(
            f"--params.nbe_components is {list(params.nbe_components)}; its numbers must be at "
            "least 1, and one at most the size of the training set"
        )


def synthesise(
    params: Params, problem: problems.Problem, generator: str, count: int
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
    """Give inputs and the ensemble's probabilities on them, as tensors to be written."""
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


def produce(params: Params, problem: problems.Problem) -> Product:
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
    if min(np.bincount(problem.train.targets, minlength=2)) < 3:
        raise UserError(
            f"{name} has fewer than 3 training examples of one class, too few to calibrate an SVM "
            "by cross-validation; raise the first of sizes"
        )
    teacher = selection.teach(
        selection.candidates(params.sizes[0], params.trees, params.network_iterations, params.seed),
        (inputs["train"], problem.train.targets),
        (inputs["validation"], problem.validation.targets),
        params.selection_rounds,
    )
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


def _keyed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{key}": value for key, value in tensors.items()}


def collect(products: dict[str, Product]) -> dict[str, list[float]]:
    """Give the metrics of all problems: each problem's, and their mean over problems.

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


def read_problem(name: str, params: Params, paths: dict[str, Path]) -> problems.Problem:
    """Read and split one problem, from a folder of raw files if it is not bundled."""
    data = problems.SOURCES[name].data
    if data in problems.BUNDLED:
        table = problems.bundled(data)
    elif data in paths:
        table = problems.fetched(data, paths[data])
    else:
        raise UserError(f"the problem {name} needs UCI's files; fetch {data} and add {data}=FOLDER")
    return problems.make(name, table, params.sizes[0], params.validation, params.seed)


def by_file(job: step.Job) -> step.Job:
    """Name the files that are read instead of their folders, since provenance is of files."""
    used = {problems.SOURCES[name].data for name in job.params.problems}
    named = {
        f"{data}/{file}": job.paths[data] / file
        for data in job.reads
        if data in used
        for file in problems.FILES[data]
    }
    return replace(job, paths=job.paths | named, reads=tuple(named))


def describe(product: Product) -> str:
    """Say one problem in a line."""
    m = product.metrics
    return (
        f"{m['ensemble/models']} of {m['library/models']} models; validation RMSE: ensemble "
        f"{m['validation/rmse_ensemble']:.4f}, best single {m['validation/rmse_best_single']:.4f}, "
        f"best net {m['validation/rmse_best_net']:.4f}"
    )


def main(job: step.Job) -> None:
    """Make the teacher and the transfer sets of every problem."""
    params = job.params
    check(params)
    determinism.deterministic()
    loaded = [read_problem(name, params, job.paths) for name in params.problems]
    products = {}
    made = ((problem.name, produce(params, problem)) for problem in loaded)
    for name, product in progress.follow(
        made, len(loaded), lambda row: f"{row[0]}: {describe(row[1])}"
    ):
        products[name] = product
    for output in ("transfer", "test"):
        tensors: dict[str, Tensor] = {}
        for product in products.values():
            tensors |= getattr(product, output)
        tensor_files.write_tensors(job.paths[output], tensors)
    files.write_json(
        job.paths["metrics"],
        {"metrics": collect(products), "provenance": by_file(job).provenance()},
    )


if __name__ == "__main__":
    with step.start(
        Params,
        optional=["adult", "letter", "covtype"],
        writes=["transfer", "test", "metrics"],
    ) as job:
        main(job)
