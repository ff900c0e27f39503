"""The documentation names everything that there is."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path

import msgspec
import pytest
import typer

from segue.asking import Answer, NamedReason, NamedTrack
from segue.audio.workers import Limits
from segue.bundle import Manifest
from segue.cli.verbs import app
from segue.continuation.ranker import RankerConfig
from segue.continuation.settings import TwoStageConfig
from segue.data.formats import FORMATS
from segue.data.schema import TABLES, Outcome
from segue.evaluation.protocols import PROTOCOLS
from segue.models.base import RECOMMENDERS
from segue.models.larp_settings import LarpConfig
from segue.models.larp_tops_settings import ClcRecConfig, DropoutNetConfig, NearestConfig
from segue.models.larp_transformers_settings import BertConfig, HtsatConfig
from segue.playlist_files import PLAYLIST_FORMATS
from segue.recipe import shipped
from segue.service.settings import ServiceSettings
from segue.slate import ListStage

ROOT = Path(__file__).resolve().parents[1]
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
def test_every_verb_and_option_is_in_cli_md(verb):
    text = section("cli.md", f"segue {verb}")
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
    assert name in named(section("cli.md", "segue ingest"))
    assert name in named(page("dataset.md"))
    (argument,) = (p for p in COMMANDS["ingest"].params if p.name == "format")
    assert re.search(rf"\b{name}\b", argument.help)


@pytest.mark.parametrize("name", PLAYLIST_FORMATS)
def test_every_format_that_is_written_is_documented(name):
    assert name in named(section("cli.md", "segue continue"))
    (option,) = (p for p in COMMANDS["continue"].params if p.name == "format")
    assert re.search(rf"\b{name}\b", option.help)


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_is_documented(name):
    assert name in named(page("models.md"))
    assert name in named(section("cli.md", "segue train"))


def settings_of(name: str) -> str:
    """Where the settings of a recommender are documented."""
    if name == "two-stage":
        return page("two-stage.md")
    if name == "audio":
        return section("hearing.md", "Settings of `audio`")
    if name == "audio-mlr":
        return section("hearing.md", "`audio-mlr`")
    if name == "larp":
        return section("larp.md", "Settings of `larp`")
    if name in SEQUENCE:
        return section("skips.md", f"Settings of {SEQUENCE_NAMES}")
    return section("models.md", f"`{name}`")


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_every_recommender_and_setting_is_documented(name):
    assert name in named(page("models.md"))
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
        ("Settings of `larp`", LarpConfig),
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
            rf"^\| `{field.name}` \|(.*?)\|", section("larp.md", heading).split("\n### ")[0], re.M
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
    (row,) = re.findall(rf"^\| `{field.name}` \|(.*?)\|", section("two-stage.md", "Settings"), re.M)
    assert row.strip().strip('`"') == str(field.default).removesuffix(".0")


@pytest.mark.parametrize(
    "field", msgspec.structs.fields(TwoStageConfig), ids=lambda field: field.name
)
def test_numbers_of_two_stage_have_their_defaults_in_the_table(field):
    if isinstance(field.default, int | float):
        (row,) = re.findall(
            rf"^\| `{field.name}` \|(.*?)\|", section("two-stage.md", "Settings"), re.M
        )
        assert float(row) == field.default


@pytest.mark.parametrize("field", msgspec.structs.fields(Limits), ids=lambda field: field.name)
def test_every_limit_of_sound_files_is_documented_with_its_default(field):
    (row,) = re.findall(rf"^\| `{field.name}` \|(.*?)\|", section("audio.md", "Limits"), re.M)
    assert float(row) == field.default


@pytest.mark.parametrize("field", msgspec.structs.fields(ServiceSettings), ids=lambda f: f.name)
def test_every_limit_of_the_service_is_documented_with_its_default(field):
    (row,) = re.findall(rf"^\| `{field.name}` \|(.*?)\|", section("service.md", "Limits"), re.M)
    assert float(row) == field.default


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_documented(name):
    assert section("evaluation.md", f"Protocol `{name}`").strip()


@pytest.mark.parametrize(
    "name",
    ["coverage", *dict.fromkeys(m for how in PROTOCOLS.values() for m in how.metrics(how.n))],
)
def test_every_metric_is_documented(name):
    words = named(page("evaluation.md"))
    assert {name, re.sub(r"@\d+", "@K", name), re.sub(r"@\d+", "@n", name)} & words


@pytest.mark.parametrize("field", dataclasses.fields(ListStage), ids=lambda field: field.name)
def test_every_option_of_the_list_stage_is_documented(field):
    option = "--" + field.name.replace("_", "-")
    assert option in named(section("cli.md", "segue continue"))


@pytest.mark.parametrize("table", TABLES)
def test_every_table_and_column_is_documented(table):
    words = named(page("dataset.md"))
    assert table in words
    assert set(TABLES[table].names) <= words


def test_every_outcome_is_documented():
    words = named(page("dataset.md"))
    assert {outcome.name.lower() for outcome in Outcome} <= {word.lower() for word in words}


def test_every_field_of_the_manifest_is_documented():
    words = named(page("bundle.md"))
    assert {field.name for field in msgspec.structs.fields(Manifest)} <= words


@pytest.mark.parametrize("kind", [Answer, NamedTrack, NamedReason])
def test_every_field_of_an_answer_is_documented(kind):
    words = named(section("cli.md", "segue continue"))
    assert {field.name for field in msgspec.structs.fields(kind)} <= words


@pytest.mark.parametrize(
    "file", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda file: file.name
)
def test_links_between_pages_lead_somewhere(file):
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if target.endswith(".png") and (ROOT / "PKG-INFO").exists():
            continue  # a source distribution has no pictures
        if "://" not in target:
            assert (file.parent / target).exists(), target
