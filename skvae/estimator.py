"""The public face: `VAETransformer`, under scikit-learn's contract. Public methods, validation, tags and pickling."""

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

# of `score_cells`: what scores packed cells, of how many latents, and whether it is a density, which has units
CELL_SCORES: dict[str, tuple[Callable, int, bool]] = {
    "log_likelihood": (Autoencoder.log_likelihood_of_cells, N_IMPORTANCE_SAMPLES, True),
    "log_p_value": (Autoencoder.log_p_value_of_cells, N_SAMPLES_P_VALUE, False),
}


class VAETransformer(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Variational autoencoder for tables, images and counts.

    Two models of rows in one estimator:

    - The **autoencoder**, p(x) = ∫ p(z) p(x | z) dz, with a few latent variables z [1]_. It reduces (`transform`,
      `inverse_transform`), draws latents (`sample_latents`) and scores (`score_samples`, `score`, `score_cells`). Its scores
      depend on `latent_dim`, `beta` and the layers: `GridSearchCV` chooses these by `score`.
    - The **generator**, which `sample`, `impute`, `log_density` and `conditional_proba` use. For a table it is a chain over
      the cells, each given those before it, in any order [7]_, with an exact density. For images it is a second
      autoencoder, whose decoder draws pixel after pixel, each given latents and the pixels near it that came before [12]_,
      so that images are sharp. For counts, and tables that are very wide, it is the autoencoder itself.

    What always holds between the columns of a table holds in every row that is drawn, without being told: sums, orders, what
    determines what (`relations`).

    A table goes in as it is: numbers, booleans, strings, categories, dates and missing cells, in a pandas or polars
    DataFrame or an array; and rows come out in the same container, with the same columns, dtypes, categories, decimals and
    bounds. A column of a frame may also hold arrays, all of one shape: of two or more axes, images (or spectrograms, or
    series of several channels), of one axis, vectors (such as embeddings). They are encoded, drawn and completed together
    with the other columns: sevens given the label 7, or the label given an image.

    Encoder and decoder each have a linear path that starts at the closed-form optimum of probabilistic PCA [2]_, beside a
    network that starts near zero: training begins where PCA ends.

    Parameters
    ----------
    latent_dim : int, default=2
        Number of latent variables: the columns of `transform`.

    hidden_layer_sizes : "auto", int or tuple of int, default="auto"
        Widths of the encoder's hidden layers; the decoder has the same in reverse. "auto": (256, 256); and for images of
        more than 256 numbers residual convolutions [13]_ over patches, before and after layers of that width. Sizes that
        are given make perceptrons of images too. An empty tuple gives a linear model: probabilistic PCA with a noise
        variance for every column, where all columns are continuous. The autoregressive generator has widths of its own.

    activation : {"gelu", "relu", "silu", "softplus", "tanh"}, default="silu"
        Activation of the hidden layers.

    likelihood : str or dict, default="auto"
        Distribution of a cell given the latents: a name for every column that can take it (the others remain on "auto"),
        or a dict of names by column (by "x0", "x1", ... for an array). "auto" is the choice that won on held-out score over
        many tables:

        - floats, and of tables of fewer than 1,000 rows integers, dates and durations on a fine grid: "normal_scores";
        - other integers, dates, durations, and any numbers of which there are few, or of which one is much heavier than
          those beside it: "histogram" (of fewer than 200 integers on a coarse grid: "gaussian");
        - number columns of which fit sees 0 and 1 only, and booleans: "bernoulli";
        - strings, categories, and the columns of `categorical_features`: "categorical"; but strings that are nearly all
          different (from 50 rows on) are "identifier";
        - images: "bernoulli" if their pixels have two values, else "gaussian", discrete where pixels lie on at most 256
          levels (bytes, floats that count them, bytes over 255). In the autoregressive generator of images "gaussian" is a
          mixture of logistic distributions, discrete in the same way [4]_. "bernoulli" for grey pixels, as shares of white,
          is the classic example of autoencoders: no distribution of them, so that images are drawn black and white, by the
          autoencoder.

        For numbers:

        - "normal_scores": a smooth rising curve takes numbers to normal scores [11]_, which are nearly normal (Student's t,
          its degrees of freedom learned; in the autoregressive generator of 1,000 rows and more one that tilts a mixture of
          logistic distributions [4]_);
        - "gaussian": normal with a scale learned for every column; of an integer, the probability of its cell [4]_;
        - "student_t": robust to outliers; scale and degrees of freedom are learned;
        - "log_normal": positive numbers, whose logarithm is normal;
        - "histogram": a softmax over quantile bins, uniform in a bin (in the autoregressive generator one that tilts a
          mixture of logistic distributions); heavy values are bins of their own;
        - "bernoulli": numbers between 0 and 1 as shares of yes; their score is the expected log-probability, and `sample`
          draws 0 or 1;
        - "continuous_bernoulli": numbers between 0 and 1, with a density [5]_;
        - "poisson", "negative_binomial", "zero_inflated_negative_binomial": whole numbers from 0 up.

        For rows of counts, such as words of documents or molecules of genes in cells, which may be sparse (a matrix or array
        of scipy, or a DataFrame whose columns all are Sparse; as other likelihoods do not take sparse rows), given the total
        of a row, and with the shares of its things a softmax of what the decoder puts out: so latents tell what a row is
        made of, and not how much of it there is. All scores are given the total.

        - "multinomial": N! / prod x_j! prod p_j^x_j, a topic model whose topics mix in log-odds [14]_; also of dense rows,
          arrays and DataFrames of whole numbers from 0 up;
        - "poisson": of mean N p_j; "negative_binomial": of that mean m and variance m + m² / r_j, the shape r_j learned for
          every column; "zero_inflated_negative_binomial": also a zero with a learned probability [15]_. Of dense rows these
          are likelihoods of single columns, as above.

        For categories: "categorical", or "ordinal" where their order (of the dtype, else sorted) means something [6]_.

        For integers and strings, in a dict: "identifier", names of rows. They are not modelled; new ones are made in kind,
        and never the same twice.

    generator : {"auto", "autoregressive", "latent"}, default="auto"
        What rows are drawn from. "latent": the autoencoder itself, given whose latents cells are independent.
        "autoregressive": a model of its own, trained after the autoencoder, which depends on no parameter of the latter. In
        that of a table each cell depends on those before it, in any order [7]_, and the density is exact. In that of images
        each pixel depends on 32 latents and on pixels near it that come before, row by row from the top, and a pixel's
        channels on those before them [12]_; the density is a bound. Where a frame holds arrays beside other columns, these
        are drawn by a chain as any table, then latents of the arrays given them, and then the arrays given both [16]_; where
        arrays are known, cells are drawn given a summary of these, 16 numbers that are trained to tell the cells. "auto":
        autoregressive for images, and tables of up to 192 variables (columns, and again those with missing cells), else
        latent. Where only latents are wanted, "latent"
        saves the generator's part of the fit, and changes neither them nor any score.

    prior : {"auto", "normal", "mixture", "flow", "vamp"}, default="auto"
        Distribution p(z) of the latents, under which `score_samples` scores, and from which `sample_latents` draws, and
        `sample` with generator="latent". All but
        "vamp" train the bound under the standard normal; "mixture" and "flow" are then fitted to draws of the posteriors,
        which leaves `transform` as it is and raises the bound [8]_.

        - "normal": standard normal;
        - "mixture": mixture of normals, with as many components as held-out draws are likeliest under;
        - "flow": autoregressive flow, the conditionals of which are mixtures of normals [9]_;
        - "vamp": mixture of normals learned together with the encoder. As in the VampPrior [10]_ the bound draws it to the
          aggregate posterior, but its means and scales are free parameters, not the encoder's of pseudo-inputs;
        - "auto": "normal", unless "mixture", or from 5,000 rows on "flow", makes held-out draws likelier by more than 0.03
          nats and two standard errors.

        The smaller `beta`, the more the choice matters. Without early stopping, every tenth row is held out of it.

    beta : float, default=1.0
        Weight of the KL divergence in the objective [3]_. 1 is the evidence lower bound; below, reconstructions
        are closer and latents tell more; above, latents are fewer. `score_samples` always scores with 1.

    relations : "auto", None or list of str, default="auto"
        What holds between the columns of a table. "auto": what `fit` finds on all rows, if chance, were columns independent,
        would not show it in so many: of a hundred tables of independent columns less than one has a relation found. A list
        changes that, in the words in which `relations_` prints: a text adds a relation, one that begins with "not " removes
        it, and one that begins with "mostly " may be broken by some rows. None: nothing is looked for. Names that are not
        plain words stand between backticks. The kinds:

        - "total = fare + tip + 2.5", also with "-", whole factors ("100 * hour + minute"), and "+ one of 0, 1, 2.5"; within
          the rounding of the left side; of numbers, or of dates and durations;
        - "amount = quantity * price";
        - "end >= start", of numbers or dates;
        - "zone -> borough": every value of one column goes with one of the other, which may also be "`x` missing" or
          "x > 0"; "a <-> b": both ways;
        - "combinations of a and b": values that never occur together, though each is frequent, are not drawn together;
        - "a missing only where b missing", and "a missing where b missing": both ways;
        - "exactly one of a, b, c" and "at most one of a, b, c", of columns of yes or no.

        What all rows keep, all draws keep; a sum that some rows break is kept as often. `log_density` knows them: a cell
        that follows from others has a probability of one, or that with which it follows; a row that breaks what none of n
        rows broke fails with probability 1 / (n + 2). Integers of at most 64 values of which single values matter are
        modelled as categories.

    categorical_features : "from_dtype", None or array-like of {bool, int, str}, default="from_dtype"
        Columns to take as categories although they hold numbers: a mask, indices or names, beside the columns of strings
        and of a categorical dtype, which always are categories. "from_dtype" and None: those only.

    image_shape : tuple of int, default=None
        Shape of the images when X holds them flat. Arrays with more than two axes are images already: (height, width),
        (height, width, channels), or (channels, height, width) where the first size is 1, 3 or 4 and the last is not.
        Series of equal length are images too: (n_samples, n_times) with ``image_shape=(n_times,)``, or several at a time,
        (n_samples, n_times, n_series): they are drawn time after time.

    max_iter : int or "auto", default="auto"
        Number of epochs at most, of the autoencoder and of the generator each. "auto": 100, and fewer of many rows. The
        autoencoder of a table sees half a million rows (or 12 million cells), that of images half a million (or 400 million
        pixels), at least 5 epochs (perceptrons: 3 million, at least 10), and the autoregressive generator 700,000 (or 11
        million cells), that of images 450,000 (grey and colour fewer), but each at least 3 epochs; beyond two million rows
        fewer again, so that it sees about 20 million. The learning rate decays over this budget. More epochs make the
        generator of images better for long.

    batch_size : int or "auto", default="auto"
        Rows a step. "auto": the square root of the number of rows, up to a power of two, and twice as many for an
        autoencoder of up to 2^18 weights, between 128 and 2048; the autoregressive generator of many columns takes fewer,
        down to 128, so that its layers stay in the processor's cache; never more than there are rows.

    learning_rate_init : float, default=0.003
        Largest step of the optimiser (Adam with Nesterov's momentum) where gradients are noise; where they agree, steps are
        up to 2.1 times as long; those of the generator are twice as long. It warms up briefly and decays along a line to
        zero.

    early_stopping : bool, default=True
        Whether to hold out `validation_fraction` of the rows, to stop when their bound no longer improves, and to restore
        the weights of the best epoch. Otherwise all rows train for `max_iter` epochs.

    validation_fraction : float, default=0.1
        Share of rows held out for early stopping, at least one. Ignored when `X_val` is given to `fit`.

    n_iter_no_change : int, default=20
        Epochs without an improvement by `tol` after which training stops. The autoregressive generator waits no longer than
        3 epochs (or 500 steps) for one by 0.0003 nats per variable: longer, it would learn rows by heart.

    tol : float, default=1e-4
        Smallest improvement of the held-out bound that counts, in nats per row.

    warm_start : bool, default=False
        Whether `fit` goes on from the previous solution. Columns, categories and scalings remain those of the first fit.

    device : str, default="auto"
        Where to compute: "auto" takes CUDA if there is such a device, else the CPU; or any name that torch knows.

    random_state : int, RandomState instance or None, default=None
        Seeds the weights, the held-out rows, the order of rows, the noise of training and the draws of `sample`. An int
        makes `fit` reproducible.

    verbose : int, default=0
        Print a line every so many epochs: what is trained, the epoch of how many, the score in training and held out (nats
        per row, the greater the better), and how long it may still take; 0 prints nothing.

    Attributes
    ----------
    module_ : torch.nn.Module
        Both fitted models, `module_.autoencoder` and `module_.generator`, in float32. `module_.autoencoder.encoder` is a
        module by itself, from packed cells to means and log-scales of latents.

    prior_ : {"normal", "mixture", "flow", "vamp"}
        The prior that latents are drawn from: what "auto" chose.

    generator_ : {"autoregressive", "latent"}
        What rows are drawn from: what "auto" chose.

    relations_ : DataFrame of shape (n_relations, 4)
        What holds between columns: `relation`, in the words that `relations` takes, `kind`, the `share` of rows that keep
        it, and `columns`. Empty of images.

    ignored_features_ : list
        Names of the columns that are not modelled, as they name rows.

    n_iter_ : int
        Number of epochs of the autoencoder that ran.

    loss_curve_ : list of float
        The autoencoder's objective on the training rows, negative bound in nats per row and in the data's own units, by
        epoch.

    validation_scores_ : list of float or None
        The bound on the held-out rows, in nats per row and in the data's own units (its KL weighted by `beta`), by epoch.
        None without early stopping.

    best_validation_score_ : float or None
        The greatest of them, or of the starting point: that of the restored weights, before a prior is fitted to them.

    generator_loss_curve_ : list of float or None
        The negative log-likelihood of the generator on the training rows, in nats per row and in the data's own units, by
        epoch. None where the autoencoder generates; empty where training gained nothing on held-out rows beside the closed
        form that it starts from, which then is the generator.

    explained_information_ : ndarray of shape (latent_dim,)
        Mean KL divergence of each latent from N(0, 1) on the training rows (of more than 50,000, on as many of them),
        whatever the prior, in nats, descending. A latent near 0 is not used.

    n_features_in_ : int
        Number of columns, or of pixels, seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, where they are all strings.

    device_ : str
        Where `fit` computed.

    See Also
    --------
    sklearn.decomposition.PCA : Its linear ancestor, with the same kind of score.
    sklearn.mixture.GaussianMixture : Density of continuous columns, to be compared with `log_density`.
    sklearn.neighbors.KernelDensity : The same, without parameters.

    Notes
    -----
    A missing cell is left out of the likelihood, and the encoder sees it as missing. A column in which `fit` saw missing
    cells gets a yes-or-no variable of its own, so that `sample` generates missing cells where the data have them. Rows
    with a missing cell in a column that was complete during `fit` are scored by an encoder that never saw such a row: the
    bound is looser there.

    Images of whole numbers have probabilities: ``-score / (n_pixels * log(2))`` are the bits per dimension of the
    literature, with all channels counted among the pixels.

    A category that `fit` did not see is encoded as missing, and scored no higher than the rarest that it saw, with one
    warning a column. Texts that are nearly all different (more than nine in ten, from 50 rows on) are names of rows: they
    are not modelled, listed in `ignored_features_`, and new ones are made in kind; where some of them repeat, `fit` warns. A
    column of more than 10,000 different texts that repeat is refused. Dates and durations are counted from the earliest in
    the coarsest unit that writes them all, and integers beyond 2**53 from the least; a range of more than 2**50 such units
    is rounded. A column of Python objects is what all of its cells are: booleans, numbers, decimals, dates or strings.

    Sparse counts remain sparse in memory, and become dense a batch at a time. `inverse_transform` gives the expected counts
    of a row of the mean total, dense; `sample` first draws a row's total, from a smooth distribution that is fitted to the
    totals (a monotone spline between their logarithms and a normal variable, and the share of empty rows), and gives back
    rows of the kind, sparse or dense, that `fit` saw. An empty row is legal: its posterior is the prior, and `fit` learns
    nothing from it but how frequent such rows are. The words of a topic are those of which expected counts rise most at the
    centre of a cluster of latents (``vae.inverse_transform(centres)``), those of a latent where they change most along it.

    Arrays may be larger than memory (`numpy.memmap`): they are read in parts, and kept as float32 for training. From
    200,000 rows of 100 columns on (20 million cells), columns and scalings of an array are learned from as many cells: rows
    drawn at random, and those that hold the extremes of a column.

    Large layers are multiplied in bfloat16 while training, where the processor has instructions for it (AVX512-BF16, or
    CUDA from Ampere on); weights remain float32, and what a fitted model computes is float32 or float64 throughout.

    Callbacks of `sklearn.callback` are called for every epoch, and may end the fit: `set_callbacks(ProgressBar())`.

    Results on the CPU are the same bits for the same `random_state`, versions of libraries and number of threads.

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
            shape (NumPy arrays in a column of Python objects, polars' Array, Arrow's lists of fixed size); cells may be
            missing.
            Sparse rows hold counts, by a `likelihood` of these.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the objective; a row of weight zero is as good as removed.

        X_val : like X, default=None
            Rows for early stopping, in place of a share of X.

        Returns
        -------
        self : VAETransformer

        Raises
        ------
        ValueError
            If X is empty, has one row, duplicate column names or infinite cells, or if a parameter is out of range; if
            `relations` states one that cannot be read, that rows break, or that cannot hold beside the others; if counts are
            negative, fractional or missing, or all are zero.
        TypeError
            If X is sparse and `likelihood` takes no sparse rows, or a column holds anything else.
        KeyboardInterrupt
            After Ctrl-C: the estimator is left fitted, both models at their best so far, with a warning that says whether
            the generator was trained; then the interrupt goes on, so that a search or a loop over fits ends too. A callback
            that stops the fit raises nothing, and the generator is still trained, however briefly.
        """
        return self._restore_if_failed(self._fit, X, y, sample_weight, X_val)

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> "VAETransformer":
        """Go on fitting with a part of a stream: one pass over its rows.

        The first call, or a `fit` before it, decides columns, categories, bounds and scalings: make it a sample that shows
        them. The step is `learning_rate_init` for a thousand steps of `batch_size` rows, and then falls with the square root
        of their number, as the end of a stream is not known. No rows are held out. A prior that is fitted after training
        remains that of the `fit` before, else the standard normal; "vamp" is learned further.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`
            At least two rows in the first call.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row among those of the call.

        Returns
        -------
        self : VAETransformer
            `n_iter_` counts the calls beside the epochs of `fit`, and `loss_curve_` has an entry for each.
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
                    f"warm_start=True goes on with the fitted model, whose {name} is {former!r}. Got {value!r} instead: "
                    "set it back, or fit with warm_start=False."
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

        Deterministic, and independent of the other rows. A row with every cell missing is at the origin, the prior's mean.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        Z : ndarray of shape (n_samples, latent_dim)
            float32 if X holds nothing but float32 or float16, else float64. A DataFrame under `set_output`.
        """
        check_is_fitted(self)
        X = self._validate(X)
        module, chunks = self._inference(X, "autoencoder")
        with self._computing(len(X)):
            means = ([module.autoencoder.encode(module.read_parts(parts)).mean] for parts in chunks)
            return joined(means, len(X), self._schema.precision(X))[0]

    def inverse_transform(self, Z: Any) -> Any:
        """Decode what `transform` returns to the centre of its rows: the mean of numbers, the most probable category.

        The means of posteriors are shrunk towards the prior's, where rows leave their latents uncertain; decoding undoes
        that, up to a factor of 2, so that reconstructions come as close as PCA's. Cells are missing where that is most
        probable, as often as in the data.

        Parameters
        ----------
        Z : {array-like, DataFrame} of shape (n_samples, latent_dim)

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`
            The same container, columns, dtypes and shape of images; a pandas index is kept. Of counts, the expected ones,
            floats, in a dense array or DataFrame, none above what the dtype of `fit` holds.

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

        ``vae.inverse_transform(vae.sample_latents(9))`` are the centres of nine new rows, whatever the prior; for new rows
        that are drawn, see `sample`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws.

        random_state : int, RandomState instance or None, default=None
            As in `sample`.

        Returns
        -------
        Z : ndarray of shape (n_samples, latent_dim), float64
            In the order of the columns of `transform`, and shrunk as much as its means are, which `inverse_transform`
            undoes: it decodes exactly what was drawn.

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

        The bound of Burda et al. (2016, arXiv:1509.00519, eq. 8) with 64 samples from the posterior, the same quasi-random
        noise for every row and every model: deterministic, and comparable between models. Its expectation never exceeds
        log p(x), and comes closer with better posteriors. It depends on `latent_dim`, `beta`, the layers and the prior, and
        not on the generator, whose density is `log_density`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats, and in the data's own units: the log of a density for continuous columns, of a probability for
            integers, booleans and categories; a missing cell counts only whether it is missing, and a category that `fit`
            did not see counts no more than the rarest that it saw. Comparable with the `score_samples` of `PCA`.
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
            In nats per row and in the data's own units; greater is better. `GridSearchCV` chooses `latent_dim`, `beta` and
            the layers by it.
        """
        return float(self.score_samples(X).mean())

    def score_cells(self, X: Any, *, kind: str = "log_likelihood") -> Any:
        """How likely each cell is under the autoencoder: the reasons of an anomaly.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        kind : {"log_likelihood", "log_p_value"}, default="log_likelihood"
            - "log_likelihood": the mean of log p(cell | z) over the posterior of the latents z: they follow the bulk of a
              row, so that an odd cell stands out, where a chain of conditionals would blame its neighbours. A row's cells
              add up to its score plus what its latents tell, KL(p(z | x) || p(z)), which is not negative. Compares cells of
              one column; between columns it does not, as densities have units.
            - "log_p_value": log P(a cell of this column is at least as unlikely as this one | the row's other cells).
              Compares across columns: the least of a row is the cell to look at.

        Returns
        -------
        scores : {ndarray, DataFrame} of the shape of X
            In nats, at most 0 for "log_p_value"; log-likelihoods are in the data's own units. A missing cell is scored for
            being missing, where `fit` saw missing cells in the column, else 0; so is a column that is not modelled.

        Raises
        ------
        ValueError
            If `kind` is neither.

        Notes
        -----
        A p-value is ∫ P(p(x' | z) <= p(x | z)) p(z | other cells) dz, a posterior predictive one (Gelman, Meng & Stern,
        1996) of the posterior that leaves the cell out (Gelfand, Dey & Chang, 1992; Marshall & Spiegelhalter, 2003): 1 at
        the mode, and small for a cell that is unlikely. Given the latents that a row was drawn with, it is uniform, or
        greater where cells are discrete. For a category it is the probability of those that are no likelier; for a number
        that of both tails, beyond it and as far on the other side ("histogram": of the bins that are no likelier); for a
        count, and an integer by "gaussian", twice that of the nearer tail. Cells are left out in at most eight groups of
        columns, one group after the other, with an integral over 16 quasi-random latents, importance-weighted.
        A cell that is there where most are missing has both probabilities multiplied; a column of arrays has the sum of its
        numbers' logarithms, which does not compare with other columns.

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
        score, n_samples, in_units = CELL_SCORES[kind]
        X = self._validate(X)
        module, chunks = self._inference(X, "autoencoder", n_samples)
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
        """Draw rows from the generator, optionally given values of some columns.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; for each of the rows of `given`, if that is a frame.

        given : dict or DataFrame, default=None
            Values of some columns: {"sex": "Female", "age": 40}, {"image": array}, or a frame with several such rows. None
            or NaN stands for a missing cell. Other cells are drawn from their distribution given these: rows come out as if
            free draws had been filtered, however rare the condition. In the autoregressive generator, categories of
            few levels come first, then numbers. Where a given cell comes late in that order, candidates are drawn that know
            it from the start, and taken by how likely they are (sampling-importance-resampling), until their effective
            number suffices; the latent generator takes one of 64 latents, half of the encoder's and half of the prior's.

        random_state : int, RandomState instance or None, default=None
            None draws from a stream that `fit` seeded: calls differ, and a script with an int `random_state` of the
            estimator repeats.

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`
            The same container, columns, dtypes, categories, grids and signs; cells are missing as often as in the data.
            With a frame of conditions, `n_samples` rows for its first row, and so on. Names of rows (`ignored_features_`) go
            on counting from call to call, whatever the `random_state`.

        Raises
        ------
        ValueError
            If `given` names a column that fit did not see, or has a value that fit did not see there: an unknown category, a
            number beyond the least and greatest; if it contradicts a relation that every row keeps; or if rows are counts.

        Notes
        -----
        A rare class is oversampled by asking for it: ``pd.concat([X, vae.sample(1000, given={"fraud": True})])``.
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
        """Log-density of each row under the generator: of what `sample` draws.

        Exact for the autoregressive generator of tables: the sum of log p(cell | cells before it). For that of images, and
        the latent one, it is a bound as that of `score_samples`, of the latents of each; of rows of several parts the exact
        density of the table and a bound for the arrays given it.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, and in the data's own units, as in `score_samples`. Comparable with the `score_samples` of
            `GaussianMixture` and `KernelDensity`.

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

        By Bayes' rule, p(value | rest) = p(value, rest) / sum of p(other value, rest): the density at every value that the
        column may have. Exact for the autoregressive generator, and from bounds for the latent one; where the row holds
        arrays, given their summary.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Cells of the column count for nothing; those of others may be missing.

        column : str or object
            Name of a column of categories, booleans, or at most 20 different numbers ("x0", "x1", ... for an array).

        Returns
        -------
        proba : {ndarray, DataFrame} of shape (n_samples, n_values)
            One column for each value that `fit` saw, in the order of the categorical dtype, else sorted; rows add up to 1.
            A DataFrame with the values as names where `fit` saw a frame.

        Raises
        ------
        ValueError
            If `column` is not one that `fit` saw, is not modelled, or holds more than 20 different numbers.

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
        """Fill missing cells, given the row's other cells: with their centre, or with draws (multiple imputation).

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        n_draws : int, default=None
            Number of completed tables to draw. None fills in the centre instead: the best single guess of each cell, whose
            spread is too small for what is estimated from it.

        random_state : int, RandomState instance or None, default=None
            Of the draws. None takes the stream that `fit` seeded, as `sample` does. The first tables of many are those of
            few.

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`, or list of `n_draws` of them
            Means of numbers on their grid, and most probable categories, each cell by itself; or, with `n_draws`, draws: the
            missing cells of a row follow each other as cells of the data do. Cells that are not missing are untouched, and
            the pandas index is kept. Cells of columns that `fit` saw missing throughout, or that are not modelled, remain
            missing.

        Raises
        ------
        ValueError
            If `n_draws` is not an int in the range [1, inf), or rows are counts, of which none can be missing.

        Notes
        -----
        Missing pixels are drawn row by row from the top, for 16 candidates at a time: candidates under which the next known
        pixels are unlikely give way to the others (a particle filter). Without `n_draws`, the mean of eight such filters is
        filled in.

        Cells count as missing at random (Rubin, 1976): a missing cell is distributed as it would be, were it there, given
        the row's other cells and which others are missing.

        Fit what you are after to each of the drawn tables. The mean of the estimates is the estimate, and its variance is
        the mean of their variances plus (1 + 1 / n_draws) times the variance between them (Rubin, 1987). The draws come from
        one fitted model, whose own uncertainty they leave out: on a few dozen rows, intervals are a little too narrow.
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
        with own_context(), threads_for(n_products), torch.inference_mode():
            yield

    # --- scikit-learn's hooks ----------------------------------------------------------------------------------------

    @property
    def relations_(self) -> pd.DataFrame:
        """What always, or mostly, holds between columns: (n_relations, 4)."""
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
            "X must be one array or frame. Got a sequence that holds a frame: put images into a column of it, "
            "frame.assign(image=list(images))."
        )
    if (isinstance(X, np.ndarray) and X.dtype.kind != "O") or not isinstance(X, np.ndarray | list | tuple):
        return
    shapes = {row.shape for row in X if isinstance(row, np.ndarray) and row.ndim > 1}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise ValueError(f"X holds images of unequal shapes, such as {one} and {other}. Crop or resize them to one shape.")


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
        raise ValueError(f"device must be 'auto' or a device that torch finds here. Got {name!r}: {reason}") from None
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
