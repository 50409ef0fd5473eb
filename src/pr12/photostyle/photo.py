"""Deep Photo Style Transfer of a pair of photographs, and plain neural style beside it.

Two stages (Luan et al. 2017, Sec. 4): from noise with the style class by class, then from that
result with the photorealism term, for one lambda or several.
"""

import json

import torch

from pr12.core import determinism, tensor_files
from pr12.photostyle.model import deep_photo_style, experiments, matting, optimise
from pr12.photostyle.model.deep_photo_style import Weights
from pr12.photostyle.model.experiments import Task
from pr12.photostyle.params import Photo as Params
from pr12.workflow import step


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    experiments.check_distinct(params)
    determinism.deterministic()
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    content = experiments.picture(photographs, f"{params.pair}/content")
    style = experiments.picture(photographs, f"{params.pair}/style")
    labels = {
        name: photographs[f"{params.pair}/{name}_mask"].numpy() for name in ("content", "style")
    }
    classes = int(labels["content"].max()) + 1
    masks = {
        name: deep_photo_style.as_masks(values, classes).to(content.device)
        for name, values in labels.items()
    }
    layers = [*params.style_layers, *params.content_layers]
    features = experiments.features_of(params, layers, photographs, job.paths.get("weights"))
    weights = Weights(
        params.content_layers, params.style_layers, params.content_weight, params.style_weight
    )
    target = deep_photo_style.wanted(features, content, style, masks["content"], masks["style"])
    matrix = matting.as_tensor(matting.laplacian(experiments.as_array(content))).to(content.device)
    tasks = {}
    for seed in params.seeds:
        noise = optimise.noise(*content.shape[-2:], seed).to(content.device)
        # Neural style has as many iterations as both stages together
        for name, masked, stages in (("neural", False, 2), ("first", True, 1)):
            loss = deep_photo_style.objective(features, target, weights, masked=masked)
            tasks[f"{name}/{seed}"] = Task(
                lambda images, noise=noise: noise, loss, stages * params.iterations
            )
        for strength in params.photorealism:
            loss = deep_photo_style.objective(features, target, weights, strength, matrix)
            tasks[f"lambda{strength:g}/{seed}"] = Task(
                lambda images, seed=seed: images[f"first/{seed}"], loss, params.iterations
            )
    results = experiments.completed(job, tasks, params.history)
    images = {name: result.image for name, result in results.items()} | {"content": content}
    if f"{params.pair}/published" in photographs:
        images["published"] = experiments.picture(photographs, f"{params.pair}/published")
    distances: dict[str, dict[str, float]] = {"style_distance": {}, "style_distance_plain": {}}
    for name, image in images.items():
        with torch.no_grad():
            activations = features(image)
            for (_, values), masked in zip(distances.items(), (True, False), strict=True):
                error = deep_photo_style.style_error(activations, target, weights, masked)
                values[name] = error.item()
    info = {"pair": params.pair, "seeds": params.seeds, **distances}
    info["photorealism"] = [f"lambda{strength:g}" for strength in params.photorealism]
    tensors = {name: result.image[0] for name, result in results.items()}
    tensor_files.write_tensors(
        job.paths["results"], tensors, {"info": json.dumps(info, sort_keys=True)}
    )


if __name__ == "__main__":
    with step.start(Params, reads=["photographs"], optional=["weights"], writes=["results"]) as job:
        main(job)
