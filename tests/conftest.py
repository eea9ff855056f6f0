import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

torch.set_num_threads(1)  # two workers of pytest-xdist share two cores


@pytest.fixture(scope="session")
def mixed_frame():
    """400 rows of every column kind, with missing cells, all depending on one hidden group of three."""
    rng = np.random.default_rng(0)
    n = 400
    group = rng.integers(0, 3, n)
    frame = pd.DataFrame(
        {
            "colour": np.array(["red", "green", "blue"], dtype=object)[group],
            "age": rng.integers(18, 90, n),
            "income": np.round(rng.normal(10 * group, 2.0), 2),
            "member": rng.random(n) < np.array([0.1, 0.5, 0.9])[group],
            "size": pd.Categorical.from_codes(rng.integers(0, 3, n), ["S", "M", "L", "XL"], ordered=True),
            "score": rng.normal(group, 1).astype(np.float32),
            "children": pd.array(rng.poisson(group + 1), dtype="Int64"),
            "answer": np.where(rng.random(n) < 0.5, "yes", "no").astype(object),
        },
        index=np.arange(n) * 2 + 5,
    )
    frame["consent"] = frame["member"].astype(object)
    for column, share in {"colour": 0.1, "income": 0.2, "size": 0.1, "children": 0.1, "consent": 0.15}.items():
        frame.loc[rng.random(n) < share, column] = None
    return frame


@pytest.fixture(scope="session")
def data_folder():
    """The folder of public data sets named by SKVAE_DATA, else the one beside the checkout."""
    folder = Path(os.environ.get("SKVAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not at {folder}; set SKVAE_DATA")
    return folder
