"""Pictures show what they say, on the axes that they are given, whatever the rows are."""

import inspect
import re
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline

import skvae
from skvae import VAETransformer
from skvae.artists import MISSING
from skvae.mosaics import MISSING_PIXEL
from skvae.plotted_columns import Column, write_dates, write_durations, write_numbers
from skvae.texts import short

matplotlib = pytest.importorskip("matplotlib", reason='pictures want matplotlib: pip install "skvae[plot]"')
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.artist import Artist  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Text  # noqa: E402

# how each is made of an estimator and rows
DISPLAYS = {
    "LatentSpaceDisplay": lambda cls, vae, X, **options: cls.from_estimator(vae, X, **options),
    "ManifoldDisplay": lambda cls, vae, X, **options: cls.from_estimator(vae, **{"n": 4} | options),
    "TraversalDisplay": lambda cls, vae, X, **options: cls.from_estimator(vae, X[:1], **options),
    "ReconstructionDisplay": lambda cls, vae, X, **options: cls.from_estimator(vae, X, **options),
    "SamplesDisplay": lambda cls, vae, X, **options: cls.from_estimator(vae, 9, **{"X": X, "random_state": 0} | options),
    "LossCurveDisplay": lambda cls, vae, X, **options: cls.from_estimator(vae, **options),
}
# each with rows that it draws; and those of them that take several axes
CASES = [(name, rows) for name in DISPLAYS for rows in ("images", "table") if (name, rows) != ("ManifoldDisplay", "table")]
SEVERAL = [("TraversalDisplay", "table"), ("ReconstructionDisplay", "table"), ("SamplesDisplay", "images")]


def make(name, fitted, **options):
    return DISPLAYS[name](getattr(skvae, name), *fitted, **options)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fit(X, latent_dim=2, **options):
    return VAETransformer(latent_dim, max_iter=2, generator="latent", random_state=0, **options).fit(X)


@pytest.fixture(scope="module")
def table(mixed_frame):
    frame = mixed_frame.assign(
        since=pd.Timestamp("2020-01-01") + pd.to_timedelta(100 * mixed_frame["age"], unit="D"),
        waited=pd.to_timedelta(mixed_frame["age"] * 37, unit="s"),
    )
    frame["a name that is long, of which there is $no_end^"] = frame["score"] * 2
    return frame


@pytest.fixture(scope="module")
def fitted(table):
    """An estimator and rows, by what the rows are."""
    images = load_digits().images[:300]
    return {"images": (fit(images), images), "table": (fit(table, 3), table)}


@pytest.fixture
def drawn(monkeypatch):
    """All texts that a canvas draws, and where."""
    texts, draw = [], Text.draw

    def record(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text().strip():
            texts.append((text.get_text(), text.get_window_extent(renderer).padded(-1)))
        return draw(text, renderer, *arguments, **options)

    monkeypatch.setattr(Text, "draw", record)
    return texts


def artists(display):
    """Those that a display keeps, by attribute."""
    kept = {}
    for name, value in vars(display).items():
        if name.endswith("_") and name not in ("figure_", "ax_", "axes_"):
            kept[name] = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
    return kept


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_a_new_figure_with_texts_that_do_not_overlap(name, rows, fitted, drawn):
    display = make(name, fitted[rows])
    assert plt.get_fignums() == [display.figure_.number]
    axes = [display.ax_] if hasattr(display, "ax_") else list(display.axes_)
    assert all(ax.figure is display.figure_ for ax in axes)
    kept = artists(display)
    assert any(kept.values())
    assert all(one.get_figure() is display.figure_ for some in kept.values() for one in some if isinstance(one, Artist))
    display.figure_.canvas.draw()
    drawn.clear()  # layout draws too
    display.figure_.canvas.draw()
    assert len(drawn) > 1
    assert [(a[0], b[0]) for a, b in combinations(drawn, 2) if a[1].overlaps(b[1])] == []
    width, height = display.figure_.canvas.get_width_height()
    assert [text for text, box in drawn if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1] == []


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_given_axes_are_used_and_no_figure_of_pyplot_is_left(name, rows, fitted):
    figure = Figure(layout="constrained")
    ax = figure.subplots(1, 2)[1]
    display = make(name, fitted[rows], ax=ax)
    assert plt.get_fignums() == []
    assert display.figure_ is figure
    axes = [display.ax_] if hasattr(display, "ax_") else list(display.axes_)
    if len(axes) == 1:
        assert axes == [ax]
    else:
        assert not ax.axison
        assert {one.get_subplotspec().get_topmost_subplotspec() for one in axes} == {ax.get_subplotspec()}
    figure.canvas.draw()
    again = display.plot(ax=axes[0] if len(axes) == 1 else axes)
    assert again is display
    assert plt.get_fignums() == []


@pytest.mark.parametrize(("name", "rows"), SEVERAL)
def test_axes_of_a_subfigure(name, rows, fitted):
    figure = plt.figure(figsize=(20, 8), layout="constrained")
    display = make(name, fitted[rows], ax=figure.subfigures(1, 2)[0].subplots())
    assert display.figure_ is figure
    figure.canvas.draw()


@pytest.mark.parametrize(("name", "rows"), SEVERAL)
def test_several_axes(name, rows, fitted):
    display = make(name, fitted[rows])
    n_axes = len(display.axes_)
    figure = Figure()
    given = figure.subplots(1, n_axes)
    assert list(display.plot(ax=given).axes_) == list(given)
    with pytest.raises(ValueError, match=rf"Expected ax to have {n_axes} axes, got {n_axes - 1}\."):
        display.plot(ax=given[1:])
    used = Figure().subplots()
    display.plot(ax=used)
    with pytest.raises(ValueError, match="The ax was already used in another plot function"):
        display.plot(ax=used)
    with pytest.raises(ValueError, match=r"Make it by plt\.subplots"):
        display.plot(ax=Figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("name", DISPLAYS)
def test_ax_is_axes(name, fitted):
    with pytest.raises(TypeError, match=r"ax must be None, a matplotlib Axes or a sequence of them. Got str instead"):
        make(name, fitted["images"], ax=["left"])


@pytest.mark.parametrize("name", DISPLAYS)
def test_estimator_is_a_fitted_one_of_ours(name, fitted):
    vae, X = fitted["images"]
    with pytest.raises(NotFittedError):
        make(name, (VAETransformer(), X))
    with pytest.raises(TypeError, match=r"estimator must be a fitted VAETransformer. Got Pipeline instead"):
        make(name, (make_pipeline(vae), X))


@pytest.mark.parametrize("name", DISPLAYS)
def test_without_matplotlib_it_is_said_how_to_get_it(name, fitted, monkeypatch):
    display = make(name, fitted["images"])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (lambda: make(name, fitted["images"]), display.plot):
        with pytest.raises(ImportError, match=rf'{name}\.\w+ requires matplotlib. .*pip install "skvae\[plot\]"'):
            call()


@pytest.mark.parametrize("name", DISPLAYS)
def test_parameters_are_stored_and_everything_is_documented(name, fitted):
    cls = getattr(skvae, name)
    display = make(name, fitted["images"])
    parameters = list(inspect.signature(cls).parameters)
    assert set(parameters) <= set(vars(display))
    kept = [one for one in vars(display) if one.endswith("_")]
    assert [one for one in parameters + kept if not re.search(rf"^{one} :", inspect.getdoc(cls), re.MULTILINE)] == []
    for method in (cls.from_estimator, cls.plot):
        names = [one.lstrip("*") for one in inspect.signature(method).parameters if one != "self"]
        assert [one for one in names if not re.search(rf"^(\*\*)?{one} :", inspect.getdoc(method), re.MULTILINE)] == []


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_drawing_moves_no_random_stream(name, rows, fitted):
    vae, _ = fitted[rows]
    before, stream = np.random.get_state()[1].copy(), vae._sample_stream.get_state()[1].copy()
    first, second = make(name, fitted[rows]), make(name, fitted[rows])
    assert_array_equal(np.random.get_state()[1], before)
    assert_array_equal(vae._sample_stream.get_state()[1], stream)
    for parameter in inspect.signature(type(first)).parameters:
        assert str(getattr(first, parameter)) == str(getattr(second, parameter))


STYLES = [
    ("LatentSpaceDisplay", {"c": "red", "lw": 1, "s": 3}, lambda display: display.scatter_.get_facecolor()[0, :3]),
    ("LatentSpaceDisplay", {"color": "red", "latents": 0}, lambda display: display.bars_[0][0].get_facecolor()[:3]),
    ("ReconstructionDisplay", {"fc": "red"}, lambda display: display.scatters_[0].get_facecolor()[0, :3]),
    ("LossCurveDisplay", {"c": "red", "lw": 3}, lambda display: matplotlib.colors.to_rgb(display.lines_[0].get_color())),
    ("TraversalDisplay", {"cmap": "Reds"}, lambda display: display.images_[0].cmap(0.99)[:3] > np.array([0.4, -1, -1])),
]


@pytest.mark.parametrize(("name", "style", "look"), STYLES)
def test_styles_by_every_name_that_matplotlib_has_for_them(name, style, look, fitted):
    assert look(make(name, fitted["table"], **style))[0] in (1.0, True)


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LatentSpaceDisplay", "ManifoldDisplay", "TraversalDisplay"])
@pytest.mark.parametrize("latents", [2, -1, (0, 2), (0, 0), (), (0.0, 1.0), (True, 0), "01"])
def test_latents_are_there(name, latents, fitted):
    message = rf"latents must hold .*different ints in the range \[0, 2\)\. Got {re.escape(repr(latents))} instead"
    with pytest.raises(ValueError, match=message):
        make(name, fitted["images"], latents=latents)


def test_no_more_latents_than_axes(fitted):
    with pytest.raises(ValueError, match="latents must hold one or two different ints"):
        make("LatentSpaceDisplay", fitted["table"], latents=(0, 1, 2))


@pytest.mark.parametrize("name", ["ManifoldDisplay", "TraversalDisplay", "ReconstructionDisplay", "SamplesDisplay"])
@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3"])
def test_n_counts(name, n, fitted):
    with pytest.raises(ValueError, match=rf"n must be an int in the range \[1, inf\)\. Got {n!r} instead"):
        getattr(skvae, name).from_estimator(*fitted["images"][: 1 + (name == "ReconstructionDisplay")], n=n)


def test_a_manifold_is_of_images(fitted):
    with pytest.raises(ValueError, match="ManifoldDisplay draws images, but VAETransformer was fitted to a table"):
        make("ManifoldDisplay", fitted["table"])


def test_a_traversal_starts_from_one_row(fitted, table):
    vae, X = fitted["images"]
    display = skvae.TraversalDisplay.from_estimator
    for start in (X[0], X[:1], X[:1].reshape(1, -1)):
        picture = display(vae, start, n=3)
        assert [label.get_text() for label in picture.axes_[0].get_xticklabels()] == ["start", "17 %", "50 %", "83 %"]
        assert_allclose(picture.decoded[:, 0], vae.inverse_transform(vae.transform(X[:1])).repeat(2, axis=0))
    assert display(vae, n=3).decoded.shape == (2, 3, 8, 8)
    for start, got in ((X[:2], "2 rows"), (X[:0], "0 rows")):
        with pytest.raises(ValueError, match=rf"X must hold one row, such as X\[:1\]. Got {got} instead"):
            display(vae, start)
    with pytest.raises(ValueError, match=r"X must hold one row, such as X\[:1\]\. Got a Series instead"):
        display(fitted["table"][0], table.iloc[0])


# --- rows by their latents -------------------------------------------------------------------------------------------

N = 300
YS = {
    "none": (None, ["rows"]),
    "strings": (np.array(["b", "a", "c"])[np.arange(N) % 3], ["a", "b", "c"]),
    "a list with missing": ([None, "yes", "no"] * 100, ["no", "yes", "missing"]),
    "booleans": (np.arange(N) % 2 == 0, ["False", "True"]),
    "whole numbers": (np.arange(N) % 4, ["0", "1", "2", "3"]),
    "whole floats with missing": (np.where(np.arange(N) % 4, np.arange(N) % 4, np.nan), ["1", "2", "3", "missing"]),
    "an order": (pd.Series(pd.Categorical.from_codes(np.arange(N) % 2, ["S", "M", "L"], ordered=True)), ["S", "M"]),
    "a frame": (pd.DataFrame({"y": ["u", "v"] * 150}), ["u", "v"]),
    "polars": (pl.Series("y", ["u", None] * 150), ["u", "missing"]),
    "many": ([f"k{i * i % 31:02d}" for i in range(N)], [*(f"k{i * i % 31:02d}" for i in range(10)), "6 others"]),
    "all missing": ([None] * N, ["missing"]),
    "numbers": (np.linspace(0, 1, N), []),
    "numbers with missing": (pd.Series(np.linspace(0, 1, N)).mask(np.arange(N) < 5), ["missing"]),
    "dates": (pd.Series(pd.date_range("2020-01-01", periods=N)), []),
    "durations": (pd.Series(pd.to_timedelta(np.arange(N), unit="m")), []),
    "a constant": (np.full(N, 0.5), []),
}
NUMBERS = [name for name, (_, names) in YS.items() if not names or name == "numbers with missing"]


@pytest.mark.parametrize("latents", [None, 1])
@pytest.mark.parametrize("kind", YS)
def test_colours_have_names(kind, latents, fitted):
    y, names = YS[kind]
    display = make("LatentSpaceDisplay", fitted["images"], y=y, latents=latents)
    got = [text.get_text() for text in display.legend_.get_texts()]
    assert got[-1].startswith("prior")
    if kind == "many":  # the nine most frequent, which are as frequent as others here
        assert len(got) == 11
        assert re.fullmatch(r"\d+ others", got[-2])
    else:
        assert got[:-1] == names
    assert (display.colorbar_ is not None) == (kind in NUMBERS)
    assert (display.scatter_ is None) == (latents == 1)


def test_points_have_the_colours_of_the_legend(fitted):
    vae, X = fitted["images"]
    y = np.where(np.arange(N) < 20, None, np.array(["a", "b"], dtype=object)[np.arange(N) % 2])
    display = make("LatentSpaceDisplay", (vae, X), y=y)
    colours = {"missing": to_hex(MISSING)} | dict(zip("ab", ("#3f90da", "#ffa90e"), strict=True))
    legend = {handle.get_label(): to_hex(handle.get_color()) for handle in display.legend_.legend_handles[:-1]}
    assert legend == colours
    expected = {tuple(z): colours[name or "missing"] for z, name in zip(vae.transform(X), y, strict=True)}
    got = zip(display.scatter_.get_offsets(), display.scatter_.get_facecolors(), strict=True)
    assert {tuple(z): to_hex(colour) for z, colour in got} == expected


def test_bars_are_a_density(fitted):
    vae, X = fitted["images"]
    for y in (None, np.arange(N) % 3, np.linspace(0, 1, N)):
        display = make("LatentSpaceDisplay", (vae, X), y=y, latents=0)
        area = sum(bar.get_width() * bar.get_height() for bars in display.bars_ for bar in bars)
        assert_allclose(area, 1)


def test_one_latent_needs_no_telling(table):
    vae = fit(table, 1)
    display = skvae.LatentSpaceDisplay.from_estimator(vae, table, table["colour"])
    assert display.ax_.get_xlabel() == f"latent 0 ({vae.explained_information_[0]:.1f} nats)"
    assert len(skvae.TraversalDisplay.from_estimator(vae).axes_) == 1
    images = load_digits().images[:100]
    display = skvae.ManifoldDisplay.from_estimator(fit(images, 1), n=5)
    assert display.images.shape == (1, 5, 8, 8)


def test_shades_hold_the_shares_that_they_say(fitted):
    display = make("LatentSpaceDisplay", fitted["images"])
    x, y = display.prior_draws.T
    inside = [np.mean(path.contains_points(np.c_[x, y])) for path in display.density_.get_paths()]
    assert_allclose(inside, [0.99, 0.9, 0.5], atol=0.02)


@pytest.mark.parametrize("y", [np.zeros(7), pd.Series(["a"] * 7)])
def test_y_is_as_long_as_x(y, fitted):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make("LatentSpaceDisplay", fitted["images"], y=y)


def test_y_is_finite(fitted):
    with pytest.raises(ValueError, match=r"Input y contains infinity\."):
        make("LatentSpaceDisplay", fitted["images"], y=np.full(N, np.inf))


def test_y_is_one_column(fitted):
    with pytest.raises(ValueError, match=r"y must have one column. Got an array of shape \(300, 2\) instead"):
        make("LatentSpaceDisplay", fitted["images"], y=np.zeros((N, 2)))


# --- images ----------------------------------------------------------------------------------------------------------


def colour_images(n=40):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 1, 1, 3)) * np.linspace(0.2, 1, 30).reshape(6, 5, 1)


# images, options of the estimator, and what one image becomes as colours (6, 5, 3) between 0 and 1
LAYOUTS = {
    "bytes, channels last": (colour_images().astype(np.uint8), {}, lambda x: x / 255),
    "shares, channels first": (colour_images().transpose(0, 3, 1, 2) / 255, {}, lambda x: x.transpose(1, 2, 0)),
    "flat": ((colour_images() / 255).reshape(40, -1), {"image_shape": (6, 5, 3)}, lambda x: x.reshape(6, 5, 3)),
    "a frame": (
        pd.DataFrame((colour_images() / 255).reshape(40, -1)).rename(columns=str),
        {"image_shape": (6, 5, 3)},
        lambda x: x.reshape(6, 5, 3),
    ),
    "opacity": (
        np.concatenate([colour_images() / 255, np.ones((40, 6, 5, 1))], axis=-1),
        {},
        lambda x: x[..., :3],
    ),
    "bytes, one channel first": (
        colour_images()[..., :1].transpose(0, 3, 1, 2).astype(np.uint8),
        {},
        lambda x: (x[0] / 255)[..., None].repeat(3, -1),
    ),
    "five channels": (
        colour_images()[..., [0, 0, 1, 2, 2]] / 255,
        {},
        lambda x: x.mean(-1, keepdims=True).repeat(3, -1),
    ),
    "booleans": (colour_images()[..., 0] > 100, {}, lambda x: x[..., None].repeat(3, -1).astype(float)),
    "reals": (colour_images()[..., 0] - 99.5, {}, None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_of_every_layout(layout):
    X, options, as_colours = LAYOUTS[layout]
    vae = fit(X, **options)
    for name in ("ManifoldDisplay", "TraversalDisplay", "SamplesDisplay"):
        assert len(make(name, (vae, X)).figure_.axes) == 1 + (name == "SamplesDisplay")
    display = make("ReconstructionDisplay", (vae, X), n=3)
    mosaic = display.images_[0].get_array()
    assert mosaic.shape == (2 * 6 + 1, 3 * 5 + 2, 4)
    first = np.asarray(X)[0].astype(float)
    if as_colours is None:
        lower, upper = X.min(), X.max()
        expected = ((first - lower) / (upper - lower))[..., None].repeat(3, -1)
    else:
        expected = as_colours(first)
    assert_allclose(mosaic[:6, :5, :3] / 255, expected, atol=1 / 200)
    assert (mosaic[6] == 0).all()  # nothing lies between images
    assert ("mean of 5 channels" in display.axes_[0].get_title(loc="left")) == (layout == "five channels")


def test_missing_pixels_have_a_colour_of_their_own():
    X = colour_images() / 255
    X[:, 2, 3, 1] = np.nan
    display = make("ReconstructionDisplay", (fit(X), X), n=3)
    mosaic = display.images_[0].get_array()
    assert to_hex(mosaic[2, 3] / 255) == MISSING_PIXEL
    assert to_hex(mosaic[2, 2] / 255) != MISSING_PIXEL
    assert display.axes_[0].get_title(loc="left").endswith("pink: missing")


def test_the_error_is_that_of_all_pixels(fitted):
    vae, X = fitted["images"]
    error = np.sqrt(np.mean((vae.inverse_transform(vae.transform(X)) - X) ** 2))
    display = make("ReconstructionDisplay", (vae, X), n=12)
    assert_allclose(display.rmse, error)
    assert display.axes_[0].get_title(loc="left") == f"RMSE of a pixel {error:#.3g}, over 300 images"
    assert_array_equal(display.data, X[np.linspace(0, 299, 12).round().astype(int)])


def test_a_manifold_grows_to_the_right_and_upwards(fitted):
    vae, _ = fitted["images"]
    display = make("ManifoldDisplay", fitted["images"], n=3, latents=(1, 0))
    x, y = display.values
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all()
    assert_allclose(display.images[0, 2], vae.inverse_transform([[y[2], x[2]]])[0])
    assert display.ax_.get_xlabel().startswith("latent 1 (")
    ticks = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in display.ax_.get_yticklabels()]
    assert_allclose([float(tick) for tick in ticks], y[::-1], atol=0.051)
    assert display.image_.get_array().shape == (26, 26, 4)


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def polars_table(table):
    return pl.from_pandas(table.reset_index(drop=True))


@pytest.mark.parametrize("name", [name for name in DISPLAYS if name != "ManifoldDisplay"])
@pytest.mark.parametrize("form", ["polars", "array", "array of objects", "set_output"])
def test_tables_of_every_form(name, form, polars_table, table):
    X = {
        "polars": polars_table,
        "array": table[["age", "score"]].to_numpy(),
        "array of objects": table[["age", "colour"]].to_numpy(dtype=object),
        "set_output": table[["age", "colour"]],
    }[form]
    vae = fit(X)
    if form == "set_output":
        vae.set_output(transform="pandas")
    make(name, (vae, X)).figure_.canvas.draw()


def test_samples_are_those_of_sample(fitted):
    vae, X = fitted["table"]
    expected = vae.sample(4, random_state=3)
    display = skvae.SamplesDisplay.from_estimator(vae, 4, random_state=3)
    cells = display.tables_[0].get_celld()
    names = {cells[0, at].get_text().get_text(): at for at in range(max(at for _, at in cells) + 1)}
    assert list(names) == [short(name, 18) for name in X.columns][: len(names)]
    for name in ("colour", "age", "answer", "member"):
        got = [cells[row, names[name]].get_text().get_text() for row in range(1, 5)]
        assert got == ["missing" if pd.isna(value) else str(value) for value in expected[name]]


def test_small_axes_have_fewer_cells(fitted):
    vae, X = fitted["table"]
    display = skvae.SamplesDisplay.from_estimator(vae, ax=Figure(figsize=(3, 1.5)).subplots(), random_state=0)
    cells = display.tables_[0].get_celld()
    n_rows, n_columns = max(row for row, _ in cells), 1 + max(at for _, at in cells)
    assert 0 < n_rows < 6
    assert n_columns < 4
    title = display.axes_[0].get_title(loc="left")
    assert title == f"{n_rows} of 100 draws\n{X.shape[1] - n_columns} more columns are not shown"


def test_reconstructions_of_columns(fitted):
    vae, X = fitted["table"]
    back = vae.inverse_transform(vae.transform(X)).set_index(X.index)
    display = make("ReconstructionDisplay", (vae, X), n=3)
    titles = [ax.get_title() for ax in display.axes_]
    assert len(display.scatters_) == 3 == len(titles) - 1
    numbers = ["age", "income", "score", "children", "since", "waited", "a name that is long, of which there is $no_end^"]
    scores = {}
    for name in numbers:
        pair = pd.DataFrame({"true": X[name], "back": back[name]}).dropna()
        if name in ("since", "waited"):
            pair = pair.apply(lambda times: times.astype("int64").astype(float))
        scores[name] = r2_score(pair["true"].astype(float), pair["back"].astype(float))
    ranked = sorted(scores, key=scores.get)
    assert [title.split("\n")[1] for title in titles[:3]] == [f"R² {scores[ranked[at]]:.2f}" for at in (0, 1, -1)]
    names = ["colour", "member", "size", "answer", "consent"]
    right = sorted((back[name].astype(object) == X[name].astype(object))[X[name].notna()].mean() for name in names)
    assert_allclose([bar.get_width() for bar in display.bars_], right)


def test_names_of_rows_are_no_columns_to_reconstruct():
    X = pd.DataFrame({"id": [f"r{i}" for i in range(60)], "kind": ["u", "v"] * 30, "empty": [None] * 60, "one": 1.0})
    vae = fit(X)
    assert vae.ignored_features_ == ["id"]
    display = make("ReconstructionDisplay", (vae, X))
    assert [label.get_text() for label in display.axes_[0].get_yticklabels()] == ["kind"]
    assert make("TraversalDisplay", (vae, X)).n_columns == 3


def test_a_column_taken_as_categories_is_one():
    X = np.c_[np.arange(60) % 3, np.linspace(0, 1, 60)]
    display = make("ReconstructionDisplay", (fit(X, categorical_features=[0]), X))
    assert len(display.scatters_) == len(display.bars_) == 1


def test_colours_of_a_traversal_are_changes_from_the_start(fitted):
    vae, X = fitted["table"]
    display = make("TraversalDisplay", fitted["table"], n=4, latents=(0, 1))
    assert display.n_columns == X.shape[1]
    assert len(display.decoded) <= 12
    start = vae.inverse_transform(vae.transform(X[:1]))
    for column, changes in zip(display.decoded, display.changes.reshape(-1, 2, 5), strict=True):
        assert_array_equal(changes[:, 0], 0)
        if column.kind == "number" and not np.isnan(column.values).any():
            moved = column.values.reshape(2, 5) - float(start[column.name].iloc[0])
            assert_array_equal(np.sign(changes), np.sign(moved))
    assert len(display.texts_) == 2 * 5 * len(display.decoded)
    assert display.colorbar_ is not None
    assert len(display.images_) == 2


def test_a_wide_table_shows_what_changes_most():
    rng = np.random.default_rng(0)
    z = rng.normal(size=200)
    X = pd.DataFrame({f"c{j}": z * (j % 2) + rng.normal(size=200) for j in range(40)})
    display = make("TraversalDisplay", (fit(X), X))
    assert len(display.decoded) == 12
    assert "the 12 of 40 columns that change most" in display.axes_[-1].get_xlabel()


WRITTEN = [
    (write_numbers, [1.0, 2.0], False, ["1", "2"]),
    (write_numbers, [1.5, -2.0], False, ["1.5", "-2.0"]),
    (write_numbers, [27607.03, 1.0], False, ["27607.03", "1.00"]),
    (write_numbers, [np.pi, -1e-9], False, ["3.14159", "0.00000"]),
    (write_numbers, [np.pi * 100], True, ["314.2"]),
    (write_numbers, [1e-7, 2e-8], False, ["1e-07", "2e-08"]),
    (write_numbers, [3e15], False, ["3e+15"]),
    (write_numbers, [0.0], False, ["0"]),
    (write_numbers, [], False, []),
    (write_dates, [0.0, 19000.0], False, ["1970-01-01", "2022-01-08"]),
    (write_dates, [0.0, 0.5], False, ["1970-01-01 00:00", "1970-01-01 12:00"]),
    (write_dates, [0.0, 1 / 86400], False, ["1970-01-01 00:00:00", "1970-01-01 00:00:01"]),
    (write_dates, [0.0, 0.5], True, ["01-01 00:00", "01-01 12:00"]),
    (write_dates, [0.25, 9.5], True, ["1970-01-01", "1970-01-10"]),
    (write_durations, [61.0, -86400.0 * 3 - 3600], False, ["00:01:01", "-3 d 01:00:00"]),
]


@pytest.mark.parametrize(("write", "values", "brief", "texts"), WRITTEN)
def test_how_cells_are_written(write, values, brief, texts):
    assert write(np.array(values), brief) == texts


def test_missing_cells_are_written():
    assert Column("c", "category", np.array([1.0, np.nan]), ["u", "v"]).texts() == ["v", "missing"]
    assert Column("c", "number", np.array([np.nan, 2.0]), []).texts("–") == ["–", "2"]


# --- losses ----------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_the_fit(table):
    vae = VAETransformer(2, max_iter=4, random_state=0).fit(table)
    vae.generator_loss_curve_ = [3.0, 2.0, 1.0]  # however the generator fared
    display = skvae.LossCurveDisplay.from_estimator(vae)
    expected = [vae.loss_curve_, [-score for score in vae.validation_scores_], vae.generator_loss_curve_]
    for line, losses in zip(display.lines_, expected, strict=True):
        assert_array_equal(line.get_xdata(), np.arange(len(losses)) + 1)
        assert_allclose(line.get_ydata(), losses)
    assert [ax.get_title(loc="left") for ax in display.axes_] == ["Autoencoder", "Generator"]
    assert_allclose(display.best_.get_ydata(), -vae.best_validation_score_)


@pytest.mark.parametrize(
    ("best_score", "epoch", "label"),
    [(-2.0, 2, "kept: epoch 2 (2.00)"), (-1.0, 0, "kept: the start (1.00)"), (None, 2, "kept: epoch 2 (2.00)")],
)
def test_the_kept_epoch_is_marked(best_score, epoch, label):
    scores = [-3.0, -2.0, -2.5]
    display = skvae.LossCurveDisplay(loss_curve=[3, 2, 1], validation_scores=scores, best_score=best_score).plot()
    assert display.best_.get_xdata() == [epoch]
    assert display.best_.get_label() == label


def test_without_held_out_rows(table):
    vae = fit(table, early_stopping=False)
    display = skvae.LossCurveDisplay.from_estimator(vae)
    assert display.best_ is None
    assert len(display.lines_) == len(display.axes_) == 1
    skvae.LossCurveDisplay(loss_curve=[1.0]).plot().figure_.canvas.draw()
