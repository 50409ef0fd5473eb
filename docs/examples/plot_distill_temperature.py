"""
What does temperature show?
===========================

A teacher that is sure of its answer knows more than the answer: which other classes were nearly
possible. At temperature 1 that is hidden in probabilities close to zero.
"""

# %%
# The teacher is a small net of scikit-learn's, trained on its digits. Its logits are the logarithms
# of its probabilities, up to a constant that the softmax takes out again.
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from pr12.distill.model.losses import soften

digits = load_digits()
images, labels = digits.data / 16, digits.target
teacher = MLPClassifier((64,), tol=0.003, random_state=0)
teacher.fit(images[:1200], labels[:1200])
logits = torch.tensor(teacher.predict_log_proba(images[1200:]))

# %%
# Three digits that the teacher gets right, at four temperatures (Hinton et al. 2015, Eq. 1).
temperatures = [1, 3, 8, 100]
sure = (logits.argmax(dim=1) == torch.tensor(labels[1200:])) & (logits.max(dim=1).values > -0.2)
chosen = [int((sure & (torch.tensor(labels[1200:]) == digit)).nonzero()[0]) for digit in (3, 8, 9)]
figure, axes = plt.subplots(len(chosen), 5, figsize=(10, 5), layout="constrained")
for row, index in zip(axes, chosen, strict=True):
    row[0].imshow(images[1200 + index].reshape(8, 8), cmap="gray_r")
    row[0].axis("off")
    for place, temperature in zip(row[1:], temperatures, strict=True):
        place.bar(range(10), soften(logits[index], temperature))
        place.set(ylim=(0, 1), xticks=range(10))
        place.tick_params(labelsize=7)
for place, temperature in zip(axes[0, 1:], temperatures, strict=True):
    place.set_title(f"T = {temperature}")

# %%
# How much a target says can be measured: its entropy rises from almost nothing to log 10, where all
# classes are alike and nothing is said any more.
many = [0.5, 1, 2, 3, 5, 8, 12, 20, 50, 100]
entropy = [
    torch.special.entr(soften(logits, temperature)).sum(dim=1).mean() for temperature in many
]
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.semilogx(many, entropy, marker="o")
axes.axhline(torch.tensor(10.0).log(), color="black", linestyle="--", label="all classes alike")
axes.set(xlabel="temperature", ylabel="mean entropy (nats)")
axes.legend()

# %%
# Between the two lies what a student can learn from. Where, depends on the teacher's logits: the
# surer a teacher, the higher the temperature must be.
