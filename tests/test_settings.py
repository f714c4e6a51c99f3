"""Configuration: strict, with the place of each fault, and in step with the JSON Schema that is published."""

from __future__ import annotations

import os
from datetime import date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import tomli
from jsonschema import Draft202012Validator

from vramguard.checks import Severity
from vramguard.facts import PathClass
from vramguard.schema import ConfigError
from vramguard.settings import Configuration, has_configuration, load, published_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Repo

VALIDATOR = Draft202012Validator(published_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def loaded(files: Mapping[str, str] | str, path: str | None = None) -> Configuration:
    known = {"vramguard.toml": files} if isinstance(files, str) else files
    return load(lambda name: known[name].encode() if name in known else None, path)


def jsonable(value: Any) -> Any:  # noqa: ANN401 - a date of TOML is text in JSON
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


GOOD = [
    "",
    'select = ["VG1", "VG201", "VG"]\nignore = ["VG105"]\nfail_on = "warning"\nexclude = ["docs/", "*.txt"]\n',
    "budget = 0.8\n",
    "budget = 1\nconcurrency = 4\ngpu = 'h100-sxm5-80gb'\n",
    '[severity]\nVG101 = "note"\n[rules.VG101]\nclasses = []\n[classes]\nserving = ["a/"]\ndocs = []\n',
    '[[waiver]]\nrules = ["VG1"]\npaths = ["a"]\nreason = "r"\nuntil = 2027-01-31\n',
    '[[deployment]]\nmodel = "a/b"\ngpus = 1\ngpu_memory_utilization = 0.9\n[[deployment]]\nconfig = "c/config.json"\n',
    'policies = ["a.toml"]\nbaseline = "b.json"\n',
    '[gates]\nenvironments = ["production", "model-prod"]\n',
]

# The text, the place of the fault, and words of the message.
BAD = [
    ("[gates]", "1:1", "`environments` is missing"),
    ("[gates]\nenvironments = []", "2:16", "is to be a list that is not empty"),
    ("[gates]\nreviewers = ['a']", "2:1", "unknown key `reviewers`"),
    ('select = "VG1"', "1:10", "`select` is to be a list"),
    ("select = []", "1:10", "`select` is to be a list that is not empty"),
    ('select = [""]', "1:11", "`select[0]` is to be a rule id or the beginning of one"),
    ('select = ["VG1",\n "vg2"]', "2:2", "`select[1]` is to be a rule id"),
    ("select = [1]", "1:11", "`select[0]` is to be text, not 1"),
    ('ignore = [""]', "1:11", "`ignore[0]` is to be a rule id"),
    ("fail_on = 1", "1:11", "`fail_on` is to be one of note, warning, error, not 1"),
    ("fail_on = []", "1:11", "is to be one of"),
    ('severity = {VG101 = "fatal"}', "1:21", "`severity.VG101` is to be one of"),
    ("severity = {VG101 = ['note']}", "1:21", "is to be one of"),
    ("severity = 1", "1:12", "`severity` is to be a table"),
    ("rules = {VG101 = 1}", "1:18", "`rules.VG101` is to be a table"),
    ("budget = 0", "1:10", "`budget` is to be above 0 and at most 1, not 0"),
    ("budget = -1.0", "1:10", "not -1"),
    ("budget = 1.5", "1:10", "not 1.5"),
    ("budget = nan", "1:10", "is to be a number, not nan"),
    ("budget = inf", "1:10", "is to be a number, not inf"),
    ("budget = true", "1:10", "is to be a number, not True"),
    ('budget = "0.8"', "1:10", "is to be a number, not '0.8'"),
    ("concurrency = 0", "1:15", "`concurrency` is to be at least 1, not 0"),
    ("concurrency = true", "1:15", "is to be a whole number, not True"),
    ("gpu = 1", "1:7", "`gpu` is to be text, not 1"),
    ('exclude = [""]', "1:12", "`exclude[0]` is to be a pattern as in .gitignore"),
    ("exclud = []", "1:1", "unknown key `exclud`; did you mean `exclude`?"),
    ("[classes]\nserve = []", "2:1", "`classes.serve` is to be one of serving, training"),
    ("[classes]\ndocs = 'a'", "2:8", "`classes.docs` is to be a list"),
    ("[[waiver]]\nrules = ['VG1']\npaths = ['a']", "1:1", "`reason` is missing"),
    ("[[waiver]]\nrules = ['VG1']\npaths = ['a']\nreason = ' '", "4:10", "text that is not blank"),
    ("[[waiver]]\nrules = ['']\npaths = ['a']\nreason = 'r'", "2:10", "`waiver[0].rules[0]` is to be a rule id"),
    ("[[waiver]]\nrules = []\npaths = ['a']\nreason = 'r'", "2:9", "a list that is not empty"),
    ("[[waiver]]\nrules = ['VG1']\npaths = []\nreason = 'r'", "3:9", "a list that is not empty"),
    ("[waiver]\nrules = ['VG1']", "1:1", "`waiver` is to be a list"),
    ("waiver = [1]", "1:11", "`waiver[0]` is to be a table"),
    ("[[waiver]]\nrules = ['VG1']\npaths = ['a']\nreason = 'r'\nuntil = 'soon'", "5:9", "a date such as 2027-01-31"),
    ("[[deployment]]\ngpus = 1", "1:1", "it needs `config` or `model`"),
    ("[[deployment]]\nmodel = ''", "2:9", "text that is not blank"),
    ("[[deployment]]\nmodel = 'a'\ngpus = 0", "3:8", "`deployment[0].gpus` is to be at least 1"),
    ("[[deployment]]\nmodel = 'a'\nmax_model_len = -5", "3:17", "at least 1, not -5"),
    ("[[deployment]]\nmodel = 'a'\ngpu_memory_utilization = 1.01", "3:26", "above 0 and at most 1, not 1.01"),
    ("[[deployment]]\nmodel = 'a'\nmax_model_length = 5", "3:1", "did you mean `max_model_len`?"),
]

# What JSON Schema cannot say: where a path leads, whether a text is a TOML date, 1.0 from 1, a pattern from none.
ONLY_OURS = [
    ('exclude = ["ok", "!"]', "1:18", "`exclude[1]` is to be a pattern"),
    ("concurrency = 1.0", "1:15", "is to be a whole number, not 1.0"),
    (
        "[[deployment]]\nconfig = '../x/config.json'",
        "2:10",
        "`../x/config.json` is no path below the repository's root",
    ),
    ("[[deployment]]\nconfig = '/etc/passwd'", "2:10", "is no path below"),
    ('[[deployment]]\nconfig = "a\\u0000b"', "2:10", "is no path below"),
    ("policies = ['a.toml', 'b/../../c.toml']", "1:23", "is no path below"),
    ("policies = ['']", "1:13", "is no path below"),
    ("baseline = '../b.json'", "1:12", "is no path below"),
    ("extends = '../vramguard.toml'", "1:11", "is no path below"),
    ("extends = 'absent.toml'", "1:11", "`extends` names `absent.toml`, which is not there"),
    (
        "[[waiver]]\nrules = ['VG1']\npaths = ['a']\nreason = 'r'\nuntil = 2027-01-31T00:00:00",
        "5:9",
        "a date such as 2027-01-31",
    ),
    (
        "[[waiver]]\nrules = ['VG1']\npaths = ['a']\nreason = 'r'\nuntil = '2027-01-31'",
        "5:9",
        "a date such as 2027-01-31, not '2027-01-31'",
    ),
    ("a = 1\na = 2", "2:", "not valid TOML"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_good_is_taken_by_us_and_by_the_schema(text: str) -> None:
    loaded(text)
    assert list(VALIDATOR.iter_errors(jsonable(tomli.loads(text)))) == []


@pytest.mark.parametrize(("text", "place", "words"), BAD)
def test_what_is_bad_is_refused_by_us_and_by_the_schema(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    assert str(caught.value).startswith(f"vramguard.toml:{place}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    if "nan" not in text and "inf" not in text:  # JSON has neither
        assert list(VALIDATOR.iter_errors(jsonable(tomli.loads(text)))) != []


@pytest.mark.parametrize(("text", "place", "words"), ONLY_OURS)
def test_what_a_schema_cannot_refuse_we_do(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    assert str(caught.value).startswith(f"vramguard.toml:{place}")
    assert words in str(caught.value)


def test_a_long_wrong_value_is_shown_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(f'fail_on = "{"x" * 10_000}"')
    assert len(str(caught.value)) < 200


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(published_schema())


def test_a_share_is_the_number_that_was_written() -> None:
    assert loaded("budget = 0.1").settings.budget == Fraction(1, 10)


def test_our_own_file_comes_before_pyproject_and_either_will_do() -> None:
    table = '[tool.vramguard]\nfail_on = "note"\n'
    assert loaded({"pyproject.toml": table}).settings.fail_on is Severity.NOTE
    assert loaded({"pyproject.toml": table, "vramguard.toml": ""}).settings.fail_on is Severity.ERROR
    assert loaded({"pyproject.toml": table, "vramguard.toml": ""}, "pyproject.toml").settings.fail_on is Severity.NOTE
    assert loaded({"pyproject.toml": "[project]\n"}).path is None
    assert loaded({"pyproject.toml": "[broken"}).path is None, "that is finding VG001, and no configuration"
    assert loaded({"pyproject.toml": "tool = 1"}).path is None


@pytest.mark.parametrize(
    ("files", "path", "words"),
    [
        ({"pyproject.toml": "[tool.vramguard\n"}, None, "pyproject.toml:1:16: not valid TOML"),
        ({"pyproject.toml": "tool.vramguard = 1\n"}, None, "pyproject.toml:1:18: `tool.vramguard` is to be a table"),
        ({"pyproject.toml": "[tool.vramguard]\nx = 1\n"}, None, "pyproject.toml:2:1: unknown key `x`"),
        ({}, "absent.toml", "no configuration in `absent.toml`"),
        ({"pyproject.toml": ""}, "pyproject.toml", "no configuration in `pyproject.toml`"),
        ({"vramguard.toml": "extends = 'b.toml'", "b.toml": "extends = 'c.toml'"}, None, "one level is enough"),
        ({"vramguard.toml": "extends = 'b.toml'", "b.toml": "x = 1"}, None, "b.toml:1:1: unknown key `x`"),
        ({"vramguard.toml": "extends = 'pyproject.toml'", "pyproject.toml": ""}, None, "has no [tool.vramguard] table"),
    ],
)
def test_faults_of_whole_files(files: dict[str, str], path: str | None, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(files, path)
    assert words in str(caught.value)


BASE = """
select = ["VG1"]
budget = 0.5
baseline = "accepted.json"
policies = ["own.toml"]
[severity]
VG101 = "note"
VG102 = "note"
[classes]
docs = ["d/"]
[[waiver]]
rules = ["VG1"]
paths = ["x"]
reason = "base"
[[deployment]]
config = "m/config.json"
"""


def test_extends_inherits_key_by_key() -> None:
    own = (
        'extends = "org/base.toml"\nbudget = 0.9\n[severity]\nVG102 = "error"\n[[deployment]]\nmodel = "a/b"\n'
        '[[waiver]]\nrules = ["VG2"]\npaths = ["y"]\nreason = "own"\n'
    )
    found = loaded({"vramguard.toml": own, "org/base.toml": BASE})
    settings = found.settings
    assert (settings.select, settings.budget) == (("VG1",), Fraction(9, 10))
    assert settings.severity == {"VG101": Severity.NOTE, "VG102": Severity.ERROR}
    assert settings.classes == {PathClass.DOCS: ("d/",)}
    assert [waiver.reason for waiver in settings.waiver] == ["base", "own"]
    assert [item.config or item.model for item in found.deployments] == ["org/m/config.json", "a/b"]
    assert found.deployments[0].at.path == "org/base.toml"


def test_inherited_paths_are_those_of_the_file_that_gives_them() -> None:
    found = loaded({"ci/v.toml": 'extends = "../org/base.toml"\n', "org/base.toml": BASE}, "ci/v.toml")
    assert found.baseline == "org/accepted.json"
    assert [found.resolve(path) for path in found.settings.policies] == ["org/own.toml"]


def test_a_deployment_is_a_fact_with_the_place_of_every_value() -> None:
    text = '[[deployment]]\nconfig = "a/../b/config.json"\ngpu_memory_utilization = 0.9\n'
    (fact,) = loaded(text).deployments
    assert (fact.config, fact.gpu_memory_utilization, fact.declared) == ("b/config.json", "0.9", True)
    assert fact.places["gpu_memory_utilization"][1:3] == (3, 26)
    assert fact.at[1:3] == (1, 1)


def test_the_environments_that_somebody_has_looked_up_are_facts() -> None:
    first, second = loaded('[gates]\nenvironments = ["production", "model-prod"]\n').gates
    assert (first.environment, second.environment, first.reviewed, first.by) == (
        *("production", "model-prod", True, "configuration"),
    )
    assert first.at[:2] == ("vramguard.toml", 1)
    assert loaded("").gates == ()


def test_a_datetime_is_no_date() -> None:
    assert isinstance(tomli.loads("a = 2027-01-31T00:00:00")["a"], datetime)


def test_where_a_configuration_stands(repo: Repo) -> None:
    root = repo({"a/vramguard.toml": "", "b/pyproject.toml": "[tool.vramguard]\n", "c/pyproject.toml": "[project]\n"})
    assert [has_configuration(root / name) for name in ("a", "b", "c", "d")] == [True, True, False, False]


def test_a_pipe_for_a_configuration_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    assert not has_configuration(tmp_path)


def test_a_configuration_that_cannot_be_read_is_no_silence() -> None:
    def denied(_: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(ConfigError, match=r"vramguard.toml:1:1: cannot be read: Permission denied"):
        load(denied)
