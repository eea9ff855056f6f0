"""
Sounds with pitch and instrument
================================

Do latents encode the pitch of a tone, and can tones be sampled given a pitch?

Writes `tones.png` into the current folder. To hear the sampled tones, pass the name of a file to write:
``python tones.py scale.wav``.
"""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import signal
from scipy.io import wavfile
from sklearn.neighbors import KNeighborsRegressor

from skvae import VAETransformer

# %%
# Tones, and pictures of them
# ---------------------------
# 1,200 tones of 0.8 seconds. Instruments differ in their overtones, and in how tones begin and end. Pitch is a MIDI number,
# in semitones: 69 is A at 440 Hz, and 12 more are an octave. The picture of a tone is a spectrogram with 24 frequency bands
# up to 1500 Hz and 5 points in time; its levels are half decibels above silence.

RATE, WINDOW, HOP = 8000, 128, 32  # samples per second, in a window, and between windows
N_BANDS, N_MOMENTS, EVERY = 24, 5, 38  # every 38th window is kept
OVERTONES = {"flute": (1, 0.15, 0.05), "organ": (1, 0.6, 0.25, 0.5), "plucked": (1, 0.7, 0.5, 0.35, 0.25, 0.2)}
ATTACK = {"flute": 0.12, "organ": 0.01, "plucked": 0.003}  # seconds
DECAY = {"flute": np.inf, "organ": np.inf, "plucked": 0.25}
rng = np.random.default_rng(0)


def windows(sound):
    return signal.stft(sound, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]


def tone(instrument, pitch, loudness):
    """A tone as samples, with a little noise."""
    times = np.arange(0, 0.8, 1 / RATE)
    sound = 0.001 * rng.normal(size=len(times))
    for k, strength in enumerate(OVERTONES[instrument], start=1):
        frequency = k * 440 * 2 ** ((pitch - 69) / 12)
        wave = np.sin(2 * np.pi * frequency * times + rng.uniform(0, 2 * np.pi))
        sound += 10 ** (loudness / 20) * strength * wave * np.exp(-k * times / DECAY[instrument]) * (frequency < 2000)
    return sound * (1 - np.exp(-times / ATTACK[instrument])) * np.minimum(1, (0.8 - times) / 0.08)


def picture(sound):
    """Loudness by frequency and time, in half decibels from 60 below a full tone: (N_BANDS, N_MOMENTS), bytes."""
    strength = np.abs(windows(sound))[:N_BANDS, 4::EVERY][:, :N_MOMENTS]
    return np.round(2 * np.clip(20 * np.log10(strength + 1e-9) + 60, 0, 60)).astype(np.uint8)


n = 1200
tones = pd.DataFrame(
    {
        "instrument": rng.choice(list(OVERTONES), n),
        "pitch": rng.uniform(57, 81, n).round(2),
        "loudness": rng.uniform(-20, 0, n).round(1),  # in decibels
    }
)
tones["picture"] = [picture(tone(*row)) for row in tones.itertuples(index=False)]
seen, unseen = tones[:1000], tones[1000:]
vae = VAETransformer(latent_dim=8, max_iter=60, random_state=0).fit(seen)

# %%
# Information in the latents
# --------------------------
# Everything except the picture is removed, and predicted from the nearest neighbours in the eight latents.


def picture_only(frame):
    return frame.assign(instrument=None, pitch=np.nan, loudness=np.nan)


latents, unseen_latents = vae.transform(picture_only(seen)), vae.transform(picture_only(unseen))
guesser = KNeighborsRegressor(5, weights="distance").fit(latents, seen[["pitch", "loudness"]])
guesses = guesser.predict(unseen_latents)
proba = vae.conditional_proba(picture_only(unseen), "instrument")
print(f"Of {len(unseen)} unseen pictures, {N_BANDS * N_MOMENTS} numbers each, in 8 latents")
print(f"  pitch by five neighbours: median error {np.median(np.abs(guesses[:, 0] - unseen['pitch'])):.2f} semitones")
print(f"  loudness by five neighbours: median error {np.median(np.abs(guesses[:, 1] - unseen['loudness'])):.1f} decibels")
print(f"  most probable instrument: {np.mean(proba.idxmax(axis=1) == unseen['instrument']):.0%} right")

# %%
# From a picture to a sound
# -------------------------
# The picture holds the magnitude of each frequency but not its phase. The algorithm of Griffin and Lim (1984) estimates the
# phase: it converts windows to a sound and back repeatedly, and each time resets the magnitudes to those of the picture.


def sound_of(image, n_rounds=60):
    """Samples whose picture is like the one that is given."""
    moments = np.arange(N_MOMENTS * EVERY)
    decibels = np.array([np.interp(moments, EVERY * np.arange(N_MOMENTS), band / 2 - 60) for band in image])
    strength = np.zeros((WINDOW // 2 + 1, len(moments)))
    strength[:N_BANDS] = np.where(decibels > -54, 10 ** (decibels / 20), 0)  # anything fainter is noise
    directions = np.exp(2j * np.pi * np.random.default_rng(0).random(strength.shape))
    for _ in range(n_rounds):
        sound = signal.istft(strength * directions, nperseg=WINDOW, noverlap=WINDOW - HOP)[1]
        directions = np.exp(1j * np.angle(windows(sound)[:, : len(moments)]))
    return sound


def heard(sound):
    """The pitch whose first four multiples are the strongest in a sound, in semitones."""
    n_points = 2**16
    strength = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n_points))
    strength = np.log1p(30 * strength / strength.max())
    pitches, multiples = np.arange(54, 84, 0.02), np.arange(1, 5)[:, None]
    frequencies = multiples * 440 * 2 ** ((pitches - 69) / 12)
    comb = strength[np.minimum(frequencies / RATE * n_points, n_points // 2).round().astype(int)]
    return pitches[np.where(frequencies < 1500, comb / multiples, 0).sum(0).argmax()]


# %%
# Tones sampled given their pitch
# -------------------------------
# Each instrument plays each semitone of two octaves once, all equally loud. Is the measured pitch the given one? A hundred
# cents are a semitone. For comparison, the error of converting a sound to its picture and back.


def cents_off(sounds, pitches):
    return 100 * np.abs([heard(sound) - pitch for sound, pitch in zip(sounds, pitches, strict=True)])


scale = np.arange(58.0, 81.0)
asked = pd.MultiIndex.from_product([OVERTONES, scale], names=["instrument", "pitch"]).to_frame(index=False)
drawn = vae.sample(given=asked.assign(loudness=-6.0), random_state=0)
real = [tone(*row) for row in asked.assign(loudness=-6.0).itertuples(index=False)]
real_pictures = [picture(sound) for sound in real]
errors = pd.DataFrame(
    {
        "sound": cents_off(real, asked["pitch"]),
        "its picture, heard": cents_off(map(sound_of, real_pictures), asked["pitch"]),
        "sampled, heard": cents_off(map(sound_of, drawn["picture"]), asked["pitch"]),
    }
)
print("\nHeard less given pitch, median in cents")
print(errors.groupby(asked["instrument"]).median().round(1).to_string())
print(f"Sampled tones that are heard within half a semitone: {np.mean(errors['sampled, heard'] < 50):.0%}")

if len(sys.argv) > 1:
    major = drawn[drawn["pitch"].isin([60, 62, 64, 65, 67, 69, 71, 72])]
    samples = np.concatenate([sound_of(image) for image in major["picture"]])
    wavfile.write(sys.argv[1], RATE, np.int16(32767 * samples / np.abs(samples).max()))

# %%
# Pictures
# --------

figure, axes = plt.subplots(len(OVERTONES), 2, figsize=(14, 7.5), layout="constrained", sharex=True, sharey=True)
for row, instrument in zip(axes, OVERTONES, strict=True):
    chosen = np.flatnonzero((asked["instrument"] == instrument) & asked["pitch"].isin(scale[::2]))
    for axis, what, all_pictures in zip(row, ("real", "sampled"), (real_pictures, drawn["picture"]), strict=True):
        strip = np.concatenate([np.pad(all_pictures[at], ((0, 0), (0, 2))) for at in chosen], axis=1)
        image = axis.imshow(strip / 2 - 60, origin="lower", aspect="auto", cmap="magma", vmin=-60, vmax=0)
        axis.set_title(f"{instrument}, {what}", loc="left", fontsize="medium")
        axis.set_xticks(N_MOMENTS / 2 + (N_MOMENTS + 2) * np.arange(len(chosen)), asked["pitch"][chosen].astype(int))
    row[0].set_yticks([0, 8, 16], ["0", "500", "1000"])
    row[0].set_ylabel("frequency, Hz")
for axis in axes[-1]:
    axis.set_xlabel("pitch, in semitones; each tone lasts 0.8 seconds")
figure.colorbar(image, ax=axes, label="decibels", pad=0.01)
figure.savefig("tones.png", dpi=110)
print("\nPicture: tones.png")
