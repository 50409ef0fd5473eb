"""Evaluate the bound of a case's nets at every moment that was kept (Fig. 2), and at the end."""

from collections.abc import Iterable

from torch import Tensor

from pr12.core import determinism
from pr12.vae.data import images
from pr12.vae.model import evaluation, saved_nets
from pr12.vae.params import Evaluate as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

ACTIVE = 0.01  # variance of a code's mean above which it is active (Burda et al. 2015, Sec. 5.2)


def metrics(
    saved: saved_nets.Saved, data: Iterable[tuple[str, Tensor]], params: Params
) -> dict[str, list[float]]:
    """Return all metrics of a case, one value per replica.

    Parameters
    ----------
    saved : Saved
        What the training left.
    data : iterable of (str, Tensor)
        Name of the split and its images as rows of pixels, shape (N, D).
    params : Params
        The step's.
    """
    values: dict[str, list[float]] = {}
    for name, x in data:
        likelihood, error = evaluation.reconstruction(saved_nets.at(saved, -1), x, params.batch)
        values[f"{name}/reconstruction_mse"] = error.tolist()
        if saved.objective == "autoencoder":
            values[f"{name}/reconstruction_nll_nats"] = (-likelihood).tolist()
            continue
        for moment, seen in enumerate(saved.samples_seen):
            bound, divergence, variances = evaluation.elbo(
                saved_nets.at(saved, moment), x, params.bound_samples, params.batch
            )
            values[f"{name}/elbo_{seen}_nats"] = bound.tolist()
        values |= {
            f"{name}/elbo_nats": bound.tolist(),
            f"{name}/kl_nats": divergence.tolist(),
            f"{name}/expected_nll_nats": (-bound - divergence).tolist(),
            f"{name}/active_units": (variances > ACTIVE).sum(dim=1).tolist(),
        }
    if "train/elbo_nats" in values:
        pairs = zip(values["train/elbo_nats"], values["test/elbo_nats"], strict=True)
        values["test/gap_nats"] = [train - test for train, test in pairs]
    return values


def main(job: step.Job) -> None:
    """Evaluate every replica at every moment, on training and test data."""
    determinism.deterministic()
    train, test = images.load_alike(job.paths["train"], job.paths["test"])
    saved = saved_nets.load(job.paths["model"], pixels=train.shape[1])
    if saved.objective == "mcem":
        raise UserError("a model of mcem has no encoder and no bound; estimate its likelihood")
    learnt = train[: job.params.train_examples]
    data = [("train", learnt), ("test", test)]
    values = metrics(saved, [(n, x[: job.params.bound_examples]) for n, x in data], job.params)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train", "test"], writes=["metrics"]) as job:
        main(job)
