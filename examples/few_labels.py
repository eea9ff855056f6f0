"""
Few labels
==========

With many images but only fifty labels, does an autoencoder of the unlabelled images help a classifier?

Writes `few_labels.png` into the current folder.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import Pipeline

from skvae import VAETransformer

# %%
# Learning without labels
# -----------------------
# All 1,797 digits are reduced to a few numbers each: latents of the autoencoder, or principal components, either unchanged
# or whitened to equal variance. Only latents are needed here, and generator="latent" skips the training of the generator.

X, y = load_digits(return_X_y=True)
X = X / 16
latent_dims = [2, 4, 8, 16]
reduced = {
    "VAE": {k: VAETransformer(k, image_shape=(8, 8), generator="latent", random_state=0).fit(X) for k in latent_dims},
    "PCA": {k: PCA(k).fit(X) for k in latent_dims},
    "PCA, whitened": {k: PCA(k, whiten=True).fit(X) for k in latent_dims},
}

# %%
# Learning with labels
# --------------------
# A logistic regression is fitted to a few digits of each class, and tested on all other digits. `FrozenEstimator` keeps the
# pipeline from refitting its first step to these few. The labelled digits are drawn at random twenty times.


def accuracies(reduce, n_labels):
    """Of each of twenty draws of the labelled digits. reduce : a fitted transformer, or "passthrough"."""
    pipe = Pipeline([("reduce", reduce), ("classify", LogisticRegression(C=10, max_iter=1000))])
    draws = StratifiedShuffleSplit(20, train_size=n_labels, random_state=0).split(X, y)
    return np.array([pipe.fit(X[some], y[some]).score(X[rest], y[rest]) for some, rest in draws])


by_dim = {name: [accuracies(FrozenEstimator(models[k]), 50) for k in latent_dims] for name, models in reduced.items()}
pixels = accuracies("passthrough", 50)
print("Fifty labels: accuracy on the other digits, mean and standard deviation over draws of the fifty")
print(f"  {'latents':14s}" + "".join(f"{k:>15d}" for k in latent_dims))
for name, runs in by_dim.items():
    print(f"  {name:14s}" + "".join(f"{run.mean():9.3f} ±{run.std():.3f}" for run in runs))
print(f"  64 pixels as they are: {pixels.mean():.3f} ±{pixels.std():.3f}")

# %%
# Result
# ------
# With two or four dimensions, the autoencoder separates digits far better than PCA does: four latents are nearly as good as
# all 64 pixels. More latents do not help. All latents have about the same variance, whether they encode the digit or only
# the width of a stroke, and fifty labels are too few to learn which matter. Whitened components have the same problem. With
# sixteen dimensions plain PCA is better than both, and as good as the pixels. With more labels, pixels are best.

numbers = [20, 50, 100, 200, 400]
few = 4
by_number = {
    f"VAE, {few} latents": [accuracies(FrozenEstimator(reduced["VAE"][few]), n) for n in numbers],
    f"PCA, {few} components": [accuracies(FrozenEstimator(reduced["PCA"][few]), n) for n in numbers],
    "64 pixels": [accuracies("passthrough", n) for n in numbers],
}
print("\nBy the number of labels")
print(f"  {'':18s}" + "".join(f"{n:>8d}" for n in numbers))
for name, runs in by_number.items():
    print(f"  {name:18s}" + "".join(f"{run.mean():8.3f}" for run in runs))

# %%
# Pictures
# --------
# The bands reach one standard deviation of the twenty draws to either side.


def draw_curve(axis, places, runs, label, colour):
    """Means over the draws of labels, and a band of one standard deviation."""
    means, spreads = np.mean(runs, axis=1), np.std(runs, axis=1)
    axis.plot(places, means, marker="o", label=label, color=colour)
    axis.fill_between(places, means - spreads, means + spreads, color=colour, alpha=0.15, lw=0)


figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
colours = ["tab:blue", "tab:orange", "tab:green"]
for (name, runs), colour in zip(by_dim.items(), colours, strict=True):
    draw_curve(left, latent_dims, runs, name, colour)
draw_curve(left, latent_dims, [pixels] * len(latent_dims), "64 pixels", "dimgrey")
for (name, runs), colour in zip(by_number.items(), [*colours[:2], "dimgrey"], strict=True):
    draw_curve(right, numbers, runs, name, colour)
left.set(xscale="log", xlabel="latents or components", ylabel="accuracy on the other digits", title="Fifty labels")
right.set(xscale="log", xlabel="labels", title="By number of labels")
for axis, places in ((left, latent_dims), (right, numbers)):
    axis.set_xticks(places, places)
    axis.minorticks_off()
    axis.legend(frameon=False, loc="lower right")
figure.savefig("few_labels.png", dpi=110)
print("\nPicture: few_labels.png")
