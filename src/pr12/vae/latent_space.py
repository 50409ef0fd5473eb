"""Look into latent spaces: manifolds (Fig. 4), samples (Fig. 5), reconstructions, walks, a page."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.data.splits import Split
from pr12.vae.data import images, packed_arrays
from pr12.vae.model import evaluation, latent_codes, networks, saved_nets
from pr12.vae.model.networks import Parameters
from pr12.vae.model.saved_nets import Saved
from pr12.vae.params import LatentSpace as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

LATENT_DIMS = {"z2": 2, "z5": 5, "z10": 10, "z20": 20, "faces_z2": 2}
PLANES = {"z2": "digits", "faces_z2": "faces"}
SHEET = 10  # rows and columns of samples (Fig. 5)
RECONSTRUCTED = 8  # test images shown beside their reconstructions
STEPS = 10  # of a walk, with both ends
SCATTERED = 1000  # codes behind a plane at most
EXTENT = 3.0  # of a plane at least: the prior has less than 0.3 % beyond in either direction
BATCH = 1000  # images at a time, which bounds the memory


class System(NamedTuple):
    """A net and the test images that belong to it."""

    saved: Saved
    parameters: Parameters  # of replica 0 at the end, each (1, ...): what the pictures show
    test: Split  # images (N, H, W)

    def sheet(self, z: Tensor) -> Tensor:
        """Decode codes (rows, columns, Z) into a sheet of images (rows, columns, H, W)."""
        images = self.test.images
        decoded = networks.decode(self.parameters, z[None].to(images.device))
        return decoded.reshape(*z.shape[:2], *images.shape[1:])


def check(name: str, saved: Saved) -> None:
    """Check that a net has an encoder and as many latent variables as its name says.

    Parameters
    ----------
    name : str
        One of `LATENT_DIMS`.
    saved : Saved
        What its training left.

    Raises
    ------
    UserError
        If not, or if its decoder is linear.
    """
    if saved.architecture.latent_dim != LATENT_DIMS[name]:
        raise UserError(
            f"{name} has {saved.architecture.latent_dim} latent variables; "
            f"give a model with {LATENT_DIMS[name]}"
        )
    if saved.objective == "mcem":
        raise UserError(f"{name} was trained by mcem and has no encoder; give a model with one")
    if saved.architecture.likelihood == "linear":
        raise UserError(
            f"{name} has the likelihood linear, whose pixels have no bounds; give a bernoulli or "
            "gaussian one"
        )


def reconstructions(system: System) -> Tensor:
    """Return test images (first row) and their reconstructions, (2, RECONSTRUCTED, H, W)."""
    images = system.test.images[:RECONSTRUCTED]
    z = networks.encode(system.parameters, images.flatten(1)).mean
    return torch.cat([images[None], system.sheet(z)])


def walks(system: System) -> Tensor:
    """Return images from each even to the next odd test image, (RECONSTRUCTED / 2, STEPS, H, W)."""
    images = system.test.images[:RECONSTRUCTED].flatten(1)
    z = networks.encode(system.parameters, images).mean[0]
    return system.sheet(latent_codes.walk(z[0::2], z[1::2], STEPS))


def plane(title: str, system: System) -> dict[str, Any]:
    """Return what the interactive page needs of a net with two latent variables.

    Parameters
    ----------
    title : str
        Of the plane.
    system : System
        The net and the images whose codes are shown.

    Returns
    -------
    dict
        What the page of figures reads; weights in float16.
    """
    images, labels = system.test
    codes = networks.encode(system.parameters, images[:SCATTERED].flatten(1)).mean[0]
    bound = max(EXTENT, float(math.ceil(codes.abs().max())))
    decoder = {
        name: value[0].cpu().numpy()
        for name, value in system.parameters.items()
        if name.startswith("decoder") and "log_variance" not in name
    }
    return {
        "title": title,
        "height": images.shape[1],
        "width": images.shape[2],
        "likelihood": system.saved.architecture.likelihood,
        "weights": {
            name: packed_arrays.pack_numbers(value, "float16") for name, value in decoder.items()
        },
        "codes": packed_arrays.pack_points(codes.cpu().numpy(), labels[:SCATTERED].cpu().numpy()),
        "extent": [-bound, bound, -bound, bound],
    }


def picture(systems: Mapping[str, System], grid: int) -> dict[str, Any]:
    """Return what the figures show.

    Parameters
    ----------
    systems : mapping of str to System
        By the names of `LATENT_DIMS`.
    grid : int
        Rows and columns of a manifold.

    Returns
    -------
    dict
        ``manifolds`` (digits, faces), ``samples`` and ``reconstructions`` (by net) and ``walks``
        (of the largest net) as packed sheets, and ``planes`` for the page.
    """
    digits = [name for name in systems if name != "faces_z2"]
    drawn = {name: determinism.generator(0, "samples") for name in digits}
    sheets = {
        "manifolds": {
            PLANES[name]: systems[name].sheet(latent_codes.plane_codes(grid)) for name in PLANES
        },
        "samples": {
            name: systems[name].sheet(torch.randn(SHEET, SHEET, LATENT_DIMS[name], generator=g))
            for name, g in drawn.items()
        },
        "reconstructions": {name: reconstructions(each) for name, each in systems.items()},
        "walks": {digits[-1]: walks(systems[digits[-1]])},
    }
    packed = {
        kind: {
            name: packed_arrays.pack_images(images.cpu().numpy()) for name, images in those.items()
        }
        for kind, those in sheets.items()
    }
    titles = {"digits": "Latent plane of digits", "faces": "Latent plane of faces"}
    return packed | {
        "planes": [plane(titles[kind], systems[name]) for name, kind in PLANES.items()]
    }


def main(job: step.Job) -> None:
    """Measure the reconstruction of every net, and make all pictures of replica 0."""
    determinism.deterministic()
    tests, systems = {}, {}
    for kind in PLANES.values():
        tests[kind] = images.load_labelled(job.paths[f"{kind}_test"])
        count = len(tests[kind].labels)
        if count < RECONSTRUCTED:
            raise UserError(f"{kind}_test has {count} images; {RECONSTRUCTED} are shown")
    for name in LATENT_DIMS:
        if name in job.paths:
            test = tests[PLANES.get(name, "digits")]
            saved = saved_nets.load(job.paths[name], pixels=test.images[0].numel())
            check(name, saved)
            first = {key: value[:1] for key, value in saved_nets.at(saved, -1).items()}
            systems[name] = System(saved, first, test)
    values = {}
    for name, (saved, _, test) in systems.items():
        x = test.images.flatten(1)
        _, error = evaluation.reconstruction(saved_nets.at(saved, -1), x, BATCH)
        values[f"{name}/reconstruction_mse"] = error.tolist()
    with torch.inference_mode():
        shown = picture(systems, job.params.grid)
    files.write_json(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    reads = ["digits_test", "faces_test", *PLANES]
    optional = [name for name in LATENT_DIMS if name not in PLANES]
    with step.start(Params, reads=reads, optional=optional, writes=["metrics", "picture"]) as job:
        main(job)
