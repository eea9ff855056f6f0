"""
Topics of texts
===============

What is a text about, and which other texts are similar?

The model reduces word counts to latents.

The texts are the docstrings of the functions and classes of NumPy, SciPy and scikit-learn. Writes `topics.png` into the
current folder.
"""

import importlib
import inspect
import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from skvae import VAETransformer

# %%
# Docstrings of installed packages
# --------------------------------

MODULES = """numpy numpy.linalg numpy.fft numpy.random numpy.polynomial scipy.stats scipy.linalg scipy.optimize scipy.signal
scipy.sparse scipy.sparse.linalg scipy.spatial scipy.special scipy.ndimage scipy.integrate scipy.interpolate scipy.fft
sklearn.cluster sklearn.datasets sklearn.decomposition sklearn.ensemble sklearn.linear_model sklearn.metrics
sklearn.model_selection sklearn.neighbors sklearn.preprocessing sklearn.svm sklearn.feature_extraction.text"""

texts = {}
for module in map(importlib.import_module, MODULES.split()):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some names are deprecated
        members = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    for name, member in members.items():
        text = inspect.getdoc(member) if callable(member) else None
        if text and len(text) > 300:
            texts[text] = f"{module.__name__}.{name}"
names, texts = np.array(list(texts.values())), list(texts)

# %%
# From words to latents
# ---------------------
# With likelihood="multinomial" the estimator accepts sparse counts. Given the length of a text, the proportions of its words
# are a softmax of the decoder's output.

words = CountVectorizer(token_pattern=r"\b[a-z]{3,}\b", stop_words="english", min_df=10, max_df=0.3)
vae = VAETransformer(latent_dim=8, likelihood="multinomial", random_state=0)
pipe = make_pipeline(words, vae)
latents = pipe.fit_transform(texts)
counts, vocabulary = words.transform(texts), words.get_feature_names_out()
print(f"{len(texts)} texts, {len(vocabulary)} words, {counts.nnz / np.prod(counts.shape):.1%} of the counts are not zero")

# %%
# Topics
# ------
# Clusters of latents are topics. The words of a topic are those whose expected counts at the centre of the cluster exceed
# their average most. Square roots make the random variation of rare and frequent words comparable.

clusters = KMeans(10, n_init=10, random_state=0).fit(latents)
raised = np.sqrt(vae.inverse_transform(clusters.cluster_centers_)) - np.sqrt(np.asarray(counts.mean(axis=0)))
for k, order in enumerate(raised.argsort(axis=1)[:, ::-1]):
    print(f"  {np.sum(clusters.labels_ == k):4d} texts: {' '.join(vocabulary[order[:9]])}")

# %%
# The meaning of a latent
# -----------------------
# Expected counts change along a latent, here from one side of the origin to the other.

down, up = vae.inverse_transform(np.array([[-1.5], [1.5]]) * np.eye(1, vae.latent_dim))
order = (np.sqrt(up) - np.sqrt(down)).argsort()
print(f"\nThe first latent carries {vae.explained_information_[0]:.1f} nats of information about a text")
print(f"  from: {' '.join(vocabulary[order[:9]])}\n  to:   {' '.join(vocabulary[order[:-10:-1]])}")

# %%
# Nearest texts
# -------------
# Texts about similar things are near each other. The same pipeline reduces a new text.

neighbours = NearestNeighbors(n_neighbors=4).fit(latents)
print()
for name in ("scipy.stats.norm", "sklearn.cluster.KMeans", "numpy.fft.rfft", "scipy.linalg.cholesky"):
    _, [near] = neighbours.kneighbors(latents[names == name])
    print(f"{name}: {', '.join(other for other in names[near] if other != name)}")
query = "probability density of a random variable, its cumulative distribution function and quantiles"
_, [near] = neighbours.kneighbors(pipe.transform([query]))
print(f"'{query}': {', '.join(names[near])}")

# %%
# Unusual words
# -------------
# `score_cells` returns how likely the count of each word is under the model.

at = int(np.flatnonzero(names == "sklearn.cluster.KMeans")[0])
cells = vae.score_cells(counts[at])[0]
print(f"\nUnusual words of {names[at]}: {' '.join(vocabulary[cells.argsort()[:8]])}")

# %%
# Picture
# -------
# Each point is a text, and its colour its topic, with the three most typical words of each. The two axes have no meaning of
# their own: t-SNE arranges the texts in the plane so that texts with similar latents are near each other.

plane = TSNE(max_iter=500, random_state=0).fit_transform(latents)
figure, axis = plt.subplots(figsize=(10, 6.5), layout="constrained")
for k, order in enumerate(raised.argsort(axis=1)[:, ::-1]):
    axis.scatter(*plane[clusters.labels_ == k].T, s=8, color=f"C{k}", label=", ".join(vocabulary[order[:3]]))
axis.set(xticks=[], yticks=[], title=f"{len(texts)} texts of the documentation, by similarity of their latents")
axis.legend(title="topic", loc="center left", bbox_to_anchor=(1, 0.5), markerscale=3, frameon=False, alignment="left")
figure.savefig("topics.png", dpi=110)
print("\nPicture: topics.png")
