"""Texture from noise, by Gram matrices of more and more layers (Gatys et al. 2015)."""

import numpy as np
import torch
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.photostyle.model import experiments, losses, optimise, texture_measures
from pr12.photostyle.model.experiments import Task
from pr12.photostyle.params import Synthesise as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def objective(features, grams, layers):
    """Return the loss of a texture: squared errors of Gram matrices (Gatys et al. 2015, eq. 4)."""

    def loss(image: Tensor) -> dict[str, Tensor]:
        return {"loss": losses.style_loss(features(image), grams, layers)}

    return loss


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    experiments.check_distinct(params)
    if max(params.depths) > len(params.layers):
        raise UserError(
            f"depths has {max(params.depths)}; give numbers from 1 to {len(params.layers)}, as "
            "many as there are layers"
        )
    determinism.deterministic()
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    weights = job.paths.get("weights")
    source = experiments.picture(photographs, f"texture/{params.texture}")
    lags = (params.shortest_lag, params.longest_lag)
    original = experiments.as_array(source)
    (down, right), height = texture_measures.period(original, *lags)
    tasks = {}
    for depth in params.depths:
        layers = params.layers[:depth]  # a network of its own, cut behind the last of them
        features = experiments.features_of(params, layers, photographs, weights)
        with torch.no_grad():
            grams = {name: losses.gram(values) for name, values in features(source).items()}
        loss = objective(features, grams, layers)
        for seed in params.seeds:
            start = optimise.noise(*source.shape[-2:], seed).to(source.device)
            tasks[f"depth{depth}/{seed}"] = Task(
                lambda images, start=start: start, loss, params.iterations
            )
    results = experiments.completed(job, tasks, params.history)
    count = len(params.seeds)
    metrics = {
        "source/period_height": [height] * count,
        "source/period_pixels": [float(np.hypot(down, right))] * count,
    }
    noises = [
        experiments.as_array(optimise.noise(*source.shape[-2:], seed)) for seed in params.seeds
    ]
    images_of = {"noise": noises}
    for depth in params.depths:
        row = [results[f"depth{depth}/{seed}"] for seed in params.seeds]
        images_of[f"depth{depth}"] = [experiments.as_array(result.image) for result in row]
        metrics[f"depth{depth}/loss_gram"] = [result.parts["loss"] for result in row]
    for name, images in images_of.items():
        metrics[f"{name}/texture_distance"] = [
            texture_measures.texture_distance(image, original) for image in images
        ]
        metrics[f"{name}/periodicity_error"] = [
            texture_measures.periodicity_error(image, original, *lags) for image in images
        ]
    first = params.seeds[0]
    shown = {"source": photographs[f"texture/{params.texture}"]}
    shown |= {
        f"depth{depth}": experiments.pixels(results[f"depth{depth}/{first}"].image)
        for depth in params.depths
    }
    tensor_files.write_tensors(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(
        Params, reads=["photographs"], optional=["weights"], writes=["metrics", "picture"]
    ) as job:
        main(job)
