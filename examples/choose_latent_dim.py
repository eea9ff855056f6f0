"""
Choose latent_dim and beta by grid search
=========================================

How many latents, and which weight of the KL divergence? The held-out log-likelihood decides, without labels.

Writes `choose_latent_dim.png` into the current folder.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

# %%
# A grid search without y, and the same for PCA
# ---------------------------------------------
# `score` is in nats per row and in the units of the data, so models of any size can be compared with each other and with PCA
# on the same standardised columns. It is the score of the autoencoder. The generator, which samples rows, is not needed
# here, and generator="latent" skips its training.

X = load_wine().data
folds = KFold(3, shuffle=True, random_state=0)
latent_dims, betas = [1, 2, 4, 8, 12], [1.0, 2.0, 4.0]
pipe = Pipeline([("scale", StandardScaler()), ("vae", VAETransformer(generator="latent", random_state=0))])
search = GridSearchCV(pipe, {"vae__latent_dim": latent_dims, "vae__beta": betas}, cv=folds).fit(X)
pca = GridSearchCV(Pipeline([("scale", StandardScaler()), ("pca", PCA())]), {"pca__n_components": latent_dims}, cv=folds)
pca.fit(X)

scores = np.array(search.cv_results_["mean_test_score"]).reshape(len(betas), len(latent_dims))
print("Wine: held-out log-likelihood in nats per row")
print("  latent_dim   " + "".join(f"{k:>9d}" for k in latent_dims))
for beta, row in zip(betas, scores, strict=True):
    print(f"  VAE, beta {beta:3.1f}" + "".join(f"{score:9.2f}" for score in row))
print("  PCA          " + "".join(f"{score:9.2f}" for score in pca.cv_results_["mean_test_score"]))
print(f"  best: {search.best_params_}")

# %%
# Picture
# -------
# Left: the scores of the search. They fall with too many latents, and with too large a weight of the KL divergence. Right:
# the information that each latent of the best model carries about a row.

vae = search.best_estimator_[-1]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for beta, row in zip(betas, scores, strict=True):
    left.plot(latent_dims, row, marker="o", label=f"VAE, beta {beta}", zorder=3)
left.plot(latent_dims, pca.cv_results_["mean_test_score"], marker="s", color="grey", label="PCA")
left.set(xlabel="latent_dim", xticks=latent_dims, ylabel="held-out nats per row", title="How many latents?")
left.legend()
right.bar(range(1, len(vae.explained_information_) + 1), vae.explained_information_)
right.set(xlabel="latent", ylabel="nats per row", title="Information in each latent of the best model")
right.xaxis.get_major_locator().set_params(integer=True)
figure.savefig("choose_latent_dim.png", dpi=120)
print("\nPicture: choose_latent_dim.png")
