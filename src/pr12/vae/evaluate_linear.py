"""Compare the linear model with its exact optimum, probabilistic PCA (Tipping & Bishop 1999).

Without hidden layers and with one noise variance for all pixels, the marginal likelihood is
N(b, W W^T + sigma^2 I) in closed form, and so is its maximum; at that maximum the columns of W can
be chosen orthogonal, the posterior then has a diagonal covariance, and the bound is tight. So both
gaps to the score of PCA must vanish.
"""

import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from pr12.core import determinism
from pr12.vae.data import images
from pr12.vae.model import densities, networks, saved_nets
from pr12.vae.model.networks import Parameters
from pr12.vae.params import EvaluateLinear as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def log_marginal_likelihood(parameters: Parameters, x: Tensor) -> Tensor:
    """Return log N(x; b, W W^T + sigma^2 I) in nats, averaged over data.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Of a linear decoder, each (S, ...).
    x : Tensor
        Data, shape (N, D).

    Returns
    -------
    Tensor
        float64, shape (S,).

    Examples
    --------
    >>> architecture = networks.Architecture(2, (), 1, "linear")
    >>> parameters = networks.initial(architecture, [0], "normal", 1e-9)
    >>> log_marginal_likelihood(parameters, torch.ones(3, 2))  # N(0, I): -1 - log 2 pi
    tensor([-2.8379], dtype=torch.float64)
    """
    weight = parameters["decoder.mean.weight"].double()
    variance = parameters["decoder.log_variance"].double().exp()[:, 0]
    marginal = LowRankMultivariateNormal(
        loc=parameters["decoder.mean.bias"].double()[:, 0],
        cov_factor=weight.transpose(1, 2),
        cov_diag=variance.expand(-1, weight.shape[2]),
    )
    return marginal.log_prob(x.double().unsqueeze(1)).mean(dim=0)


def elbo(parameters: Parameters, x: Tensor) -> Tensor:
    """Return the bound in nats in closed form, averaged over data: no code need be drawn.

    In E_q log p(x|z), the squared distance is that of the code's mean plus the code's variances,
    each times the squared length of its column of W.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Of a linear decoder, each (S, ...).
    x : Tensor
        Data, shape (N, D).

    Returns
    -------
    Tensor
        float64, shape (S,).

    Examples
    --------
    >>> architecture = networks.Architecture(2, (), 1, "linear")
    >>> parameters = networks.initial(architecture, [0], "normal", 1e-9)
    >>> elbo(parameters, torch.ones(3, 2))  # q is the posterior, and both are the prior
    tensor([-2.8379], dtype=torch.float64)
    """
    parameters = {name: value.double() for name, value in parameters.items()}
    q = networks.encode(parameters, x.double())
    weight, log_variance = parameters["decoder.mean.weight"], parameters["decoder.log_variance"]
    spread = (q.log_variance.exp() * (weight * weight).sum(dim=2).unsqueeze(1)).sum(dim=2)
    likelihood = densities.log_likelihood(parameters, x.double(), q.mean)
    likelihood = likelihood - 0.5 * spread * torch.exp(-log_variance[:, 0])
    return (likelihood - densities.kl(q)).mean(dim=1)


def pca_scores(latent_dim: int, train: Tensor, test: Tensor) -> tuple[float, float]:
    """Return the average log-likelihood of data under probabilistic PCA fitted to training data.

    Parameters
    ----------
    latent_dim : int
        Number of principal components.
    train, test : Tensor
        Data, shapes (N, D) and (N', D).

    Returns
    -------
    tuple of float
        On training and test data, in nats. scikit-learn divides by N - 1 where the maximum
        of the likelihood divides by N, which costs about D / (4 N^2) nats on training data.

    Raises
    ------
    UserError
        If the components span the data, so that the likelihood has no maximum.

    Examples
    --------
    >>> train = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> [round(score, 3) for score in pca_scores(1, train, 0 * train)]  # variances 6 and 2/3
    [-3.281, -2.531]
    """
    rows = train.double().cpu().numpy()
    if latent_dim < min(rows.shape):
        fitted = PCA(n_components=latent_dim, svd_solver="covariance_eigh").fit(rows)
        if fitted.noise_variance_ > 1e-12 * fitted.explained_variance_[0]:
            return float(fitted.score(rows)), float(fitted.score(test.double().cpu().numpy()))
    raise UserError(
        f"{latent_dim} components leave nothing of the training data for the noise, so that the "
        "likelihood has no maximum; lower latent_dim"
    )


def metrics(saved: saved_nets.Saved, train: Tensor, test: Tensor) -> dict[str, list[float]]:
    """Return likelihood, bound, PCA's likelihood and the gaps to it, one value per replica.

    Parameters
    ----------
    saved : Saved
        What the training left.
    train, test : Tensor
        Data, shapes (N, D) and (N', D).

    Raises
    ------
    UserError
        If the model is not linear on both sides.
    """
    architecture = saved.architecture
    if architecture.likelihood != "linear" or architecture.hidden or saved.objective == "mcem":
        raise UserError(
            "the model is not a linear encoder and decoder; only for these, trained with "
            "likelihood linear and hidden [], is the likelihood known"
        )
    parameters = saved_nets.at(saved, -1)
    scores = pca_scores(architecture.latent_dim, train, test)
    values = {}
    for name, x, score in zip(("train", "test"), (train, test), scores, strict=True):
        likelihood, bound = log_marginal_likelihood(parameters, x), elbo(parameters, x)
        values |= {
            f"{name}/likelihood_nats": likelihood.tolist(),
            f"{name}/elbo_nats": bound.tolist(),
            f"{name}/likelihood_pca_nats": [score] * len(bound),
            f"{name}/gap_pca_nats": (score - likelihood).tolist(),
            f"{name}/gap_elbo_nats": (score - bound).tolist(),
        }
    return values


def main(job: step.Job) -> None:
    """Evaluate every replica at the end of the training."""
    determinism.deterministic()
    train, test = images.load_alike(job.paths["train"], job.paths["test"], bounded=False)
    saved = saved_nets.load(job.paths["model"], pixels=train.shape[1])
    values = metrics(saved, train, test)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train", "test"], writes=["metrics"]) as job:
        main(job)
