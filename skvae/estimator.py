"""The public face: `VAETransformer`, under scikit-learn's contract. Validation and bookkeeping; nothing mathematical."""

import math
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import ClassVar, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import _safe_indexing, check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skvae.likelihoods import LIKELIHOODS
from skvae.model import N_IMPORTANCE_SAMPLES, VAE, Rows, normal_noise
from skvae.networks import ACTIVATIONS
from skvae.priors import PRIORS
from skvae.schema import ImageSchema, TableSchema, check_frame
from skvae.training import DivergedError, History, Moments, train, train_further

MAX_EPOCHS, MOST_ROWS_SEEN = 100, 20_000_000  # the latter where the least number of epochs would see more
STEP_BY_CELL, MAX_VARIABLES = 2.0, 192  # of an autoregressive decoder: of the learning rate; it is not made for more
# it stops after so many epochs, but at least steps, without a gain of nats a variable: longer, it would learn rows by heart
PATIENCE_BY_CELL, MIN_STEPS_BY_CELL, TOL_BY_CELL = 3, 500, 3e-4
MIN_BATCH, MAX_BATCH = 128, 2048
SMALL = 2**18  # weights of a network whose steps take longer than their products: twice the rows take little more time
N_HIDDEN_A_STEP = 2**20  # hidden units of the autoregressive decoder: the layers of more would leave the processor's cache
INTERRUPTED = "Training interrupted by user; the model is the best so far."
# of float64, between containers and tensors: as many as stay in the processor's cache; where columns are packed one by one,
# as many as make up for looking at each
N_CELLS_AT_ONCE, N_CELLS_BY_COLUMN = 2**19, 2**22
MIN_ROWS_SCHEMA, N_CELLS_SCHEMA = 100_000, 20_000_000  # of an array, that its schema is learned from
N_VALIDATION_SAMPLES = 8
N_ROWS_AT_ONCE, N_NUMBERS_AT_ONCE = 4096, 2**23  # drawn: rows, and numbers of the widest layer
N_NUMBERS_IN_CACHE, N_TENSORS = 2**19, 12  # scored at a time: numbers of the widest layer, and tensors as wide
LEAST_SCORED = 64  # rows, copies counted, that make up for reading the weights


class Budget(NamedTuple):
    """How long to train at most: until so many rows and cells were seen, within bounds of epochs."""

    rows: float
    cells: float = math.inf
    least: int = 3

    def n_epochs(self, n_rows: int, n_variables: int) -> int:
        least = min(self.least, max(1, MOST_ROWS_SEEN // n_rows))
        return min(MAX_EPOCHS, max(least, int(min(self.rows, self.cells / n_variables)) // n_rows))


# of latents that generate, of those beside an autoregressive decoder that does, and of that decoder
LATENTS, LATENTS_BESIDE, BY_CELL = Budget(3e6, least=10), Budget(5e5, 12e6), Budget(7e5, 11e6)


class VAETransformer(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Variational autoencoder for tables and images.

    A probabilistic model of rows, p(x) = ∫ p(z) p(x | z) dz, with a few latent variables z [1]_. It reduces
    (`transform`, `inverse_transform`), generates (`sample`) and scores (`score_samples`). A table goes in as it is: numbers,
    booleans, strings, categories, dates and missing cells, in a pandas or polars DataFrame or an array; and rows come out
    in the same container, with the same columns, dtypes, categories, decimals and bounds.

    Encoder and decoder each have a linear path that starts at the closed-form optimum of probabilistic PCA [2]_, beside a
    perceptron that starts near zero: training begins where PCA ends.

    Parameters
    ----------
    latent_dim : int, default=2
        Number of latent variables: the columns of `transform`.

    hidden_layer_sizes : int or tuple of int, default=(256, 256)
        Widths of the encoder's hidden layers; the decoder has the same in reverse. An empty tuple gives a linear model:
        probabilistic PCA with a noise variance for every column, where all columns are continuous.

    activation : {"gelu", "relu", "silu", "softplus", "tanh"}, default="silu"
        Activation of the hidden layers.

    likelihood : str or dict, default="auto"
        Distribution of a cell given the latents: a name for every column that can take it (the others remain on "auto"),
        or a dict of names by column (by "x0", "x1", ... for an array). "auto" is the choice that won on held-out score over
        many tables:

        - integers, dates, durations, and floats that repeat themselves (few values, or a heavy one): "histogram", from 200
          rows on; any floats that are far from normal, from 1,000 rows on;
        - other numbers: "gaussian";
        - number columns of which fit sees 0 and 1 only, and booleans: "bernoulli";
        - strings, categories, and the columns of `categorical_features`: "categorical";
        - images: "bernoulli" if their pixels have two values, else "gaussian", discrete where pixels lie on at most 256
          levels.

        For numbers:

        - "gaussian": normal with a scale learned for every column; of an integer, the probability of its cell [4]_;
        - "student_t": robust to outliers; scale and degrees of freedom are learned;
        - "log_normal": positive numbers, whose logarithm is normal;
        - "histogram": a softmax over quantile bins, uniform in a bin (in the autoregressive decoder one that tilts a
          mixture of logistic distributions [4]_); heavy values are bins of their own;
        - "bernoulli": numbers between 0 and 1 as shares of yes; their score is the expected log-probability, and `sample`
          draws 0 or 1;
        - "continuous_bernoulli": numbers between 0 and 1, with a density [5]_;
        - "poisson", "negative_binomial", "zero_inflated_negative_binomial": whole numbers from 0 up.

        For categories: "categorical", or "ordinal" where their order (of the dtype, else sorted) means something [6]_.

    decoder : {"auto", "autoregressive", "factorised"}, default="auto"
        What stands for p(x) in `sample`, `score_samples` and `impute`. "factorised": the latents, given which cells are
        independent. "autoregressive": a decoder of its own, trained beside the latents, in which each cell depends on those
        before it, in any order [7]_; its score is exact, and does not depend on `latent_dim` or `beta`: choose those with
        "factorised". "auto": autoregressive for tables of up to 192 variables (columns, and again those with missing
        cells), else factorised. `transform`, `inverse_transform` and `score_cells` are the latents' in either case.

    prior : {"auto", "normal", "mixture", "flow", "vamp"}, default="auto"
        Distribution p(z) of the latents, from which `sample` draws them and under which `score_samples` scores. All but
        "vamp" train the bound under the standard normal; "mixture" and "flow" are then fitted to draws of the posteriors,
        which leaves `transform` as it is and raises the bound [8]_.

        - "normal": standard normal;
        - "mixture": mixture of normals, with as many components as held-out draws are likeliest under;
        - "flow": autoregressive flow, the conditionals of which are mixtures of normals [9]_;
        - "vamp": mixture of normals learned together with the encoder. As in the VampPrior [10]_ the bound draws it to the
          aggregate posterior, but its means and scales are free parameters, not the encoder's of pseudo-inputs;
        - "auto": "normal", unless "mixture", or from 5,000 rows on "flow", makes held-out draws likelier by more than 0.03
          nats and two standard errors. Where the decoder is autoregressive, latents do not generate: "normal".

        The smaller `beta`, the more the choice matters. Without early stopping, every tenth row is held out of it.

    beta : float, default=1.0
        Weight of the KL divergence in the objective [3]_. 1 is the evidence lower bound; below, reconstructions
        are closer and latents tell more; above, latents are fewer. `score_samples` always scores with 1.

    categorical_features : "from_dtype", None or array-like of {bool, int, str}, default="from_dtype"
        Columns to take as categories although they hold numbers: a mask, indices or names, beside the columns of strings
        and of a categorical dtype, which always are categories. "from_dtype" and None: those only.

    image_shape : tuple of int, default=None
        Shape of the images when X holds them flat. Arrays with more than two axes are images already.

    max_iter : int or "auto", default="auto"
        Number of epochs at most; where the decoder is autoregressive, of the latents and of the decoder each. "auto": 100,
        and fewer beyond 30,000 rows, so that training sees about 3 million rows, but at least 10 epochs; beyond 2 million
        rows fewer again, so that it sees about 20 million. Beside an autoregressive decoder, latents see half a million
        rows (or 12 million cells), and the decoder 700,000 (or 11 million), each at least 3 epochs. The learning rate decays
        over this budget.

    batch_size : int or "auto", default="auto"
        Rows a step. "auto": the square root of the number of rows, up to a power of two, and twice as many for latents of
        up to 2^18 weights, between 128 and 2048; the autoregressive decoder of many columns takes fewer, down to 128, so
        that its layers stay in the processor's cache; never more than there are rows.

    learning_rate_init : float, default=0.003
        Largest step of the optimiser (Adam with Nesterov's momentum) where gradients are noise; where they agree, steps are
        up to 2.1 times as long. It warms up briefly and decays along a line to zero.

    early_stopping : bool, default=True
        Whether to hold out `validation_fraction` of the rows, to stop when their bound no longer improves, and to restore
        the weights of the best epoch. Otherwise all rows train for `max_iter` epochs.

    validation_fraction : float, default=0.1
        Share of rows held out for early stopping, at least one. Ignored when `X_val` is given to `fit`.

    n_iter_no_change : int, default=20
        Epochs without an improvement by `tol` after which training stops. The autoregressive decoder waits no longer than 3
        epochs (or 500 steps) for one by 0.0003 nats per variable: longer, it would learn rows by heart.

    tol : float, default=1e-4
        Smallest improvement of the held-out bound that counts, in nats per row.

    warm_start : bool, default=False
        Whether `fit` goes on from the previous solution. Columns, categories and scalings remain those of the first fit.

    device : str, default="auto"
        Where to compute: "auto" takes CUDA if there is a device, else MPS, else the CPU; or any name that torch knows.

    random_state : int, RandomState instance or None, default=None
        Seeds the weights, the held-out rows, the order of rows, the noise of training and the draws of `sample`. An int
        makes `fit` reproducible.

    verbose : int, default=0
        Print the loss every so many epochs; 0 prints nothing.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted model, in float32.

    n_iter_ : int
        Number of epochs that ran.

    loss_curve_ : list of float
        The objective on the training rows, negative bound in nats per row and in the data's own units, by epoch.

    validation_scores_ : list of float or None
        The bound on the held-out rows, in nats per row and in the data's own units (its KL weighted by `beta`), by epoch.
        None without early stopping.

    best_validation_score_ : float or None
        The greatest of them, or of the starting point: that of the restored weights, before a prior is fitted to them.

    decoder_loss_curve_ : list of float or None
        The negative log-likelihood of the autoregressive decoder on the training rows, in nats per row and in the data's own
        units, by epoch. None without one.

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
    sklearn.mixture.GaussianMixture : Density of continuous columns without a latent space.
    sklearn.neighbors.KernelDensity : The same, without parameters.

    Notes
    -----
    A missing cell is left out of the likelihood, and the encoder sees it as missing. A column in which `fit` saw missing
    cells gets a yes-or-no variable of its own, so that `sample` generates missing cells where the data have them. Rows
    with a missing cell in a column that was complete during `fit` are scored by an encoder that never saw such a row: the
    bound is looser there.

    A category that `fit` did not see counts as missing, with a warning. Texts that are all different and consecutive
    integers (from 50 rows on) are names of rows: they are not modelled, and new ones are made in kind. A column of more than
    10,000 different texts is refused. Dates and durations are counted from the earliest in the coarsest unit that writes
    them all, and integers beyond 2**53 from the least; a range of more than 2**50 such units is rounded.

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
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "likelihood": [StrOptions({"auto", *LIKELIHOODS}), dict],
        "decoder": [StrOptions({"auto", "autoregressive", "factorised"})],
        "prior": [StrOptions(set(PRIORS))],
        "beta": [Interval(Real, 0, None, closed="left")],
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

    _moments: tuple | None = None  # what the steps of a stream remember

    def __init__(
        self,
        latent_dim=2,
        *,
        hidden_layer_sizes=(256, 256),
        activation="silu",
        likelihood="auto",
        decoder="auto",
        prior="auto",
        beta=1.0,
        categorical_features="from_dtype",
        image_shape=None,
        max_iter="auto",
        batch_size="auto",
        learning_rate_init=0.003,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=20,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.latent_dim = latent_dim
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.decoder = decoder
        self.prior = prior
        self.beta = beta
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

    def fit(self, X, y=None, *, sample_weight=None, X_val=None):
        """Fit the model to rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images of shape (n_samples, height, width), \
                (n_samples, height, width, channels) or (n_samples, channels, height, width)
            At least two rows. Columns hold numbers, booleans, strings, categories, dates or durations; cells may be missing.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the objective; a row of weight zero is as good as removed.

        X_val : like X, default=None
            Rows for early stopping, in place of a share of X.

        Returns
        -------
        self : VAETransformer
            Interrupting the fit (Ctrl-C) keeps the best model so far.

        Raises
        ------
        ValueError
            If X is empty, has one row, duplicate column names or infinite cells, or if a parameter is out of range.
        TypeError
            If X is sparse, or a column holds anything else.
        """
        return self._whole_or_not_at_all(self._fit, X, y, sample_weight, X_val)

    def partial_fit(self, X, y=None, *, sample_weight=None):
        """Go on fitting with a part of a stream: one pass over its rows.

        The first call, or a `fit` before it, settles columns, categories, bounds and scalings: make it a sample that shows
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
        return self._whole_or_not_at_all(self._partial_fit, X, y, sample_weight)

    def _whole_or_not_at_all(self, fitting, *arguments):
        """A refused fit leaves what was there, whole."""
        before = self.__dict__.copy()
        try:
            with _plain_context():
                return fitting(*arguments)
        except BaseException:
            self.__dict__ = before
            raise

    # the context ends callbacks, which must be before what `fit` set is taken back
    @_fit_context(prefer_skip_nested_validation=True)
    def _fit(self, X, y, sample_weight, X_val):
        going_on = self.warm_start and self.__sklearn_is_fitted__()
        rows, random_state = self._prepare(X, sample_weight, going_on, min_rows=2)
        train_rows, held_out = self._split(rows, X_val, random_state)
        module = self._new_module(train_rows, random_state) if not going_on else deepcopy(self.module_)
        given = {"estimator": self, "X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        tasks = self._tasks(module.to(self.device_), train_rows, held_out)
        epochs = _Epochs(module, train_rows, sum(task.n_epochs for task in tasks), given)
        for task in tasks:
            if not epochs.stopped:
                epochs.done(self._train(task, train_rows, random_state, epochs))
        self._finish(module, rows, train_rows, held_out, random_state)
        self._store(module, epochs.histories, rows)
        self._start_streams(random_state)
        epochs.close()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def _partial_fit(self, X, y, sample_weight):
        going_on = self.__sklearn_is_fitted__()
        rows, random_state = self._prepare(X, sample_weight, going_on, min_rows=1 if going_on else 2)
        module = deepcopy(self.module_) if going_on else self._new_module(rows, random_state)
        stream = self._stream if going_on else random_state
        histories, moments = [], []
        tasks = self._tasks(module.to(self.device_), rows, None)
        formers = [getattr(self, name, None) or () for name in ("loss_curve_", "decoder_loss_curve_")]
        for task, former, remembered in zip(tasks, formers, self._moments or (None, None), strict=False):
            before = None if remembered is None else Moments.from_arrays(remembered, self.device_)
            with self._plain_divergence():
                mean_loss, after = train_further(
                    task.module.train(),
                    task.loss,
                    rows,
                    before,
                    batch_size=task.batch_size,
                    learning_rate=self.learning_rate_init * task.step,
                    generator=self._generator(task, stream),
                )
            histories.append(History([*former, mean_loss]))
            moments.append(after.to_arrays())
        self._store(module, histories, rows)
        self._moments = tuple(moments)
        if not going_on:
            self._start_streams(random_state)
        return self

    def _prepare(self, X, sample_weight, going_on, min_rows):
        """Validate; settle the schema, unless going on with one; pack. Returns rows and the stream of `random_state`."""
        X = self._validate(X, reset=not going_on, min_rows=min_rows)
        X, weight = _weighted_rows(X, sample_weight, min_rows)
        random_state = _local_stream(self.random_state)
        self.device_ = _find_device(self.device)
        if going_on:
            self._check_unchanged()
        else:
            self._schema = self._new_schema(X).fit(*_representative(X, weight, random_state))
        self._architecture = {"variables": self._schema.variables, **self._model_parameters()}
        return self._rows(X, weight), random_state

    def _start_streams(self, random_state):
        """What `sample` and `partial_fit` draw from; a new fit forgets what the steps before it remembered."""
        self._sample_stream = np.random.RandomState(random_state.randint(2**31 - 1))
        self._stream = np.random.RandomState(random_state.randint(2**31 - 1))

    def _model_parameters(self):
        """The constructor's parameters that shape the model, as the model takes them."""
        return {
            "latent_dim": int(self.latent_dim),
            "hidden_layer_sizes": _layer_sizes(self.hidden_layer_sizes),
            "activation": self.activation,
            # latents that do not generate need no more
            "prior": "normal" if self.prior == "auto" and self._is_autoregressive() else self.prior,
            "beta": float(self.beta),
            "autoregressive": self._is_autoregressive(),
        }

    def _is_autoregressive(self):
        if self.decoder != "auto":
            return self.decoder == "autoregressive"
        return isinstance(self._schema, TableSchema) and len(self._schema.variables) <= MAX_VARIABLES

    def _check_unchanged(self):
        """Refuse to go on with a model of another shape."""
        for name, value in self._model_parameters().items():
            if name != "beta" and value != (former := self._architecture[name]):
                raise ValueError(
                    f"warm_start=True goes on with the fitted model, whose {name} is {former!r}. Got {value!r} instead: "
                    "set it back, or fit with warm_start=False."
                )

    def _new_schema(self, X):
        if self.image_shape is None and len(X.shape) == 2:
            return TableSchema(self.likelihood, _categorical_names(X, self.categorical_features))
        if not isinstance(self.likelihood, str):
            raise ValueError("likelihood must be a str for images, as all pixels share one. Got a dict instead.")
        if self.categorical_features is not None and not isinstance(self.categorical_features, str):
            raise ValueError("categorical_features must be None or 'from_dtype' for images, whose pixels are numbers.")
        return ImageSchema(self.likelihood, _image_shape(self.image_shape))

    def _new_module(self, rows, random_state):
        """A model at its start, in float32 whatever torch's default."""
        generator = torch.Generator().manual_seed(int(random_state.randint(2**31 - 1)))
        module = VAE(**self._architecture, generator=generator).float().to(self.device_)
        module.start(rows)
        return module

    def _split(self, rows, X_val, random_state):
        """Rows to train on, and held out; the latter None without early stopping."""
        if X_val is not None:
            X_val = self._validate(X_val)
            return rows, self._rows(X_val, np.broadcast_to(1.0, len(X_val)))
        if not self.early_stopping:
            return rows, None
        n_rows = len(rows.x)
        n_held_out = min(math.ceil(self.validation_fraction * n_rows), n_rows - 1)
        _move_to_end(rows, random_state.permutation(n_rows)[:n_held_out])
        return rows.take(slice(n_rows - n_held_out)), rows.take(slice(n_rows - n_held_out, None))

    def _tasks(self, module, rows, held_out):
        """What is trained, one after the other; the autoregressive decoder knows no latents, and needs no encoder."""
        module.beta = float(self.beta)
        constant = self._mean_log_jacobian(rows)
        latent_generator, generator = (torch.Generator(self.device_) for _ in range(2))

        def bound(*batch):
            batch = Rows(*batch)
            noise = torch.randn(len(batch.x), module.latent_dim, generator=latent_generator, device=batch.x.device)
            return -module.objective(batch, noise.to(batch.x)) - constant

        def by_cell(*batch):
            return module.negative_log_likelihood(Rows(*batch), generator) - constant

        scores = self._held_out_scores(module, held_out) if held_out else (None, None)
        latent = _Task(
            module.latent_part,
            bound,
            scores[0],
            n_epochs=self._n_epochs(LATENTS if module.cells is None else LATENTS_BESIDE, rows),
            batch_size=self._n_rows_a_step(len(rows.x), times=2 if _n_weights(module.latent_part) <= SMALL else 1),
            patience=self.n_iter_no_change,
            tol=self.tol,
            generator=latent_generator,
        )
        if module.cells is None:
            return [latent]
        n_rows, n_variables = rows.x.shape
        module.cells.n_rows = n_rows
        size = self._n_rows_a_step(n_rows, most=N_HIDDEN_A_STEP // (n_variables * module.cells.width))
        cells = _Task(
            module.cells,
            by_cell,
            scores[1],
            n_epochs=self._n_epochs(BY_CELL, rows),
            batch_size=size,
            patience=min(self.n_iter_no_change, max(PATIENCE_BY_CELL, MIN_STEPS_BY_CELL // math.ceil(n_rows / size))),
            tol=max(self.tol, TOL_BY_CELL * n_variables),
            generator=generator,
            step=STEP_BY_CELL,
            averaged=True,
        )
        return [latent, cells]

    @staticmethod
    def _generator(task, random_state):
        return task.generator.manual_seed(int(random_state.randint(2**31 - 1)))

    def _train(self, task, rows, random_state, epochs):
        with self._plain_divergence():
            history = train(
                task.module.train(),
                task.loss,
                rows,
                score=task.score,
                n_epochs=task.n_epochs,
                batch_size=task.batch_size,
                learning_rate=self.learning_rate_init * task.step,
                patience=task.patience,
                tol=task.tol,
                generator=self._generator(task, random_state),
                on_epoch_end=epochs,
                averaged=task.averaged,
            )
        if history.interrupted:
            warnings.warn(INTERRUPTED, UserWarning, stacklevel=6)
        return history

    def _finish(self, module, rows, train_rows, held_out, random_state):
        """What follows training: draws are calibrated and the prior is fitted, unless the user has no time for it."""
        generators = [self._device_generator(random_state) for _ in range(2)]
        try:
            with self._plain_divergence():
                module.calibrate(rows, generators[0])
                module.fit_prior(train_rows, held_out, generators[1])
        except KeyboardInterrupt:
            warnings.warn(INTERRUPTED, UserWarning, stacklevel=6)

    @contextmanager
    def _plain_divergence(self):
        try:
            yield
        except DivergedError:
            raise ValueError(
                f"The loss became infinite or NaN and stayed so at ever smaller steps, from learning_rate_init="
                f"{self.learning_rate_init}. Lower it, or look for extreme values in X."
            ) from None

    def _n_epochs(self, budget, rows):
        if self.max_iter != "auto":
            return self.max_iter
        return budget.n_epochs(*rows.x.shape)

    def _n_rows_a_step(self, n_rows, *, times=1, most=MAX_BATCH):
        """Few steps of many rows and many of few meet at the square root, to a power of two; times, most : of rows."""
        size = self.batch_size
        if size == "auto":
            most = min(most, MAX_BATCH, times * 2 ** math.ceil(math.log2(math.sqrt(n_rows))))
            size = max(MIN_BATCH, 2 ** int(math.log2(max(most, 1))))
        return min(size, n_rows)

    def _held_out_scores(self, module, rows):
        """The functions of nothing that `train` watches, of held-out rows: the objective, with noise that stays, and the
        log-likelihood of the autoregressive decoder.
        """
        n_samples = max(1, min(N_VALIDATION_SAMPLES, 8000 // len(rows.x)))
        noise = normal_noise(n_samples, module.latent_dim).to(self.device_, torch.float32)[:, None]
        constant = self._mean_log_jacobian(rows)
        size = self._n_rows_in_cache(module, n_samples)

        def mean_of(figure):
            with torch.inference_mode():
                n_parts = math.ceil(len(rows.x) / size)
                parts = torch.empty(n_parts, dtype=torch.float32, device=self.device_)  # not a list of them, see `_joined`
                for at, batch in enumerate(rows.batches(size)):
                    parts[at] = figure(batch) * len(batch.x)
                return parts.sum().item() / len(rows.x) + constant

        return (
            lambda: mean_of(lambda batch: module.objective(batch, noise)),
            lambda: mean_of(lambda batch: -module.negative_log_likelihood(batch)),
        )

    def _mean_log_jacobian(self, rows):
        """Nats per row from packed to original units, as weighted as the objective."""
        size = max(1, N_CELLS_AT_ONCE // rows.x.shape[1])
        parts = (batch.weight.cpu().double() @ self._log_jacobian(*batch[:2]).sum(-1) for batch in rows.batches(size))
        return sum(part.item() for part in parts) / len(rows.x)

    def _store(self, module, histories, rows):
        """Set what is fitted; the steps of a stream start anew."""
        for name, value in self._results(module, histories, rows).items():
            setattr(self, name, value)
        self._moments = None

    @torch.inference_mode()
    def _results(self, module, histories, rows):
        """What is fitted, by attribute; settles the module's latents."""
        information = module.settle(rows).cpu()
        history, by_cell = [*histories, History(), History()][:2]
        watched = math.isfinite(history.start_score)
        return {
            "module_": module.eval(),
            "explained_information_": information.numpy(),
            "n_iter_": len(history.losses),
            "loss_curve_": list(history.losses),
            "validation_scores_": list(history.scores) if watched else None,
            "best_validation_score_": history.best_score if watched else None,
            "decoder_loss_curve_": list(by_cell.losses) if module.cells is not None else None,
        }

    # --- what a fitted model does ------------------------------------------------------------------------------------

    def transform(self, X):
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
        module, chunks = self._inference(X)
        with torch.inference_mode():
            means = (module.encode(*chunk).mean for chunk in chunks)
            return _joined(means, len(X), self._schema.precision(X))

    def inverse_transform(self, Z):
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
            The same container, columns, dtypes and shape of images; a pandas index is kept.
        """
        check_is_fitted(self)
        index = getattr(Z, "index", None) if hasattr(Z, "iloc") else None
        Z = check_array(Z, dtype=np.float64, estimator=self, input_name="Z")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z has {Z.shape[1]} features, but {type(self).__name__} is expecting {self._n_features_out} latents "
                "as input."
            )
        module = self._module_in(torch.float32 if self.device_ == "mps" else torch.float64)
        parameter = next(module.parameters())
        with torch.inference_mode():
            batches = gen_batches(len(Z), self._n_rows_scored())
            z = (torch.tensor(Z[rows], dtype=parameter.dtype, device=parameter.device) for rows in batches)
            values = _joined((module.reconstruct(part) for part in z), len(Z))
        return self._schema.unpack(values, index)

    def sample(self, n_samples=1, *, given=None, random_state=None):
        """Generate rows of the model, drawn from the likelihood; of some kind only, if so asked.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; for each of the rows of `given`, if that is a frame.

        given : dict or DataFrame, default=None
            Values of some columns: {"sex": "Female", "age": 40}, or a frame with several such rows. None or NaN stands for a
            missing cell. Other cells are drawn from their distribution given these, without rejection. The autoregressive
            decoder draws eight rows for each where a given cell comes late in its order, and takes one by how likely it is
            (sampling-importance-resampling); latents are drawn near those of the encoder where the decoder is factorised.

        random_state : int, RandomState instance or None, default=None
            None draws from a stream that `fit` seeded: calls differ, and a script with an int `random_state` of the
            estimator repeats.

        Returns
        -------
        X : {ndarray, DataFrame} like that of `fit`
            The same container, columns, dtypes, categories and bounds; cells are missing as often as in the data. With a
            frame of conditions, `n_samples` rows for its first row, and so on.

        Raises
        ------
        ValueError
            If `given` names a column that fit did not see, or has a value that fit did not see there: an unknown category, a
            number beyond the least and greatest.

        Notes
        -----
        A rare class is oversampled by asking for it: ``pd.concat([X, vae.sample(1000, given={"fraud": True})])``.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or isinstance(n_samples, bool) or n_samples < 1:
            raise ValueError(f"n_samples must be an int in the range [1, inf). Got {n_samples!r} instead.")
        generator = self._draws_generator(random_state)
        if given is not None:
            values, known = self._pack_given(given, int(n_samples))
            drawn = self._draw_unknown(self.module_.complete, values, known, generator)
            return self._schema.unpack(np.where(known, values, drawn))  # float32 would round what was given
        with torch.inference_mode():
            batches = gen_batches(int(n_samples), self._n_rows_at_once(self.module_))
            parts = (self.module_.sample(rows.stop - rows.start, generator) for rows in batches)
            values = _joined(parts, int(n_samples))
        return self._schema.unpack(values)

    def _draws_generator(self, random_state):
        """Of the stream that `fit` seeded, or of `random_state`."""
        return self._device_generator(self._sample_stream if random_state is None else _local_stream(random_state))

    def _device_generator(self, stream):
        return torch.Generator(self.device_).manual_seed(int(stream.randint(2**31 - 1)))

    @torch.inference_mode()
    def _draw_unknown(self, draw, values, known, generator):
        """What a method of the model draws for packed rows, of which some is known; all arrays (n, n_variables).

        In batches whose size the model alone decides: what is drawn must not depend on the memory at hand.
        """
        copies = 1 if self.module_.cells is not None else N_IMPORTANCE_SAMPLES
        batches = gen_batches(len(values), self._n_rows_at_once(self.module_, copies))
        pairs = ([torch.as_tensor(array[rows], device=self.device_) for array in (values, known)] for rows in batches)
        return _joined((draw(x.float(), seen, generator) for x, seen in pairs), len(values))

    def _pack_given(self, given, n_samples):
        """Packed values and what is known of them, (n, n_variables): n_samples rows for each condition."""
        if isinstance(self._schema, ImageSchema):
            raise ValueError("given must be None for images, which have no columns.")
        if isinstance(given, dict):
            given = {name: [value] for name, value in given.items()}
        elif nw.dependencies.is_into_dataframe(given):
            check_frame(given, 1, "sample, in given", "given")
            given = {series.name: series.to_list() for series in nw.from_native(given, eager_only=True).iter_columns()}
        else:
            raise TypeError(f"given must be a dict or a DataFrame, got {type(given).__name__}.")
        if not given:
            raise ValueError("given must name at least one column. Got none.")
        return tuple(array.repeat(n_samples, axis=0) for array in self._schema.pack_given(given))

    def score_samples(self, X):
        """Log-likelihood of each row.

        With an autoregressive decoder, exact: the sum of log p(cell | cells before it). With a factorised one, the bound
        of Burda et al. (2016, arXiv:1509.00519, eq. 8) with 64 samples from the posterior, the same quasi-random noise for
        every row and every model. Deterministic either way, and comparable between models. The bound's expectation never
        exceeds log p(x), and comes closer with better posteriors.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats, and in the data's own units: the log of a density for continuous columns, of a probability for
            integers, booleans and categories; a missing cell counts only whether it is missing. Comparable with the
            `score_samples` of `PCA`, `GaussianMixture` and `KernelDensity`.
        """
        check_is_fitted(self)
        X = self._validate(X)
        n_latents = N_IMPORTANCE_SAMPLES if self.module_.cells is None else 1
        module, chunks = self._inference(X, copies=n_latents)
        noise = normal_noise(n_latents, module.latent_dim).to(next(module.parameters()))
        with torch.inference_mode():
            parts = (module.log_likelihood(*chunk, noise).cpu() + self._log_jacobian(*chunk).sum(-1) for chunk in chunks)
            return _joined(parts, len(X), self._schema.precision(X))

    def score_cells(self, X):
        """Log-likelihood of each cell, given others of its row: the reasons of an anomaly.

        The mean of log p(cell | z) over the posterior of the latents z, whatever the decoder of `score_samples`: the latents
        follow the bulk of a row, so that an odd cell stands out, where a chain of conditionals would blame its neighbours.
        With decoder="factorised", a row's cells add up to its score plus what its latents tell,
        KL(p(z | x) || p(z)), which is not negative.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`

        Returns
        -------
        log_likelihood : {ndarray, DataFrame} of the shape of X
            In nats, and in the data's own units. A missing cell is scored for being missing, where `fit` saw missing cells
            in the column, else 0; so is a column that is not modelled.
        """
        check_is_fitted(self)
        X = self._validate(X)
        module, chunks = self._inference(X, copies=N_IMPORTANCE_SAMPLES)
        noise = normal_noise(N_IMPORTANCE_SAMPLES, module.latent_dim).to(next(module.parameters()))
        with torch.inference_mode():
            parts = (module.log_likelihood_of_cells(*chunk, noise).cpu() + self._log_jacobian(*chunk) for chunk in chunks)
            cells = _joined(parts, len(X))
        return self._schema.by_column(cells, X)

    def impute(self, X, *, n_draws=None, random_state=None):
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
            If `n_draws` is not an int in the range [1, inf).

        Notes
        -----
        Cells count as missing at random (Rubin, 1976): a missing cell is distributed as it would be, were it there, given
        the row's other cells and which others are missing.

        Fit what you are after to each of the drawn tables. The mean of the estimates is the estimate, and its variance is
        the mean of their variances plus (1 + 1 / n_draws) times the variance between them (Rubin, 1987). The draws come from
        one fitted model, whose own uncertainty they leave out: on a few dozen rows, intervals are a little too narrow.
        """
        check_is_fitted(self)
        if n_draws is not None and (not isinstance(n_draws, Integral) or isinstance(n_draws, bool) or n_draws < 1):
            raise ValueError(f"n_draws must be None or an int in the range [1, inf). Got {n_draws!r} instead.")
        X = self._validate(X)
        index = getattr(X, "index", None) if hasattr(X, "iloc") else None
        if n_draws is not None:
            generator = self._draws_generator(random_state)
            return [self._schema.fill(X, values, index) for values in self._completed(X, n_draws, generator)]
        module, chunks = self._inference(X)
        with torch.inference_mode():
            values = _joined((module.fill(*chunk) for chunk in chunks), len(X))
        return self._schema.fill(X, values, index)

    def _completed(self, X, n_draws, generator):
        """Packed rows (n, n_variables), again and again, with the missing cells drawn anew."""
        packed = [part for _, part in self._packed(X)]
        values = np.concatenate([part.values for part in packed])
        known = np.concatenate(
            [np.ones_like(part.values, bool) if part.observed is None else part.observed for part in packed]
        )
        holed = np.flatnonzero(~known.all(axis=1))
        for _ in range(n_draws):
            drawn = values.copy()
            if len(holed):
                drawn[holed] = self._draw_unknown(self.module_.complete_with_values, values[holed], known[holed], generator)
            yield drawn

    def score(self, X, y=None):
        """Mean log-likelihood of the rows: the mean of `score_samples`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features), or images as in `fit`
        y : None
            Ignored.

        Returns
        -------
        score : float
            In nats per row and in the data's own units; greater is better.
        """
        return float(self.score_samples(X).mean())

    # --- from containers to tensors ----------------------------------------------------------------------------------

    def _validate(self, X, *, reset=False, min_rows=1):
        """X as a frame, or as an array (n, n_features), or (n, ...) when fitting images; checked as scikit-learn does."""
        images = self.image_shape is not None if reset else isinstance(self._schema, ImageSchema)
        is_frame = nw.dependencies.is_into_dataframe(X)
        if is_frame:
            check_frame(X, min_rows, type(self).__name__)
            validate_data(self, X, reset=reset, skip_check_array=True)
            if not images:
                return X
            X = X.to_numpy()
        X = check_array(
            X,
            dtype=None,
            allow_nd=True,
            ensure_all_finite="allow-nan",
            ensure_min_samples=min_rows,
            estimator=self,
            input_name="X",
        )
        if X.dtype.kind not in ("biuf" if images or X.ndim > 2 else "biufOU"):
            raise TypeError(f"X has dtype {X.dtype}, which is not supported. Convert it to numbers.")
        self._check_image_shape(X.shape[1:], reset)
        if not is_frame:
            validate_data(self, X.reshape(len(X), -1), reset=reset, skip_check_array=True)
        return X.astype(object) if X.dtype.kind == "U" else X

    def _check_image_shape(self, shape, reset):
        """Rows are flat or have the image's shape; shape : that of a row. Counting features is `validate_data`'s."""
        image_shape = _image_shape(self.image_shape) if reset else getattr(self._schema, "image_shape", None)
        if image_shape is None:
            fits, wanted = reset or len(shape) == 1, "flat rows"
        else:
            flat = (math.prod(image_shape),) if reset else shape[:1]
            fits, wanted = shape in (image_shape, flat), f"images of shape {image_shape}"
        if not fits:
            raise ValueError(f"X has rows of shape {shape}, but {type(self).__name__} is expecting {wanted}.")

    def _rows(self, X, weight):
        """X to train on, or to be held out, with weight (n,)."""
        shape = len(X), len(self._schema.variables)
        values, observed = torch.empty(shape, dtype=torch.float32, device=self.device_), None
        for rows, (some, seen) in self._packed(X):
            values[rows].copy_(torch.as_tensor(some))
            if seen is not None:
                observed = torch.ones(shape, dtype=torch.bool, device=self.device_) if observed is None else observed
                observed[rows] = torch.as_tensor(seen)
        # of mean one: the objective is a mean over rows, and no weight is too large or small for float32
        weight = torch.as_tensor(weight / weight.mean(), dtype=torch.float32, device=self.device_)
        return Rows(values, observed, weight)

    def _packed(self, X):
        """Slices of rows and what they pack to, a part of X at a time: X may lie on disk."""
        n_cells = N_CELLS_AT_ONCE if self._schema.packs_at_once(X) else N_CELLS_BY_COLUMN
        size = max(1, n_cells // len(self._schema.variables))
        for rows in gen_batches(len(X), size):
            yield rows, self._schema.pack(X if len(X) <= size else _safe_indexing(X, rows))

    def _log_jacobian(self, x, observed):
        """Nats from packed to original units of each cell. x : (n, n_variables); observed : the same, or None."""
        cells = torch.as_tensor(self._schema.log_jacobian(x.cpu().numpy())).expand_as(x)
        return cells if observed is None else cells * observed.cpu()

    def _inference(self, X, copies=1):
        """The model in the type of X, and tensors of X, some rows at a time.

        float64 keeps a row's latents apart from the other rows'; float32 is as precise as what it is given.
        """
        dtype = torch.float32 if self.device_ == "mps" else getattr(torch, self._schema.precision(X))
        size = self._n_rows_scored(copies)

        def chunks():
            for _, (values, observed) in self._packed(X):
                for some in gen_batches(len(values), size):
                    seen = None if observed is None else torch.as_tensor(observed[some], device=self.device_)
                    yield torch.as_tensor(values[some], dtype=dtype, device=self.device_), seen

        return self._module_in(dtype), chunks()

    def _module_in(self, dtype):
        """The model in a type: itself, or a copy."""
        return self.module_ if dtype == torch.float32 else deepcopy(self.module_).to(dtype)

    def _n_rows_scored(self, copies=1):
        """How many rows to score, of tensors that fit in scikit-learn's working memory."""
        row_bytes = N_TENSORS * 8 * self._widest(self.module_) * copies
        n_rows = int(sklearn.get_config()["working_memory"] * 2**20 // row_bytes)
        return max(1, min(n_rows, self._n_rows_in_cache(self.module_, copies)))

    def _n_rows_in_cache(self, module, copies=1):
        """How many rows to score, of layers that stay in the processor's cache: more take two to three times as long."""
        n_numbers = N_NUMBERS_IN_CACHE if self.device_ == "cpu" else N_NUMBERS_AT_ONCE
        return max(1, max(LEAST_SCORED, n_numbers // self._widest(module)) // copies)

    def _n_rows_at_once(self, module, copies=1):
        """How many rows to draw; the model alone decides, so that results do not depend on the memory at hand."""
        return max(1, min(N_ROWS_AT_ONCE, N_NUMBERS_AT_ONCE // (self._widest(module) * copies)))

    def _widest(self, module):
        """Numbers of a row in the widest layer."""
        variables = self._architecture["variables"]
        by_cell = 0 if module.cells is None else module.cells.width * len(variables)
        return max(*self._architecture["hidden_layer_sizes"], 2 * sum(max(1, v.size) for v in variables), by_cell, 1)

    # --- scikit-learn's hooks ----------------------------------------------------------------------------------------

    @property
    def _n_features_out(self):
        return self._architecture["latent_dim"]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "module_" in state:  # arrays open anywhere; a tensor wants the device that it lived on
            state["module_"] = {name: tensor.cpu().numpy() for name, tensor in self.module_.state_dict().items()}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "module_" in state:
            self.device_ = _find_device(self.device_, fallback="cpu")
            module = VAE(**self._architecture, generator=torch.Generator()).float()
            module.load_state_dict({name: torch.as_tensor(array) for name, array in state["module_"].items()})
            self.module_ = module.to(self.device_).eval()


class _Task(NamedTuple):
    """Something to train: the module, its loss of a batch, the score to watch, epochs, rows a step, how long to wait for
    what gain of the score, the step beside the learning rate, and whether to average weights.
    """

    module: torch.nn.Module
    loss: Callable
    score: Callable | None
    n_epochs: int
    batch_size: int
    patience: int
    tol: float
    generator: torch.Generator
    step: float = 1.0
    averaged: bool = False


class _Epochs:
    """What an estimator does between epochs: it reports, and its callbacks have their say. Each epoch is a task of theirs.

    Parameters
    ----------
    module : VAE
        What is trained.
    rows : Rows
        To train on.
    n_epochs : int
        At most.
    given : dict
        The estimator, and what it was given: the arguments of callbacks.
    """

    def __init__(self, module, rows, n_epochs, given):
        self.estimator, self.module, self.rows = given["estimator"], module, rows
        self.n_epochs, self.given, self.histories, self.stopped = n_epochs, given, [], False
        self.root = self.estimator._init_callback_context(max_subtasks=n_epochs).call_on_fit_task_begin(**given)
        self.task = self._begin()

    def _begin(self):
        return self.root.subcontext(task_name="epoch").call_on_fit_task_begin(**self.given)

    def __call__(self, history):
        """Of the history of what is being trained, so far, whether to stop."""
        epoch, verbose = len(history.losses), self.estimator.verbose
        if verbose and epoch % verbose == 0:
            held_out = f", held-out bound {history.scores[-1]:.4f}" if history.scores else ""
            what = "Decoder, epoch" if self.histories else "Epoch"
            print(f"{what} {epoch}: loss {history.losses[-1]:.4f} nats per row{held_out}")
        self.stopped = self.task.call_on_fit_task_end(
            **self.given, reconstruction_attributes=lambda: self._so_far([*self.histories, history])
        )
        ended = self.stopped or epoch + sum(len(former.losses) for former in self.histories) == self.n_epochs
        self.task = None if ended else self._begin()
        return self.stopped

    def done(self, history):
        """Something was trained to its end."""
        self.histories.append(history)
        self.stopped = self.stopped or history.interrupted

    def _so_far(self, histories):
        """What a callback makes an estimator of: as if the fit had ended here."""
        results = self.estimator._results(deepcopy(self.module), histories, self.rows)
        return results | {"_sample_stream": np.random.RandomState(0)}

    def close(self):
        """End the task of an epoch that was interrupted, or never began, and that of the fit."""
        if self.task is not None:
            self.task.call_on_fit_task_end(**self.given)
        self.root.call_on_fit_task_end(**self.given, reconstruction_attributes=dict)


@contextmanager
def _plain_context():
    """Whatever the caller's context, training needs gradients, and chooses the types of its products itself."""
    of_cpu, of_cuda = (torch.autocast(device, enabled=False) for device in ("cpu", "cuda"))
    with torch.inference_mode(False), torch.enable_grad(), of_cpu, of_cuda:
        yield


def _n_weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def _joined(parts, n_rows, dtype="float64"):
    """Tensors (k, ...), one after the other, as an array (n_rows, ...).

    It is there from the first part on: small results that are kept while large ones come and go take turns with them in
    memory, which can then not be used again (beside ten million rows, 800 MB).
    """
    whole, at = None, 0
    for part in parts:
        if whole is None:
            whole = np.empty((n_rows, *part.shape[1:]), dtype)
        whole[at : at + len(part)] = part.cpu().numpy()
        at += len(part)
    return whole


def _find_device(name, fallback=None):
    """The name of a device that is here: the best one for "auto"."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        if fallback is not None:
            return fallback
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be 'auto' or a device that torch finds here. Got {name!r}: {reason}") from None
    return name


def _local_stream(random_state):
    """What `check_random_state` gives, but for None a stream of its own rather than numpy's global one."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)


def _image_shape(shape):
    if shape is None:
        return None
    shape = tuple(np.atleast_1d(shape).tolist())
    if not shape or any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in shape):
        raise ValueError(f"image_shape must hold ints in the range [1, inf). Got {shape!r} instead.")
    return shape


def _layer_sizes(sizes):
    sizes = tuple(np.atleast_1d(sizes).tolist())
    if any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold ints in the range [1, inf). Got {sizes!r} instead.")
    return sizes


def _representative(X, weight, random_state):
    """Rows and weights (k,) to learn a schema from: all, but of a large array some, and those with a column's extremes."""
    n_rows = max(MIN_ROWS_SCHEMA, N_CELLS_SCHEMA // math.prod(X.shape[1:]))
    if not isinstance(X, np.ndarray) or X.dtype.kind == "O" or len(X) <= n_rows:
        return X, weight
    some = np.unique(np.concatenate([random_state.randint(len(X), size=n_rows), _extremes(X)]))
    return X[some], weight[some]


def _extremes(X):
    """Rows that hold the least and the greatest number of each column of an array."""
    found = []
    for sign in (1, -1):
        least = np.full(math.prod(X.shape[1:]), np.inf)
        rows = np.zeros(len(least), dtype=int)
        for part in gen_batches(len(X), max(1, N_CELLS_AT_ONCE // len(least))):
            values = sign * X[part].reshape(-1, len(least)).astype(float)
            values[np.isnan(values)] = np.inf
            at = values.argmin(0)
            lesser = values[at, np.arange(len(least))] < least
            least[lesser], rows[lesser] = values[at, np.arange(len(least))][lesser], part.start + at[lesser]
        found.append(rows)
    return np.concatenate(found)


def _move_to_end(rows, chosen):
    """Swap the chosen rows (k,) with the last k, in place: a part of the rows is then a view, not a copy."""
    first = len(rows.x) - len(chosen)
    stay = np.isin(np.arange(first, len(rows.x)), chosen)
    device = rows.x.device
    at = torch.as_tensor(chosen[chosen < first], device=device)
    to = torch.as_tensor(first + np.flatnonzero(~stay), device=device)
    for tensor in rows:
        if tensor is not None:
            tensor[at], tensor[to] = tensor[to], tensor[at]


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


def _categorical_names(X, categorical_features):
    """Names of the columns that `categorical_features` points at, beside those of a categorical dtype."""
    is_frame = not isinstance(X, np.ndarray)
    names = list(nw.from_native(X).columns) if is_frame else [f"x{j}" for j in range(X.shape[1])]
    if categorical_features is None or isinstance(categorical_features, str):
        return ()
    features = np.asarray(categorical_features)
    if features.ndim != 1:
        raise ValueError(f"categorical_features must have one axis, got an array of shape {features.shape}.")
    if features.size == 0:
        return ()
    if features.dtype.kind == "b":
        if len(features) != len(names):
            raise ValueError(
                f"categorical_features set as a boolean mask must have shape (n_features,), got: {features.shape}"
            )
        return tuple(name for name, is_category in zip(names, features, strict=True) if is_category)
    if features.dtype.kind in "iu":
        if features.max() >= len(names) or features.min() < 0:
            raise ValueError("categorical_features set as integer indices must be in [0, n_features - 1]")
        return tuple(names[j] for j in features)
    if features.dtype.kind not in "UO" or not all(isinstance(f, str) for f in features.ravel()):
        raise ValueError("categorical_features must be an array-like of bool, int or str.")
    if not is_frame:
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a boolean mask when the model is fitted "
            "on data without feature names."
        )
    for feature in features:
        if feature not in names:
            raise ValueError(
                f"categorical_features has an item value '{feature}' which is not a valid feature name of the training "
                f"data. Observed feature names: {names}"
            )
    return tuple(features.tolist())
