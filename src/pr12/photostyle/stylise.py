"""Content and style in one image: neural style (Gatys et al. 2015, 2016)."""

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from pr12.core import determinism, tensor_files
from pr12.photostyle.model import experiments, losses, measures, optimise
from pr12.photostyle.model.experiments import Task
from pr12.photostyle.params import Stylise as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def objective(features, content, grams, content_layer: str, style_layers, ratio: float):
    """Return alpha L_content + beta L_style with beta = 1 (Gatys et al. 2016, eq. 7)."""

    def loss(image: Tensor) -> dict[str, Tensor]:
        activations = features(image)
        # Divided by the number of features, so that alpha / beta means the same at every size
        error = losses.content_loss(activations, content, [content_layer])
        error = error / activations[content_layer].numel()
        style = losses.style_loss(activations, grams, style_layers)
        return {"loss": ratio * error + style, "content": error, "style": style}

    return loss


def label(content: int, depth: int, ratio: float, start: str) -> str:
    """Name one setting, for metrics and pictures: by the number of its content layer, from 1.

    Examples
    --------
    >>> label(1, 5, 0.1, "noise")
    'content1_layers5_ratio0.1_noise'
    """
    return f"content{content}_layers{depth}_ratio{ratio:g}_{start}"


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    experiments.check_distinct(params)
    if max(params.depths) > len(params.style_layers):
        raise UserError(
            f"depths has {max(params.depths)}; give numbers from 1 to {len(params.style_layers)}, "
            "as many as there are style_layers"
        )
    determinism.deterministic()
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    content = experiments.picture(photographs, f"{params.pair}/content")
    style = experiments.picture(photographs, f"{params.pair}/style")
    style = functional.interpolate(  # to the content's size (Gatys et al. 2016, Sec. 2.3)
        style, size=content.shape[-2:], mode="bilinear", align_corners=False, antialias=True
    )
    layers = [*params.style_layers, *params.content_layers]
    features = experiments.features_of(params, layers, photographs, job.paths.get("weights"))
    with torch.no_grad():
        wanted = features(content)
        grams = {name: losses.gram(values) for name, values in features(style).items()}
    numbers = range(1, len(params.content_layers) + 1)
    settings = list(product(numbers, params.depths, params.ratios, params.starts))
    tasks = {}
    for content_number, depth, ratio, start in settings:
        content_layer = params.content_layers[content_number - 1]
        loss = objective(features, wanted, grams, content_layer, params.style_layers[:depth], ratio)
        for seed in params.seeds:
            drawn = optimise.noise(*content.shape[-2:], seed).to(content.device)
            # The content too gets a little noise: else all seeds would give the same
            first = drawn if start == "noise" else (content + drawn - 0.5).clamp(min=0, max=1)
            name = f"{label(content_number, depth, ratio, start)}/{seed}"
            tasks[name] = Task(lambda images, first=first: first, loss, params.iterations)
    results = experiments.completed(job, tasks, params.history)
    metrics: dict[str, list[float]] = {}
    content_layer, array = params.content_layers[0], experiments.as_array(content)
    for setting in settings:
        name = label(*setting)
        for seed in params.seeds:
            image = results[f"{name}/{seed}"].image
            with torch.no_grad():
                activations = features(image)
                apart = losses.inversion_error(activations[content_layer], wanted[content_layer])
                distance = losses.style_loss(activations, grams, params.style_layers)
            values = {
                "content_distance": apart.item(),
                "style_distance": distance.item(),
                "edge_similarity": measures.edge_similarity(experiments.as_array(image), array),
            }
            for key, value in values.items():
                metrics.setdefault(f"{name}/{key}", []).append(value)
    shown = {"content": experiments.pixels(content), "style": experiments.pixels(style)}
    shown |= {
        label(*setting): experiments.pixels(results[f"{label(*setting)}/{params.seeds[0]}"].image)
        for setting in settings
    }
    tensor_files.write_tensors(job.paths["picture"], shown)
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(
        Params, reads=["photographs"], optional=["weights"], writes=["metrics", "picture"]
    ) as job:
        main(job)
