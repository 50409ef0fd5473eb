"""Build the teacher of model compression and let it label: ensemble selection from a library.

Bucila et al. (2006), Sec. 2 and 4: many different models are fitted to the training set, the
ensemble is selected on the validation set, and it labels the training set and the synthetic
points. Test data go to a file of their own, which no training step reads.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.distill.data import problems
from pr12.distill.model import teachers
from pr12.distill.params import Library as Params
from pr12.workflow import files, progress, step
from pr12.workflow.errors import UserError


def check(params: Params) -> None:
    """Refuse params that contradict each other.

    Raises
    ------
    UserError
        If sizes do not increase, or the first is too small.
    """
    rising = all(a < b for a, b in pairwise(params.sizes))
    if not rising or params.sizes[0] < 20 or len(params.sizes) < 2:
        raise UserError(
            f"--params.sizes is {list(params.sizes)}; it must be two or more increasing numbers "
            "that start with the size of the training set, at least 20"
        )
    if min(params.nbe_components) > params.sizes[0]:
        raise UserError(
            f"--params.nbe_components is {list(params.nbe_components)}; one of them must be at "
            f"most {params.sizes[0]}, the size of the training set"
        )


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


def describe(name: str, product: teachers.Product) -> str:
    """Return one problem in a line."""
    m = product.metrics
    return (
        f"{name}: {m['ensemble/models']} of {m['library/models']} models; validation RMSE: "
        f"ensemble {m['validation/rmse_ensemble']:.4f}, "
        f"best single {m['validation/rmse_best_single']:.4f}, "
        f"best net {m['validation/rmse_best_net']:.4f}"
    )


def main(job: step.Job) -> None:
    """Make the teacher and the transfer sets of every problem."""
    params = job.params
    check(params)
    determinism.deterministic()
    loaded = [read_problem(name, params, job.paths) for name in params.problems]
    rows = ((problem.name, teachers.produce(params, problem)) for problem in loaded)
    products = dict(progress.follow(rows, len(loaded), lambda row: describe(*row)))
    for output in ("transfer", "test"):
        tensors: dict[str, Tensor] = {}
        for product in products.values():
            tensors |= getattr(product, output)
        tensor_files.write_tensors(job.paths[output], tensors)
    files.write_json(
        job.paths["metrics"],
        {"metrics": teachers.collect(products), "provenance": by_file(job).provenance()},
    )


if __name__ == "__main__":
    with step.start(
        Params,
        optional=["adult", "letter", "covtype"],
        writes=["transfer", "test", "metrics"],
    ) as job:
        main(job)
