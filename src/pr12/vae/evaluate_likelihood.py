"""Estimate the marginal likelihood of a case's model: Appendix D's way, importance, annealing.

Appendix D's estimator (Fig. 3) needs the decoder alone and is made at every moment that was kept,
for the first points of training and test data; the other two at the end, on test data.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pr12.shared import files, run, step
from pr12.shared.errors import UserError
from pr12.vae import images, likelihood, model
from pr12.vae.model import Parameters
from pr12.vae.params import EvaluateLikelihood as Params

STARTS = 1000  # draws from the prior, of which a chain starts at the most likely


def streams(replicas: int, purpose: str) -> list[torch.Generator]:
    """Open equal streams for all replicas and systems: differences are not of the draws."""
    return [run.generator(0, purpose, run.device()) for _ in range(replicas)]


def in_batches(x: Tensor, batch: int, estimate: Callable[[Tensor], Tensor]) -> Tensor:
    """Estimate batch after batch of data (N, D), and join the results (..., N) along the last."""
    return torch.cat([estimate(part) for part in x.split(batch)], dim=-1)


def start(
    parameters: Parameters, x: Tensor, draws: int, generators: Sequence[torch.Generator]
) -> Tensor:
    """Choose where each chain starts: the most likely of some draws from the prior.

    A sharp posterior has modes that a chain started anywhere never finds: it would stay in a poor
    one, and the estimate far below log p(x).

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's; the decoder's are enough.
    x : Tensor
        Data, shape (B, D).
    draws : int
        Candidates for each data point; they are looked at one after the other.
    generators : sequence of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        Shape (S, B, Z).

    Examples
    --------
    >>> architecture = model.Architecture(4, (), 1, "bernoulli")
    >>> parameters = model.initial(architecture, [0], "normal", 1e-9)
    >>> parameters["decoder.mean.weight"] += 1.0  # white pixels are likelier the larger z
    >>> bool(start(parameters, torch.ones(1, 4), 50, streams(1, "start")) > 1)
    True
    """
    replicas, latent_dim = _sizes(parameters)
    best = x.new_full((replicas, len(x)), -torch.inf)
    chosen = x.new_zeros(replicas, len(x), latent_dim)
    with torch.no_grad():
        for _ in range(draws):
            z = model.normals(generators, len(x), latent_dim)
            reached = model.log_likelihood(parameters, x, z)
            chosen = torch.where((reached > best).unsqueeze(2), z, chosen)
            best = torch.maximum(best, reached)
    return chosen


def posterior(parameters: Parameters, x: Tensor, params: Params) -> Tensor:
    """Estimate log p(x) from posterior samples (App. D).

    Parameters
    ----------
    parameters : dict of str to Tensor
        One moment's; the decoder's are enough.
    x : Tensor
        Data, shape (N, D).
    params : Params
        The step's.

    Returns
    -------
    Tensor
        In nats, shape (S, N).

    Raises
    ------
    UserError
        If there are more than 5 latent dimensions.
    """
    generators = streams(_sizes(parameters)[0], "posterior")

    def estimate(part: Tensor) -> Tensor:
        return likelihood.reciprocal_importance(
            lambda z: model.log_likelihood(parameters, part, z) + model.log_prior(z),
            start(parameters, part, STARTS, generators),
            params.step_size,
            params.leapfrog,
            params.burn_in,
            params.posterior_samples,
            generators,
        )

    return in_batches(x, params.batch, estimate)


def importance(parameters: Parameters, x: Tensor, params: Params) -> Tensor:
    """Estimate log p(x) with k samples of q(z|x), for every k that is asked for.

    Parameters
    ----------
    parameters, x, params
        As in `posterior`, with an encoder.

    Returns
    -------
    Tensor
        In nats, shape (K, S, N), one row for each of ``importance_samples``.
    """
    generators = streams(_sizes(parameters)[0], "importance")

    def estimate(part: Tensor) -> Tensor:
        q = model.encode(parameters, part)
        return likelihood.importance_at(
            lambda z: model.log_likelihood(parameters, part, z) + model.log_prior(z),
            q.mean,
            q.log_variance,
            params.importance_samples,
            params.chunk,
            generators,
        )

    with torch.inference_mode():
        return in_batches(x, params.batch, estimate)


def annealed(parameters: Parameters, x: Tensor, params: Params) -> Tensor:
    """Estimate log p(x) by annealing from the prior (Neal 2001).

    Parameters
    ----------
    parameters, x, params
        As in `posterior`.

    Returns
    -------
    Tensor
        In nats, shape (S, N).
    """
    replicas, latent_dim = _sizes(parameters)
    generators = streams(replicas, "annealed")

    def estimate(part: Tensor) -> Tensor:
        return likelihood.annealed(
            lambda z: model.log_likelihood(parameters, part, z),
            len(part),
            latent_dim,
            params.chains,
            likelihood.sigmoidal_schedule(params.temperatures).to(x.device),
            params.step_size,
            params.leapfrog,
            generators,
        )

    return in_batches(x, params.batch, estimate)


def _sizes(parameters: Parameters) -> tuple[int, int]:
    first = "decoder.0.weight" if "decoder.0.weight" in parameters else "decoder.mean.weight"
    return tuple(parameters[first].shape[:2])


def mean(estimates: Tensor, where: str) -> list[float]:
    """Give each replica's mean over data points, (S, N) -> S numbers.

    Parameters
    ----------
    estimates : Tensor
        In nats.
    where : str
        What they are of, for the message.

    Raises
    ------
    UserError
        If one is not finite.

    Examples
    --------
    >>> mean(torch.tensor([[-1.0, -2.0]]), "test")
    [-1.5]
    """
    wrong = int((~torch.isfinite(estimates)).sum())
    if wrong:
        raise UserError(
            f"{wrong} of {estimates.numel()} estimates of {where} are not finite; "
            "raise burn_in or lower step_size"
        )
    return estimates.double().mean(dim=-1).tolist()


def metrics(
    saved: model.Saved, train: Tensor, test: Tensor, params: Params
) -> dict[str, Sequence[float]]:
    """Give the case's metrics, one value per replica.

    Parameters
    ----------
    saved : Saved
        What a training left.
    train, test : Tensor
        Images as rows of pixels, shape (N, D).
    params : Params
        The step's.
    """
    found: dict[str, list[float]] = {}
    last: dict[str, Tensor] = {}  # estimator -> log p(x) of the test data at the end, (S, N)
    if "posterior" in params.estimators:
        for moment, seen in enumerate(saved.samples_seen):
            for name, x in (("train", train), ("test", test)):
                key = f"{name}/likelihood_posterior_{seen}_nats"
                last["posterior"] = posterior(model.at(saved, moment), x, params)
                found[key] = mean(last["posterior"], key)
        for name in ("train", "test"):
            end = found[f"{name}/likelihood_posterior_{saved.samples_seen[-1]}_nats"]
            found[f"{name}/likelihood_posterior_nats"] = end
    if "importance" in params.estimators:
        estimates = importance(model.at(saved, -1), test, params)
        for samples, own in zip(params.importance_samples, estimates, strict=True):
            key = f"test/likelihood_importance_k{samples}_nats"
            found[key] = mean(own, key)
        last["importance"] = own
        found["test/nll_importance_nats"] = [-value for value in found[key]]
    if "annealed" in params.estimators:
        key = "test/likelihood_annealed_nats"
        last["annealed"] = annealed(model.at(saved, -1), test, params)
        found[key] = mean(last["annealed"], key)
    if "importance" in last:
        for name in last.keys() - {"importance"}:  # image by image, so that no errors cancel
            gaps = (last[name] - last["importance"]).abs()
            found[f"test/gap_{name}_importance_nats"] = mean(gaps, name)
    return found


def main(job: step.Job) -> None:
    """Estimate the likelihood of every replica."""
    run.deterministic()
    params = job.params
    if not params.estimators:
        raise UserError("estimators is empty; name posterior, importance or annealed")
    if list(params.importance_samples) != sorted(set(params.importance_samples)):
        asked = list(params.importance_samples)
        raise UserError(f"importance_samples is {asked}; the numbers must rise")
    learnt = images.load(job.paths["train"])[: params.train_examples]
    data = [x[: params.points] for x in (learnt, images.load(job.paths["test"]))]
    if params.binarise:  # one fixed draw: every system is judged on the same images
        draw = run.generator(0, "binarise", run.device())
        data = [(torch.rand(x.shape, generator=draw, device=x.device) < x).float() for x in data]
    saved = model.load(job.paths["model"], pixels=data[0].shape[1])
    if saved.objective == "autoencoder":
        raise UserError("a plain autoencoder has no prior and hence no likelihood")
    if saved.objective == "mcem" and "importance" in params.estimators:
        raise UserError("a model of mcem has no encoder; leave importance out of estimators")
    found = metrics(saved, *data, params)
    files.write_json(job.paths["metrics"], {"metrics": found, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train", "test"], writes=["metrics"]) as job:
        main(job)
