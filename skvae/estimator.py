"""`VAETransformer`, an estimator in the sense of scikit-learn: public methods, validation, tags and pickling."""

import math
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import _safe_indexing, check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skvae._version import __version__
from skvae.autoencoder import N_IMPORTANCE_SAMPLES, N_SAMPLES_P_VALUE, Autoencoder
from skvae.containers import check_frame
from skvae.contexts import own_context, threads_for
from skvae.counts import LIKELIHOODS_OF_COUNTS
from skvae.fitting import Fit, FitInterrupted
from skvae.generators import GENERATORS
from skvae.generators import choose as choose_generator
from skvae.images import check_shape
from skvae.likelihoods import LIKELIHOODS
from skvae.modalities import Packed
from skvae.model import VAE
from skvae.networks import ACTIVATIONS
from skvae.persistence import FORMAT, check_format, from_fields, stream_from, stream_state, to_fields
from skvae.priors import PRIORS
from skvae.relations import as_table
from skvae.rows import (
    Part,
    derived_again,
    joined,
    local_stream,
    log_jacobian,
    n_rows_at_once,
    n_rows_scored,
    new_rng,
    new_stream,
    packed_parts,
    representative,
    to_part,
    to_rows,
    whole_packed,
)
from skvae.schema import Schema, figures_like
from skvae.sizes import N_ROWS_AT_ONCE
from skvae.sparse import SparseRows
from skvae.views import VIEWS

# of `score_cells`: what scores packed cells, of how many latents, how many of these count when rows are split into batches,
# as a batch costs some time whatever its size, and whether it is a density, which has units
CELL_SCORES: dict[str, tuple[Callable, int, int, bool]] = {
    "log_likelihood": (Autoencoder.log_likelihood_of_cells, N_IMPORTANCE_SAMPLES, N_IMPORTANCE_SAMPLES, True),
    "log_p_value": (Autoencoder.log_p_value_of_cells, N_SAMPLES_P_VALUE, N_SAMPLES_P_VALUE // 8, False),
}


class VAETransformer(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Variational autoencoder for tables, images and counts.

    The estimator fits two separate models to the same rows:

    - The **autoencoder**, p(x) = ∫ p(z) p(x | z) dz, explains each row by a few latent variables z [1]_. It reduces rows
      (`transform`, `inverse_transform`), samples latents (`sample_latents`) and scores rows (`score_samples`, `score`,
      `score_cells`). Its scores depend on `latent_dim`, `beta` and the layers, which `GridSearchCV` can choose by `score`.
    - The **generator** provides `sample`, `impute`, `log_density` and `conditional_proba`. For a table it is an
      autoregressive model: each cell depends on the cells before it, in any order [7]_, and the density is exact. For images
      it is a second autoencoder whose decoder is autoregressive: each pixel depends on the latents and on nearby pixels that
      come before it [12]_, which makes the images sharp. For counts, and for very wide tables, the autoencoder itself is the
      generator.

    Relations that hold between the columns of a table in every row (sums, orders, columns that determine others) are found
    by `fit`, and every sampled row keeps them: see `relations`.

    Tables need no preprocessing. They may hold numbers, booleans, strings, categories, dates and missing values, in a pandas
    or polars DataFrame or an array. Rows are returned in the same container, with the same columns, dtypes, categories,
    rounding and bounds. A column of a DataFrame may also hold arrays of one shape. Arrays with two or more axes are images
    (or spectrograms, or multichannel time series), and arrays with one axis are vectors, for example embeddings. They are
    modelled jointly with the other columns, so that images can be sampled given a label, or a label given an image.

    Encoder and decoder each consist of a linear path, which starts at the closed-form solution of probabilistic PCA [2]_,
    and a network that starts near zero. Training therefore begins where PCA ends.

    Parameters
    ----------
    latent_dim : int, default=2
        Number of latent variables, which is the number of columns that `transform` returns.

    hidden_layer_sizes : "auto", int or tuple of int, default="auto"
        Widths of the encoder's hidden layers. The decoder has the same widths in reverse order. "auto" is (256, 256); images
        with more than 256 values also get residual convolutions [13]_ over patches, before and after layers of that width.
        Explicit sizes give a multilayer perceptron for images too. An empty tuple gives a linear model, which is
        probabilistic PCA with a noise variance for each column if all columns are continuous. The autoregressive generator
        has widths of its own.

    activation : {"gelu", "relu", "silu", "softplus", "tanh"}, default="silu"
        Activation of the hidden layers.

    likelihood : str or dict, default="auto"
        Distribution of a cell given the latents. A name applies to every column of more than two values that can take it,
        and the other columns stay at "auto". A dict maps columns to names (the columns of an array are "x0", "x1", ...).
        "auto" is the choice with the best held-out score over many tables:

        - floats: "normal_scores". In a table of fewer than 1,000 rows, also integers, dates and durations on a fine grid,
          with a spacing of at most 0.2 standard deviations;
        - other integers, dates and durations, numbers with few distinct values, and numbers with one value that is much more
          frequent than its neighbours: "histogram" (on a coarse grid in a table of fewer than 200 rows: "gaussian");
        - booleans, and numbers that are only 0 or 1, neither of them very rare: "bernoulli";
        - strings, categories, and the columns in `categorical_features`: "categorical". Strings that are nearly all distinct
          are "identifier" (from 50 rows on);
        - images: "bernoulli" if pixels have two values, and otherwise "gaussian", which is discrete if pixels have at most
          256 levels (bytes, whole floats, or bytes divided by 255). In the autoregressive generator of images, "gaussian" is
          a mixture of logistic distributions, discrete in the same cases [4]_. "bernoulli" for grey pixels is common for
          autoencoders, but it is not a distribution of grey levels: the autoencoder then samples black and white images.

        For numbers:

        - "normal_scores": a smooth increasing function maps the numbers to normal scores [11]_, which follow a Student's t
          distribution with learned degrees of freedom, close to normal. In the autoregressive generator of 1,000 rows or
          more, they follow a reweighted mixture of logistic distributions [4]_;
        - "gaussian": normal, with a scale learned for each column. An integer has the probability of its rounding
          interval [4]_;
        - "student_t": robust to outliers, with learned scale and degrees of freedom;
        - "log_normal": for positive numbers with a normal logarithm;
        - "histogram": a softmax over quantile bins, uniform within a bin. Frequent values have bins of their own. In the
          autoregressive generator, the softmax reweights a mixture of logistic distributions;
        - "bernoulli": for numbers between 0 and 1, taken as the probability of 1. Their score is the expected
          log-probability, and `sample` returns 0 or 1;
        - "continuous_bernoulli": a density for numbers between 0 and 1 [5]_;
        - "poisson", "negative_binomial", "zero_inflated_negative_binomial": for non-negative integers.

        For rows of counts, for example words in documents or molecules in cells. The rows may be sparse (a SciPy matrix or
        array, or a DataFrame with only Sparse columns), which the other likelihoods do not accept. The total N of a row is
        taken as given, and the decoder's output, after a softmax, gives the expected proportions p_j. Latents therefore
        describe the composition of a row and not its total. All scores are conditional on the total.

        - "multinomial": N! / prod x_j! prod p_j^x_j, a topic model that mixes topics in log-odds [14]_. It also takes dense
          rows, arrays and DataFrames, of non-negative integers;
        - "poisson": with mean N p_j; "negative_binomial": with that mean m and variance m + m² / r_j, where r_j is learned
          for each column; "zero_inflated_negative_binomial": also zero with a learned probability [15]_. For dense rows
          these names are likelihoods of single columns, as above.

        For categories: "categorical", or "ordinal" if their order is meaningful (that of the dtype, or else sorted) [6]_.

        For integers and strings, only in a dict: "identifier". Identifiers are not modelled; `sample` makes new ones in the
        same format and never repeats one.

    generator : {"auto", "autoregressive", "latent"}, default="auto"
        The model that rows are sampled from.

        - "latent": the autoencoder itself. Given the latents, cells are independent.
        - "autoregressive": a separate model that is trained after the autoencoder and shares no parameters with it. For a
          table, each cell depends on those before it, in any order [7]_, and the density is exact. For images, each pixel
          depends on 32 latents and on nearby pixels that come before it, row by row from the top, and each channel on the
          channels before it [12]_; the density is a bound. For a DataFrame with arrays, the other columns are sampled as a
          table, then latents of the arrays given these columns, and then the arrays given both [16]_. If arrays are given,
          the other columns depend on a summary of the arrays: 16 numbers that are trained to predict these columns.
        - "auto": "autoregressive" for images and for tables with up to 192 variables (columns, where columns with missing
          values count twice), and otherwise "latent".

        If only latents and scores are needed, "latent" saves the time to fit the generator, and changes neither.

    prior : {"auto", "normal", "mixture", "flow", "vamp"}, default="auto"
        Distribution p(z) of the latents. `score_samples` scores under it, and `sample_latents` draws from it, as does
        `sample` with generator="latent". Except for "vamp", the bound is trained under the standard normal, and "mixture"
        and "flow" are then fitted to samples of the posteriors. This leaves `transform` unchanged and raises the bound [8]_.

        - "normal": the standard normal distribution;
        - "mixture": a mixture of normals, with the number of components that is best on held-out samples;
        - "flow": an autoregressive flow whose conditionals are mixtures of normals [9]_;
        - "vamp": a mixture of normals that is learned together with the encoder. As in the VampPrior [10]_, the bound pulls
          it towards the aggregate posterior, but its means and scales are free parameters rather than the encodings of
          pseudo-inputs;
        - "auto": "normal", unless "mixture" (or "flow", from 5,000 rows on) raises the log-density of held-out samples by
          more than 0.03 nats plus two standard errors.

        The choice matters more for smaller `beta`. Without early stopping, a tenth of the rows is held out of this choice.

    beta : float, default=1.0
        Weight of the KL divergence in the objective [3]_. 1 gives the evidence lower bound. With smaller values,
        reconstructions are closer and latents carry more information; with larger values, fewer latents are used.
        `score_samples` always uses 1.

    relations : "auto", None or list of str, default="auto"
        Relations between the columns of a table. "auto" uses those that `fit` finds. A relation is found only if independent
        columns would not show it in so many rows by chance: on fewer than one in a hundred tables with independent columns,
        any relation is found. A list changes what was found. Its strings have the form in which `relations_` prints them: a
        string adds a relation, one that starts with "not " removes it, and one that starts with "mostly " allows some rows
        to break it. None turns the search off. Names that are not plain words are written in backticks. The kinds are:

        - "total = fare + tip + 2.5", also with "-", integer factors ("100 * hour + minute") and "+ one of 0, 1, 2.5"; it
          holds within the rounding of the left side, for numbers or for dates and durations;
        - "amount = quantity * price";
        - "end >= start", for numbers or dates;
        - "zone -> borough": each value of the first column occurs with one value of the second, which may also be
          "`x` missing" or "x > 0"; "a <-> b" is the same in both directions;
        - "combinations of a and b": values that are each frequent but never occur together are not sampled together;
        - "a missing only where b missing"; "a missing where b missing" is the same in both directions;
        - "exactly one of a, b, c" and "at most one of a, b, c", for boolean columns.

        A relation that all rows keep is kept by all samples, and a sum that some rows break is broken as often.
        `log_density` uses the relations: a cell that follows from others has probability one, or the probability with which
        it follows. A row that breaks a relation that none of n rows broke does so with probability 1 / (n + 2). Integers
        with at most 64 distinct values, in relations about single values, are modelled as categories.

    categorical_features : "from_dtype", None or array-like of {bool, int, str}, default="from_dtype"
        Columns of numbers to treat as categories: a mask, indices or names. Columns of strings and of a categorical dtype
        are always categories; with "from_dtype" and None, they are the only ones.

    image_shape : tuple of int, default=None
        Shape of the images if X holds them as flat rows. Arrays with more than two axes are always images: (height, width),
        (height, width, channels), or (channels, height, width) if the first size is 1, 3 or 4 and the last is not. Time
        series of equal length are images too: (n_samples, n_times) with ``image_shape=(n_times,)``, or multichannel series
        (n_samples, n_times, n_series). They are sampled in order of time.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs, of the autoencoder and of the generator each. "auto" is 100, and fewer if there are many
        rows. It limits the rows that a model sees in training to the following numbers, but not below a minimum of epochs:

        - autoencoder of a table: 500,000 rows or 12 million cells; at least 3 epochs;
        - autoencoder of images: 450,000 rows or 400 million pixels; at least 5 epochs (multilayer perceptron: 3 million
          rows; at least 10 epochs);
        - autoencoder of counts: 500,000 rows or 400 million counts; at least 10 epochs;
        - autoregressive generator of a table: 700,000 rows or 11 million cells; at least 3 epochs;
        - autoregressive generator of images: 450,000 rows, fewer for grey and colour images; at least 3 epochs.

        The minimum is lower where it would take more than 20 million rows. The learning rate decays over these epochs.
        Longer training keeps improving the generator of images.

    batch_size : int or "auto", default="auto"
        Rows in a step. "auto" is the square root of the number of rows, rounded up to a power of two, between 128 and 2048;
        for an autoencoder with up to 2^18 weights it is twice that. The autoregressive generator of many columns takes
        fewer, at least 128, so that its layers fit into the processor's cache. There are never more than rows.

    learning_rate_init : float, default=0.003
        Largest step of the optimiser (Adam with Nesterov momentum) where gradients are noise. Where gradients agree, steps
        are up to 2.1 times as long. The generator takes steps twice as long. The learning rate warms up briefly and then
        decays linearly to zero.

    early_stopping : bool, default=True
        Whether to hold out `validation_fraction` of the rows, to stop when their bound no longer improves, and to restore
        the weights of the best epoch. Otherwise all rows are trained on for `max_iter` epochs.

    validation_fraction : float, default=0.1
        Fraction of the rows held out for early stopping; at least one row. Ignored if `X_val` is passed to `fit`.

    n_iter_no_change : int, default=20
        Training stops after this many epochs without an improvement by `tol`. The autoregressive generator stops after at
        most 6 epochs (with few rows, 500 steps, but at most 10 epochs) without an improvement by 0.0001 nats per variable,
        so that it does not memorise rows.

    tol : float, default=1e-4
        Smallest improvement of the held-out bound that counts, in nats per row.

    warm_start : bool, default=False
        Whether `fit` continues from the previous solution. Columns, categories and scalings stay those of the first fit.

    device : str, default="auto"
        Where to compute: "auto" uses CUDA if it is available and otherwise the CPU. Any other name is passed to torch.

    random_state : int, RandomState instance or None, default=None
        Seeds the weights, the held-out rows, the order of rows, the noise of training and the samples of `sample`. An int
        makes `fit` reproducible.

    verbose : int, default=0
        Print a line after every `verbose` epochs, with the model, the epoch, the training and held-out score (nats per row,
        higher is better) and the remaining time at most. 0 prints nothing.

    Attributes
    ----------
    module_ : torch.nn.Module
        Both fitted models, `module_.autoencoder` and `module_.generator`, in float32. `module_.autoencoder.encoder` is a
        module that maps encoded cells to means and log-scales of the latents.

    prior_ : {"normal", "mixture", "flow", "vamp"}
        The prior in use, which is what "auto" chose.

    generator_ : {"autoregressive", "latent"}
        The generator in use, which is what "auto" chose.

    relations_ : DataFrame of shape (n_relations, 4)
        The relations between columns: `relation`, in the form that `relations` takes, `kind`, `share` (the fraction of rows
        that keep it) and `columns`. Empty for images.

    ignored_features_ : list
        Names of the columns that are not modelled because they are identifiers.

    n_iter_ : int
        Number of epochs that the autoencoder was trained for.

    loss_curve_ : list of float
        The autoencoder's objective on the training rows after each epoch: the negative bound, in nats per row and in the
        units of the data.

    validation_scores_ : list of float or None
        The bound on the held-out rows after each epoch, in nats per row and in the units of the data, with its KL divergence
        weighted by `beta`. None without early stopping.

    best_validation_score_ : float or None
        The largest of these, or that of the starting point. It belongs to the restored weights, before a prior is fitted.

    generator_loss_curve_ : list of float or None
        The negative log-likelihood of the generator on the training rows after each epoch, in nats per row and in the units
        of the data. None if the autoencoder is the generator. Empty if training did not improve the held-out score, in which
        case the generator stays at its closed-form start.

    explained_information_ : ndarray of shape (latent_dim,)
        Mean KL divergence of the posterior of each latent from N(0, 1), whatever the prior, on the training rows (at most
        50,000 of them), in nats, in descending order. A latent near 0 is not used.

    n_features_in_ : int
        Number of columns, or of pixels, seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if they are all strings.

    device_ : str
        The device that `fit` used.

    See Also
    --------
    sklearn.decomposition.PCA : Its linear counterpart, with a comparable score.
    sklearn.mixture.GaussianMixture : Density of continuous columns, comparable with `log_density`.
    sklearn.neighbors.KernelDensity : Nonparametric density of continuous columns.

    Notes
    -----
    A missing cell is left out of the likelihood, and the encoder sees it as missing. Each column with missing cells during
    `fit` gets an additional binary variable for being missing, so that `sample` returns missing cells as often as in the
    data. If a column was complete during `fit`, the encoder has not learned to handle missing cells in it, and the bound of
    rows with such cells is looser.

    Images with integer pixels have probabilities: ``-score / (n_pixels * log(2))`` are bits per dimension as in the
    literature, where `n_pixels` counts all channels.

    A category that `fit` did not see is encoded as missing and scored no higher than the rarest category, with one warning
    for each column. String columns with more than nine distinct values in ten rows (from 50 rows on) are identifiers: they
    are not modelled, are listed in `ignored_features_`, and new ones are made in the same format; `fit` warns if some of
    them repeat. Other string columns may have at most 10,000 distinct values. Dates and durations are counted from the
    earliest, in the coarsest unit that represents them exactly, and integers beyond 2**53 from the smallest; a range of more
    than 2**50 such units is rounded. A column of Python objects takes the type that all of its cells have: booleans,
    numbers, decimals, dates or strings.

    Sparse counts stay sparse in memory, and one batch at a time is made dense. `inverse_transform` returns the expected
    counts of a row with the mean total, dense. `sample` first draws the total of a row from a smooth distribution that is
    fitted to the totals (a monotone spline between their logarithms and a normal variable, and the fraction of empty rows),
    and returns sparse or dense rows, as `fit` saw. Empty rows are allowed: their posterior is the prior, and `fit` learns
    only how frequent they are. The words of a topic are those whose expected counts rise most at the centre of a cluster of
    latents (``vae.inverse_transform(centres)``), and the words of a latent are those whose counts change most along it.

    Arrays may be larger than memory (`numpy.memmap`). They are read in parts, and kept as float32 for training. If an array
    has more than 20 million cells and 100,000 rows, columns and scalings are learned from about that many: a random sample
    of rows, and the rows with the extremes of each column.

    Large layers are multiplied in bfloat16 during training if the processor has instructions for it (AVX512-BF16, or CUDA
    from Ampere on). Weights stay float32, and a fitted model computes in float32 or float64.

    Callbacks of `sklearn.callback` are called after every epoch and can end the fit: `set_callbacks(ProgressBar())`.

    Results on the CPU are bit-for-bit reproducible with the same `random_state`, library versions and number of threads.

    References
    ----------
    .. [1] Kingma, D. P., & Welling, M. (2014). Auto-encoding variational Bayes. ICLR. arXiv:1312.6114
    .. [2] Tipping, M. E., & Bishop, C. M. (1999). Probabilistic principal component analysis. Journal of the Royal
       Statistical Society B, 61(3).
    .. [3] Higgins, I., et al. (2017). beta-VAE: Learning basic visual concepts with a constrained variational
       framework. ICLR.
    .. [4] Salimans, T., et al. (2017). PixelCNN++. ICLR. arXiv:1701.05517
    .. [5] Loaiza-Ganem, G., & Cunningham, J. P. (2019). The continuous Bernoulli. NeurIPS. arXiv:1907.06845
    .. [6] McCullagh, P. (1980). Regression models for ordinal data. Journal of the Royal Statistical Society B, 42(2).
    .. [7] Uria, B., Murray, I., & Larochelle, H. (2014). A deep and tractable density estimator. ICML. arXiv:1310.1757
    .. [8] Hoffman, M. D., & Johnson, M. J. (2016). ELBO surgery: yet another way to carve up the variational evidence lower
       bound. NeurIPS workshop on advances in approximate Bayesian inference.
    .. [9] Papamakarios, G., et al. (2021). Normalizing flows for probabilistic modeling and inference. Journal of Machine
       Learning Research, 22(57). arXiv:1912.02762
    .. [10] Tomczak, J. M., & Welling, M. (2018). VAE with a VampPrior. AISTATS. arXiv:1705.07120
    .. [11] Liu, H., Lafferty, J., & Wasserman, L. (2009). The nonparanormal: semiparametric estimation of high dimensional
       undirected graphs. Journal of Machine Learning Research, 10, 2295-2328.
    .. [12] Gulrajani, I., et al. (2017). PixelVAE: A latent variable model for natural images. ICLR. arXiv:1611.05013
    .. [13] He, K., et al. (2016). Identity mappings in deep residual networks. ECCV. arXiv:1603.05027
    .. [14] Srivastava, A., & Sutton, C. (2017). Autoencoding variational inference for topic models. ICLR. arXiv:1703.01488
    .. [15] Lopez, R., et al. (2018). Deep generative modeling for single-cell transcriptomics. Nature Methods, 15(12).
    .. [16] Sohn, K., Lee, H., & Yan, X. (2015). Learning structured output representation using deep conditional generative
       models. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> X, _ = load_iris(return_X_y=True, as_frame=True)
    >>> vae = VAETransformer(latent_dim=2, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> vae.sample(3).columns.tolist() == X.columns.tolist()
    True
    >>> bool(vae.score(X) > -3.5)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like", Interval(Integral, 1, None, closed="left")],
        # views of the dicts: a row that is added later is an option as well
        "activation": [StrOptions(ACTIVATIONS.keys())],
        "likelihood": [StrOptions({"auto"}), StrOptions(LIKELIHOODS.keys()), StrOptions(set(LIKELIHOODS_OF_COUNTS)), dict],
        "generator": [StrOptions({"auto"}), StrOptions(GENERATORS.keys())],
        "prior": [StrOptions(PRIORS.keys())],
        "beta": [Interval(Real, 0, None, closed="left")],
        "relations": [StrOptions({"auto"}), list, None],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "image_shape": ["array-like", None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _optimizer_state: list | None = None  # what the steps of a stream remember

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        likelihood: str | dict = "auto",
        generator: str = "auto",
        prior: str = "auto",
        beta: float = 1.0,
        relations: Any = "auto",
        categorical_features: Any = "from_dtype",
        image_shape: Any = None,
        max_iter: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.003,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        tol: float = 1e-4,
        warm_start: bool = False,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.latent_dim = latent_dim
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.generator = generator
        self.prior = prior
        self.beta = beta
        self.relations = relations
        self.categorical_features = categorical_features
        self.image_shape = image_shape
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- fitting -----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None, X_val: Any = None) -> "VAETransformer":
        """Fit both models to rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features), or images of shape (n_samples, height, \
                width), (n_samples, height, width, channels) or (n_samples, channels, height, width)
            At least two rows. Columns hold numbers, booleans, strings, categories, dates or durations, or arrays of one
            shape (NumPy arrays in a column of Python objects, polars' Array, Arrow's fixed-size lists); cells may be
            missing. Sparse rows must hold counts, with a `likelihood` for rows of counts.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the objective. A row with weight zero has the same effect as a removed row.

        X_val : like X, default=None
            Rows for early stopping, instead of a fraction of X.

        Returns
        -------
        self : VAETransformer

        Raises
        ------
        ValueError
            If X is empty, has only one row, duplicate column names or infinite cells; if a parameter is out of range; if
            `relations` holds a relation that cannot be parsed, that rows break, or that contradicts the others; if counts
            are negative, fractional, missing or all zero.
        TypeError
            If X is sparse and `likelihood` does not accept sparse rows, or if a column holds values of another kind.
        KeyboardInterrupt
            After Ctrl-C. The estimator is left fitted, with the best weights so far, and a warning says whether the
            generator was trained. The interrupt is raised again, so that it also ends a search or a loop over fits. If a
            callback stops the fit, nothing is raised and the generator is still trained briefly.
        """
        return self._restore_if_failed(self._fit, X, y, sample_weight, X_val)

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> "VAETransformer":
        """Continue training with one pass over a batch of rows from a stream.

        The first call, or a `fit` before it, determines columns, categories, bounds and scalings, so its rows should be a
        representative sample. The learning rate is `learning_rate_init` for the first thousand steps of `batch_size` rows
        and then falls with the square root of the number of steps, because the end of a stream is not known. No rows are
        held out. A prior that is fitted after training stays that of the previous `fit`, or the standard normal if there was
        none; "vamp" is trained further.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`
            At least two rows in the first call.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row of this call.

        Returns
        -------
        self : VAETransformer
            Each call adds one to `n_iter_` and one entry to `loss_curve_`.
        """
        return self._restore_if_failed(self._partial_fit, X, y, sample_weight)

    def _restore_if_failed(self, fitting: Callable, *arguments: Any) -> "VAETransformer":
        """A refused fit leaves what was there, whole."""
        before = self.__dict__.copy()
        try:
            with own_context():
                return fitting(*arguments)
        except FitInterrupted:
            raise
        except BaseException:
            self.__dict__ = before
            raise

    # the context ends callbacks, which must be before what `fit` set is taken back
    @_fit_context(prefer_skip_nested_validation=True)
    def _fit(self, X, y, sample_weight, X_val):
        going_on = self.warm_start and self.__sklearn_is_fitted__()
        rows, stream = self._prepare(X, sample_weight, going_on, min_rows=2)
        train_rows, held_out = self._split(rows, X_val, stream)
        module = self._new_module(train_rows, stream) if not going_on else deepcopy(self.module_)
        fit = Fit(self, self._schema, module.to(self.device_), train_rows, held_out, at_start=not going_on)
        arguments = {"estimator": self, "X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        self._store(fit.run(stream, rows, arguments))
        self._start_streams(stream)
        fit.close()
        if fit.interrupted:
            fit.warn()
            raise FitInterrupted
        fit.warn_if_collapsed(self.explained_information_)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def _partial_fit(self, X, y, sample_weight):
        going_on = self.__sklearn_is_fitted__()
        rows, stream = self._prepare(X, sample_weight, going_on, min_rows=1 if going_on else 2)
        module = deepcopy(self.module_) if going_on else self._new_module(rows, stream)
        formers = [getattr(self, name, None) or () for name in ("loss_curve_", "generator_loss_curve_")]
        fit = Fit(self, self._schema, module.to(self.device_), rows, at_start=not going_on)
        results, moments = fit.further(self._stream if going_on else stream, formers, self._optimizer_state or (None, None))
        self._store(results)
        self._optimizer_state = moments
        if not going_on:
            self._start_streams(stream)
        return self

    def _prepare(self, X, sample_weight, going_on, min_rows):
        """Validate; learn the schema, unless going on with one; pack. Returns rows and the stream of `random_state`."""
        X = self._validate(X, reset=not going_on, min_rows=min_rows)
        X, weight = _weighted_rows(X, sample_weight, min_rows)
        stream = local_stream(self.random_state)
        self.device_ = _find_device(self.device)
        if going_on:
            self._check_unchanged()
        else:
            _check_likelihoods(self.likelihood)
            names = "likelihood", "categorical_features", "relations", "image_shape"
            parameters = {name: getattr(self, name) for name in names}
            self._schema = Schema().fit(*representative(X, weight, stream), parameters)
            self.ignored_features_ = self._schema.ignored
        self._architecture = self._model_parameters()
        return to_rows(self._schema, X, weight, self.device_), stream

    def _start_streams(self, stream):
        """What `sample` and `partial_fit` draw from; a new fit forgets what the steps before it remembered."""
        self._sample_stream, self._stream = new_stream(stream), new_stream(stream)

    def _store(self, results):
        """Set what is fitted; the steps of a stream start anew."""
        for name, value in results.items():
            setattr(self, name, value)
        self._optimizer_state = None

    def _model_parameters(self):
        """The constructor's parameters that shape the model, as the model takes them."""
        views = [VIEWS[kind](spec) for kind, spec in self._schema.specs]
        return {
            "latent_dim": int(self.latent_dim),
            "hidden_layer_sizes": _layer_sizes(self.hidden_layer_sizes),
            "activation": self.activation,
            "generator": choose_generator(self.generator, views),
            "prior": self.prior,
            "beta": float(self.beta),
        }

    def _check_unchanged(self):
        """Refuse to go on with a model of another shape."""
        for name, value in self._model_parameters().items():
            if name != "beta" and value != (former := self._architecture[name]):
                raise ValueError(
                    f"Training continues the fitted model, whose {name} is {former!r}. Got {value!r} instead: set it back, "
                    "or call fit with warm_start=False."
                )

    def _new_module(self, rows, stream):
        """A model at its start, in float32 whatever torch's default."""
        module = VAE(self._schema.specs, **self._architecture, rng=new_rng(stream)).float().to(self.device_)
        with threads_for(module.n_weights * len(rows)):
            module.start(rows)
        return module

    def _split(self, rows, X_val, stream):
        """Rows to train on, and held out; the latter None without early stopping."""
        if X_val is not None:
            X_val = self._validate(X_val)
            return rows, to_rows(self._schema, X_val, np.broadcast_to(1.0, len(X_val)), self.device_)
        if not self.early_stopping:
            return rows, None
        n_rows = len(rows)
        n_held_out = min(math.ceil(self.validation_fraction * n_rows), n_rows - 1)
        rows.move_to_end(stream.permutation(n_rows)[:n_held_out])
        return rows.take(slice(n_rows - n_held_out)), rows.take(slice(n_rows - n_held_out, None))

    # --- the autoencoder ---------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> np.ndarray:
        """Reduce rows to the means of their latents.

        The result is deterministic and does not depend on the other rows. A row in which all cells are missing is mapped
        to the origin, the mean of the prior.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        Z : ndarray of shape (n_samples, latent_dim)
            float32 if X holds only float32 or float16, and otherwise float64. A DataFrame if `set_output` asks for one.
        """
        check_is_fitted(self)
        X = self._validate(X)
        module, chunks = self._inference(X, "autoencoder")
        with self._computing(len(X)):
            means = ([module.autoencoder.encode(module.read_parts(parts)).mean] for parts in chunks)
            return joined(means, len(X), self._schema.precision(X))[0]

    def inverse_transform(self, Z: Any) -> Any:
        """Decode latents to rows: the mean of numbers, and the most probable category.

        If rows leave their latents uncertain, posterior means are shrunk towards the prior mean. Decoding undoes this
        shrinkage, up to a factor of 2, so that reconstructions are as close as those of PCA. Cells are missing if that is
        most probable, as often as in the data.

        Parameters
        ----------
        Z : {array-like, DataFrame} of shape (n_samples, latent_dim)

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`
            The same container, columns, dtypes and image shape; a pandas index is kept. Counts are expected counts: floats
            in a dense array or DataFrame, none above the maximum of the dtype of `fit`.

        Raises
        ------
        ValueError
            If Z does not have `latent_dim` columns.
        """
        check_is_fitted(self)
        index = getattr(Z, "index", None) if hasattr(Z, "iloc") else None
        Z = np.ascontiguousarray(check_array(Z, dtype=np.float64, estimator=self, input_name="Z"))
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z has {Z.shape[1]} features, but {type(self).__name__} is expecting {self._n_features_out} latents "
                "as input."
            )
        module = self._module_in(self._best_dtype)
        with self._computing(len(Z)):
            batches = gen_batches(len(Z), n_rows_scored(module.autoencoder.widest, self.device_))
            z = (torch.tensor(Z[rows], dtype=module.dtype, device=self.device_) for rows in batches)
            values = joined((module.autoencoder.reconstruct(some) for some in z), len(Z))
        return self._schema.unpack(values, index)

    def sample_latents(self, n_samples: int = 1, *, random_state: Any = None) -> np.ndarray:
        """Draw latents from the fitted prior, `prior_`.

        ``vae.inverse_transform(vae.sample_latents(9))`` decodes nine samples of the prior to means and most probable
        categories. For new rows with the variation of the data, use `sample`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws.

        random_state : int, RandomState instance or None, default=None
            As in `sample`.

        Returns
        -------
        Z : ndarray of shape (n_samples, latent_dim), float64
            In the order of the columns of `transform`, and shrunk like its means. `inverse_transform` undoes the shrinkage,
            and so decodes exactly what was drawn.

        Raises
        ------
        ValueError
            If `n_samples` is not an int in the range [1, inf).

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skvae import VAETransformer
        >>> vae = VAETransformer(2, max_iter=5, random_state=0).fit(load_digits().images)
        >>> vae.inverse_transform(vae.sample_latents(9)).shape
        (9, 8, 8)
        """
        check_is_fitted(self)
        _check_count(n_samples, "n_samples")
        rng = self._draws_rng(random_state)
        with self._computing(n_samples):
            autoencoder = self.module_.autoencoder
            batches = gen_batches(int(n_samples), n_rows_at_once(autoencoder.widest))
            draws = ([autoencoder.sample_latents(rows.stop - rows.start, rng) * autoencoder.shrinkage] for rows in batches)
            return joined(draws, int(n_samples))[0]

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row under the autoencoder.

        The bound of Burda et al. (2016, arXiv:1509.00519, eq. 8) with 64 samples from the posterior. The noise is
        quasi-random and the same for every row and every model, so scores are deterministic and comparable between models.
        The expectation of the bound never exceeds log p(x), and is closer to it for better posteriors. The score depends on
        `latent_dim`, `beta`, the layers and the prior. It does not depend on the generator, whose density is `log_density`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats and in the units of the data: a log-density for continuous columns, and a log-probability for integers,
            booleans and categories. A missing cell contributes only the log-probability of being missing, and a category
            that `fit` did not see contributes no more than the rarest one. Comparable with `PCA.score_samples`.
        """
        check_is_fitted(self)
        return self._log_likelihood(
            self._validate(X),
            "autoencoder",
            N_IMPORTANCE_SAMPLES,
            lambda module, parts, noise: module.autoencoder.log_likelihood(parts, noise),
        )

    def _log_likelihood(self, X, model, copies, log_prob):
        """A log-likelihood of rows X under a model, "autoencoder" or "generator", in the data's own units: (n,).

        log_prob : of the module, parts of rows, and noise (copies, latent_dim), nats of each row in packed units.
        """
        module, chunks = self._inference(X, model, copies)
        noise = module.noise(model, copies)

        def nats(parts):
            jacobian = sum(one.sum(-1) for one in log_jacobian(self._schema, parts))
            return log_prob(module, module.read_parts(parts), noise).cpu() + jacobian

        with self._computing(len(X) * copies):
            return joined(([nats(parts)] for parts in chunks), len(X), self._schema.precision(X))[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of the rows under the autoencoder: the mean of `score_samples`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`
        y : None
            Ignored.

        Returns
        -------
        score : float
            In nats per row and in the units of the data; higher is better. `GridSearchCV` uses it to choose `latent_dim`,
            `beta` and the layers.
        """
        return float(self.score_samples(X).mean())

    def score_cells(self, X: Any, *, kind: str = "log_likelihood") -> Any:
        """Score each cell under the autoencoder, which explains why a row is anomalous.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        kind : {"log_likelihood", "log_p_value"}, default="log_likelihood"
            - "log_likelihood": the mean of log p(cell | z) over the posterior of the latents z. The latents follow most of
              the row, so an unusual cell stands out, whereas in an autoregressive model its neighbours would look unlikely
              too. The cells of a row add up to its score plus KL(p(z | x) || p(z)), which is not negative. These values
              compare the cells of one column; between columns they do not, because densities have units.
            - "log_p_value": log P(a cell of this column is at least as unlikely as this one | the row's other cells). These
              values compare cells across columns: the smallest of a row is the cell to look at.

        Returns
        -------
        scores : {ndarray, DataFrame} of the shape of X
            In nats; at most 0 for "log_p_value", and in the units of the data for "log_likelihood". A missing cell is
            scored for being missing if `fit` saw missing cells in its column, and is 0 otherwise. A column that is not
            modelled is 0.

        Raises
        ------
        ValueError
            If `kind` is neither.

        Notes
        -----
        A p-value is a posterior predictive one (Gelman, Meng & Stern, 1996) under the posterior that leaves the cell out
        (Gelfand, Dey & Chang, 1992; Marshall & Spiegelhalter, 2003). For a number it is min(1, 2 min(F, S)), where
        F = ∫ P(x' <= x | z) p(z | other cells) dz and S is the same with >=: twice the probability of the nearer tail. It is
        uniform for cells that the model samples. For a category, a boolean and a bin of "histogram" it is the sum of the
        probabilities p(x' | other cells) that are not greater than that of the cell; it is uniform or larger.

        Cells are left out in at most eight groups of columns, one group at a time. The integral is over 128 quasi-random,
        importance-weighted latents from Laplace's approximation of p(z | other cells) (Tierney & Kadane, 1986), or from the
        encoder for rows with more than 192 variables. In a column with missing cells, the p-value of a cell that is present
        is multiplied by that of its being present. A column of arrays has the sum of the logarithms over its values, which
        does not compare with other columns.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import VAETransformer
        >>> X = load_iris(as_frame=True).data
        >>> vae = VAETransformer(generator="latent", random_state=0).fit(X)
        >>> odd = X[:1].assign(**{"sepal width (cm)": 35.0})
        >>> vae.score_cells(odd, kind="log_p_value").idxmin(axis=1).item()
        'sepal width (cm)'
        """
        check_is_fitted(self)
        if kind not in CELL_SCORES:
            raise ValueError(f"kind must be one of {', '.join(map(repr, CELL_SCORES))}. Got {kind!r} instead.")
        score, n_samples, copies, in_units = CELL_SCORES[kind]
        X = self._validate(X)
        module, chunks = self._inference(X, "autoencoder", copies)
        noise = module.noise("autoencoder", n_samples)

        def nats(parts):
            cells = [one.cpu() for one in score(module.autoencoder, module.read_parts(parts), noise)]
            jacobians = log_jacobian(self._schema, parts) if in_units else [0.0] * len(cells)
            return [one + jacobian for one, jacobian in zip(cells, jacobians, strict=True)]

        with self._computing(len(X) * n_samples):
            cells = joined(map(nats, chunks), len(X))
        return self._schema.by_column(cells, X)

    # --- the generator -----------------------------------------------------------------------------------------------

    def sample(self, n_samples: int = 1, *, given: Any = None, random_state: Any = None) -> Any:
        """Sample rows from the generator, optionally given values of some columns.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows. If `given` is a DataFrame, the number of rows for each of its rows.

        given : dict or DataFrame, default=None
            Values of some columns: {"sex": "Female", "age": 40}, {"image": array}, or a DataFrame with several such rows.
            None or NaN stands for a missing cell. The other cells are drawn from their distribution given these, so the rows
            are distributed as if unconditional samples had been filtered, however rare the condition. The autoregressive
            generator orders columns: first categories with few levels, then numbers. If a given cell comes late in this
            order, candidate rows are drawn that depend on it from the start, and one of them is chosen with probability
            proportional to its importance weight (sampling-importance-resampling); the number of candidates grows until
            their effective number is sufficient. The latent generator chooses among 64 latents, half from the encoder and
            half from the prior.

        random_state : int, RandomState instance or None, default=None
            None continues a random stream that `fit` seeded: calls differ, and a script is reproducible if the estimator
            has an int `random_state`.

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`
            The same container, columns, dtypes, categories, rounding and signs; cells are missing as often as in the data.
            If `given` is a DataFrame, the first `n_samples` rows belong to its first row, and so on. Identifiers
            (`ignored_features_`) continue counting from call to call, whatever the `random_state`.

        Raises
        ------
        ValueError
            If `given` names an unknown column, or has an unknown category or a number outside the range of its column; if it
            contradicts a relation that every row keeps; or if rows are counts.

        Notes
        -----
        To oversample a rare class, give it: ``pd.concat([X, vae.sample(1000, given={"fraud": True})])``.
        """
        check_is_fitted(self)
        _check_count(n_samples, "n_samples")
        rng = self._draws_rng(random_state)
        if given is not None:
            conditions, told = self._schema.pack_given(given)
            packed = [one.repeat(int(n_samples)) for one in conditions]
            told = [{at: cells.repeat(int(n_samples)) for at, cells in one.items()} for one in told]
            drawn = self._draw_unknown(self.module_.generator.complete, packed, rng)
            return self._schema.unpack(drawn, told=told)
        module = self.module_
        with self._computing(n_samples):
            batches = gen_batches(int(n_samples), n_rows_at_once(module.widest_drawn))
            draws = (module.generator.sample(rows.stop - rows.start, module.autoencoder, rng) for rows in batches)
            values = joined(draws, int(n_samples))
        return self._schema.unpack(values)

    def log_density(self, X: Any) -> np.ndarray:
        """Log-density of each row under the generator, from which `sample` draws.

        For the autoregressive generator of tables it is exact: the sum of log p(cell | cells before it). For the generator
        of images and the latent generator, it is a bound like that of `score_samples`. For a table with columns of arrays,
        it is the sum of the exact log-density of the other columns and of a bound for the arrays given these.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats and in the units of the data, as in `score_samples`. Comparable with `GaussianMixture.score_samples` and
            `KernelDensity.score_samples`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import VAETransformer
        >>> X, _ = load_iris(return_X_y=True)
        >>> vae = VAETransformer(random_state=0).fit(X)
        >>> bool(vae.log_density(X).mean() > -3)
        True
        """
        check_is_fitted(self)
        generator = self.module_.generator
        return self._log_likelihood(
            self._validate(X),
            "generator",
            1 if generator.exact else N_IMPORTANCE_SAMPLES,
            lambda module, parts, noise: module.generator.log_prob(parts, module.autoencoder, noise),
        )

    def conditional_proba(self, X: Any, column: Any) -> Any:
        """Probabilities of the values of a column given the rest of each row, under the generator.

        By Bayes' rule, p(value | rest) is p(value, rest) divided by its sum over all values that the column may have. The
        densities are exact for the autoregressive generator, and bounds for the latent one. If rows hold arrays, the
        probabilities are given the summary of these.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            The cells of `column` are ignored. Cells of other columns may be missing.

        column : str or object
            Name of a column of categories, booleans, or at most 20 distinct numbers ("x0", "x1", ... for an array).

        Returns
        -------
        proba : {ndarray, DataFrame} of shape (n_samples, n_values)
            One column for each value that `fit` saw, in the order of the categorical dtype, or else sorted. Rows add up to
            1. A DataFrame with the values as column names if `fit` saw a DataFrame.

        Raises
        ------
        ValueError
            If `column` is unknown, is not modelled, or holds more than 20 distinct numbers.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skvae import VAETransformer
        >>> X = load_iris(as_frame=True).frame.astype({"target": "category"})
        >>> vae = VAETransformer(random_state=0).fit(X)
        >>> vae.conditional_proba(X[:2], "target").shape
        (2, 3)
        """
        check_is_fitted(self)
        X = self._validate(X)
        at, place, indicator, values, packed = self._schema.levels(column)
        copies = 1 if self.module_.generator.exact else N_IMPORTANCE_SAMPLES
        module, chunks = self._inference(X, "generator", copies)
        noise = module.noise("generator", copies)

        def proba(parts):
            log_joint = []
            for number in packed:
                changed = [*parts[:at], _with_level(parts[at], place, indicator, number), *parts[at + 1 :]]
                several = derived_again(self._schema, changed)
                jacobian = sum(one.sum(-1) for one in log_jacobian(self._schema, several))
                log_prob = module.generator.log_prob_of_table(module.read_parts(several), module.autoencoder, noise)
                log_joint.append(log_prob.cpu() + jacobian)
            return torch.stack(log_joint, -1).softmax(-1)

        with self._computing(len(X) * copies):
            out = joined(([proba(parts)] for parts in chunks), len(X))[0]
        return out if isinstance(X, np.ndarray) else figures_like(X, out, self._schema.as_names(values))

    def impute(self, X: Any, *, n_draws: int | None = None, random_state: Any = None) -> Any:
        """Fill in missing cells given the other cells of the row, once or several times (multiple imputation).

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        n_draws : int, default=None
            Number of completed tables to draw at random. None fills in the best single guess of each cell instead: the mean
            of numbers and the most probable category. Guesses vary less than the data, which biases estimates from them.

        random_state : int, RandomState instance or None, default=None
            Seeds the draws. None continues the stream that `fit` seeded, as in `sample`. With the same seed, a larger
            `n_draws` adds tables and leaves the first ones unchanged.

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`, or list of `n_draws` of them
            Without `n_draws`, means of numbers, rounded as in the data, and most probable categories, for each cell
            separately. With `n_draws`, the missing cells of a row are drawn jointly. Cells that are not missing stay
            unchanged, and the pandas index is kept. Columns that were entirely missing during `fit`, and columns that are
            not modelled, stay missing.

        Raises
        ------
        ValueError
            If `n_draws` is not an int in the range [1, inf), or if rows are counts, which cannot be missing.

        Notes
        -----
        Missing pixels are drawn row by row from the top, with 16 candidates at a time. Candidates that make the next known
        pixels unlikely are replaced by copies of the others (a particle filter). Without `n_draws`, the mean of eight such
        filters is filled in.

        Cells are assumed to be missing at random (Rubin, 1976): given the other cells of the row and which cells are
        missing, a missing cell has the same distribution as one that is present.

        To estimate a quantity, estimate it from each of the completed tables. The mean of the estimates is the pooled
        estimate, and its variance is the mean of their variances plus (1 + 1 / n_draws) times the variance between them
        (Rubin, 1987). The draws come from one fitted model and do not include the uncertainty of its parameters: with a few
        dozen rows, intervals are a little too narrow.
        """
        check_is_fitted(self)
        if n_draws is not None:
            _check_count(n_draws, "n_draws", "None or ")
        self._schema.check_gaps()
        X = self._validate(X)
        index = getattr(X, "index", None) if hasattr(X, "iloc") else None
        if n_draws is not None:
            rng = self._draws_rng(random_state)
            return [self._schema.fill(X, values, index) for values in self._completed(X, n_draws, rng)]
        copies = self.module_.generator.n_candidates
        module, chunks = self._inference(X, "generator", copies)
        with self._computing(len(X) * copies):
            centres = (module.generator.centre(module.read_parts(parts), module.autoencoder) for parts in chunks)
            values = joined(centres, len(X))
        return self._schema.fill(X, values, index)

    def _completed(self, X, n_draws, rng):
        """Packed rows, (n, n_variables) of each part, again and again, with the missing cells drawn anew."""
        packed = [whole_packed(parts) for parts in zip(*(parts for _, parts in packed_parts(self._schema, X)), strict=True)]
        holed = np.flatnonzero(~np.concatenate([one.known for one in packed], axis=1).all(axis=1))
        for _ in range(n_draws):
            values = [one.values.copy() for one in packed]
            if len(holed):
                some = [Packed(one.values[holed], one.known[holed]) for one in packed]
                drawn = self._draw_unknown(self.module_.generator.impute, some, rng)
                for whole, part in zip(values, drawn, strict=True):
                    whole[holed] = part
            yield values

    def _draw_unknown(self, draw, packed, rng):
        """What a method of the generator draws for packed rows, of which some is known: (n, n_variables) of each part.

        In batches whose size the model alone decides: what is drawn must not depend on the memory at hand.
        """
        module, n_rows = self.module_, len(packed[0].values)
        copies = module.generator.n_candidates
        batches = gen_batches(n_rows, n_rows_at_once(module.widest_drawn, copies))
        parts = ([to_part(one, module.dtype, self.device_, rows) for one in packed] for rows in batches)
        with self._computing(n_rows * copies):
            return joined((draw(module.read_parts(some), module.autoencoder, rng) for some in parts), n_rows)

    def _draws_rng(self, random_state):
        """Of the stream that `fit` seeded, or of `random_state`."""
        return new_rng(self._sample_stream if random_state is None else local_stream(random_state), self.device_)

    # --- from containers to tensors ----------------------------------------------------------------------------------

    def _validate(self, X, *, reset=False, min_rows=1):
        """X as a frame, or as an array (n, n_features), or (n, ...) when fitting images; checked as scikit-learn does."""
        if issparse(X):
            return self._validate_sparse(X, reset, min_rows)
        images = (self.image_shape if reset else self._schema.row_shape) is not None
        is_frame = not isinstance(X, np.ndarray) and nw.dependencies.is_into_dataframe(X)
        if is_frame:
            check_frame(X, min_rows, type(self).__name__)
            validate_data(self, X, reset=reset, skip_check_array=True)
            if not images:
                return X
            X = X.to_numpy()
        X = self._check_array(X, min_rows)
        if X.dtype.kind not in ("biuf" if images or X.ndim > 2 else "biufOU"):
            raise TypeError(f"X has dtype {X.dtype}, which is not supported. Convert it to numbers.")
        self._check_row_shape(X.shape[1:], reset)
        if not is_frame:
            validate_data(self, X.reshape(len(X), -1), reset=reset, skip_check_array=True)
        return X.astype(object) if X.dtype.kind == "U" else X

    def _validate_sparse(self, X, reset, min_rows):
        """A matrix of scipy's as compressed rows, where rows are counts."""
        if not (self.likelihood in LIKELIHOODS_OF_COUNTS if reset else self._schema.takes_sparse):
            raise TypeError(
                f"Sparse data was passed for X, but with likelihood={self.likelihood!r} dense data is required. Use "
                "'.toarray()' to convert to a dense numpy array; or, if X holds counts, fit with a likelihood among "
                f"{', '.join(map(repr, LIKELIHOODS_OF_COUNTS))}."
            )
        checks = {"accept_sparse": "csr", "ensure_all_finite": False, "ensure_min_samples": min_rows}
        X = check_array(X, dtype=None, estimator=self, input_name="X", **checks)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return SparseRows(X)

    def _check_array(self, X, min_rows):
        _check_equal_shapes(X)
        checks = {"allow_nd": True, "ensure_all_finite": "allow-nan", "ensure_min_samples": min_rows}
        checked = check_array(X, dtype=None, estimator=self, input_name="X", **checks)
        if not hasattr(X, "dtype") and checked.dtype.kind == "U":  # of a list of lists numpy makes texts of its numbers too
            return check_array(X, dtype=object, estimator=self, input_name="X", **checks)
        return checked

    def _check_row_shape(self, shape, reset):
        """Rows are flat or have the shape of those of `fit`; shape : theirs. Counting features is `validate_data`'s."""
        row_shape = check_shape(self.image_shape) if reset else self._schema.row_shape
        if row_shape is None:
            fits, wanted = reset or len(shape) == 1, "flat rows"
        else:
            flat = (math.prod(row_shape),) if reset else shape[:1]
            fits, wanted = shape in (row_shape, flat), f"images of shape {row_shape}"
        if not fits:
            raise ValueError(f"X has rows of shape {shape}, but {type(self).__name__} is expecting {wanted}.")

    def _inference(self, X, model, copies=1):
        """The module in the type of X, and parts of X as they are kept in memory, as many rows at a time as suits a model.

        model : "autoencoder" or "generator"; copies : of each row, that are computed together.
        float64 keeps a row's latents apart from the other rows'; float32 is as precise as what it is given.
        """
        dtype = min(self._best_dtype, getattr(torch, self._schema.precision(X)), key=lambda dtype: dtype.itemsize)
        module = self._module_in(dtype)
        widest = module.autoencoder.widest if model == "autoencoder" else module.widest
        size = n_rows_scored(widest, self.device_, copies)

        def chunks():
            for _, packed in packed_parts(self._schema, X):
                for rows in gen_batches(len(packed[0].values), size):
                    yield [to_part(one, dtype, self.device_, rows) for one in packed]

        return module, chunks()

    @property
    def _best_dtype(self):
        return torch.float32 if self.device_ == "mps" else getattr(torch, self._schema.precise)

    def _module_in(self, dtype):
        """The model in a type."""
        if dtype == self.module_.dtype:
            return self.module_
        with own_context():
            return self.module_.in_type(dtype)

    @contextmanager
    def _computing(self, n_rows):
        """While a fitted model computes so many rows: no gradients, and as many threads as that is worth."""
        n_products = self.module_.n_weights * min(n_rows, N_ROWS_AT_ONCE)
        with own_context(), threads_for(n_products), torch.no_grad():
            yield

    # --- scikit-learn's hooks ----------------------------------------------------------------------------------------

    @property
    def relations_(self) -> pd.DataFrame:
        """Relations that hold between columns in all, or most, rows: (n_relations, 4)."""
        check_is_fitted(self)
        return as_table(self._schema.relations)

    @property
    def _n_features_out(self):
        return self._architecture["latent_dim"]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = self.likelihood in LIKELIHOODS_OF_COUNTS
        tags.input_tags.positive_only = self.likelihood == "multinomial"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self):
        """Named fields of plain values and arrays, and the version that wrote them."""
        state = dict(super().__getstate__()) | {"format": FORMAT, "version": __version__}
        if "module_" in state:  # arrays open anywhere; a tensor wants the device that it lived on
            state["module_"] = {name: tensor.cpu().numpy() for name, tensor in self.module_.state_dict().items()}
            state["_schema"] = to_fields(self._schema)
            for name in ("_sample_stream", "_stream"):
                state[name] = stream_state(getattr(self, name))
        return state

    def __setstate__(self, state):
        check_format(state)
        state = {name: value for name, value in state.items() if name not in ("format", "version")}
        super().__setstate__(state)
        if "module_" in state:
            self.device_ = _find_device(self.device_, fallback="cpu")
            self._schema = from_fields(state["_schema"])
            for name in ("_sample_stream", "_stream"):
                setattr(self, name, stream_from(state[name]))
            with own_context():
                module = VAE(self._schema.specs, **self._architecture, rng=torch.Generator()).float()
                module.load_state_dict({name: torch.tensor(array) for name, array in state["module_"].items()})
                self.module_ = module.to(self.device_).eval()


def _with_level(part, place, indicator, number):
    """A part whose variable at a place holds a packed number, and is not missing."""
    x = part.x.clone()
    x[:, place] = number
    observed = None if part.observed is None else part.observed.clone()
    unseen = None if part.unseen is None else part.unseen.clone()
    if indicator is not None:
        x[:, indicator] = 0.0
    if observed is not None:
        observed[:, place] = True
    if unseen is not None:
        unseen[:, place] = False
    return Part(x, observed, unseen)


def _check_equal_shapes(X):
    """Refuse a sequence of arrays of unequal shapes, such as images as they come from files, and of arrays and frames."""
    if isinstance(X, list | tuple) and any(nw.dependencies.is_into_dataframe(one) for one in X):
        raise TypeError(
            "X must be one array or DataFrame. Got a sequence that holds a DataFrame: put images into a column of it, "
            "frame.assign(image=list(images))."
        )
    if (isinstance(X, np.ndarray) and X.dtype.kind != "O") or not isinstance(X, np.ndarray | list | tuple):
        return
    shapes = {row.shape for row in X if isinstance(row, np.ndarray) and row.ndim > 1}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise ValueError(f"X holds images of different shapes, {one} and {other}. Crop or resize them to one shape.")


def _check_likelihoods(likelihood):
    """Refuse a name in a dict of likelihoods that is none."""
    allowed = ("auto", "identifier", *LIKELIHOODS, *LIKELIHOODS_OF_COUNTS)
    for column, name in likelihood.items() if isinstance(likelihood, dict) else ():
        if not isinstance(name, str) or name not in allowed:
            raise ValueError(
                f"The likelihood of column {column!r} must be a str among "
                f"{{{', '.join(map(repr, dict.fromkeys(allowed)))}}}. Got {name!r} instead."
            )


def _check_count(value, name, beside=""):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be {beside}an int in the range [1, inf). Got {value!r} instead.")


def _find_device(name, fallback=None):
    """The name of a device that is here: for "auto" CUDA, if there is one, else the CPU.

    Not MPS: it has no float64, which fitting and scoring compute in.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        if fallback is not None:
            return fallback
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be 'auto' or a device that torch can use. Got {name!r}: {reason}") from None
    return name


def _layer_sizes(sizes):
    """Sizes as a tuple of ints; "auto" as it is."""
    if isinstance(sizes, str):
        return sizes
    sizes = tuple(np.atleast_1d(sizes).tolist())
    if any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold ints in the range [1, inf). Got {sizes!r} instead.")
    return sizes


def _weighted_rows(X, sample_weight, min_rows):
    """The rows of positive weight, and their weights (n,)."""
    if sample_weight is None:
        return X, np.broadcast_to(1.0, len(X))
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if (weight > 0).all():
        return X, weight
    kept = np.flatnonzero(weight)
    if len(kept) < min_rows:
        raise ValueError(f"sample_weight is positive for {len(kept)} sample(s), while a minimum of {min_rows} is required.")
    return _safe_indexing(X, kept), weight[kept]
