"""One file holds an estimator whole; whatever else a file holds, one plain ValueError says so."""

import datetime
import functools
import hashlib
import json
import math
import pickle
import resource
import struct
import time
import zlib
import zoneinfo
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.callback import ProgressBar
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_persistence import GOLDEN, golden_frame

import skvae
from skvae import VAETransformer
from skvae.archive import HEADER, LAYOUT, MAGIC, SEALED, Unreadable, pack_archive, unpack_archive
from skvae.files import from_bytes, to_bytes
from skvae.targets import replacing
from skvae.values import Decoder, Encoder


def there_and_back(value):
    """A value out of the bytes of a file."""
    encoder = Encoder()
    content, arrays = unpack_archive(pack_archive(encoder.encode(value), encoder.arrays))
    return Decoder(arrays).decode(content)


def small(**parameters):
    return VAETransformer(**{"hidden_layer_sizes": (4,), "max_iter": 1, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return small().fit(golden_frame())


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
VALUES = [
    *(None, True, 0, -(2**200), 0.1, -0.0, math.inf, -math.inf, 5e-324, "", "é\ud800\0", 1 + 2j, range(0, 10, 3)),
    *((), [], (1, [2, (3,)]), [1, (2, [3])], {}, {"a": (1,)}, {1: "one", (2, "b"): None, None: 0.5}),
    *({"float": "nan"}, {"dict": {}}, {"array": 0}, {1, 2}, frozenset({3, 4})),
    *(np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("text"), np.datetime64("2020-01-01", "D"), np.float64("inf")),
    *(np.timedelta64(3, "ms"), np.uint64(2**64 - 1), np.complex64(1j)),
    *(datetime.date(2020, 2, 29), datetime.time(1, 2, 3, 4), datetime.timedelta(-1, 5, 7), Decimal("1.50"), Decimal("NaN")),
    *(datetime.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), datetime.datetime(1, 1, 1)),
    *(datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3, minutes=-30)), BERLIN),
    *(
        pd.NA,
        pd.NaT,
        pd.Timestamp("2020-01-01 00:00:00.000000001"),
        pd.Timestamp("2020-10-25 01:30Z").tz_convert("Europe/Berlin"),
    ),
    *(pd.Timedelta("1 days 00:00:00.000000007"), pd.Period("2020-03", "M"), pd.Interval(0, 1.5, closed="both")),
    *(np.dtype("f8"), np.dtype(">i4"), np.dtype("O"), np.dtype("M8[us]"), np.dtype("U7"), np.dtype(bool)),
    *(pd.Int64Dtype(), pd.UInt8Dtype(), pd.Float32Dtype(), pd.BooleanDtype()),
    *(pd.StringDtype("python"), pd.StringDtype("pyarrow"), pd.Series(["a"]).dtype),
    *(pd.CategoricalDtype(["b", "a"], ordered=True), pd.CategoricalDtype([2, 1]), pd.CategoricalDtype([1.5, 0.1])),
    *(pd.CategoricalDtype([True, False]), pd.CategoricalDtype(), pd.CategoricalDtype(pd.to_datetime(["2020-01-01"]))),
    pd.CategoricalDtype(pd.interval_range(0, 3)),
    *(
        pd.CategoricalDtype(pd.Index(["a", None], dtype=object).dropna()),
        pd.CategoricalDtype(pd.period_range("2020", "2021")),
    ),
    *(pd.DatetimeTZDtype("ns", "UTC"), pd.DatetimeTZDtype("us", "Europe/Berlin"), pd.DatetimeTZDtype("s", "UTC+02:00")),
    *(pd.PeriodDtype("D"), pd.IntervalDtype("int64", "left"), pd.SparseDtype("float64", 0.0), pd.SparseDtype("int8")),
    *(pd.ArrowDtype(getattr(pa, name)()) for name in ("string", "large_string", "bool_", "float64", "date32", "null")),
    *(pd.ArrowDtype(pa.timestamp("us", "UTC")), pd.ArrowDtype(pa.timestamp("ns")), pd.ArrowDtype(pa.duration("s"))),
    *(pd.ArrowDtype(pa.decimal128(10, 2)), pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string(), True))),
    *(
        pd.ArrowDtype(pa.list_(pa.int8(), 3)),
        pd.ArrowDtype(pa.list_(pa.list_(pa.float32()))),
        pd.ArrowDtype(pa.time64("ns")),
    ),
    *(pl.Int8, pl.String, pl.Float64(), pl.Categorical(), pl.Categorical, pl.Enum(["b", "a"]), pl.Date, pl.Duration("ns")),
    *(pl.Datetime("us", "Europe/Berlin"), pl.Datetime("ms"), pl.Decimal(10, 2), pl.Array(pl.Float32, (2, 3))),
    pl.List(pl.List(pl.Int8)),
]


def kinds(value):
    """The type of a value, and those of what it holds."""
    inner = []
    if isinstance(value, dict):
        inner = [kinds(item) for pair in value.items() for item in pair]
    elif isinstance(value, list | tuple):
        inner = [kinds(item) for item in value]
    return type(value), inner


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(value):
    again = there_and_back(value)
    assert kinds(again) == kinds(value)
    assert repr(again) == repr(value)
    if not (isinstance(value, Decimal) or value is pd.NaT or value is pd.NA):
        assert again == value


ARRAYS = [
    np.array([0.1, -0.0, math.nan, math.inf]),
    np.arange(1000, dtype=np.int16).reshape(2, 5, 100),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    *(np.zeros((0, 3), np.float32), np.array(5), np.array([], object), np.zeros(10_000, ">f4"), np.array(["a", "bcd"])),
    *(np.array(["2020-01-01", "NaT"], "M8[D]"), np.array([b"ab"]), np.array([1, "a", None, (1, 2)], dtype=object)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda one: f"{one.dtype}{one.shape}")
def test_arrays_come_back_bit_for_bit_and_may_be_written_to(array):
    again = there_and_back(array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tolist() == array.tolist() or again.tobytes() == array.tobytes()
    assert again.flags.writeable


INDEXES = [
    *(pd.Index(["a", 1, (1, 2)], name="mixed"), pd.RangeIndex(3, name=("a", 1)), pd.Index([1.5, 2.0]), pd.Index([True])),
    *(pd.DatetimeIndex(["2020", "2021"], tz="UTC"), pd.Index(["a", None]), pd.CategoricalIndex(["b", "a", "b"])),
    pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None]),
]


@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_an_index_comes_back(index):
    pd.testing.assert_index_equal(there_and_back(index), index, exact=True)


def test_a_random_stream_comes_back_where_it_was():
    for stream in (np.random.RandomState(0), np.random.RandomState(np.random.PCG64(1))):
        stream.normal(size=3)
        assert_array_equal(there_and_back(stream).normal(size=5), stream.normal(size=5))


def frames():
    frame = golden_frame()
    plain = frame.drop(columns="name")
    rng = np.random.default_rng(0)
    yield "pandas", frame
    yield "polars", pl.from_pandas(frame).with_columns(pl.col("kind").cast(pl.Enum(["c", "b", "a"])))
    yield "names that are no strings", plain.set_axis([1, 2.5, ("a", 1), None, 0], axis=1)
    yield "range of names", plain.set_axis(range(5), axis=1)
    yield "two levels of names", plain.set_axis(pd.MultiIndex.from_product([["a"], range(5)], names=["top", None]), axis=1)
    yield (
        "many dtypes",
        pd.DataFrame(
            {
                "zoned": frame["when"].dt.tz_localize("Europe/Berlin"),
                "nullable": frame["n"].astype("Int64"),
                "ordered": frame["n"].clip(0, 3).astype(pd.CategoricalDtype([3, 2, 1, 0], ordered=True)),
                "arrow": frame["x"].astype("double[pyarrow]"),
                "text": pd.array(np.where(frame["flag"], "yes", "no"), dtype="string"),
                "decimal": [Decimal(f"{value:.2f}") for value in rng.normal(size=240)],
                "date": frame["when"].dt.date,
                "cut": pd.cut(frame["n"], [-1, 1, 3, 100]),
            }
        ),
    )
    yield "array", rng.normal(size=(100, 3)).astype(np.float32)
    yield "objects", plain.to_numpy(dtype=object)[:, :4]
    yield "relations", pd.DataFrame({"a": np.arange(300) % 17, "b": np.arange(300) % 13}).assign(c=lambda x: x["a"] + x["b"])


@pytest.mark.filterwarnings("ignore::UserWarning")  # of columns that one case or the other does not model
@pytest.mark.parametrize(("what", "X"), list(frames()), ids=[what for what, _ in frames()])
def test_a_loaded_estimator_does_the_same_bit_for_bit(what, X, tmp_path):
    vae = small().fit(X)
    vae.sample(3)
    path = tmp_path / "model.skvae"
    skvae.save(vae, path)
    again = skvae.load(path)
    assert path.stat().st_size < len(pickle.dumps(vae))
    for name in ("transform", "score_samples", "log_density"):
        assert_array_equal(getattr(again, name)(X), getattr(vae, name)(X))
    assert again.score(X) == vae.score(X)
    Z = vae.transform(X)
    for one, other in [(again.sample(20), vae.sample(20)), (again.inverse_transform(Z), vae.inverse_transform(Z))]:
        if isinstance(X, pl.DataFrame):
            assert one.equals(other)
            assert one.schema == other.schema
        else:
            pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))
    pd.testing.assert_frame_equal(again.relations_, vae.relations_)
    assert repr(again.get_params()) == repr(vae.get_params())
    assert to_bytes(again) == to_bytes(vae)


def test_images_counts_and_a_stream_come_back(tmp_path):
    rng = np.random.default_rng(0)
    images = small().fit(rng.integers(0, 256, (50, 6, 6), dtype=np.uint8))
    counts = small(likelihood="multinomial").fit(csr_array(rng.poisson(1, (50, 9))))
    stream = small().partial_fit(golden_frame()).partial_fit(golden_frame())
    for vae in (images, counts, stream):
        one, other = from_bytes(to_bytes(vae)).sample(5), vae.sample(5)
        assert type(one) is type(other)
        one, other = (drawn.toarray() if hasattr(drawn, "toarray") else drawn for drawn in (one, other))
        compare = pd.testing.assert_frame_equal if isinstance(one, pd.DataFrame) else assert_array_equal
        compare(one, other)
    again = from_bytes(to_bytes(stream))
    for one in (again, stream):
        one.partial_fit(golden_frame())
    assert_array_equal(again.transform(golden_frame()), stream.transform(golden_frame()))


PARAMETERS = [
    {},
    {"likelihood": {"x": "student_t", 3: "gaussian", ("a", 1): "histogram"}, "hidden_layer_sizes": [3, 4]},
    {"hidden_layer_sizes": (np.int64(3),), "beta": np.float32(0.1), "categorical_features": np.array([True, False])},
    {"relations": ["a = b + c", "not a -> b"], "random_state": None, "image_shape": (2, 3), "verbose": True},
    {
        "random_state": np.random.RandomState(3),
        "max_iter": np.int8(5),
        "tol": math.inf,
        "likelihood": {"class": 1, "fields": 2},
    },
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=range(len(PARAMETERS)))
def test_parameters_of_an_unfitted_estimator_come_back(parameters):
    vae = VAETransformer(**parameters)
    again = from_bytes(to_bytes(vae))
    for name, value in vae.get_params().items():
        other = again.get_params()[name]
        assert kinds(other) == kinds(value)
        if isinstance(value, np.random.RandomState):
            assert value.randint(2**31) == other.randint(2**31)
        else:
            assert_array_equal(other, value)
    assert not hasattr(again, "module_")


def test_output_and_requests_come_back_and_callbacks_do_not(fitted):
    vae = from_bytes(to_bytes(fitted)).set_output(transform="pandas").set_callbacks(ProgressBar())
    with sklearn.config_context(enable_metadata_routing=True):
        again = from_bytes(to_bytes(vae.set_fit_request(sample_weight="weight")))
        assert again.get_metadata_routing().fit.requests == {"sample_weight": "weight", "X_val": None}
    assert isinstance(again.transform(golden_frame()), pd.DataFrame)
    assert not hasattr(again, "_skl_callbacks")


def test_a_model_of_a_device_that_is_missing_opens_on_the_cpu(fitted):
    vae = from_bytes(to_bytes(fitted))
    vae.device_ = "cuda:77"
    again = from_bytes(to_bytes(vae))
    assert again.device_ == "cpu"
    assert_array_equal(again.transform(golden_frame()), fitted.transform(golden_frame()))


def test_columns_may_have_the_names_of_our_fields():
    X = pd.DataFrame({"class": np.arange(60) % 7, "fields": np.arange(60) % 5})
    vae = small(likelihood={"class": "poisson", "fields": "gaussian"}, generator="latent").fit(X)
    for again in (from_bytes(to_bytes(vae)), pickle.loads(pickle.dumps(vae))):
        assert again._schema.parts[0].likelihood == vae.likelihood


def test_other_objects_are_refused(fitted, tmp_path):
    class Other(VAETransformer):
        pass

    for other, message in [
        (make_pipeline(StandardScaler(), VAETransformer()), r"Save its step.*joblib\.dump\(pipeline"),
        (StandardScaler(), r"Got StandardScaler\. Write it with joblib"),
        (Other(), "Got Other"),
        (3, r"save takes a VAETransformer\. Got int\.$"),
        (VAETransformer(likelihood={"x": BaseEstimator()}), "cannot be saved: in likelihood, a sklearn.base.BaseEstimator"),
    ]:
        with pytest.raises(TypeError, match=message):
            skvae.save(other, tmp_path / "model.skvae")
    assert not list(tmp_path.iterdir())


def test_files_are_replaced_whole_or_not_at_all(fitted, tmp_path):
    path = tmp_path / "model.skvae"
    path.write_bytes(b"former")
    path.chmod(0o640)
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"former"
    link = tmp_path / "link.skvae"
    link.symlink_to(path)
    skvae.save(fitted, link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [link, path]
    skvae.load(str(path))
    for place in (tmp_path / "none" / "model.skvae", tmp_path):
        with pytest.raises(OSError, match=r"No such folder|Is a directory"):
            skvae.save(fitted, place)
    with pytest.raises(FileNotFoundError):
        skvae.load(tmp_path / "none.skvae")


def test_no_training_row_is_in_the_file():
    """Weights and scalings hold none of the names, nor the joint values, of rows."""
    frame = golden_frame()
    vae = small().fit(frame)
    _, arrays = unpack_archive(to_bytes(vae))
    text = json.dumps(unpack_archive(to_bytes(vae))[0])
    assert "N123" not in text
    assert all(array.shape[:1] != (len(frame),) for array in arrays)


COMPUTED = {"transform": 1e-5, "score_samples": 1e-4, "log_density": 1e-4}  # and how far other machines may be from it


def write_golden():
    """Write the file of this version, once it is released, and what it computes: they are not to be changed afterwards."""
    frame = golden_frame()
    vae = VAETransformer(hidden_layer_sizes=(16,), max_iter=20, random_state=0).fit(frame)
    path = GOLDEN / f"vae-{skvae.__version__}.skvae"
    skvae.save(vae, path)
    np.savez_compressed(path.with_suffix(".npz"), **{name: getattr(vae, name)(frame) for name in COMPUTED})


def test_files_of_every_version_open_for_ever():
    files = sorted(GOLDEN.glob("*.skvae"))
    assert files
    for file in files:
        held, frame, vae = np.load(file.with_suffix(".npz")), golden_frame(), skvae.load(file)
        for name, atol in COMPUTED.items():
            assert_allclose(getattr(vae, name)(frame), held[name], atol=atol)
        drawn = vae.sample(20)
        assert drawn.columns.equals(frame.columns)
        assert drawn["name"].iloc[0] == "N240"
        assert vae.partial_fit(frame).n_iter_ > 1


# --- files that are none -------------------------------------------------------------------------------------------------


def sealed(body):
    """Bytes behind a header whose checksum is right."""
    return MAGIC + struct.pack("<I", LAYOUT) + hashlib.sha256(body).digest() + body


def edited(data, change):
    """A file whose description was changed, by a function in place, with its checksum computed again."""
    n_deflated, _ = struct.unpack_from("<QQ", data, SEALED)
    description = description_of(data)
    description = change(description) or description
    text = json.dumps(description).encode()
    deflated = zlib.compress(text, 1)
    return sealed(struct.pack("<QQ", len(deflated), len(text)) + deflated + data[HEADER.size + n_deflated :])


@pytest.fixture(scope="module")
def data(fitted):
    return to_bytes(fitted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: b"a,b\n1,2\n", r"was not written by skvae\.save\.$"),
        (lambda data: pickle.dumps(1), "looks like a pickle"),
        (lambda data: data[:20], "damaged: it ends within its header"),
        (lambda data: data[:-1], "damaged: its checksum .* Copy it again"),
        (lambda data: data + b"\0", "damaged: its checksum"),
        (lambda data: data[:8] + b"\x02" + data[9:], "has file layout 2, .* Install a newer version"),
        (lambda data: edited(data, lambda one: one["content"].update(format=99, version="9.0")),
         "written by skvae 9.0 in format 99.*Install skvae 9.0"),
        (lambda data: edited(data, lambda one: one["content"].update(format=0)), "Fit again, or load it with"),
        (lambda data: sealed(struct.pack("<QQ", 10**15, 10**15)), "description is cut off"),
        (lambda data: sealed(struct.pack("<QQ", 8, 10**15) + b"x" * 8), "size is larger than its bytes"),
        (lambda data: edited(data, lambda one: one["arrays"][0].update(shape=[10**15])), "larger than its bytes can hold"),
        (lambda data: edited(data, lambda one: one["arrays"][0].update(dtype="O")), "dtype O"),
        (lambda data: edited(data, lambda one: one["arrays"][0].update(stored=10**15)), "differ from the declared ones"),
        (lambda data: edited(data, lambda one: {"arrays": []}), "its description cannot be read"),
        (lambda data: sealed(struct.pack("<QQ", 0, 0)), "damaged"),
    ],
)  # fmt: skip
def test_other_files_are_refused_plainly(data, change, message, tmp_path):
    path = tmp_path / "other.skvae"
    path.write_bytes(change(data))
    with pytest.raises(ValueError, match=message) as raised:
        skvae.load(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_class_that_is_not_known_is_named(data):
    def rename(description):
        return json.loads(json.dumps(description).replace('"NumericColumn"', '"os.system"'))

    with pytest.raises(ValueError, match=r"unknown class os\.system\. Import the module"):
        from_bytes(edited(data, rename))


def test_a_stream_is_not_read_beyond_its_numbers(data):
    def move(description):
        return json.loads(json.dumps(description).replace('"pos": 624', '"pos": 100000000'))

    with pytest.raises(ValueError, match="at no place of it"):
        from_bytes(edited(data, move))


def places(content, found=None):
    """Every place of a description that holds a value: its container and the key there."""
    found = [] if found is None else found
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        found.append((content, key))
        if isinstance(value, dict | list):
            places(value, found)
    return found


ODD = [None, True, -1, 0, 10**15, 10**9, -(10**30), 1e308, "", "x", "nan", [], {}, [[]], {"dict": {}}, {"array": 10**9},
       {"float": 1}, {"numpy": ["<U1000000000", ""]}, {"range": [0, 10**15, 1]}, {"empty": ["<f8", [10**15]]},
       {"RangeIndex": [0, 10**15, 1, None]}, {"objects": [[10**15], []]}, {"zone": "../../etc/passwd"},
       {"dtype": "O"}]  # fmt: skip


def mutated(data, n, seed):
    """Files beside a file: bytes flipped, cut, spliced; and descriptions with one value that is another."""
    rng = np.random.default_rng(seed)
    n_deflated, _ = struct.unpack_from("<QQ", data, SEALED)
    text = zlib.decompress(data[HEADER.size : HEADER.size + n_deflated]).decode()
    rest = data[HEADER.size + n_deflated :]
    for at in range(n):
        kind = at % 10
        if kind < 4:
            changed = bytearray(data)
            for place in rng.integers(0, len(data) if kind < 2 else 100, rng.integers(1, 4)):
                changed[place] ^= int(rng.integers(1, 256))
            yield bytes(changed)
        elif kind == 4:
            yield data[: rng.integers(0, len(data))]
        elif kind == 5:
            one, other = sorted(rng.integers(0, len(data), 2))
            yield data[:one] + data[other:] if rng.random() < 0.5 else data[:other] + data[one:]
        elif kind == 6:
            changed = bytearray(data[SEALED:])
            changed[rng.integers(0, len(changed))] ^= int(rng.integers(1, 256))
            yield sealed(bytes(changed))
        elif kind == 7:
            cut = int(rng.integers(0, len(text)))
            changed = (text[:cut] + text[int(rng.integers(cut, len(text))) :]).encode()
            deflated = zlib.compress(changed, 1)
            yield sealed(struct.pack("<QQ", len(deflated), len(changed)) + deflated + rest)
        else:
            description = json.loads(text)
            found = places(description)
            container, key = found[rng.integers(len(found))]
            container[key] = ODD[rng.integers(len(ODD))]
            changed = json.dumps(description).encode()
            deflated = zlib.compress(changed, 1)
            yield sealed(struct.pack("<QQ", len(deflated), len(changed)) + deflated + rest)


@pytest.mark.filterwarnings("ignore")  # what numpy says of numbers that no fit leaves
def test_ten_thousand_mutated_files_give_one_error_each_and_take_no_memory():
    frame = golden_frame()[["kind", "x"]]
    data = to_bytes(small(latent_dim=1, hidden_layer_sizes=(2,), generator="latent").fit(frame))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = [outcome(changed) for changed in mutated(data, 10_000, 0)]
    messages = [message for message, _ in outcomes if message is not None]
    assert len(messages) > 8_000  # of those whose checksum was computed again, some say nothing that is wrong
    assert max(map(len, messages)) < 400
    assert max(seconds for _, seconds in outcomes) < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_no_size_in_a_file_takes_memory_or_time():
    """Every whole number of the description of a small model of each kind, made large."""
    rng = np.random.default_rng(0)
    models = [
        small().fit(rng.integers(0, 256, (50, 6, 6), dtype=np.uint8)),
        small(likelihood="multinomial").fit(csr_array(rng.poisson(1, (50, 9)))),
        small(latent_dim=1, prior="mixture").fit(golden_frame()[["kind", "x", "n"]]),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in map(to_bytes, models):
        for at in range(len(whole_numbers(description_of(data)))):
            _, seconds = outcome(edited(data, functools.partial(enlarge, at=at)))
            assert seconds < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def description_of(data):
    n_deflated, _ = struct.unpack_from("<QQ", data, SEALED)
    return json.loads(zlib.decompress(data[HEADER.size : HEADER.size + n_deflated]))


def whole_numbers(description):
    return [(one, key) for one, key in places(description) if type(one[key]) is int]


def enlarge(description, at):
    container, key = whole_numbers(description)[at]
    container[key] = 10**9


def outcome(data):
    """The message of the refusal of a file, if it is refused, and the seconds that took."""
    start = time.perf_counter()
    try:
        from_bytes(data)
    except ValueError as error:
        return str(error), time.perf_counter() - start
    return None, time.perf_counter() - start


def test_unreadable_is_ours():
    with pytest.raises(Unreadable):
        unpack_archive(b"")


if __name__ == "__main__":
    write_golden()
