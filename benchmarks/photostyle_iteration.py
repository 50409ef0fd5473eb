"""Time one iteration of Deep Photo Style Transfer beside its floor and beside a plain neural style.

Floor: forward and backward pass of the cut network alone. The plain neural style is what PyTorch's
tutorial does: VGG-19 up to its fifth convolution, Gram matrices divided by their size, torch's own
L-BFGS with the image clamped at every evaluation. Weights are random: they do not change the time.

    python benchmarks/photostyle_iteration.py --side 256 --iterations 10
"""

import argparse
import time

import torch
from torch.nn import functional

from pr12.photostyle.model import backbones, deep_photo_style, matting, network_weights, optimise

NETWORKS = {
    "vgg19": (["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"], ["conv4_2"]),
    "squeezenet1_0": (["conv1", "fire3", "fire5", "fire7", "fire8"], ["fire7"]),
}
TUTORIAL = ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]  # its conv_1 to conv_5


def milliseconds(run, times):
    run()
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times * 1e3


def network(architecture, layers, image, bfloat16):
    cut = backbones.cut(architecture, layers, "average")
    return network_weights.prepared(cut, image, None, 0, "layer", bfloat16)


def floor(features, image, times):
    def run():
        leaf = image.clone().requires_grad_(True)
        total = sum(own.sum() for own in features(leaf).values())
        total.backward()

    return milliseconds(run, times)


def ours(features, layers, image, iterations):
    style_layers, content_layers = layers
    half = torch.zeros(image.shape[-2:])
    half[: len(half) // 2] = 1
    masks = torch.stack([half, 1 - half])
    target = deep_photo_style.wanted(features, image, image.flip(-1), masks, masks)
    weights = deep_photo_style.Weights(content_layers, style_layers, 100.0, 100.0)
    matrix = matting.as_tensor(matting.laplacian(image[0].permute(1, 2, 0).double().numpy()))
    loss = deep_photo_style.objective(features, target, weights, 1e4, matrix)
    evaluations = 0

    def counted(own):
        nonlocal evaluations
        evaluations += 1
        return loss(own)

    begin = optimise.noise(*image.shape[-2:], 0)
    for warm in optimise.minimise(begin, counted, 3, 20):
        begin = warm.image
    evaluations = 0
    start = time.perf_counter()
    for _ in optimise.minimise(begin, counted, iterations, 20):
        pass
    return (time.perf_counter() - start) / evaluations * 1e3, evaluations / iterations


def tutorial(image, iterations):
    features = network("vgg19", TUTORIAL, image, False)

    def gram(own):
        flat = own[0].flatten(1)
        return flat @ flat.T / own.numel()

    with torch.no_grad():
        kept = features(image)
        style = {name: gram(own) for name, own in features(image.flip(-1)).items()}
    leaf = image.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([leaf])
    evaluations = 0

    def closure():
        nonlocal evaluations
        evaluations += 1
        with torch.no_grad():
            leaf.clamp_(0, 1)
        optimiser.zero_grad()
        own = features(leaf)
        loss = functional.mse_loss(own["conv2_2"], kept["conv2_2"], reduction="mean")
        for name, wanted in style.items():
            loss = loss + 1e6 * functional.mse_loss(gram(own[name]), wanted, reduction="mean")
        loss.backward()
        return loss

    optimiser.step(closure)
    evaluations = 0
    start = time.perf_counter()
    while evaluations < iterations:
        optimiser.step(closure)
    return (time.perf_counter() - start) / evaluations * 1e3, floor(features, image, 3)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=10)
    arguments = parser.parse_args()
    drawn = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, arguments.side, arguments.side, generator=drawn)
    print(f"{torch.get_num_threads()} threads, {arguments.side} px, ms per gradient")
    for architecture, layers in NETWORKS.items():
        for bfloat16 in (False, True):
            features = network(architecture, [*layers[0], *layers[1]], image, bfloat16)
            least = floor(features, image, 3)
            own, gradients = ours(features, layers, image, arguments.iterations)
            print(
                f"{architecture} {'bfloat16' if bfloat16 else 'float32'}: ours {own:.1f}, "
                f"floor {least:.1f}, ratio {own / least:.2f}, {gradients:.2f} gradients a step"
            )
    own, least = tutorial(image, arguments.iterations)
    print(f"as the tutorial (VGG-19 to conv3_1): {own:.1f}, floor {least:.1f}, {own / least:.2f}")


if __name__ == "__main__":
    main()
