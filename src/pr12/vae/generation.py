"""Why not a plain autoencoder: draw images from both, and measure how far they are from real ones.

The systems have the same networks and latent size and differ in the objective. An autoencoder has
no prior, so that beside N(0, I) it is also given a Gaussian fitted to its training codes, the
stronger baseline.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pr12.shared import files, run, splits, step
from pr12.shared.errors import UserError
from pr12.vae import distances, evaluate, features, images, model, pictures
from pr12.vae.model import Parameters, Saved
from pr12.vae.params import Generation as Params

PAIRS = (("vae", "autoencoder"), ("vae_2d", "autoencoder_2d"))
SHEET = 8  # rows and columns of a sheet of samples
SCATTERED = 1000  # codes in a scatter plot at most
BATCH = 1000  # images at a time, which bounds the memory


class Judge(NamedTuple):
    """What every system is measured against; images are rows of pixels."""

    classifier: Parameters
    train: Tensor  # (N', D)
    test: Tensor  # (N, D)


def check(systems: Mapping[str, Saved]) -> None:
    """Check that each system is what its name says, and that a pair has the same networks.

    Parameters
    ----------
    systems : mapping of str to Saved
        By the names of `PAIRS`.

    Raises
    ------
    UserError
        If not.

    Examples
    --------
    >>> saved = Saved(model.Architecture(4, (3,), 2, "bernoulli"), "sgvb_b", (1,), {})
    >>> check({"vae": saved, "autoencoder": saved})
    Traceback (most recent call last):
    ...
    pr12.shared.errors.UserError: autoencoder was trained with the objective sgvb_b; it must be \
autoencoder
    """
    for name, saved in systems.items():
        plain = name.startswith("autoencoder")
        if plain != (saved.objective == "autoencoder") or saved.objective == "mcem":
            wanted = "autoencoder" if plain else "that of a net with an encoder and a prior"
            raise UserError(
                f"{name} was trained with the objective {saved.objective}; it must be {wanted}"
            )
        if name.endswith("_2d") and saved.architecture.latent_dim != 2:
            raise UserError(
                f"{name} has {saved.architecture.latent_dim} latent variables; "
                "give a model with 2, which can be drawn in a plane"
            )
    for pair in PAIRS:
        sizes = {systems[name].architecture for name in pair if name in systems}
        if len(sizes) > 1:
            raise UserError(
                f"{' and '.join(pair)} have different networks ({' and '.join(map(str, sizes))}); "
                "give two that differ in their objective only"
            )


def encoded(saved: Saved, x: Tensor) -> model.Normal:
    """Give q(z|x) at the end of the training, a batch at a time.

    Parameters
    ----------
    saved : Saved
        What the training left.
    x : Tensor
        Shape (N, D).

    Returns
    -------
    Normal
        Mean and log-variance, each (S, N, Z).
    """
    parts = [model.encode(model.at(saved, -1), part) for part in x.split(BATCH)]
    return model.Normal(*(torch.cat(each, dim=1) for each in zip(*parts, strict=True)))


def streams(saved: Saved, purpose: str) -> list[torch.Generator]:
    """Give one stream a replica; systems share them, and so the draws that they are judged by."""
    replicas = saved.parameters["decoder.mean.weight"].shape[1]
    return [run.generator(replica, purpose, run.device()) for replica in range(replicas)]


def fitted(codes: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal draws into draws from the Gaussian fitted to each replica's codes.

    Parameters
    ----------
    codes : Tensor
        Shape (S, N', Z).
    noise : Tensor
        Standard normal, shape (S, N, Z).

    Returns
    -------
    Tensor
        Shape (S, N, Z).

    Examples
    --------
    >>> codes = torch.tensor([[[4.0], [6.0]]])  # mean 5, variance 2
    >>> fitted(codes, torch.tensor([[[0.0], [1.0]]]))
    tensor([[[5.0000],
             [6.4142]]])
    """
    roots = [distances.symmetric_root(distances.covariance(own.double())) for own in codes]
    scaled = noise.double() @ torch.stack(roots)
    return (codes.double().mean(dim=1, keepdim=True) + scaled).float()


def frechet(judge: Judge, saved: Saved, z: Tensor) -> list[float]:
    """Give each replica's Fréchet distance of decoded codes (S, N, Z) from the test images."""
    real = features.features(judge.classifier, judge.test)
    images = [model.decode(model.at(saved, -1), part) for part in z.split(BATCH, dim=1)]
    return [
        distances.frechet(features.features(judge.classifier, own), real)
        for own in torch.cat(images, dim=1)
    ]


def metrics(name: str, saved: Saved, judge: Judge) -> dict[str, list[float]]:
    """Give the metrics of one system, one value per replica.

    Parameters
    ----------
    name : str
        The system's.
    saved : Saved
        What its training left.
    judge : Judge
        What it is measured against.

    Returns
    -------
    dict of str to list of float
        Test reconstruction; the squared MMD of the aggregated posterior (of an autoencoder: of
        its codes) from N(0, I); Fréchet distances of images decoded from N(0, I), from the test
        images' own codes and, for an autoencoder, from the Gaussian fitted to training codes.
    """
    likelihood, error = evaluate.reconstruction(model.at(saved, -1), judge.test, BATCH)
    posterior = encoded(saved, judge.test)
    prior = model.normals(streams(saved, "prior"), *posterior.mean.shape[1:])
    codes, plain = posterior.mean, saved.objective == "autoencoder"
    if not plain:
        noise = model.normals(streams(saved, "posterior"), *codes.shape[1:])
        codes = model.draw(posterior, noise.unsqueeze(2)).squeeze(2)
    scale = 2.0 * codes.shape[-1]
    found = {
        f"{name}/reconstruction_nll_nats": (-likelihood).tolist(),
        f"{name}/reconstruction_mse": error.tolist(),
        f"{name}/mmd_distance": [
            distances.mmd(own, drawn, scale) for own, drawn in zip(codes, prior, strict=True)
        ],
        f"{name}/frechet_distance": frechet(judge, saved, prior),
        f"{name}/frechet_distance_reconstructed": frechet(judge, saved, posterior.mean),
    }
    if plain:
        z = fitted(encoded(saved, judge.train).mean, prior)
        found[f"{name}_fitted/frechet_distance"] = frechet(judge, saved, z)
    return found


def floor(judge: Judge) -> float:
    """Give the Fréchet distance of training images, no more than there are tests, from tests."""
    train, test = judge.train[: len(judge.test)], judge.test
    return distances.frechet(*(features.features(judge.classifier, x) for x in (train, test)))


def samples(saved: Saved, judge: Judge) -> dict[str, Tensor]:
    """Draw a sheet of codes of replica 0 from N(0, I), and for an autoencoder as fitted.

    Returns
    -------
    dict of str to Tensor
        End of the system's name -> images as rows of pixels, (SHEET * SHEET, D).
    """
    noise = model.normals(streams(saved, "sheet"), SHEET * SHEET, saved.architecture.latent_dim)
    codes = {"": noise}
    if saved.objective == "autoencoder":
        codes["_fitted"] = fitted(encoded(saved, judge.train).mean, noise)
    return {end: model.decode(model.at(saved, -1), z)[0] for end, z in codes.items()}


def picture(
    systems: Mapping[str, Saved], judge: Judge, labels: Tensor, size: Sequence[int]
) -> dict[str, Any]:
    """Give what the figures show: sheets of samples, and codes of the systems with two of them.

    Parameters
    ----------
    systems : mapping of str to Saved
        By name.
    judge : Judge
        Its test images are on a sheet too.
    labels : Tensor
        Of the test images, shape (N,).
    size : sequence of int
        Height and width of an image.

    Returns
    -------
    dict
        ``samples``: name -> packed sheet; ``scatter``: name -> [[z1, z2, label], ...].
    """
    sheets = {"test": judge.test[torch.arange(SHEET * SHEET) % len(judge.test)]}
    scatter = {}
    for name, saved in systems.items():
        for end, sheet in samples(saved, judge).items():
            sheets[f"{name}{end}"] = sheet
        if saved.architecture.latent_dim == 2:
            codes = encoded(saved, judge.test[:SCATTERED]).mean[0]
            scatter[name] = pictures.scatter(codes.cpu().numpy(), labels[:SCATTERED].numpy())
    return {
        "samples": {
            name: pictures.packed(images.reshape(SHEET, SHEET, *size).cpu().numpy())
            for name, images in sheets.items()
        },
        "scatter": scatter,
    }


def main(job: step.Job) -> None:
    """Measure every system on the test images, and draw from each."""
    run.deterministic()
    train, test = (images.load(job.paths[name]) for name in ("train", "test"))
    shown_test = splits.load_split(job.paths["test"])  # with labels, and as pictures
    pixels = test.shape[1]
    names = [name for pair in PAIRS for name in pair if name in job.paths]
    systems = {name: model.load(job.paths[name], pixels) for name in names}
    check(systems)
    judge = Judge(features.load(job.paths["classifier"], pixels), train, test)
    with torch.inference_mode():
        found = {"test/frechet_distance_of_train": [floor(judge)]}
        for name, saved in systems.items():
            found |= metrics(name, saved, judge)
        shown = picture(systems, judge, shown_test.labels, shown_test.images.shape[1:])
    files.write_json(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": found, "provenance": job.provenance()})


if __name__ == "__main__":
    reads = ["classifier", "train", "test", *PAIRS[0]]
    with step.start(Params, reads=reads, optional=PAIRS[1], writes=["metrics", "picture"]) as job:
        main(job)
