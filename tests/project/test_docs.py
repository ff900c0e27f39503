"""The documentation names everything that there is."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import typer

import segue
from segue.audio.workers import Limits
from segue.bundle import Manifest
from segue.cli.app import app
from segue.data.ingestion.formats import FORMATS
from segue.data.playlist_export import PLAYLIST_FORMATS
from segue.data.schema import TABLES, Outcome
from segue.models.base.recommender import RECOMMENDERS
from segue.models.larp.config import LARPConfig
from segue.models.larp.encoders.transformers_config import BertConfig, HtsatConfig
from segue.models.larp.heads.config import ClcRecConfig, DropoutNetConfig, NearestConfig
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.ranker import RankerConfig
from segue.operations.answers import NamedReason, NamedTrack, Recommendations
from segue.protocols.base import PROTOCOLS
from segue.recipe import shipped
from segue.reranking.list_stage import ListStage
from segue.service.serving.limits import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
SEQUENCE = ["sasrec", "bert4rec", "gru4rec", "caser"]
SEQUENCE_NAMES = "`sasrec`, `bert4rec`, `gru4rec` and `caser`"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@cache
def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Text under a heading of a page, up to the next one of its level."""
    found = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^\1 |\Z)", page(name), re.M | re.S)
    assert found, f"docs/{name} has no heading {heading!r}"
    return found[2]


def named(text: str) -> set[str]:
    """Words in `code`, also the parts of longer code and of blocks."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.S)
    return {word.strip(".") for some in code for word in re.findall(r"[\w@.-]+", some)}


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_and_option_is_documented(verb):
    text = section("reference/cli.md", f"segue {verb}")
    for parameter in COMMANDS[verb].params:
        wanted = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        for name in wanted:
            for word in str(name).replace("...", "").split():
                assert word in named(text), f"segue {verb}: {name}"


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_option_has_one_line_of_help(verb):
    assert COMMANDS[verb].help
    for parameter in COMMANDS[verb].params:
        assert parameter.help, f"segue {verb}: {parameter.name}"
        assert len(parameter.help) < 100
        assert parameter.help.endswith(".")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_that_is_read_is_documented(name):
    assert name in named(section("reference/cli.md", "segue ingest"))
    assert name in named(page("reference/formats.md"))
    assert name in re.split(r"[\s.]+", COMMANDS["ingest"].help)


@pytest.mark.parametrize("name", PLAYLIST_FORMATS)
def test_every_format_that_is_written_is_documented(name):
    assert name in named(section("reference/cli.md", "segue continue"))
    (option,) = (p for p in COMMANDS["continue"].params if p.name == "format")
    assert re.search(rf"\b{name}\b", option.help)


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_is_documented(name):
    assert name in named(page("reference/models.md"))
    assert name in named(section("reference/cli.md", "segue train"))


def settings_of(name: str) -> str:
    """Where the settings of a recommender are documented."""
    if name == "two-stage":
        return page("reference/two-stage.md")
    if name == "audio":
        return section("reference/audio-models.md", "Settings of `audio`")
    if name == "audio-mlr":
        return section("reference/audio-models.md", "`audio-mlr`")
    if name == "larp":
        return section("reference/larp.md", "Settings of `larp`")
    if name in SEQUENCE:
        return section("reference/sequence-models.md", f"Settings of {SEQUENCE_NAMES}")
    return section("reference/models.md", f"`{name}`")


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_every_recommender_and_setting_is_documented(name):
    assert name in named(page("reference/models.md"))
    words = named(settings_of(name))
    for setting in msgspec.structs.fields(RECOMMENDERS[name].Config):
        assert setting.name in words, f"{name}: {setting.name}"


@pytest.mark.parametrize("name", SEQUENCE)
def test_every_setting_of_the_sequence_models_is_documented_with_its_default(name):
    for field in msgspec.structs.fields(RECOMMENDERS[name].Config):
        (row,) = re.findall(rf"^\| `{field.name}` \|(.*?)\|", settings_of(name), re.M)
        default = str(field.default).lower().removesuffix(".0")
        assert row.strip().strip('`"') == default, field.name


@pytest.mark.parametrize(
    ("heading", "config"),
    [
        ("Settings of `larp`", LARPConfig),
        ("`nearest`", NearestConfig),
        ("`dropoutnet`", DropoutNetConfig),
        ("`clcrec`", ClcRecConfig),
        ("`htsat`", HtsatConfig),
        ("`bert`", BertConfig),
    ],
    ids=["larp", "nearest", "dropoutnet", "clcrec", "htsat", "bert"],
)
def test_every_setting_of_larp_and_its_tables_is_documented_with_its_default(heading, config):
    for field in msgspec.structs.fields(config):
        (row,) = re.findall(
            rf"^\| `{field.name}` \|(.*?)\|",
            section("reference/larp.md", heading).split("\n### ")[0],
            re.M,
        )
        if isinstance(field.default, msgspec.Struct):
            assert row.strip() == "a table", field.name
        else:
            assert row.strip().strip("`") == written(field.default), field.name


def written(value: object) -> str:
    """A default as TOML and the tables of settings have it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value).removesuffix(".0")


@pytest.mark.parametrize(
    "field", msgspec.structs.fields(RankerConfig), ids=lambda field: field.name
)
def test_every_setting_of_the_ranker_is_documented_with_its_default(field):
    (row,) = re.findall(
        rf"^\| `{field.name}` \|(.*?)\|", section("reference/two-stage.md", "Settings"), re.M
    )
    assert row.strip().strip('`"') == str(field.default).removesuffix(".0")


@pytest.mark.parametrize(
    "field", msgspec.structs.fields(TwoStageConfig), ids=lambda field: field.name
)
def test_numbers_of_two_stage_have_their_defaults_in_the_table(field):
    if isinstance(field.default, int | float):
        (row,) = re.findall(
            rf"^\| `{field.name}` \|(.*?)\|", section("reference/two-stage.md", "Settings"), re.M
        )
        assert float(row) == field.default


@pytest.mark.parametrize("field", msgspec.structs.fields(Limits), ids=lambda field: field.name)
def test_every_limit_of_sound_files_is_documented_with_its_default(field):
    (row,) = re.findall(
        rf"^\| `{field.name}` \|(.*?)\|", section("reference/audio.md", "Limits"), re.M
    )
    assert float(row) == field.default


@pytest.mark.parametrize("field", msgspec.structs.fields(ServiceSettings), ids=lambda f: f.name)
def test_every_limit_of_the_service_is_documented_with_its_default(field):
    (row,) = re.findall(
        rf"^\| `{field.name}` \|(.*?)\|", section("reference/service.md", "Limits"), re.M
    )
    assert float(row) == field.default


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_documented(name):
    assert section("reference/protocols.md", f"Protocol `{name}`").strip()


@pytest.mark.parametrize(
    "name",
    ["coverage", *dict.fromkeys(m for how in PROTOCOLS.values() for m in how.metrics(how.n))],
)
def test_every_metric_is_documented(name):
    words = named(page("reference/metrics.md"))
    assert {name, re.sub(r"@\d+", "@K", name), re.sub(r"@\d+", "@n", name)} & words


@pytest.mark.parametrize("field", dataclasses.fields(ListStage), ids=lambda field: field.name)
def test_every_option_of_the_list_stage_is_documented(field):
    option = "--" + field.name.replace("_", "-")
    assert option in named(section("reference/cli.md", "segue continue"))


@pytest.mark.parametrize("table", TABLES)
def test_every_table_and_column_is_documented(table):
    words = named(page("reference/dataset.md"))
    assert table in words
    assert set(TABLES[table].names) <= words


def test_every_outcome_is_documented():
    words = named(page("reference/dataset.md"))
    assert {outcome.name.lower() for outcome in Outcome} <= {word.lower() for word in words}


def test_every_field_of_the_manifest_is_documented():
    words = named(page("reference/bundle.md"))
    assert {field.name for field in msgspec.structs.fields(Manifest)} <= words


@pytest.mark.parametrize("kind", [Recommendations, NamedTrack, NamedReason])
def test_every_field_of_an_answer_is_documented(kind):
    words = named(section("reference/cli.md", "segue continue"))
    assert {field.name for field in msgspec.structs.fields(kind)} <= words


@pytest.mark.parametrize("name", segue.__all__)
def test_every_public_name_has_its_place_in_the_api_pages(name):
    pages = (ROOT / "docs" / "reference" / "api").glob("*.md")
    found = [p.name for p in pages if re.search(rf":: segue\.{name}$", p.read_text(), re.M)]
    assert len(found) == 1


# Links, anchors and the navigation, without building anything.

PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def prose(file: Path) -> str:
    """A page without what stands in blocks of code."""
    return re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.M | re.S)


@cache
def anchors(file: Path) -> set[str]:
    """Anchors of a page's headings, as a forge makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+?)$", prose(file), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


@pytest.mark.parametrize(
    "file", [*PAGES, ROOT / "README.md"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_links_and_anchors_lead_somewhere(file):
    for target in LINK.findall(prose(file)):
        if "://" in target or target.startswith("mailto:"):
            continue
        if target.endswith(".png") and (ROOT / "PKG-INFO").exists():
            continue  # a source distribution has no pictures
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT / "docs")))
def test_every_page_is_in_the_navigation(file):
    if file == ROOT / "docs" / "index.md":
        return
    index = (file.parent.parent if file.name == "index.md" else file.parent) / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(prose(index))}
    assert file in linked, f"give it a line in {index.relative_to(ROOT)}"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT / "docs")))
def test_a_page_has_one_title_and_skips_no_level(file):
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(file), re.M)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before < 2 for before, after in pairwise(levels))


def test_every_path_to_a_page_that_code_names_is_there():
    named = set()
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        named |= set(re.findall(r"\bdocs/[\w/-]+\.md\b", file.read_text(encoding="utf-8")))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


# The site as Sphinx builds it.

NO_NETWORK = """
import socket, sys
def refuse(*_):
    raise OSError("the build of the documentation asked for the network")
socket.socket.connect = socket.getaddrinfo = refuse
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("furo", reason="the group docs is not installed")
    pytest.importorskip("myst_parser", reason="the group docs is not installed")
    out = tmp_path_factory.mktemp("site")
    how = ["-W", "--keep-going", "-n", "-q", "-b", "html", "-d", str(out / "doctrees")]
    command = [sys.executable, "-c", NO_NETWORK, *how, str(ROOT / "docs"), str(out / "html")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_has_every_page_and_picture(site):
    for file in PAGES:
        assert (site / file.relative_to(ROOT / "docs").with_suffix(".html")).exists()
    pictures = {file.name for file in (ROOT / "docs").rglob("*.png")}
    shown = {Path(p).name for file in PAGES for p in LINK.findall(prose(file)) if p[-4:] == ".png"}
    there = {file.name for file in (site / "_images").iterdir()}
    assert there == shown <= pictures


class Loaded(HTMLParser):
    """What a page loads by itself: not where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.targets += [found[name] for name in ("src", "srcset", "poster") if found.get(name)]
        if tag == "link":
            self.targets.append(found.get("href") or "")


def test_the_site_loads_nothing_from_elsewhere(site):
    pages, styles = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert pages
    assert styles
    for file in pages:
        loaded = Loaded()
        loaded.feed(file.read_text(encoding="utf-8"))
        assert any(target.endswith(".css") or ".css?" in target for target in loaded.targets)
        for target in loaded.targets:
            assert not re.match(r"(\w+:)?//", target), f"{file.name}: {target}"
    for file in styles:
        for target in re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", file.read_text()):
            assert not re.match(r"(https?:)?//", target), f"{file.name}: {target}"


def test_the_index_of_the_search_is_a_script_and_knows_pages_and_names(site):
    # A script is read from a folder, too, where a browser fetches nothing else.
    page = (site / "search.html").read_text(encoding="utf-8")
    assert re.search(r'<script src="searchindex\.js[^"]*"', page)
    found = re.fullmatch(
        r"Search\.setIndex\((.*)\);?\s*",
        (site / "searchindex.js").read_text(encoding="utf-8"),
        re.S,
    )
    assert found
    index = json.loads(found[1])
    assert {"reference/cli", "guides/evaluate", "results/playlists"} <= set(index["docnames"])
    assert "spotifi" in index["terms"] or "spotify" in index["terms"]
    assert any("continue_playlist" in str(names) for names in index["objects"].values())
