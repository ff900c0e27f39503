"""The report: whole in one file, the same bytes for the same figures, safe with any name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from support.optional import reason

pytest.importorskip("matplotlib", reason=reason("matplotlib"))

import matplotlib as mpl
from support.evaluation_worlds import HELD, SameGenre, train_bundle, write_world

from segue.errors import DataError
from segue.evaluation.evaluate import Evaluation, evaluate
from segue.evaluation.report import render_report, save_plot, write_report

EVIL = "<script>alert('1')</script> & $x_1$ \"q\""
COMMAND = "segue evaluate <a> 'b' --protocol challenge"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    world = write_world(tmp_path_factory.mktemp("report") / "w<i>d", playlists=300)
    bundles = [
        ("_popular", train_bundle(world, HELD)),
        (EVIL, train_bundle(world, HELD, SameGenre)),
    ]
    return evaluate(bundles, world, "challenge")


@pytest.fixture(scope="module")
def html(evaluation: Evaluation) -> str:
    return render_report(evaluation, command=COMMAND)


class _Reader(HTMLParser):
    """Collects tags and text, and checks that what opens also closes."""

    EMPTY = frozenset({"meta", "path", "use", "rect", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_well_formed_and_needs_nothing_from_outside(html: str) -> None:
    page = _Reader(html)
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe", "object", "image"}
    for key, value in page.attributes:
        assert key not in {"src", "srcset", "onload", "onclick"}
        if key in {"href", "xlink:href"}:
            assert value.startswith("#")
    style = re.findall(r"url\([^)]*\)|@import", html)
    assert all(found.startswith("url(#") for found in style)
    assert "<!ENTITY" not in html
    assert html.count("<!DOCTYPE") == 1


def test_names_are_text_and_never_markup(html: str) -> None:
    assert "<script" not in html
    assert "<i>" not in html
    page = _Reader(html)
    assert EVIL in page.text
    assert COMMAND in page.text
    # In the plots, too, names stay what they are: no mathematics, no label dropped for its "_".
    plots = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    texts = _Reader(plots).text
    assert "$x_1$" in texts
    assert texts.count("_popular") == 3


def test_same_figures_give_the_same_bytes(evaluation: Evaluation, html: str) -> None:
    again = msgspec.json.decode(msgspec.json.encode(evaluation), type=Evaluation)
    assert render_report(again, command=COMMAND) == html


def test_ids_in_the_page_are_distinct(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 0


def test_every_figure_is_in_the_page(evaluation: Evaluation, html: str) -> None:
    text = _Reader(html).text
    for model in evaluation.models:
        for metric, value in model.metrics.items():
            assert metric in text
            assert value.mean is not None
            assert (f"{value.mean:.2f}" if metric == "clicks" else f"{value.mean:.4f}") in text
        for label, count in model.slice_queries.items():
            assert label in text
            assert str(count) in text
    for comparison in evaluation.paired:
        assert f"{comparison.a} − {comparison.b}" in text
    assert "p after Holm" in text
    for name, version in evaluation.libraries.items():
        assert f"{name} {version}" in text
    assert html.count("<svg") == 3


def test_simulated_results_say_so(evaluation: Evaluation, html: str) -> None:
    assert 'class="simulated"' not in html
    simulated = msgspec.structs.replace(evaluation, simulated=True)
    assert 'class="simulated"' in render_report(simulated, command=COMMAND)


def test_best_mean_of_each_metric_is_bold_and_clicks_are_better_when_few(
    evaluation: Evaluation,
) -> None:
    first, second = evaluation.models
    table = render_report(evaluation, command="").partition("Over all queries")[2]
    for metric in ("ndcg@500", "clicks"):
        row = re.search(rf"<td>{metric}</td>(.*?)</tr>", table)
        assert row
        best = re.findall(r'<td class="best">(?:<td>)?([\d.]+)', row.group(1))
        values = [m.metrics[metric].mean or 0 for m in (first, second)]
        expected = min(values) if metric == "clicks" else max(values)
        assert best == [f"{expected:.2f}" if metric == "clicks" else f"{expected:.4f}"]


def test_one_bundle_needs_no_comparison(evaluation: Evaluation) -> None:
    alone = msgspec.structs.replace(evaluation, models=evaluation.models[:1], paired=[])
    html = render_report(alone, command=COMMAND)
    assert "Compared in pairs" not in html
    assert '<td class="best">' not in html


def test_undefined_values_are_dashes_and_not_numbers(evaluation: Evaluation) -> None:
    model = evaluation.models[0]
    nothing = {metric: type(value)(None, None) for metric, value in model.metrics.items()}
    hollow = msgspec.structs.replace(
        model, metrics=nothing, slices=dict.fromkeys(model.slices, nothing)
    )
    html = render_report(msgspec.structs.replace(evaluation, models=[hollow]), command="")
    assert "<td>–</td>" in html
    assert "nan" not in _Reader(html).text.casefold()


def test_drawing_leaves_the_settings_of_the_library_alone(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    before = dict(mpl.rcParams)
    save_plot(evaluation, tmp_path / "plot.png")
    render_report(evaluation, command="")
    assert dict(mpl.rcParams) == before


def test_report_and_plot_are_written_whole(
    evaluation: Evaluation, html: str, tmp_path: Path
) -> None:
    write_report(evaluation, tmp_path / "report.html", command=COMMAND)
    assert (tmp_path / "report.html").read_text() == html
    for name in ("one.png", "two.png"):
        save_plot(evaluation, tmp_path / name)
    one = (tmp_path / "one.png").read_bytes()
    assert one.startswith(b"\x89PNG")
    assert one == (tmp_path / "two.png").read_bytes()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        write_report(evaluation, tmp_path / "folder", command=COMMAND)
