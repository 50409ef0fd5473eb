"""Compare the variance of three estimators of the bound's gradient (Secs. 2.2 and 2.3).

All three are unbiased for the gradient in the encoder's parameters: the two SGVB estimators, which
differentiate through the sample, and the usual score-function estimator, f(z) grad log q(z|x),
which the paper dismisses for its variance (Sec. 2.2). They are drawn many times for the same nets,
the same minibatch and from the same noise.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.data import images
from pr12.vae.model import densities, networks, objectives, saved_nets
from pr12.vae.model.networks import Normal, Parameters
from pr12.vae.params import GradientVariance as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

MODELS = ("z3", "z5", "z10", "z20", "z200")  # whose paths may be given; the metrics' prefixes
AT_ONCE = 10  # draws in one backward pass, which bounds the memory


def score_function(
    parameters: Parameters, x: Tensor, samples: int, generators: Sequence[torch.Generator]
) -> Tensor:
    """Return what has f(z) grad log q(z|x) as its gradient in the encoder (Sec. 2.2).

    Here f(z) = log p(x, z) - log q(z|x), whose own gradient has expectation zero.

    Parameters
    ----------
    parameters : dict of str to Tensor
        As `networks.initial` makes them.
    x : Tensor
        Data, shape (S, B, D) or (B, D).
    samples : int
        L, codes per data point.
    generators : sequence of torch.Generator
        One per replica.

    Returns
    -------
    Tensor
        Shape (S, B). Its values mean nothing: only its gradients do.

    Examples
    --------
    >>> architecture = networks.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = networks.initial(architecture, [0], "normal", 0.1)
    >>> generators = [determinism.generator(0, "gradient")]
    >>> score_function(parameters, torch.zeros(5, 4), 1, generators).shape
    torch.Size([1, 5])
    """
    q = networks.encode(parameters, x)
    with torch.no_grad():
        z = networks.draw(
            q, networks.normals(generators, q.mean.shape[1], samples, q.mean.shape[2])
        )
        f = objectives.log_weights(parameters, x, q, z)
    wide = Normal(q.mean.unsqueeze(2), q.log_variance.unsqueeze(2))
    return (f * densities.log_normal(z, wide)).mean(dim=2)


ESTIMATORS = {"a": objectives.sgvb_a, "b": objectives.sgvb_b, "score": score_function}


def gradient_moments(
    objective: Callable[..., Tensor],
    parameters: Parameters,
    x: Tensor,
    samples: int,
    draws: int,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Return mean and variance over draws of a gradient in the encoder's parameters.

    Parameters
    ----------
    objective : callable
        One of `ESTIMATORS`.
    parameters : dict of str to Tensor
        Each (S, ...).
    x : Tensor
        A minibatch, shape (B, D), the same in every draw.
    samples : int
        L, codes per data point and draw.
    draws : int
        At least 2.
    generators : sequence of torch.Generator
        One per replica.

    Returns
    -------
    mean, variance : Tensor
        float64. Mean gradient of the objective's average over the minibatch, all P parameters of
        the encoder in a row, (S, P); its variance summed over them in nats^2, unbiased, (S,).

    Examples
    --------
    >>> architecture = networks.Architecture(4, (3,), 2, "bernoulli")
    >>> parameters = networks.initial(architecture, [0], "normal", 0.1)
    >>> generators = [determinism.generator(0, "gradient")]
    >>> mean, variance = gradient_moments(
    ...     objectives.sgvb_b, parameters, torch.zeros(5, 4), 1, 20, generators
    ... )
    >>> mean.shape, variance.shape
    (torch.Size([1, 31]), torch.Size([1]))
    """
    replicas = len(generators)
    total, squares = 0.0, torch.zeros(replicas, dtype=torch.float64, device=x.device)
    for start in range(0, draws, AT_ONCE):
        count = min(AT_ONCE, draws - start)
        # Every draw gets a copy of its replica, so that one backward pass keeps draws apart
        copies = {n: v.detach().repeat_interleave(count, dim=0) for n, v in parameters.items()}
        encoder = [v.requires_grad_() for n, v in copies.items() if n.startswith("encoder")]
        streams = [generator for generator in generators for _ in range(count)]
        reached = objective(copies, x, samples, streams).mean(dim=1).sum()
        parts = torch.autograd.grad(reached, encoder)
        rows = torch.cat([part.flatten(1) for part in parts], dim=1).double()
        rows = rows.view(replicas, count, -1)
        total = total + rows.sum(dim=1)
        squares += (rows * rows).sum(dim=(1, 2))
    mean = total / draws
    return mean, (squares - draws * (mean * mean).sum(dim=1)) / (draws - 1)


def variances(saved: saved_nets.Saved, x: Tensor, params: Params) -> dict[str, list[float]]:
    """Return the variance of every estimator at every number of samples, one value per replica.

    Parameters
    ----------
    saved : Saved
        What the training left.
    x : Tensor
        A minibatch, shape (B, D).
    params : Params
        The step's.

    Returns
    -------
    dict of str to list of float
        ``gradient_variance_<a|b|score>_L<samples>``.

    Raises
    ------
    UserError
        If the model has no encoder or was not kept at that moment.
    """
    moments = len(saved.samples_seen)
    if saved.objective == "mcem":
        raise UserError("a model of mcem has no encoder, whose gradients could be compared")
    if not -moments <= params.moment < moments:
        raise UserError(
            f"moment is {params.moment}; the model was kept at {moments} moments only, name one of "
            f"0 to {moments - 1}"
        )
    parameters = saved_nets.at(saved, params.moment)
    values = {}
    for samples in params.samples:
        for name, objective in ESTIMATORS.items():
            # One stream for all: the estimators differ by what they make of the same noise
            streams = [
                determinism.generator(seed, "gradient", x.device)
                for seed in range(len(parameters["encoder.mean.weight"]))
            ]
            _, variance = gradient_moments(objective, parameters, x, samples, params.draws, streams)
            values[f"gradient_variance_{name}_L{samples}"] = variance.tolist()
    return values


def main(job: step.Job) -> None:
    """Compare the estimators for every model that is given."""
    determinism.deterministic()
    x = images.load(job.paths["train"])
    given = [name for name in MODELS if name in job.paths]
    if not given:
        raise UserError(f"no model is given; add one or more of {', '.join(MODELS)}, as z10=PATH")
    if len(x) < job.params.examples:
        raise UserError(f"train has {len(x)} images; examples asks {job.params.examples}")
    metrics = {}
    for name in given:
        saved = saved_nets.load(job.paths[name], pixels=x.shape[1])
        latent_dim = saved.architecture.latent_dim
        if name != f"z{latent_dim}" or saved.objective == "autoencoder":
            raise UserError(
                f"{name} is a model with {latent_dim} latent variables and the objective "
                f"{saved.objective}; give one with {name[1:]} that has a bound"
            )
        each = variances(saved, x[: job.params.examples], job.params)
        metrics |= {f"{name}/{key}": values for key, values in each.items()}
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["train"], optional=MODELS, writes=["metrics"]) as job:
        main(job)
