"""The page of a quality report: well-formed, one file, readable on narrow and wide screens, and true to what was found."""

import base64
import html
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from skvae import VAETransformer, quality_report
from skvae.binned_distributions import joint_of
from skvae.compared_columns import ComparedColumn
from skvae.projections import principal_components
from skvae.report_verdict import are_broken

pytest.importorskip("matplotlib")

ODD = """<script>alert('x')</script> & "both" quotes"""
LONG = "a name of a column that goes on and on, and on, as names that were questions of a survey do"


def mixed(n=120, seed=0):
    """Dates, categories, booleans, missing cells, a sum, an order, and names that want escaping."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    begin = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 500, n), unit="D")
    frame = pd.DataFrame(
        {
            ODD: np.array(["<b>bold</b>", 'a "quoted" one', "it's & more"], dtype=object)[group],
            LONG: rng.normal(group),
            "begin": begin,
            "end": begin + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            "flag": rng.random(n) < 0.2 + 0.3 * group,
            "fare": np.round(rng.gamma(2, 5, n), 2),
            "tip": np.round(rng.gamma(1, 2, n), 2),
            "empty": [None] * n,
        }
    )
    frame["total"] = (frame["fare"] + frame["tip"]).round(2)
    frame.loc[rng.random(n) < 0.2, [ODD, LONG]] = None
    return frame


def numbers(n, k, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, k)) + rng.normal(size=(n, 1))
    return pd.DataFrame(X, columns=[f"measurement {j} of many" for j in range(k)])


def categories(n=100, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 20, n)
    cells = {"many": [f"level {k}" for k in group], "few": np.where(group % 2, "odd", "even"), "one": ["same"] * n}
    return pd.DataFrame(cells).astype({"few": "category"})


def with_arrays(n=60, seed=0):
    rng = np.random.default_rng(seed)
    cells = {"image": list(rng.random((n, 3, 3))), "x": rng.normal(size=n), "vector": list(rng.random((n, 2)))}
    return pd.DataFrame(cells | {"id": [f"{seed} {k}" for k in range(n)], "y": rng.integers(0, 3, n)})


FRAMES = {
    "mixed": (mixed(), mixed(seed=1).assign(total=1.0)),
    "numbers": (numbers(80, 4), numbers(70, 4, 1)),
    "categories": (categories(), categories(seed=1)),
    "fifty columns": (numbers(40, 50), numbers(40, 50, 1)),
    "two columns": (numbers(50, 2), numbers(50, 2, 1)),
    "one column": (numbers(50, 1), numbers(50, 1, 1)),
    "twenty rows": (mixed(20), mixed(20, 1)),
    "polars": tuple(pl.from_pandas(mixed(seed=seed)) for seed in (0, 1)),
    "arrays": (with_arrays(), with_arrays(seed=1)),
    "arrays of polars": tuple(
        pl.DataFrame({"x": frame["x"].to_numpy(), "v": np.stack(frame["vector"].tolist())})
        for frame in (with_arrays(), with_arrays(seed=1))
    ),
    "nothing there": (pd.DataFrame({"a": [None] * 9, "b": [None] * 9}),) * 2,
    "control characters": (numbers(30, 2).set_axis(["bell\x07", "escape\x1b"], axis=1),) * 2,
}


class Reader(HTMLParser):
    """Refuses tags that are not closed in order; keeps tags with their attributes, and headings and cells as text."""

    VOID = ("meta", "img", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def written(report, folder):
    path = report.to_html(folder / "report.html")
    return path, path.read_text(encoding="utf-8")


def with_plain_arrows(page):
    return re.sub('<span style="white-space: nowrap">(.*?)</span>', r"\1", page)


@pytest.fixture(scope="module", params=FRAMES)
def reported(request, tmp_path_factory):
    report = quality_report(*FRAMES[request.param], random_state=0)
    return report, *written(report, tmp_path_factory.mktemp("report"))


def test_page_is_well_formed_and_one_small_file(reported):
    _, path, page = reported
    reader = Reader(page)
    assert path.stat().st_size < 3e6
    assert page.startswith("<!DOCTYPE html>")
    assert reader.all("html") == [{"lang": "en"}]
    assert [text for tag, text in reader.texts if tag == "title"] == ["Quality of synthetic rows"]
    assert not {"script", "link", "iframe", "b"} & {tag for tag, _ in reader.tags}
    assert not re.search("https?:|@import|url\\(", page)
    marks = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(set(marks)) == len(marks)
    assert [link["href"] for link in reader.all("a")] == [f"#{mark}" for mark in marks]


def test_pictures_are_vectors_with_words(reported):
    _, _, page = reported
    reader = Reader(page)
    images = reader.all("img")
    assert len(images) == len(reader.all("figure")) == len(reader.all("figcaption")) > 0
    for image in images:
        assert image["alt"]
        kind, data = image["src"].split(";base64,")
        assert kind == "data:image/svg+xml"
        svg = ElementTree.fromstring(base64.b64decode(data))
        # nothing outside is asked for: a picture within is itself data, and shapes are defined in the same file
        links = [value for element in svg.iter() for name, value in element.attrib.items() if name.endswith("href")]
        assert all(link.startswith(("data:", "#")) for link in links)


def test_tables_have_heads(reported):
    _, _, page = reported
    reader = Reader(page)
    assert len(reader.all("table")) == len(reader.all("thead")) == page.count('<div class="scroll" tabindex="0"><table')
    assert all(head["scope"] in ("col", "row") for head in reader.all("th"))


def test_verdict_comes_first_and_is_whole(reported):
    report, _, page = reported
    first = page.index("<section")
    assert page[first:].startswith('<section id="verdict"><h2>Verdict</h2>')
    body = page[first : page.index("</section>")]
    assert all(html.escape(sentence) in with_plain_arrows(body) for sentence in report._sentences())
    headings = re.findall("<h2>(.*?)</h2>", page)
    possible = ["Verdict", "Measures", "Relations", "Columns", "Pairs of columns", "Map of the rows", "Privacy"]
    assert headings == [heading for heading in possible if heading in headings]
    assert {"Verdict", "Measures", "Columns", "Privacy"} <= set(headings)


def test_every_column_and_broken_relation_is_named(reported):
    report, _, page = reported
    for name in report.columns.index:
        shown = "".join(c if c.isprintable() else "\ufffd" for c in str(name))
        assert f'<th scope="row">{html.escape(shown)}</th>' in page
    broken = report.relations[are_broken(report.relations)] if len(report.relations) else report.relations
    for relation in report.relations["relation"]:
        assert f'<th scope="row">{html.escape(relation)}</th>' in with_plain_arrows(page)
    assert page.count('<h3 class="broken">') == (len(broken) > 0)
    if len(broken):
        assert f"Broken: {len(broken)} of {len(report.relations)}" in page


def test_frames_break_what_they_should():
    report = quality_report(*FRAMES["mixed"], random_state=0)
    assert "total = fare + tip" in report.relations["relation"][are_broken(report.relations)].tolist()
    assert "'total = fare + tip' holds in" in report.verdict


def test_arrows_of_relations_are_not_broken_and_backticks_are_left_to_the_tables(tmp_path):
    rng = np.random.default_rng(0)
    zone = rng.integers(0, 8, 200)
    real = pd.DataFrame({"pick up": [f"zone {k}" for k in zone], "borough": [f"b{k // 2}" for k in zone]})
    synthetic = real.assign(borough=rng.permutation(real["borough"]))
    report = quality_report(real, synthetic, random_state=0)
    assert report.relations["relation"].tolist() == ["`pick up` -> borough"]
    assert re.search(r"'pick up -> borough' holds in \d+\.\d% of them, and in all of the real rows\.", report.verdict)
    for page in (written(report, tmp_path)[1], report._repr_html_()):
        arrows = re.findall("(<span[^>]*>)?-&gt;", re.sub('src="[^"]*"', "", page))
        assert set(arrows) == {'<span style="white-space: nowrap">'}


def test_pictures_lie_on_light_paper_where_the_page_is_dark(reported):
    style = reported[2].split("</style>")[0]
    assert "color-scheme: light dark" in style
    assert re.search(r"figure img {[^}]*background: #fff", style)


@pytest.mark.parametrize(("holdout", "head"), [(None, "real rows"), (numbers(40, 2, 2), "held-out real rows")])
def test_measures_stand_beside_what_real_rows_score(holdout, head, tmp_path):
    report = quality_report(*FRAMES["two columns"], holdout, random_state=0)
    page = written(report, tmp_path)[1]
    texts = [text for tag, text in Reader(page).texts if tag == "th"]
    assert texts[1:5] == ["synthetic rows", head, "best", "shuffled columns"]
    error = (
        f'<th scope="row">Pairs of columns: error, %</th><td class="number">{report.summary.loc["trend_error", "value"]:.3f}'
    )
    assert error in page
    assert page.count(f'<th scope="col" class="number">{head}</th>') == 2  # among all measures, and those of privacy


# --- columns that are left out ---------------------------------------------------------------------------------------


def test_arrays_are_left_out_and_named(tmp_path):
    real, synthetic = FRAMES["arrays"]
    report = quality_report(real, synthetic, target="y", random_state=0)
    assert report.left_out == {"image": "holds arrays", "vector": "holds arrays", "id": "is an identifier"}
    without = quality_report(real[["x", "id", "y"]], synthetic[["x", "id", "y"]], target="y", random_state=0)
    pd.testing.assert_frame_equal(report.summary, without.summary)
    for text in (written(report, tmp_path)[1], report._repr_html_()):
        assert "Not compared: image (holds arrays), vector (holds arrays), id (is an identifier)." in text
    assert "Not compared: image (holds arrays)" in repr(report)


def test_a_column_of_arrays_in_one_table_is_left_out():
    real = with_arrays()
    report = quality_report(real, real.assign(image=0.5, id=real["id"].to_numpy()[::-1]), random_state=0)
    assert "image" in report.left_out


@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [
        (["image"], None, "real has no column to compare: 'image' holds arrays"),
        (["image", "id"], None, "no column to compare: 'image' holds arrays, 'id' is an identifier"),
        (["image", "x"], "image", "target 'image' holds arrays in real: it cannot be predicted"),
    ],
)
def test_arrays_alone_are_refused(columns, target, message):
    with pytest.raises(ValueError, match=message):
        quality_report(with_arrays()[columns], with_arrays(seed=1)[columns], target=target)


# --- what is drawn of pairs and rows ---------------------------------------------------------------------------------


def column(name, real, synthetic, labels=()):
    cells = {"real": np.asarray(real, float), "synthetic": np.asarray(synthetic, float)}
    return ComparedColumn(name, "category" if labels else "number", cells, list(labels))


def test_joint_shares_by_hand():
    nan = np.nan
    few = column("few", [0, 0, 1, nan], [1, 1, 1, 0], ["a", "b"])
    number = column("number", [5, 7, 7, 7], [5, 5, nan, 7])
    joint = joint_of(few, number, 0.5)
    assert [axis.labels for axis in joint.axes] == [["a", "b", "missing"], ["5", "7", "missing"]]
    assert_allclose(joint.shares[0], np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]]) / 4)
    assert_allclose(joint.shares[1], np.array([[0, 1, 0], [2, 0, 1], [0, 0, 0]]) / 4)


def test_joint_shares_are_those_of_a_histogram():
    rng = np.random.default_rng(0)
    one, two = (column(name, rng.normal(size=500), rng.normal(size=400)) for name in "ab")
    many = column("many", rng.integers(0, 20, 500), rng.integers(0, 20, 400), [f"c{k}" for k in range(20)])
    joint = joint_of(one, two, 1.0)
    edges = [axis.edges for axis in joint.axes]
    for table, shares in zip(("real", "synthetic"), joint.shares, strict=True):
        cells = [c.cells[table].clip(e[0], e[-1]) for c, e in zip((one, two), edges, strict=True)]
        assert_allclose(shares, np.histogram2d(*cells, edges)[0] / len(cells[0]), atol=1e-7)
        assert_allclose(shares.sum(), 1, rtol=1e-6)
    with_others = joint_of(many, one, 1.0)
    assert with_others.axes[0].labels[-1] == "12 others"
    counts = np.bincount(many.cells["real"].astype(int), minlength=20) / 500
    assert_allclose(with_others.shares[0].sum(axis=1)[0], counts[int(with_others.axes[0].labels[0][1:])], rtol=1e-6)


def test_dependence_of_pairs():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 2000)
    frame = pd.DataFrame(
        {
            "group": group.astype(str),
            "copy": (group + 7).astype(str),
            "noise": rng.integers(0, 30, 2000).astype(str),
            "x": rng.normal(size=2000),
            "constant": "same",
        }
    )
    frame["minus x"] = -frame["x"]
    shuffled = frame.apply(rng.permutation)
    pairs = quality_report(frame, shuffled, random_state=0).pairs.set_index(["column_1", "column_2"])
    real, synthetic = pairs["dependence_real"], pairs["dependence_synthetic"]
    assert real["group", "copy"] == pytest.approx(1)
    assert real["x", "minus x"] == pytest.approx(1)
    assert real["group", "noise"] < 0.06
    assert synthetic.dropna().max() < 0.08
    assert real[:, "constant"].isna().all()


def test_principal_components_are_those_of_scikit_learn():
    rows = {table: numbers(60, 5, seed).to_numpy() for seed, table in enumerate(("real", "synthetic"))}
    found, explained = principal_components(rows)
    pca = PCA(2).fit(rows["real"])
    assert_allclose(explained, pca.explained_variance_ratio_)
    for table, X in rows.items():
        assert_allclose(np.abs(found[table]), np.abs(pca.transform(X)))


class Squares:
    """Turns rows into their first columns, squared, as many as wanted."""

    def __init__(self, n, columns=None):
        self.n, self.columns = n, columns

    def transform(self, X):
        assert self.columns is None or list(X.columns) == self.columns
        return np.asarray(X, dtype=float)[:, : self.n] ** 2


@pytest.mark.parametrize(
    ("n", "caption"),
    [
        (1, "By the coordinate that Squares gives rows."),
        (2, "By the 2 coordinates that Squares gives rows."),
        (3, "Principal components of the 3 coordinates that Squares gives rows, which explain"),
    ],
)
def test_rows_are_mapped_by_an_estimator(n, caption, tmp_path):
    real, synthetic = numbers(60, 4), numbers(50, 4, 1)
    report = quality_report(real, synthetic.iloc[:, ::-1], estimator=Squares(n, list(real.columns)), random_state=0)
    assert caption in written(report, tmp_path)[1]
    assert caption in written(quality_report(real.to_numpy(), synthetic.to_numpy(), estimator=Squares(n)), tmp_path)[1]
    frames = [pl.from_pandas(frame) for frame in (real, synthetic)]
    assert caption in written(quality_report(*frames, estimator=Squares(n)), tmp_path)[1]


def test_rows_are_mapped_by_an_autoencoder(tmp_path):
    real, synthetic = (mixed(seed=seed).drop(columns="empty") for seed in (0, 1))
    vae = VAETransformer(2, max_iter=2, random_state=0).fit(real)
    report = quality_report(real, synthetic, estimator=vae, random_state=0)
    assert "By the 2 coordinates that VAETransformer gives rows." in written(report, tmp_path)[1]


def test_estimators_that_do_not_map_rows_are_refused():
    frame = numbers(30, 2)
    with pytest.raises(TypeError, match=r"estimator must have a method transform\. Got dict"):
        quality_report(frame, frame, estimator={})

    class Wrong:
        def transform(self, X):
            return np.full(len(X), np.nan)

    with pytest.raises(ValueError, match=r"should give finite numbers \(n_samples, k\). Got an array of shape \(30,\)"):
        quality_report(frame, frame, estimator=Wrong())


def test_the_same_report_is_the_same_file(tmp_path):
    pages = [written(quality_report(*FRAMES["two columns"], random_state=0), tmp_path)[1] for _ in range(2)]
    assert pages[0] == pages[1]
