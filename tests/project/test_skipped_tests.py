"""At the end of a run it says what was skipped, why, and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose tests report what they skip as these here do."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    hook = "from support.skipped_tests import pytest_terminal_summary as pytest_terminal_summary"
    pytester.makeconftest(hook)
    return pytester


SKIPS = """
    import pytest

    @pytest.fixture(scope="session")
    def browser():
        pytest.skip("no Chromium with its driver - make test-extras")

    @pytest.mark.parametrize("number", range(3))
    def test_page(browser, number):
        pass

    @pytest.mark.skipif(True, reason="root may read everything")
    def test_root():
        pass

    def test_real_files():
        pytest.skip("no /somewhere/spotify_history")

    def test_other_real_files():
        pytest.skip("no sound in /somewhere/else")

    def test_library():
        pytest.importorskip("no_such_library")

    def test_that_runs():
        pass

    @pytest.mark.xfail
    def test_that_fails():
        assert False
"""
WHOLE_FILE = """
    import pytest

    pytest.importorskip("no_such_library")

    def test_nothing():
        pass
"""
SAID = [
    "3 skipped: no Chromium with its driver - make test-extras",
    "1 and 2 whole files skipped: no no_such_library - make setup",
    "2 skipped: not all real data - set SEGUE_TEST_DATA to all of it",
    "1 skipped: root may read everything",
]


@pytest.mark.parametrize("arguments", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "two"])
def test_each_reason_is_said_once_with_its_count(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    project.makepyfile(test_one=SKIPS, test_two=WHOLE_FILE, test_three=WHOLE_FILE)
    result = project.runpytest_subprocess("-q", *arguments)
    assert [line for line in result.outlines if "skipped: " in line] == SAID
    assert result.ret == 0


def test_nothing_is_said_where_nothing_was_skipped(project: pytest.Pytester) -> None:
    project.makepyfile("def test_that_runs():\n    pass")
    result = project.runpytest_subprocess("-q", "-n", "1")
    assert "skipped" not in result.stdout.str()
    assert result.ret == 0


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("no weights: pip install it", "no weights: pip install it"),
        ("of two\n  lines", "of two lines"),
        ("training sequence models needs segue[deep]", "no torch - make setup"),
        (
            "no apt-get on this machine",
            "no package of sound files (no apt-get on this machine) - needs Debian or Ubuntu",
        ),
    ],
)
def test_a_reason_becomes_one_line_that_says_what_to_do(
    project: pytest.Pytester, reason: str, shown: str
) -> None:
    project.makepyfile(f"import pytest\n\ndef test_it():\n    pytest.skip({reason!r})")
    result = project.runpytest_subprocess("-q", "-p", "no:xdist")
    assert f"1 skipped: {shown}" in result.outlines
