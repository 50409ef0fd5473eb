"""
A student that sees few labels
==============================

The strongest case for soft targets: few examples. One student learns the labels of 60 digits, the
other the teacher's probabilities of the same 60. Everything else is the same.
"""

# %%
# A teacher of 1,200 digits, whose error stands for what can be reached.
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from pr12.distill.model.losses import hard_loss, soft_loss, soften

digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
train, test = slice(0, 1200), slice(1200, None)
teacher = MLPClassifier((128,), tol=0.003, random_state=0)
teacher.fit(images[train].numpy(), labels[train].numpy())
logits = torch.tensor(teacher.predict_log_proba(images[train].numpy()), dtype=torch.float32)


# %%
# A student is a net of 32 hidden units. ``temperature`` None means labels.
def test_error(count: int, temperature: float | None, seed: int) -> float:
    """Train a student on some digits, and return its error on new ones."""
    torch.manual_seed(seed)
    chosen = torch.randperm(1200)[:count]
    student = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimiser = torch.optim.Adam(student.parameters(), lr=0.01)
    for _ in range(100):
        answer = student(images[chosen])
        if temperature is None:
            loss = hard_loss(answer, labels[chosen])
        else:
            targets = soften(logits[chosen], temperature)
            loss = soft_loss(answer, targets, temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        wrong = student(images[test]).argmax(dim=1) != labels[test]
    return wrong.float().mean().item()


# %%
# Both students of a pair see the same digits and start from the same weights, so that they are
# compared pair by pair: four pairs at each size.
sizes, seeds = [30, 60, 120, 300], range(4)
errors = {
    name: torch.tensor([[test_error(n, t, seed) for seed in seeds] for n in sizes])
    for name, t in {"labels": None, "soft targets, T = 4": 4.0}.items()
}

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, values in errors.items():
    line = axes.plot(sizes, 100 * values.mean(dim=1), marker="o", label=name)
    axes.plot(sizes, 100 * values, ".", color=line[0].get_color(), alpha=0.3)
reached = 100 * (1 - teacher.score(images[test].numpy(), labels[test].numpy()))
axes.axhline(reached, color="black", linestyle="--", label="teacher")
axes.set(xlabel="examples of the student", ylabel="test errors (%)", xscale="log")
axes.set_xticks(sizes, labels=sizes)
axes.minorticks_off()
axes.legend()

difference = errors["labels"] - errors["soft targets, T = 4"]
for size, values in zip(sizes, 100 * difference, strict=True):
    print(
        f"{size:4d} examples: soft targets make {values.mean():+.1f} points fewer errors "
        f"(from {values.min():+.1f} to {values.max():+.1f} over pairs)"
    )

# %%
# The fewer the examples, the more each of them has to say.
