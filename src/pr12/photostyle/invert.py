"""Reconstruct photographs from the features of every layer (Mahendran & Vedaldi 2015)."""

import torch
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.photostyle.model import experiments, losses, optimise
from pr12.photostyle.model.experiments import Task
from pr12.photostyle.params import Invert as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def objective(features, target: Tensor, mean: Tensor, size: float, layer: str, tv: float, params):
    """Return the loss of an inversion: error of features, and the two priors.

    Pixels are counted from 0 to 255 around the photographs' mean colour; both priors are halved
    and divided by the mean squared length of an image, as in the authors' code.
    """

    def loss(image: Tensor) -> dict[str, Tensor]:
        error = losses.inversion_error(features(image)[layer], target)
        centred = 255 * (image - mean)
        smooth = losses.total_variation(255 * image, params.beta)
        bounded = losses.alpha_norm(centred, params.alpha)
        prior = (tv * smooth + params.alpha_weight * bounded) / (2 * size)
        return {"loss": error + prior, "error": error}

    return loss


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    experiments.check_distinct(params)
    if len(params.total_variation) != len(params.layers):
        count = len(params.layers)
        raise UserError(f"total_variation needs {count} numbers, one for each of layers")
    determinism.deterministic()
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    features = experiments.features_of(params, params.layers, photographs, job.paths.get("weights"))
    images = {
        name: experiments.picture(photographs, f"photograph/{name}") for name in params.photographs
    }
    everything = experiments.calibration(photographs).to(determinism.device())
    mean = everything.mean(dim=(0, 2, 3)).reshape(1, 3, 1, 1)
    size = (255 * (everything - mean)).square().sum(dim=(1, 2, 3)).mean().item()
    tasks = {}
    for name, image in images.items():
        with torch.no_grad():
            wanted = features(image)
        for layer, tv in zip(params.layers, params.total_variation, strict=True):
            loss = objective(features, wanted[layer], mean, size, layer, tv, params)
            for seed in params.seeds:
                start = optimise.noise(*image.shape[-2:], seed).to(image.device)
                tasks[f"{name}/{layer}/{seed}"] = Task(
                    lambda images, start=start: start, loss, params.iterations
                )
    results = experiments.completed(job, tasks, params.history)
    metrics: dict[str, list[float]] = {}
    for depth, layer in enumerate(params.layers, start=1):
        by_seed = {"features": [], "image": []}
        for seed in params.seeds:
            row = {name: results[f"{name}/{layer}/{seed}"] for name in images}
            errors = [result.parts["error"] for result in row.values()]
            lost = [
                losses.inversion_error(row[name].image - mean, image - mean).item()
                for name, image in images.items()
            ]
            by_seed["features"].append(sum(errors) / len(errors))
            by_seed["image"].append(sum(lost) / len(lost))
        for kind, values in by_seed.items():
            metrics[f"{kind}/error_depth{depth}"] = values
    first = params.seeds[0]
    shown = {f"{name}/photograph": photographs[f"photograph/{name}"] for name in images}
    shown |= {
        f"{name}/depth{depth}": experiments.pixels(results[f"{name}/{layer}/{first}"].image)
        for name in images
        for depth, layer in enumerate(params.layers, start=1)
    }
    tensor_files.write_tensors(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(
        Params, reads=["photographs"], optional=["weights"], writes=["metrics", "picture"]
    ) as job:
        main(job)
