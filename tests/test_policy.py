"""Policy files: what a stanza may say, and one line for each way in which it can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from vramguard import policy, settings
from vramguard.checks import Problem, Severity
from vramguard.extract import extract
from vramguard.facts import Facts
from vramguard.schema import ConfigError
from vramguard.source import Document, Location, read

if TYPE_CHECKING:
    from collections.abc import Iterator

STANZA = """
[[rule]]
id = "VG190"
name = "own-rule"
check = "unpinned-requirement"
severity = "warning"
message = "{requirement} floats"
why = "because"
fix = "pin {name}"
"""


def load(text: str) -> list[policy.Rule]:
    return policy.load_rules([("own.toml", text.encode())])


ALSO = """
[[rule.also]]
check = "requirement-without-hash"
message = "{names} has no hash"
"""


def test_a_rule_may_have_further_checks_in_words_of_their_own() -> None:
    (rule,) = (rule for rule in load(STANZA + ALSO) if rule.id == "VG190")
    assert [part.message for part in rule.parts] == ["{requirement} floats", "{names} has no hash"]
    assert [part.fix for part in rule.parts] == ["pin {name}", "pin {name}"]
    assert type(rule.parts[0].check) is not type(rule.parts[1].check)


def test_each_part_of_a_rule_speaks_for_itself() -> None:
    (rule,) = (rule for rule in load(STANZA + ALSO + 'fix = "lock it"') if rule.id == "VG190")
    document = read("requirements.txt", b"torch>=2\nnumpy==1.26.4\n")
    assert isinstance(document, Document)
    found = [finding.message for finding in rule.judge(Facts(extract(document)))]
    assert any(message.endswith("floats") for message in found)
    assert any(message.endswith("has no hash") for message in found)
    assert len({finding.fingerprint for finding in rule.judge(Facts(extract(document)))}) == len(found)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"requirement-without-hash"', '"unhashed"', "own.toml:12:9: unknown kind of check `unhashed`"),
        ("[[rule.also]]", "[rule.also]", "further checks are `[[rule.also]]` tables"),
        ("has no hash", "{Has}", "`{Has}` is no {name}"),
        ('message = "{names} has', 'massage = "{names} has', "`message` is missing"),
    ],
)
def test_a_further_check_that_is_wrong_is_one_line(old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(STANZA + ALSO.replace(old, new))
    assert words in str(caught.value)


def test_a_parameter_goes_to_the_checks_that_have_it_and_a_strange_one_to_none() -> None:
    (rule,) = (rule for rule in load(STANZA + ALSO) if rule.id == "VG190")
    (chosen,) = policy.selected([rule], configured('select = ["VG190"]\n[rules.VG190]\nclasses = ["test"]\n'))
    assert all(getattr(part.check, "classes") == ("test",) for part in chosen.parts if hasattr(part.check, "classes"))  # noqa: B009
    with pytest.raises(ConfigError, match="unknown key `clases`; did you mean `classes`"):
        policy.selected([rule], configured('select = ["VG190"]\n[rules.VG190]\nclases = ["test"]\n'))


def test_an_organisations_rule_stands_among_ours() -> None:
    rules = {rule.id: rule for rule in load(STANZA)}
    assert list(rules) == sorted(rules)
    assert rules["VG190"].demand == 1
    assert rules["VG190"].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[[rule]]", "[[rule", "own.toml:2:"),
        ("[[rule]]", "[[rules]]", "own.toml:2:1: unknown key `rules`; did you mean `rule`?"),
        ("[[rule]]", "[rule]", "`[[rule]]` tables"),
        ('"VG190"', '"VG19"', "own.toml:3:6: `VG19` is no rule id"),
        ('"VG190"', '"VG101"', "rule VG101 again; ids are never reused"),
        ('"unpinned-requirement"', '"unpined-requirement"', "did you mean `unpinned-requirement`?"),
        ('"warning"', '"fatal"', "own.toml:6:12: `rule[0].severity` is to be one of note, warning, error"),
        ('why = "because"', "", "`why` is missing"),
        ('why = "because"', "why = 3", "own.toml:8:7: `rule[0].why` is to be text, not 3"),
        ('why = "because"', 'why = ""\nclass = []', "own.toml:9:1: unknown key `class`; did you mean `classes`?"),
        ('why = "because"', 'why = ""\nclasses = "test"', "`rule[0].classes` is to be a list"),
        ('why = "because"', 'why = ""\nclasses = ["tests"]', "one of serving"),
        ("{requirement}", "{Requirement}", "own.toml:7:11: `{Requirement}` is no {name} or {name:unit}"),
        ("{requirement}", "{requirement:gb}", "units: plain, count, gib, percent"),
    ],
)
def test_a_broken_policy_is_one_line(old: str, new: str, words: str) -> None:
    assert STANZA.count(old) == 1
    with pytest.raises(ConfigError) as caught:
        load(STANZA.replace(old, new))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_may_not_stand_twice_in_one_file() -> None:
    with pytest.raises(ConfigError, match=r"own\.toml:11:6: rule VG190 again"):
        load(STANZA + STANZA.lstrip("\n").replace("own-rule", "other"))


@pytest.mark.parametrize("check", ["vram-budget"])
def test_a_check_refuses_a_value_that_makes_no_sense(check: str) -> None:
    text = STANZA.replace("unpinned-requirement", check).replace("{requirement}", "x").replace("{name}", "x")
    for parameter in ("budget = 1.5", "budget = 0", "concurrency = 0", 'gpu = "h1000"'):
        with pytest.raises(ConfigError, match=parameter.split(" ", 1)[0] if "gpu" not in parameter else "unknown GPU"):
            load(f'{text}answers = ["EXCEEDS"]\n{parameter}\n')


@dataclass(frozen=True)
class Fixed:
    """A check that finds what it is given."""

    problems: tuple[Problem, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def find(self, facts: Facts) -> Iterator[Problem]:  # noqa: ARG002 - the protocol's signature
        yield from self.problems


def rule(*problems: Problem, message: str = "{word}") -> policy.Rule:
    words = ("VG900", "fixed", Fixed(problems), Severity.WARNING, message, "why", "fix", ())
    return policy.Rule(*words, at=Location("own.toml", 4))


def problem(line: int = 1, subject: str = "s", word: object = "w", severity: Severity | None = None) -> Problem:
    return Problem(Location("a.txt", line), {"word": word}, subject=subject, severity=severity)


def test_a_message_that_names_what_its_check_lacks_is_the_policys_fault() -> None:
    with pytest.raises(ConfigError, match=r"own\.toml:4:1: VG900 names \{wrod\}, but its check supplies word"):
        list(rule(problem(), message="{wrod}").judge(Facts([])))
    with pytest.raises(ConfigError, match=r"own\.toml:4:1: VG900 shows \{word\} as gib, but it is no number"):
        list(rule(problem(), message="{word:gib}").judge(Facts([])))


@pytest.mark.parametrize(
    ("message", "value", "said"),
    [
        ("{word}", "a {b} %s", "a {b} %s"),
        ("{word:count}", 131072, "131,072"),
        ("{word:gib}", 3 * 2**29, "1.50"),
        ("{word:percent}", Fraction(4, 5), "80 %"),
        ("{word:percent}", "0.80", "80 %"),
    ],
)
def test_words_show_values_in_their_units(message: str, value: object, said: str) -> None:
    (found,) = rule(problem(word=value), message=message).judge(Facts([]))
    assert found.message == said


def test_a_fingerprint_holds_where_lines_move_and_tells_equals_apart() -> None:
    first = [found.fingerprint for found in rule(problem(1), problem(2), problem(3, "t")).judge(Facts([]))]
    later = [found.fingerprint for found in rule(problem(11), problem(12), problem(13, "t")).judge(Facts([]))]
    assert first == later
    assert len(set(first)) == 3


def test_what_several_builds_say_of_one_line_is_said_once() -> None:
    assert len(list(rule(problem(), problem()).judge(Facts([])))) == 1


def test_a_check_may_weigh_a_case_less_than_its_rule_and_not_more() -> None:
    found = rule(problem(severity=Severity.NOTE), problem(severity=Severity.ERROR)).judge(Facts([]))
    assert [finding.severity for finding in found] == [Severity.NOTE, Severity.WARNING]


def configured(text: str) -> settings.Configuration:
    return settings.load({"vramguard.toml": text.encode()}.get)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('select = ["VG9"]', "vramguard.toml:1:1: no rule `VG9`"),
        ('ignore = ["VG29"]', "vramguard.toml:1:1: no rule `VG29`; did you mean `VG209`?"),
        ('severity = {VG1 = "note"}', "no rule `VG1`"),
        ("[rules.VG999]\nclasses = []", "no rule `VG999`"),
        ("[rules.VG101]\nclass = []", "vramguard.toml:2:1: unknown key `class`; did you mean `classes`?"),
        ("[rules.VG201]\nbudget = 2", "vramguard.toml:2:10: budget 2 is not above 0 and at most 1"),
        ('budget = 0.5\ngpu = "h1000"', "vramguard.toml:2:1: unknown GPU `h1000`; did you mean"),
        ('[[waiver]]\nrules = ["VG9"]\npaths = ["a"]\nreason = "r"', "no rule `VG9`"),
    ],
)
def test_a_configuration_that_no_rule_understands_is_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy.selected(policy.load_rules(), configured(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_select_ignore_severity_and_parameters_reach_the_rules() -> None:
    text = 'select = ["VG10", "VG201"]\nignore = ["VG105"]\nbudget = 0.5\n[severity]\nVG102 = "note"\n'
    rules = {
        item.id: item
        for item in policy.selected(policy.load_rules(), configured(f"{text}[rules.VG101]\nclasses = []\n"))
    }
    assert set(rules) == {"VG101", "VG102", "VG103", "VG104", "VG106", "VG107", "VG108", "VG109", "VG201"}
    assert rules["VG102"].severity is Severity.NOTE
    assert getattr(rules["VG101"].check, "classes") == ()  # noqa: B009 - a parameter of this check only
    assert getattr(rules["VG201"].check, "budget") == Fraction(1, 2)  # noqa: B009 - likewise
