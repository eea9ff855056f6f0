"""The local autoregressive decoder: densities, what a pixel may see, draws, and images with known pixels."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skvae import VAETransformer
from skvae.abstract_generator import resampled
from skvae.images import Images, ImageSpec, layout_of
from skvae.networks import Layout, Patches, ResidualDecoder, ResidualEncoder, from_patches, to_patches
from skvae.parts import PartsGenerator
from skvae.pixels import Canvas, PixelDecoder
from skvae.rows import Part
from skvae.scalings import Variable
from skvae.views import ImageView

LATTICE = Variable("gaussian", spacing=0.1, lower=-1.0, upper=2.0)
VARIABLES = {"binary": Variable("bernoulli"), "levels": LATTICE, "real": Variable("gaussian")}
LAYOUTS = [Layout(1, 3, 4, True), Layout(2, 2, 3, True), Layout(2, 2, 3, False), Layout(3, 2, 2, False)]


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def decoder_of(variable, layout, rng):
    """A decoder of two latents whose pixels depend on each other."""
    decoder = PixelDecoder(variable, layout, 2, "silu", rng).double()
    decoder.start_at(torch.tensor([0.3]))
    for parameter in decoder.network.parameters():
        parameter.data *= 3
    return decoder


def all_images(n_pixels):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n_pixels)), dtype=torch.double)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_binary_images_have_a_distribution_and_are_drawn_from_it(layout, rng):
    decoder, x = decoder_of(VARIABLES["binary"], layout, rng), all_images(math.prod(layout[:3]))
    z = torch.randn(1, 2, generator=rng).double()
    p = decoder.log_prob(Part(x), z.expand(len(x), 2)).sum(-1).exp().detach()
    assert p.sum().item() == pytest.approx(1)
    assert p.max() > 3 / len(x)  # far from uniform
    drawn = decoder.sample(z.expand(5000, 2), rng)
    assert drawn.mean(0).numpy() == pytest.approx((p @ x).numpy(), abs=0.03)
    log_probs = decoder.log_prob(Part(drawn), z.expand(5000, 2)).sum(-1).detach()
    error = log_probs.std().item() / math.sqrt(5000)
    assert log_probs.mean().item() == pytest.approx((p * p.log()).sum().item(), abs=4 * error)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_pixel_has_a_distribution(name, rng):
    decoder, z = decoder_of(VARIABLES[name], Layout(1, 1, 1, True), rng), torch.zeros(1, 2).double()
    x = {"binary": torch.arange(2), "levels": torch.arange(31) * 0.1 - 1, "real": torch.linspace(-60, 60, 12_001)}[name]
    with torch.no_grad():
        p = decoder.log_prob(Part(x.double()[:, None]), z.expand(len(x), 2)).exp()
    assert p.sum().item() * (1e-2 if name == "real" else 1) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("layout", [*LAYOUTS, Layout(3, 5, 4, False)])
@pytest.mark.parametrize("name", VARIABLES)
def test_a_pixel_sees_those_before_it_and_none_after(layout, name, rng):
    decoder, n = decoder_of(VARIABLES[name], layout, rng), math.prod(layout[:3])
    # places of pixels in the order in which they are drawn
    order = layout.planes(torch.arange(n)).permute(1, 2, 0).flatten()
    x, z = torch.rand(1, n, generator=rng).double().round(), torch.randn(1, 2, generator=rng).double()
    before = decoder.log_prob(Part(x), z)[0]
    for place, pixel in enumerate(order):
        changed = x.clone()
        changed[0, pixel] = 1 - changed[0, pixel]
        differs = decoder.log_prob(Part(changed), z)[0] != before
        assert not differs[order[:place]].any()
        assert differs[order[place + 1 : place + 2]].all()


@pytest.mark.parametrize("layout", [*LAYOUTS, Layout(3, 5, 6, False)])
@pytest.mark.parametrize("name", VARIABLES)
def test_drawing_computes_what_scoring_does(layout, name, rng):
    decoder, n = decoder_of(VARIABLES[name], layout, rng), math.prod(layout[:3])
    x, z = layout.planes(torch.rand(3, n, generator=rng).double()), torch.randn(3, 2, generator=rng).double()
    expected = decoder.network(x, decoder.maps(z))
    canvas = Canvas(decoder.network, decoder.maps(z))
    with torch.no_grad():
        for row in range(layout.height):
            for channel, column, theta in canvas.places(row):
                torch.testing.assert_close(theta, expected[:, channel, :, row, column])
                canvas.x[:, row, column, channel] = x[:, channel, row, column]


def test_a_missing_pixel_counts_nothing_and_tells_nothing(rng):
    decoder = decoder_of(VARIABLES["levels"], Layout(1, 3, 3, True), rng)
    x, z = torch.rand(2, 9, generator=rng).double(), torch.zeros(2, 2).double()
    observed = torch.ones(2, 9, dtype=torch.bool)
    observed[:, 4] = False
    one = decoder.log_prob(Part(x, observed), z)
    x[:, 4] = 1.7
    assert_array_equal(decoder.log_prob(Part(x, observed), z).detach(), one.detach())
    assert (one[:, 4] == 0).all()


@pytest.mark.parametrize("log_weights", [[0.0, 0.0, 0.0, 0.0], [0.0, -1.0, -3.0, 1.0], [-500.0, 0.0, -500.0, -1.0]])
def test_particles_go_on_as_often_as_their_weights_say(log_weights, rng):
    weights = torch.tensor(log_weights)[:, None].expand(4, 20_000)
    chosen, after = resampled(weights, rng)
    share = weights[:, 0].softmax(0)
    if chosen is None:
        assert share.square().sum() <= 0.5
        assert_array_equal(after, weights)
        return
    places = chosen.view(4, -1)
    assert_array_equal(places % 20_000, torch.arange(20_000).expand(4, -1))  # particles stay with their image
    counts = torch.stack([(places // 20_000 == k).float().sum(0).mean() for k in range(4)])
    assert counts == pytest.approx(4 * share.numpy(), abs=0.03)
    assert (after == 0).all()


def stripes(n, seed=0, dtype=np.uint8):
    """Images of 6 x 5 pixels: columns of one colour each, a tenth of the pixels turned."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, 2, (n, 1, 5)).repeat(6, axis=1)
    return (columns ^ (rng.random((n, 6, 5)) < 0.1)).astype(dtype)


@pytest.fixture(scope="module")
def fitted():
    return VAETransformer(2, max_iter=25, random_state=0).fit(stripes(1500))


def test_zeros_and_ones_of_bytes_are_binary(fitted):
    assert fitted.generator_ == "autoregressive"
    drawn = fitted.sample(50, random_state=0)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (50, 6, 5)
    assert set(np.unique(drawn)) == {0, 1}


def test_neighbours_tell_what_two_latents_cannot(fitted):
    X = stripes(400, seed=1)
    bound = 5 * math.log(0.5) - 30 * (-0.1 * math.log(0.1) - 0.9 * math.log(0.9))  # below the expected value
    density = fitted.log_density(X).mean()
    assert fitted.score(X) < density - 1.5
    assert bound - 1.5 < density < bound + 1.0
    drawn = fitted.sample(2000, random_state=0).astype(float)
    assert np.corrcoef(drawn[:, 0, 0], drawn[:, 5, 0])[0, 1] == pytest.approx(0.64, abs=0.15)


def test_known_pixels_decide_unknown_ones_before_and_after(fitted):
    X = stripes(200, seed=2).astype(float)
    holed = X.copy()
    holed[:, :3] = np.nan  # what comes first is unknown: columns are told by the rows below
    majority = X[:, 3:].mean(1) > 0.5
    for filled in (fitted.impute(holed), *fitted.impute(holed, n_draws=2, random_state=0)):
        assert_array_equal(filled[:, 3:], X[:, 3:])
        agree = (filled[:, :3] == majority[:, None]).mean()
        assert agree > 0.75
    assert_array_equal(fitted.impute(holed), fitted.impute(holed))


def test_completed_images_are_as_if_filtered(fitted):
    free = fitted.sample(20_000, random_state=0)
    known = np.array([1, 0, 1, 1, 0])
    filtered = free[(free[:, 3] == known).all(1)].astype(float)
    holed = np.full((1500, 6, 5), np.nan)
    holed[:, 3] = known
    [drawn] = fitted.impute(holed, n_draws=1, random_state=0)
    error = np.sqrt(0.25 / len(filtered) + 0.25 / len(drawn))
    assert drawn.mean(0) == pytest.approx(filtered.mean(0), abs=5 * error + 0.03)


@pytest.mark.parametrize("shape", [(9, 7), (8, 10, 3), (3, 9, 8), (12, 5, 2)])
@pytest.mark.parametrize("kind", ["bytes", "shares", "levels", "real"])
def test_images_of_every_layout_are_drawn_scored_and_completed(shape, kind):
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(40, *[1] * len(shape))) + 0.3 * rng.normal(size=(40, *shape))
    bytes_ = (60 * smooth + 128).clip(0, 255).astype(np.uint8)
    X = {"bytes": bytes_, "shares": bytes_ / 255.0, "levels": bytes_ // 16 * 1.0, "real": smooth.astype(np.float32)}[kind]
    vae = VAETransformer(2, max_iter=2, random_state=0).fit(X)
    assert vae.generator_ == "autoregressive"
    drawn = vae.sample(3)
    assert drawn.shape == (3, *shape)
    assert drawn.dtype == X.dtype
    assert 0 <= drawn.min() <= drawn.max() <= 1 or kind != "shares"
    assert np.isfinite(vae.log_density(X[:5])).all()
    assert vae.log_density(X[:5])[2] == pytest.approx(vae.log_density(X[2:3])[0], abs=1e-3)  # whatever the other rows
    holed = X[:3].astype(float)
    holed.reshape(3, -1)[:, ::2] = np.nan
    filled = vae.impute(holed)
    assert_array_equal(filled[~np.isnan(holed)], X[:3][~np.isnan(holed)])
    assert not np.isnan(filled).any()


def test_shares_of_yes_are_no_distribution_of_pixels():
    X = np.random.default_rng(0).random((30, 4, 4))
    assert VAETransformer(2, likelihood="bernoulli", max_iter=1).fit(X).generator_ == "latent"
    with pytest.raises(ValueError, match=r"generator='autoregressive' .* 'latent'"):
        VAETransformer(2, likelihood="bernoulli", generator="autoregressive", max_iter=1).fit(X)


# --- networks of images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [*LAYOUTS, Layout(1, 4, 7, False)])
def test_planes_are_the_pixels_of_a_row(layout):
    x = torch.arange(2 * math.prod(layout[:3])).view(2, -1)
    planes = layout.planes(x)
    assert planes.shape == (2, *layout[:3])
    assert_array_equal(layout.flat(planes), x)
    shape = layout[:3] if layout.channels_first else (layout.height, layout.width, layout.channels)
    image = x[1].view(shape)
    assert_array_equal(planes[1], image if layout.channels_first else image.permute(2, 0, 1))


@pytest.mark.parametrize("shape", [(4, 4), (28, 28), (31, 17), (64, 64), (4, 128), (128, 97)])
@pytest.mark.parametrize("channels", [1, 3])
def test_residual_networks_take_images_of_any_size(shape, channels, rng):
    assert max(Patches.of(*shape).grids[-1]) <= 8
    x = torch.randn(2, channels, *shape, generator=rng)
    for size in Patches.of(*shape).sizes:
        assert_array_equal(from_patches(to_patches(x, size), size, shape), x)
    h = ResidualEncoder((channels, *shape), 5, "silu", rng)(x)
    assert h.shape == (2, 5)
    assert ResidualDecoder(5, (channels, *shape), "silu", rng)(h).shape == x.shape


def test_a_generator_of_pixels_begins_at_the_mean_of_all_pixels(rng):
    spec = ImageSpec((4, 4), Variable("bernoulli"), 0.0, 1.0, True)
    generator = PartsGenerator([ImageView(spec)], rng)
    generator.start(None, [torch.full((16,), 0.2)], None)
    assert generator.sample(2000, None, rng)[0].mean().item() == pytest.approx(0.2, abs=0.05)


# --- what is refused -------------------------------------------------------------------------------------------------

NOISE, LIGHT = (np.random.default_rng(0).integers(0, most, (20, side, side)) for most, side in ((64, 6), (192, 1)))
BYTES = (NOISE + LIGHT).astype(np.uint8)  # images as light or dark as a whole


@pytest.mark.parametrize("make", [list, lambda images: np.array(images, dtype=object)])
def test_images_of_unequal_shapes_are_refused(make):
    with pytest.raises(ValueError, match=r"different shapes, \(5, 6\) and \(6, 6\)"):
        VAETransformer(2).fit(make([BYTES[0], BYTES[1, :5]]))


def test_images_with_every_pixel_missing_are_refused():
    with pytest.raises(ValueError, match="Every pixel of the 20 images is missing"):
        VAETransformer(2).fit(np.full(BYTES.shape, np.nan))


@pytest.mark.parametrize(
    ("seen", "later", "message"),
    [
        (BYTES / 255.0, BYTES, r"within \[0, 1\], got \d+\. Scale X"),
        (BYTES, BYTES / 255.0, r"whole numbers within \[0, 255\] in fit, got 0\.\d+\. Scale X"),
        (BYTES, BYTES.astype(int) - 300, r"within \[0, 255\], got -\d+\. Scale X"),
        (BYTES, BYTES[:, :5], r"expecting images of shape \(6, 6\)"),
        (BYTES.astype(int) ** 2, BYTES + 0.5, r"whole numbers .* got \d+\.5"),
        ((BYTES.astype(int) ** 2 // 4).astype(np.int16), BYTES * -1000.0, r"within \[-32768, 32767\], got -\d+"),
        (BYTES > 99, BYTES / 255.0, r"whole numbers within \[0, 1\] in fit"),
    ],
)
def test_images_of_another_form_are_refused(seen, later, message):
    vae = VAETransformer(2, max_iter=1, generator="latent", random_state=0).fit(seen)
    with pytest.raises(ValueError, match=message):
        vae.transform(later)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((8, 9), (1, 8, 9, True)),
        ((8, 9, 3), (3, 8, 9, False)),
        ((3, 8, 9), (3, 8, 9, True)),
        ((3, 8, 3), (3, 3, 8, False)),
        ((8, 9, 7), (7, 8, 9, False)),
    ],
)
def test_channels_are_the_last_axis_unless_the_first_alone_can_be(shape, layout):
    assert layout_of(shape) == layout


def test_levels_come_back_to_the_last_bit_and_last_digits_make_no_new_ones():
    X = BYTES / 255.0
    vae = VAETransformer(2, max_iter=1, random_state=0).fit(X)
    drawn = vae.sample(20, random_state=0)
    assert np.isin(drawn, np.arange(256) / 255.0).all()
    spec = Images().fit(np.concatenate([X, drawn * (1 + 1e-15)]), np.ones(40)).spec
    assert spec.variable.spacing * spec.scale == pytest.approx(1 / 255)


@pytest.mark.parametrize("scaled", [BYTES / 127.5 - 1, (BYTES - 128).astype(np.int8), (BYTES - 128.0) / 74])
def test_a_fold_may_lack_the_darkest_and_the_lightest_level(scaled):
    least, greatest = np.quantile(scaled, [0.1, 0.9], method="nearest")
    middle = scaled.clip(least, greatest)
    vae = VAETransformer(2, max_iter=1, generator="latent", random_state=0).fit(middle.astype(scaled.dtype))
    assert np.isfinite(vae.score_samples(scaled)).all()


def test_rows_may_come_backwards():
    vae = VAETransformer(2, max_iter=1, random_state=0).fit(BYTES[::-1])
    assert_array_equal(vae.transform(BYTES[::-1]), vae.transform(BYTES[::-1].copy()))
    assert_array_equal(vae.inverse_transform(np.eye(2)[::-1]), vae.inverse_transform(np.eye(2)[::-1].copy()))


def test_layers_of_the_autoencoder_change_nothing_of_the_generator():
    X = np.repeat(np.repeat(BYTES, 3, axis=1), 3, axis=2)  # more than 256 pixels, so that "auto" is residual
    one = VAETransformer(2, max_iter=1, random_state=0).fit(X)
    other = VAETransformer(3, hidden_layer_sizes=(8,), beta=2.0, max_iter=1, random_state=0).fit(X)
    assert_array_equal(one.log_density(X), other.log_density(X))
