"""`save` and `load`: a `VAETransformer` in one file of arrays and named values, from which no code runs."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.pipeline import Pipeline
from sklearn.utils._metadata_requests import MetadataRequest
from torch.overrides import TorchFunctionMode

from skvae._version import __version__
from skvae.archive import Unreadable, pack_archive, unpack_archive
from skvae.estimator import VAETransformer
from skvae.persistence import CLASSES, FORMAT
from skvae.targets import replacing
from skvae.values import Decoder, Encoder, Kind

CALLBACKS = "_skl_callbacks", "_parent_callback_ctx", "_callback_fit_ctx"  # of scikit-learn; they may hold anything


def save(estimator: VAETransformer, path: str | os.PathLike) -> None:
    """Write an estimator to one file.

    The file holds arrays and named values, but no training rows and no code. It is smaller than a pickle, and can be read
    on other machines, devices and Python versions. A file at `path` is replaced only after everything is written, so an
    incomplete file never remains.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted or not. The file stores the parameters, the fitted attributes, the states of the random streams and the
        setting of `set_output`. It does not store callbacks.

    path : str or os.PathLike
        Where to write. Any name is accepted; the usual extension is ".skvae".

    Raises
    ------
    TypeError
        If `estimator` is not a `VAETransformer`, or if a parameter or a dtype cannot be stored.

    See Also
    --------
    load : Read the file.
    joblib.dump : Write a `Pipeline` with other estimators, as a pickle, which can run code when it is loaded.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skvae
    >>> from sklearn.datasets import load_iris
    >>> X, _ = load_iris(return_X_y=True, as_frame=True)
    >>> vae = skvae.VAETransformer(max_iter=1, random_state=0).fit(X)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "iris.skvae"
    >>> skvae.save(vae, path)
    >>> bool((skvae.load(path).transform(X) == vae.transform(X)).all())
    True
    >>> folder.cleanup()
    """
    _check_kind(estimator)
    data = to_bytes(estimator)
    with replacing(path) as file:
        file.write(data)


def load(path: str | os.PathLike) -> VAETransformer:
    """Read an estimator from a file that `save` wrote.

    No code from the file is run, whoever wrote it, and the memory that is used is limited by the length of the file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    estimator : VAETransformer
        As it was saved: it transforms, scores and samples the same, bit for bit on the same machine. It computes on the
        device that it was fitted on, or on the CPU if that device is not available.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the file is damaged, was not written by `save`, or was written by a version that this one cannot read.

    See Also
    --------
    save : Write the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skvae
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "empty.skvae"
    >>> skvae.save(skvae.VAETransformer(latent_dim=3), path)
    >>> skvae.load(path)
    VAETransformer(latent_dim=3)
    >>> folder.cleanup()
    """
    return from_bytes(Path(path).read_bytes(), os.fspath(path))


def _check_kind(estimator: Any) -> None:
    if isinstance(estimator, Pipeline):
        raise TypeError(
            "save takes a VAETransformer, not a Pipeline. Save its step with skvae.save(pipeline['vae'], path), where 'vae' "
            "is the name of the step, or write the whole pipeline with joblib.dump(pipeline, path)."
        )
    if type(estimator) is not VAETransformer:
        advice = " Write it with joblib.dump(estimator, path)." if hasattr(estimator, "get_params") else ""
        raise TypeError(f"save takes a VAETransformer. Got {type(estimator).__name__}.{advice}")


def to_bytes(estimator: VAETransformer) -> bytes:
    """The content of the file of an estimator."""
    state = {name: value for name, value in estimator.__getstate__().items() if name not in CALLBACKS}
    encoder, content = Encoder(MORE), {}
    for name, value in state.items():
        try:
            content[name] = encoder.encode(value)
        except TypeError as error:
            raise TypeError(
                f"The VAETransformer cannot be saved: in {name}, {error}. Try joblib.dump(estimator, path)."
            ) from None
    return pack_archive({"format": FORMAT, "version": __version__, "state": content}, encoder.arrays)


def from_bytes(data: bytes, path: str = "The file") -> VAETransformer:
    """The estimator in the content of a file; path : its name in messages."""
    try:
        content, arrays = unpack_archive(data)
        return _restored(content, arrays)
    except Unreadable as error:
        again = ". Copy it again, or save the estimator again" if "damaged" in str(error) else ""
        raise ValueError(f"{path} {error}{again}.") from None


def _restored(content: Any, arrays: list) -> VAETransformer:
    """The estimator of what an archive holds, which may be anything."""
    _check_version(content)
    try:
        state = Decoder(arrays, MORE).decode({"dict": content["state"]})
        missing = [name for name in VAETransformer._get_param_names() if name not in state]
        if missing:
            raise ValueError(f"{missing[0]} is missing")
        estimator = VAETransformer()
        most = max(4 * sum(array.size for array in arrays), SMALLEST_BOUND)
        _check_sizes(state.get("_schema"), most)
        with _Bounded(most):
            estimator.__setstate__(state)
    # whatever values may do to pandas, polars, torch or our classes: from bytes that no version of ours wrote
    except Exception as error:
        raise Unreadable(_words_of(error, content)) from None
    return estimator


def _check_version(content: Any) -> None:
    try:
        found, version = content["format"], str(content["version"])
        state = content["state"]
        if type(found) is not int or not isinstance(state, dict) or not version.isprintable() or len(version) > 40:
            raise TypeError
    except (KeyError, TypeError):
        raise Unreadable("is damaged: it does not state its version") from None
    if found > FORMAT:
        raise Unreadable(
            f"was written by skvae {version} in format {found}, while this version reads format {FORMAT}. "
            f"Install skvae {version} or newer"
        )
    if found < FORMAT:
        raise Unreadable(
            f"was written by skvae {version} in a format that this version cannot read. Fit again, or load it with "
            "the version that wrote it"
        )


def _words_of(error: Exception, content: dict) -> str:
    named = _class_names(content["state"].get("_schema"))
    unknown = sorted(named - set(CLASSES) - {"dict"})
    if unknown:
        return (
            f"holds an object of the unknown class {unknown[0][:60]}. Import the module that defines it before loading the "
            "file, or install the version of skvae that wrote it"
        )
    reason = json.dumps(f"{type(error).__name__}: {error}".splitlines()[0][:100])[1:-1]
    return f"is damaged: it does not describe an estimator ({reason})"


def _class_names(content: Any) -> set:
    """Names of classes that encoded fields are of."""
    found, waiting = set(), [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            inner = one.get("dict")
            if isinstance(inner, dict) and set(inner) == {"class", "fields"} and isinstance(inner["class"], str):
                found.add(inner["class"])
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return found


# --- metadata routing ------------------------------------------------------------------------------------------------


def _requests(request: MetadataRequest) -> dict:
    return {name: dict(method.requests) for name, method in vars(request).items() if hasattr(method, "requests")}


def _metadata_request(requests: dict) -> MetadataRequest:
    request = MetadataRequest(owner=VAETransformer())
    for name, wanted in requests.items():
        for param, alias in wanted.items():
            getattr(request, name).add_request(param=param, alias=alias)
    return request


MORE = {"MetadataRequest": Kind(MetadataRequest, _requests, _metadata_request)}


# --- a bound of memory -----------------------------------------------------------------------------------------------


def _from_sizes(*sizes: Any, size: Any = (), **_: Any) -> int:
    return math.prod(_flattened(sizes) or _flattened(size))


def _from_first(size: Any, *_: Any, **__: Any) -> int:
    return math.prod(_flattened(size))


def _from_last_sequence(*arguments: Any, size: Any = (), **_: Any) -> int:
    sequences = [one for one in (*arguments, size) if isinstance(one, list | tuple)]
    return math.prod(_flattened(sequences[-1])) if sequences else 1


def _from_ends(start: float, end: float | None = None, step: float = 1, **_: Any) -> float:
    return abs((start if end is None else end - start) / step)


def _from_steps(start: Any, end: Any, steps: int, **_: Any) -> int:
    return steps


def _from_sides(n: int, m: int | None = None, **_: Any) -> int:
    return n * (n if m is None else m)


def _from_repeats(tensor: torch.Tensor, *sizes: Any, **_: Any) -> int:
    return tensor.numel() * math.prod(_flattened(sizes))


def _from_own_sizes(tensor: torch.Tensor, *sizes: Any, **others: Any) -> int:
    return _from_sizes(*sizes, **others)


def _flattened(sizes: Any) -> list[int]:
    """Sizes that are given side by side, or as one sequence."""
    if isinstance(sizes, list | tuple):
        return [number for one in sizes for number in _flattened(one)]
    return [sizes]


# what makes tensors of a size that is given, and how many numbers from its arguments
SIZES: dict[Callable, Callable[..., float]] = {
    **dict.fromkeys((torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.randperm), _from_sizes),
    **dict.fromkeys((torch.Tensor.new_empty, torch.Tensor.new_zeros, torch.Tensor.new_ones), _from_own_sizes),
    **dict.fromkeys((torch.randint, torch.normal), _from_last_sequence),
    **dict.fromkeys((torch.linspace, torch.logspace), _from_steps),
    torch.full: _from_first,
    torch.arange: _from_ends,
    torch.eye: _from_sides,
    torch.Tensor.repeat: _from_repeats,
}
SMALLEST_BOUND = 2**20  # numbers; small models make tables of constants beside their weights


def _check_sizes(schema: Any, most: int) -> None:
    """Refuse fields named "size", for example the bins of a histogram, that exceed the numbers of a tensor."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            size = one.get("size", 0)
            if isinstance(size, int) and size > most:
                raise ValueError("a size is larger than the arrays")
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)


class _Bounded(TorchFunctionMode):
    """While a module is made: no tensor is much larger than all arrays of the file together, whatever sizes it declares."""

    def __init__(self, most: int):
        super().__init__()
        self._most = most

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in SIZES and SIZES[func](*args, **kwargs) > self._most:
            raise ValueError("the declared size of a tensor is larger than the arrays")
        return func(*args, **kwargs)
