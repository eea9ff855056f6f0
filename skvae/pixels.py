"""The local autoregressive decoder of images: each pixel given latents, and the pixels near it that come before.

Pixels come row by row from the top, each row from the left, and the channels of a pixel one after the other. What is far
away a pixel learns from the latents, which are decoded to maps as large as the image (Gulrajani et al., 2017, PixelVAE).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skvae.abstract_likelihood import draw_index, log_mass_of_logistic
from skvae.decoders import AbstractDecoder
from skvae.networks import ACTIVATIONS, Convolution, Layout, Linear, ResidualDecoder
from skvae.rows import Budget, Part
from skvae.scalings import Variable

N_MAPS, N_HIDDEN, N_BLOCKS = 8, 32, 2  # maps that latents decode to, features of a pixel, and blocks over them
REACH = 3  # rows above and columns beside a pixel that its first layer sees; each block sees one more
N_LOGISTICS = 5  # components of the mixture of a pixel that is not binary; Salimans et al. (2017) take 5 to 10
WIDTH = 256  # of the layers between images, latents and maps
# Budget of a generator of images: rows that it is trained on at most, decoder outputs at most (ten minutes of one core), and
# epochs at least.
PIXEL_ROWS, PIXEL_NUMBERS, PIXEL_EPOCHS = 4.5e5, 2.2e9, 3
FAR = 1e4  # scales beyond which a logistic distribution has no mass to lose


# --- what a pixel may be ---------------------------------------------------------------------------------------------


class BernoulliPixels:
    """Pixels of two values, 0 and 1 where they are packed."""

    n_params = 1
    centre = 0.5

    def __init__(self, variable: Variable):
        pass

    def bias(self, mean: float) -> Tensor:
        """Theta where nothing is known but the mean of all pixels: (n_params,)."""
        return torch.tensor([mean]).clamp(1e-3, 1 - 1e-3).logit()

    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Log-probability of each pixel, in nats. x : (..., H, W); theta : (..., n_params, H, W); returns (..., H, W)."""
        theta = theta[..., 0, :, :]
        return x * theta - F.softplus(theta)

    def sample(self, theta: Tensor, rng: Generator) -> Tensor:
        """One draw of each pixel. theta : (n, n_params); returns (n,)."""
        return torch.bernoulli(theta[:, 0].sigmoid(), generator=rng)


class LogisticMixturePixels:
    """A mixture of logistic distributions; on a lattice the mass of its cells, of which the outermost hold the tails.

    (Salimans et al., 2017, eqs. 1 and 2.)
    """

    n_params = 3 * N_LOGISTICS
    centre = 0.0

    def __init__(self, variable: Variable):
        self.spacing, self.lower, self.upper = variable.spacing, variable.lower, variable.upper
        self.least_log_scale = math.log(self.spacing / 8) if self.spacing else -7.0

    def bias(self, mean: float) -> Tensor:
        """Theta before training, (n_params,): components evenly spaced, whatever the mean."""
        means = torch.linspace(-1.5, 1.5, N_LOGISTICS)
        return torch.cat([torch.zeros(N_LOGISTICS), means, torch.full_like(means, -1.0)])

    def _components(self, theta: Tensor, axis: int) -> tuple[Tensor, ...]:
        """Log-weights, means and log-scales, N_LOGISTICS each along an axis."""
        logit, mean, log_scale = theta.chunk(3, axis)
        return logit.log_softmax(axis), mean, log_scale.clamp(min=self.least_log_scale, max=7.0)

    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """As that of `BernoulliPixels`."""
        log_weight, mean, log_scale = self._components(theta, -3)
        distance, precision = x.unsqueeze(-3) - mean, (-log_scale).exp()
        if not self.spacing:
            u = distance * precision
            return (log_weight - u - 2 * F.softplus(-u) - log_scale).logsumexp(-3)
        half = 0.5 * self.spacing
        at_lower, at_upper = ((x - half <= self.lower).unsqueeze(-3), (x + half >= self.upper).unsqueeze(-3))
        left = ((distance - half) * precision).masked_fill(at_lower, -FAR)
        right = ((distance + half) * precision).masked_fill(at_upper, FAR)
        return (log_weight + log_mass_of_logistic(left, right)).logsumexp(-3)

    def sample(self, theta: Tensor, rng: Generator) -> Tensor:
        """As that of `BernoulliPixels`; draws lie on the lattice, as what comes after them sees such pixels only."""
        log_weight, mean, log_scale = self._components(theta, -1)
        chosen = draw_index(log_weight.exp(), rng).unsqueeze(-1)
        u = torch.rand(chosen.shape, generator=rng, dtype=theta.dtype, device=theta.device).clamp(1e-6, 1 - 1e-6)
        drawn = (mean.gather(-1, chosen) + log_scale.gather(-1, chosen).exp() * u.logit())[..., 0]
        if not self.spacing:
            return drawn
        return (self.lower + ((drawn - self.lower) / self.spacing).round() * self.spacing).clamp(self.lower, self.upper)


# by the likelihood that pixels have in the autoencoder
PIXELS: dict[str, Callable] = {"bernoulli": BernoulliPixels, "gaussian": LogisticMixturePixels}


# --- the neighbours of a pixel ---------------------------------------------------------------------------------------


class CausalConvolution(nn.Module):
    """A masked convolution: rows above, and the own row up to the pixel (van den Oord et al., 2016, PixelCNN).

    Parameters
    ----------
    n_in, n_out : int
    reach : int
        How many rows above, and columns on each side, are seen.
    with_own : bool
        Whether the own place is seen too (mask type B, from the second layer on; the first is of type A).
    rng : torch.Generator
        Draws the weights.
    gain : float
        As in `skvae.networks.Linear`.
    """

    mask: Tensor

    def __init__(self, n_in: int, n_out: int, reach: int, with_own: bool, rng: Generator, gain: float = 1.0):
        super().__init__()
        self.reach, self.n_left = reach, reach + int(with_own)
        # one convolution whose weights of places to come are zero takes less time than one of rows above and one of the row
        mask = torch.ones(reach + 1, 2 * reach + 1)
        mask[reach, self.n_left :] = 0.0
        self.register_buffer("mask", mask, persistent=False)
        std = gain / math.sqrt(n_in * mask.sum().item())
        self.weight = nn.Parameter(torch.empty(n_out, n_in, *mask.shape).normal_(std=std, generator=rng))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, n_in, H, W); returns (n, n_out, H, W)."""
        reach = self.reach
        return F.conv2d(F.pad(x, (reach, reach, reach, 0)), self.weight * self.mask, self.bias)

    def of_rows_above(self, padded: Tensor, row: int) -> Tensor:
        """What the rows above add to the places of a row. padded : (n, reach + H, reach + W + reach, n_in), zeros around an
        image; returns (n, W, n_out).
        """
        above = padded[:, row : row + self.reach].permute(0, 3, 1, 2)
        return F.conv2d(above, self.weight[:, :, : self.reach], self.bias)[:, :, 0].transpose(1, 2).contiguous()

    def of_left(self, padded: Tensor, row: int, column: int, left: Tensor) -> Tensor:
        """What the places on the left add to one. padded : as in `of_rows_above`; left : of `left_weights`; (n, n_out)."""
        return padded[:, row + self.reach, column : column + self.n_left].flatten(1) @ left

    def left_weights(self) -> Tensor:
        """Of the places on the left: (n_left * n_in, n_out)."""
        return self.weight[:, :, self.reach, : self.n_left].permute(2, 1, 0).flatten(0, 1).contiguous()

    def room(self, n: int, height: int, width: int) -> Tensor:
        """Zeros for n images and what is around them, as `of_rows_above` takes them: features of a place side by side."""
        return self.bias.new_zeros(n, height + self.reach, width + 2 * self.reach, self.weight.shape[1])


class CausalBlock(nn.Module):
    """h + small(act(local(act(h)))): a causal 3 x 3 convolution (mask type B), then one of 1 x 1."""

    def __init__(self, n_features: int, activation: str, rng: Generator):
        super().__init__()
        self.local = CausalConvolution(n_features, n_features, 1, True, rng, math.sqrt(2))
        self.small = Convolution(n_features, n_features, (1, 1), rng, gain=0.3)
        self.act = ACTIVATIONS[activation]()

    def forward(self, h: Tensor) -> Tensor:
        """h : (n, n_features, H, W); returns the same."""
        return h + self.small(self.act(self.local(self.act(h))))

    def step(self, h: Tensor, padded: Tensor, above: Tensor, left: Tensor, row: int, column: int) -> Tensor:
        """As `forward`, at one place. h : (n, n_features), kept in `padded`; above : what the rows above add to it."""
        padded[:, row + 1, column + 1] = self.act(h)
        local = above + self.local.of_left(padded, row, column, left)
        return h + F.linear(self.act(local), self.small.weight[:, :, 0, 0], self.small.bias)


class PixelNetwork(nn.Module):
    """Theta of every pixel as a function of the pixels before it and of maps (n, N_MAPS, H, W).

    Parameters
    ----------
    n_channels, n_params : int
        Theta holds `n_params` numbers of every channel of a pixel.
    activation : str
        A key of `skvae.networks.ACTIVATIONS`.
    rng : torch.Generator
        Draws the weights.
    """

    channel_mask: Tensor

    def __init__(self, n_channels: int, n_params: int, activation: str, rng: Generator):
        super().__init__()
        self.n_channels, self.n_params = n_channels, n_params
        self.act = ACTIVATIONS[activation]()
        self.neighbours = CausalConvolution(n_channels, N_HIDDEN, REACH, False, rng)
        self.maps = Convolution(N_MAPS, N_HIDDEN, (3, 3), rng, (1, 1))
        self.blocks = nn.ModuleList([CausalBlock(N_HIDDEN, activation, rng) for _ in range(N_BLOCKS)])
        self.spread = Convolution(N_HIDDEN, N_HIDDEN * n_channels, (1, 1), rng, gain=math.sqrt(2))
        # a channel also sees the channels of its pixel that come before
        std = 1 / math.sqrt(n_channels)
        self.channels = nn.Parameter(torch.empty(N_HIDDEN * n_channels, n_channels, 1, 1).normal_(std=std, generator=rng))
        mask = torch.ones(n_channels, n_channels).tril(-1).repeat_interleave(N_HIDDEN, 0)
        self.register_buffer("channel_mask", mask[:, :, None, None], persistent=False)
        std = 0.1 / math.sqrt(N_HIDDEN)
        self.out = nn.Parameter(torch.empty(n_channels * n_params, N_HIDDEN, 1, 1).normal_(std=std, generator=rng))
        self.bias = nn.Parameter(torch.zeros(n_channels * n_params))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        """x : (n, n_channels, H, W), zeros where missing; maps : (k * n, N_MAPS, H, W).

        Returns (k * n, n_channels, n_params, H, W).
        """
        copies = len(maps) // len(x)
        x = x.contiguous(memory_format=torch.channels_last)  # in which convolutions of few features take half as long
        h = self.maps(maps) + self.neighbours(x).repeat(copies, 1, 1, 1)
        for block in self.blocks:
            h = block(h)
        u = self.spread(self.act(h))
        if self.n_channels > 1:
            u = u + F.conv2d(x, self.channels * self.channel_mask).repeat(copies, 1, 1, 1)
        theta = F.conv2d(self.act(u), self.out, self.bias, groups=self.n_channels)
        return theta.unflatten(1, (self.n_channels, self.n_params))

    def by_channel(self, h: Tensor, pixel: Tensor) -> Iterator[Tensor]:
        """Theta (n, n_params) of each channel in turn; the caller writes each into `pixel` before the next.

        h : (n, N_HIDDEN); pixel : (n, n_channels).
        """
        spread = F.linear(self.act(h), self.spread.weight[:, :, 0, 0], self.spread.bias).chunk(self.n_channels, 1)
        channels, out = self.channels[:, :, 0, 0].chunk(self.n_channels), self.out[:, :, 0, 0].chunk(self.n_channels)
        biases = self.bias.chunk(self.n_channels)
        for channel, u in enumerate(spread):
            if channel:
                u = u + pixel[:, :channel] @ channels[channel][:, :channel].T
            yield F.linear(self.act(u), out[channel], biases[channel])


# --- the decoder -----------------------------------------------------------------------------------------------------


class PixelDecoder(AbstractDecoder):
    """p(x | z) = product over pixels of p(pixel | pixels before it and near it, z).

    Parameters
    ----------
    variable : Variable
        What each pixel is.
    layout : Layout
        How a row of pixels makes an image.
    latent_dim : int
    activation : str
        A key of `skvae.networks.ACTIVATIONS`.
    rng : torch.Generator
        Draws the weights.

    Attributes
    ----------
    n_params : int
        Theta values of an image.
    """

    def __init__(self, variable: Variable, layout: Layout, latent_dim: int, activation: str, rng: Generator):
        super().__init__()
        self.layout, self.pixels = layout, PIXELS[variable.likelihood](variable)
        self.first = Linear(latent_dim, WIDTH, rng)
        self.act = ACTIVATIONS[activation]()
        self.decode = ResidualDecoder(WIDTH, (N_MAPS, layout.height, layout.width), activation, rng)
        self.network = PixelNetwork(layout.channels, self.pixels.n_params, activation, rng)
        self.n_params = self.pixels.n_params * layout.channels * layout.height * layout.width
        self.budget = Budget(min(PIXEL_ROWS, PIXEL_NUMBERS / self.n_params), least=PIXEL_EPOCHS)
        self.widest_drawn = N_HIDDEN * layout.height * layout.width
        self.widest = max(self.n_params, self.widest_drawn * layout.channels)

    @torch.no_grad()
    def start_at(self, means):
        """Set the output bias: binary pixels start at the mean of all pixels, others at an even mixture."""
        self.network.bias.copy_(self.pixels.bias(means.mean().item()).repeat(self.layout.channels))

    def maps(self, z: Tensor) -> Tensor:
        """z : (n, latent_dim); returns (n, N_MAPS, H, W)."""
        return self.decode(self.act(self.first(z)).to(z.dtype))

    def _seen(self, part: Part) -> Tensor:
        """Pixels as their neighbours see them, missing ones as zeros: (n, channels, H, W)."""
        centred = part.x - self.pixels.centre
        return self.layout.planes(centred if part.observed is None else centred * part.observed)

    def log_prob(self, part: Part, z: Tensor) -> Tensor:
        """Log-probability of each pixel, zero where missing. part : n rows; z : (..., n, latent_dim); (..., n, n_pixels)."""
        theta = self.network(self._seen(part), self.maps(z.flatten(0, -2)))
        theta = theta.view(*z.shape[:-1], *theta.shape[1:])
        log_probs = self.layout.flat(self.pixels.log_prob(self.layout.planes(part.x), theta))
        return log_probs if part.observed is None else log_probs * part.observed

    @torch.no_grad()
    def sample(self, z: Tensor, rng: Generator) -> Tensor:
        """One image for each z (n, latent_dim): (n, n_pixels)."""
        canvas = Canvas(self.network, self.maps(z))
        for row in range(self.layout.height):
            for channel, column, theta in canvas.places(row):
                canvas.x[:, row, column, channel] = self.pixels.sample(theta, rng) - self.pixels.centre
        return self.layout.flat(canvas.planes + self.pixels.centre)

    @torch.no_grad()
    def complete(self, part, z, choose, rng):
        """As `AbstractDecoder.complete`, with a resampling step after each row of pixels."""
        canvas = Canvas(self.network, self.maps(z))
        assert part.observed is not None
        truth, known = self.layout.planes(part.x), self.layout.planes(part.observed)
        for row in range(self.layout.height):
            log_prob = canvas.x.new_zeros(len(canvas.x))
            for channel, column, theta in canvas.places(row):
                pixel, is_known = truth[:, channel, row, column], known[:, channel, row, column]
                log_prob += self.pixels.log_prob(pixel[:, None, None], theta[:, :, None, None])[:, 0, 0] * is_known
                drawn = torch.where(is_known, pixel, self.pixels.sample(theta, rng))
                canvas.x[:, row, column, channel] = drawn - self.pixels.centre
            chosen = choose(log_prob)
            if chosen is not None:
                canvas.take(chosen)
        return self.layout.flat(canvas.planes + self.pixels.centre)


class Canvas:
    """n images that are being drawn, and what the pixels to come see of them.

    Parameters
    ----------
    network : PixelNetwork
    maps : Tensor (n, N_MAPS, H, W)

    Attributes
    ----------
    x : Tensor (n, H, W, n_channels)
        The pixels, as their neighbours see them.
    """

    def __init__(self, network: PixelNetwork, maps: Tensor):
        self.network, (n, _, *shape) = network, maps.shape
        self.located = network.maps(maps).permute(0, 2, 3, 1).contiguous()
        self.blocks = list(cast(Iterable[CausalBlock], network.blocks))
        self.convolutions = [network.neighbours, *(block.local for block in self.blocks)]
        self.lefts = [one.left_weights() for one in self.convolutions]
        # what each convolution looks at, with zeros around
        self.seen = [one.room(n, *shape) for one in self.convolutions]
        self.x = maps.new_zeros(n, *shape, network.n_channels)

    @property
    def planes(self) -> Tensor:
        """The pixels, (n, n_channels, H, W)."""
        return self.x.permute(0, 3, 1, 2)

    def take(self, chosen: Tensor) -> None:
        """Go on with some of the images, (n,), by index."""
        self.located, self.x, *self.seen = (tensor[chosen] for tensor in (self.located, self.x, *self.seen))

    def places(self, row: int) -> Iterator[tuple[int, int, Tensor]]:
        """Channel, column and theta (n, n_params) of each pixel of a row; the caller writes each to `x` before the next."""
        first, *aboves = (one.of_rows_above(seen, row) for one, seen in zip(self.convolutions, self.seen, strict=True))
        (pixels, *kept), (left, *lefts) = self.seen, self.lefts
        first += self.located[:, row]
        for column in range(self.x.shape[2]):
            h = first[:, column] + self.network.neighbours.of_left(pixels, row, column, left)
            for block, seen, above, weight in zip(self.blocks, kept, aboves, lefts, strict=True):
                h = block.step(h, seen, above[:, column], weight, row, column)
            for channel, theta in enumerate(self.network.by_channel(h, self.x[:, row, column])):
                yield channel, column, theta
            pixels[:, row + REACH, column + REACH] = self.x[:, row, column]
