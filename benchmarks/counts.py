"""Are counts modelled as well as by the models made for them, and in the memory of the counts that are there?

    OMP_NUM_THREADS=1 python benchmarks/counts.py [topics cells vocabulary] [--latents 10 20] [--seeds 3] [--json a.json]

`topics`: documentation of NumPy, SciPy and scikit-learn, a fifth of the texts held out. Perplexity by document completion:
half of the words of a text, at random, are reduced, and the other half scored under what that decodes to, beside
LatentDirichletAllocation of as many topics, NMF (Kullback-Leibler), and the shares of words in all texts. Coherence: mean
normalised pointwise mutual information, over training texts, of the ten words that each topic raises most; of latents a
topic is the centre of a cluster (as many clusters as latents), or else each end of a latent. Median over seeds, with half
the range.

`cells`: 10,000 rows of 1,000 negative binomial counts, 7 % of them not zero, of six types. Seconds and peak memory of a fit;
correlation of the logarithms of columns' means and of their variances between rows and draws, and the median ratio of
variances; the greatest |correlation| of a latent with the log of the total; accuracy of 15 neighbours on the types.

`vocabulary`: 5,000 rows of 20,000 words, three epochs: seconds and peak memory.
"""

import argparse
import importlib
import inspect
import json
import resource
import time
import warnings
from multiprocessing import get_context

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import VAETransformer

MODULES = """numpy numpy.linalg numpy.fft numpy.random numpy.polynomial scipy.stats scipy.linalg scipy.optimize scipy.signal
scipy.sparse scipy.sparse.linalg scipy.spatial scipy.special scipy.ndimage scipy.integrate scipy.interpolate scipy.fft
sklearn.cluster sklearn.datasets sklearn.decomposition sklearn.ensemble sklearn.linear_model sklearn.metrics
sklearn.model_selection sklearn.neighbors sklearn.preprocessing sklearn.svm sklearn.feature_extraction.text"""
N_WORDS = 10  # of a topic, whose coherence is measured


def word_counts():
    texts = set()
    for module in map(importlib.import_module, MODULES.split()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some names are deprecated
            members = [getattr(module, name) for name in dir(module) if not name.startswith("_")]
        texts |= {inspect.getdoc(one) or "" for one in members if callable(one)}
    texts = sorted(text for text in texts if len(text) > 300)
    words = CountVectorizer(token_pattern=r"\b[a-z]{3,}\b", stop_words="english", min_df=10, max_df=0.3)
    return words.fit_transform(texts)


def halves(X, seed):
    """The words of every row in two rows, at random."""
    first = X.copy()
    first.data = np.random.default_rng(seed).binomial(X.data, 0.5)
    second = (X - first).tocsr()
    first.eliminate_zeros()
    second.eliminate_zeros()
    return first, second


def perplexity(shares, X):
    """Of words X (n, d) under shares (n, d)."""
    return float(np.exp(-X.multiply(np.log(shares / shares.sum(1, keepdims=True))).sum() / X.sum()))


def coherence(rankings, X):
    """Mean normalised pointwise mutual information of the first words of rankings (k, d) in the rows of X."""
    there = (X > 0).astype(float)
    share = np.asarray(there.mean(0)).ravel()
    out = []
    for words in rankings[:, :N_WORDS]:
        some = there[:, words]
        both = np.clip((some.T @ some).toarray() / X.shape[0], 1e-12, 1 - 1e-12)
        told = np.log(both / np.outer(share[words], share[words])) / -np.log(both)
        out.append(told[np.triu_indices(N_WORDS, 1)].mean())
    return float(np.mean(out))


def vae_topics(k, seed, train, known):
    """Topics are where texts lie dense: the centres of k clusters of latents, and what words these raise."""
    vae = VAETransformer(k, likelihood="multinomial", random_state=seed).fit(train)
    centres = KMeans(k, n_init=10, random_state=seed).fit(vae.transform(train)).cluster_centers_
    raised = np.sqrt(vae.inverse_transform(centres)) - np.sqrt(np.asarray(train.mean(0)))
    return vae.inverse_transform(vae.transform(known)), raised.argsort(1)[:, ::-1]


def vae_ends(k, seed, train, known):
    """Topics are the two ends of every latent."""
    vae = VAETransformer(k, likelihood="multinomial", random_state=seed).fit(train)
    ends = np.sqrt(vae.inverse_transform(1.5 * np.r_[np.eye(k), -np.eye(k)]))
    return vae.inverse_transform(vae.transform(known)), (ends - np.roll(ends, k, axis=0)).argsort(1)[:, ::-1]


def lda_topics(k, seed, train, known):
    lda = LatentDirichletAllocation(k, random_state=seed, max_iter=30).fit(train)
    return lda.transform(known) @ (lda.components_ / lda.components_.sum(1, keepdims=True)), lda.components_.argsort(1)[
        :, ::-1
    ]


def nmf_topics(k, seed, train, known):
    nmf = NMF(k, beta_loss="kullback-leibler", solver="mu", init="nndsvdar", max_iter=300, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 300 steps may not converge
        nmf.fit(train.astype(float))
        shares = nmf.transform(known.astype(float)) @ nmf.components_ + 1e-3 * np.asarray(train.mean(0))
    return shares, nmf.components_.argsort(1)[:, ::-1]


PEERS = {"skvae": vae_topics, "skvae, ends of latents": vae_ends, "LDA": lda_topics, "NMF": nmf_topics}


def topics(options):
    X = word_counts()
    print(f"topics: {X.shape[0]} texts, {X.shape[1]} words, {X.nnz / np.prod(X.shape):.1%} not zero")
    rows = []
    for k in options.latents:
        for name, peer in PEERS.items():
            figures = []
            for seed in range(options.seeds):
                train, test = train_test_split(X, test_size=0.2, random_state=seed)
                known, asked = halves(test, seed)
                start = time.perf_counter()
                shares, rankings = peer(k, seed, train, known)
                seconds = time.perf_counter() - start
                one_topic = np.broadcast_to(np.asarray(train.sum(0)) + 0.5, shares.shape)
                figures.append(
                    [perplexity(shares, asked), perplexity(one_topic, asked), coherence(rankings, train), seconds]
                )
            middle, half = np.median(figures, 0), np.ptp(figures, 0) / 2
            rows.append({"k": k, "model": name, "figures": middle.tolist(), "half_range": half.tolist()})
            print(
                f"  {k:3d} {name:22s} perplexity {middle[0]:6.1f} ±{half[0]:5.1f} (one topic {middle[1]:6.1f})  "
                f"NPMI {middle[2]:.3f} ±{half[2]:.3f}  {middle[3]:6.1f} s"
            )
    return rows


def cell_counts(n=10_000, d=1000, n_types=6, seed=0):
    """Negative binomial counts (n, d) of rows of some types, and the types (n,)."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(-1, 1.5, d) * np.exp(rng.normal(0, 1, (n_types, d)) * (rng.random((n_types, d)) < 0.2))
    share /= share.sum(1, keepdims=True)
    types, totals, shape = rng.integers(0, n_types, n), rng.lognormal(np.log(100), 0.4, n), rng.gamma(2, 1, d)
    parts = []
    for at in range(0, n, 1000):
        mean = totals[at : at + 1000, None] * share[types[at : at + 1000]]
        parts.append(csr_matrix(rng.poisson(mean * rng.gamma(shape, 1 / shape, mean.shape))))
    return vstack(parts, format="csr"), types


def moments(X):
    X = X.astype(float)
    mean = np.asarray(X.mean(0)).ravel()
    return mean, np.asarray(X.multiply(X).mean(0)).ravel() - mean**2


def log_correlation(a, b):
    return float(np.corrcoef(np.log(a + 1e-3), np.log(b + 1e-3))[0, 1])


def peak():
    """Megabytes that the process took at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def cells(options):
    X, types = cell_counts()
    before, start = peak(), time.perf_counter()
    vae = VAETransformer(10, likelihood="negative_binomial", random_state=0).fit(X)
    seconds, most = time.perf_counter() - start, peak()
    Z, log_total = vae.transform(X), np.log(np.asarray(X.sum(1)).ravel() + 1)
    (mean, variance), (drawn_mean, drawn_variance) = moments(X), moments(vae.sample(5000, random_state=0))
    figures = {
        "not zero": X.nnz / np.prod(X.shape),
        "seconds": seconds,
        "epochs": vae.n_iter_,
        "MB before": before,
        "MB at most": most,
        "correlation of means": log_correlation(mean, drawn_mean),
        "correlation of variances": log_correlation(variance, drawn_variance),
        "median ratio of variances": float(np.median((drawn_variance / variance.clip(1e-12))[variance > 0])),
        "with log total": float(max(abs(np.corrcoef(z, log_total)[0, 1]) for z in Z.T)),
        "first three with log total": float(max(abs(np.corrcoef(z, log_total)[0, 1]) for z in Z.T[:3])),
        "neighbours": KNeighborsClassifier(15).fit(Z[::2], types[::2]).score(Z[1::2], types[1::2]),
        "nats of latents": float(vae.explained_information_.sum()),
    }
    print("cells:", ", ".join(f"{name} {figure:.3g}" for name, figure in figures.items()))
    return figures


def vocabulary(options):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(20_000, 0.02), 10)
    X = vstack([csr_matrix(rng.multinomial(100, shares[k])) for k in rng.integers(0, 10, 5000)], format="csr")
    before, start = peak(), time.perf_counter()
    VAETransformer(10, likelihood="multinomial", max_iter=3, random_state=0).fit(X)
    figures = {"seconds": time.perf_counter() - start, "MB before": before, "MB at most": peak()}
    print("vocabulary:", ", ".join(f"{name} {figure:.3g}" for name, figure in figures.items()))
    return figures


PARTS = {"topics": topics, "cells": cells, "vocabulary": vocabulary}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), choices=[*PARTS, []])
    parser.add_argument("--latents", nargs="+", type=int, default=[10, 20])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    results = {}
    for part in options.parts:  # each in a process of its own, whose memory is what the part takes
        with get_context("spawn").Pool(1) as pool:
            results[part] = pool.apply(PARTS[part], (options,))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
