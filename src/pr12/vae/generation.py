"""Why not a plain autoencoder: draw images from both, and measure how far they are from real ones.

The systems have the same networks and latent size and differ in the objective. An autoencoder has
no prior, so that beside N(0, I) it is also given a Gaussian fitted to its training codes, the
stronger baseline.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.data import images, packed_arrays
from pr12.vae.model import distances, evaluation, features, judging, networks, saved_nets
from pr12.vae.model.saved_nets import Saved
from pr12.vae.params import Generation as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

PAIRS = (("vae", "autoencoder"), ("vae_2d", "autoencoder_2d"))
SHEET = 8  # rows and columns of a sheet of samples
SCATTERED = 1000  # codes in a scatter plot at most


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
    >>> saved = Saved(networks.Architecture(4, (3,), 2, "bernoulli"), "sgvb_b", (1,), {})
    >>> check({"vae": saved, "autoencoder": saved})
    Traceback (most recent call last):
    ...
    pr12.workflow.errors.UserError: autoencoder was trained with the objective sgvb_b; it must be \
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


def metrics(name: str, saved: Saved, judge: judging.Judge) -> dict[str, list[float]]:
    """Return the metrics of one system, one value per replica.

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
    likelihood, error = evaluation.reconstruction(
        saved_nets.at(saved, -1), judge.test, judging.BATCH
    )
    posterior = judging.encoded(saved, judge.test)
    prior = networks.normals(judging.streams(saved, "prior"), *posterior.mean.shape[1:])
    codes, plain = posterior.mean, saved.objective == "autoencoder"
    if not plain:
        noise = networks.normals(judging.streams(saved, "posterior"), *codes.shape[1:])
        codes = networks.draw(posterior, noise.unsqueeze(2)).squeeze(2)
    scale = 2.0 * codes.shape[-1]
    values = {
        f"{name}/reconstruction_nll_nats": (-likelihood).tolist(),
        f"{name}/reconstruction_mse": error.tolist(),
        f"{name}/mmd_distance": [
            distances.mmd(replica, drawn, scale)
            for replica, drawn in zip(codes, prior, strict=True)
        ],
        f"{name}/frechet_distance": judging.frechet(judge, saved, prior),
        f"{name}/frechet_distance_reconstructed": judging.frechet(judge, saved, posterior.mean),
    }
    if plain:
        z = judging.fitted(judging.encoded(saved, judge.train).mean, prior)
        values[f"{name}_fitted/frechet_distance"] = judging.frechet(judge, saved, z)
    return values


def samples(saved: Saved, judge: judging.Judge) -> dict[str, Tensor]:
    """Draw a sheet of codes of replica 0 from N(0, I), and for an autoencoder as fitted.

    Returns
    -------
    dict of str to Tensor
        End of the system's name -> images as rows of pixels, (SHEET * SHEET, D).
    """
    noise = networks.normals(
        judging.streams(saved, "sheet"), SHEET * SHEET, saved.architecture.latent_dim
    )
    codes = {"": noise}
    if saved.objective == "autoencoder":
        codes["_fitted"] = judging.fitted(judging.encoded(saved, judge.train).mean, noise)
    return {end: networks.decode(saved_nets.at(saved, -1), z)[0] for end, z in codes.items()}


def picture(
    systems: Mapping[str, Saved], judge: judging.Judge, labels: Tensor, size: Sequence[int]
) -> dict[str, Any]:
    """Return what the figures show: sheets of samples, and codes of the systems with two of them.

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
            codes = judging.encoded(saved, judge.test[:SCATTERED]).mean[0]
            scatter[name] = packed_arrays.pack_points(
                codes.cpu().numpy(), labels[:SCATTERED].numpy()
            )
    return {
        "samples": {
            name: packed_arrays.pack_images(images.reshape(SHEET, SHEET, *size).cpu().numpy())
            for name, images in sheets.items()
        },
        "scatter": scatter,
    }


def main(job: step.Job) -> None:
    """Measure every system on the test images, and draw from each."""
    determinism.deterministic()
    train, test = images.load_alike(job.paths["train"], job.paths["test"])
    shown_test = images.load_labelled(job.paths["test"])  # with labels, and as pictures
    pixels = test.shape[1]
    names = [name for pair in PAIRS for name in pair if name in job.paths]
    systems = {name: saved_nets.load(job.paths[name], pixels) for name in names}
    check(systems)
    judge = judging.Judge(features.load(job.paths["classifier"], pixels), train, test)
    with torch.inference_mode():
        values = {"test/frechet_distance_of_train": [judging.floor(judge)]}
        for name, saved in systems.items():
            values |= metrics(name, saved, judge)
        shown = picture(systems, judge, shown_test.labels.cpu(), shown_test.images.shape[1:])
    files.write_json(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    reads = ["classifier", "train", "test", *PAIRS[0]]
    with step.start(Params, reads=reads, optional=PAIRS[1], writes=["metrics", "picture"]) as job:
        main(job)
