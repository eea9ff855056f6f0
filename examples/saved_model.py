"""
A model in a file, and on the command line
==========================================

How can a fitted model be used on another machine, or without Python?

One file holds the model, without training rows. `skvae.load` and the command `skvae` read it. Writes
`saved_model.png` into the current folder, and all other files into a temporary one.
"""

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import skvae

# %%
# A table as it comes from a file
# -------------------------------
# Postal codes start with zeros, dates are text, and some prices are missing.

rng = np.random.default_rng(0)
n = 400
city = rng.choice(["Oslo", "Lima", "Kyiv"], n, p=[0.5, 0.3, 0.2])
price = np.round(rng.gamma(4, 10, n) * np.where(city == "Oslo", 3, 1), 2)
table = pd.DataFrame(
    {
        "postal_code": [f"0{code}" for code in rng.integers(100, 130, n)],
        "city": city,
        "day": (pd.Timestamp("2025-03-01") + pd.to_timedelta(rng.integers(0, 200, n), unit="D")).strftime("%Y-%m-%d"),
        "price": np.where(rng.random(n) < 0.05, np.nan, price),
    }
)
folder = tempfile.TemporaryDirectory()
data, model, drawn = (Path(folder.name) / name for name in ("orders.csv", "orders.skvae", "new.csv"))
table.to_csv(data, index=False)

# %%
# Save and load
# -------------

vae = skvae.VAETransformer(2, max_iter=20, random_state=0).fit(table)
skvae.save(vae, model)
again = skvae.load(model)
same = vae.sample(3, random_state=0).equals(again.sample(3, random_state=0))
print(f"The file has {model.stat().st_size / 1000:.0f} kB, a pickle {len(pickle.dumps(vae)) / 1000:.0f} kB.")
print(f"The loaded model samples the same rows: {same}")

# %%
# The same on the command line
# ----------------------------


def run(*arguments):
    """Run the command `skvae`, and show it."""
    print("\n$ skvae " + " ".join(Path(str(one)).name for one in arguments))
    command = [sys.executable, "-m", "skvae", *map(str, arguments)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


run("fit", data, "-o", model, "--seed", 0, "--max-iter", 20)
run("info", model)
run("sample", model, "-n", 5, "--given", "city=Oslo", "--seed", 1, "-o", drawn)
print(drawn.read_text())

# %%
# Picture
# -------
# Rows that the command sampled, beside the data.

run("sample", model, "-n", n, "--seed", 2, "-o", drawn)
new = pd.read_csv(drawn)
folder.cleanup()

figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained", sharex=True)
for axis, city in zip(axes, ("Oslo", "Lima", "Kyiv"), strict=True):
    for rows, label, style in ((table, "data", {"color": "0.8"}), (new, "sampled", {"histtype": "step", "lw": 2})):
        prices = rows.loc[rows["city"] == city, "price"]
        axis.hist(prices, bins=np.arange(0, 300, 15), label=f"{label}, {len(prices)} rows", **style)
    axis.set(xlabel="price", title=city)
    axis.margins(y=0.35)
    axis.legend(frameon=False)
axes[0].set(ylabel="rows")
figure.savefig("saved_model.png", dpi=110)
print("\nPicture: saved_model.png")
