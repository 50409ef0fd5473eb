"""Evaluate the bound of a case's nets at every moment that was kept (Fig. 2), and at the end."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pr12.shared import files, run, step
from pr12.shared.errors import UserError
from pr12.vae import images, model, objectives
from pr12.vae.model import Parameters
from pr12.vae.params import Evaluate as Params

ACTIVE = 0.01  # variance of a code's mean above which it is active (Burda et al. 2015, Sec. 5.2)


def elbo(
    parameters: Parameters, x: Tensor, samples: int, batch: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate the bound with its KL term in closed form (Eq. 7), averaged over data.

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's, each (S, ...).
    x : Tensor
        Data, shape (N, D).
    samples : int
        Codes drawn per data point.
    batch : int
        Data points at a time, which bounds the memory.

    Returns
    -------
    bound, divergence, variances : Tensor
        Mean bound and mean KL(q || p) in nats, each (S,), and the variance over data of each
        code's mean, (S, Z).

    Examples
    --------
    >>> architecture = model.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = model.initial(architecture, [0], "normal", 1e-9)
    >>> bound, divergence, _ = elbo(parameters, torch.ones(2, 4), samples=1, batch=1)
    >>> bound, divergence  # 4 log 1/2; the code is the prior
    (tensor([-2.7726]), tensor([0.]))
    """
    replicas = len(parameters["decoder.mean.weight"])
    # One stream for all systems and moments: their differences are not of the draws
    noise = [run.generator(0, "evaluate", x.device) for _ in range(replicas)]
    bounds, divergences, means = [], [], []
    with torch.inference_mode():
        for part in x.split(batch):
            q = model.encode(parameters, part)
            z = model.draw(q, model.normals(noise, len(part), samples, q.mean.shape[-1]))
            divergences.append(model.kl(q))
            likelihood = model.log_likelihood(parameters, part, z).mean(dim=2)
            bounds.append(likelihood - divergences[-1])
            means.append(q.mean)
    bound, divergence = (
        torch.cat(each, dim=1).double().mean(dim=1) for each in (bounds, divergences)
    )
    return bound.float(), divergence.float(), torch.cat(means, dim=1).var(dim=1, correction=1)


def reconstruction(parameters: Parameters, x: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Give log p(x|z) in nats at the encoder's mean, and the mean squared error, each (S,).

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's, each (S, ...).
    x : Tensor
        Data, shape (N, D).
    batch : int
        Data points at a time.

    Examples
    --------
    >>> architecture = model.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = model.initial(architecture, [0], "normal", 1e-9)
    >>> reconstruction(parameters, torch.ones(2, 4), batch=1)
    (tensor([-2.7726]), tensor([0.2500]))
    """
    likelihoods, errors = [], []
    with torch.inference_mode():
        for part in x.split(batch):
            z = model.encode(parameters, part).mean
            likelihoods.append(objectives.autoencoder(parameters, part, 1, []))
            errors.append(((model.decode(parameters, z) - part) ** 2).mean(dim=-1))
    return torch.cat(likelihoods, dim=1).mean(dim=1), torch.cat(errors, dim=1).mean(dim=1)


def metrics(
    saved: model.Saved, data: Iterable[tuple[str, Tensor]], params: Params
) -> dict[str, list[float]]:
    """Give all metrics of a case, one value per replica.

    Parameters
    ----------
    saved : Saved
        What the training left.
    data : iterable of (str, Tensor)
        Name of the split and its images as rows of pixels, shape (N, D).
    params : Params
        The step's.
    """
    found: dict[str, list[float]] = {}
    for name, x in data:
        likelihood, error = reconstruction(model.at(saved, -1), x, params.batch)
        found[f"{name}/reconstruction_mse"] = error.tolist()
        if saved.objective == "autoencoder":
            found[f"{name}/reconstruction_nll_nats"] = (-likelihood).tolist()
            continue
        for moment, seen in enumerate(saved.samples_seen):
            bound, divergence, variances = elbo(
                model.at(saved, moment), x, params.bound_samples, params.batch
            )
            found[f"{name}/elbo_{seen}_nats"] = bound.tolist()
        found |= {
            f"{name}/elbo_nats": bound.tolist(),
            f"{name}/kl_nats": divergence.tolist(),
            f"{name}/expected_nll_nats": (-bound - divergence).tolist(),
            f"{name}/active_units": (variances > ACTIVE).sum(dim=1).tolist(),
        }
    if "train/elbo_nats" in found:
        pairs = zip(found["train/elbo_nats"], found["test/elbo_nats"], strict=True)
        found["test/gap_nats"] = [train - test for train, test in pairs]
    return found


def main(job: step.Job) -> None:
    """Evaluate every replica at every moment, on training and test data."""
    run.deterministic()
    train, test = (images.load(job.paths[name]) for name in ("train", "test"))
    saved = model.load(job.paths["model"], pixels=train.shape[1])
    if saved.objective == "mcem":
        raise UserError("a model of mcem has no encoder and no bound; estimate its likelihood")
    learnt = train[: job.params.train_examples]
    data = [("train", learnt), ("test", test)]
    found = metrics(saved, [(n, x[: job.params.bound_examples]) for n, x in data], job.params)
    files.write_json(job.paths["metrics"], {"metrics": found, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train", "test"], writes=["metrics"]) as job:
        main(job)
