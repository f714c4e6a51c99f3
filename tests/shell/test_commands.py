"""What a script starts, with its variables filled in."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import within

from vramguard.facts import Word
from vramguard.shell import commands, heredocs
from vramguard.source import Location

AT = Location("serve.sh")


def script(text: str) -> Word:
    return Word(text, AT, first=(1, 1))


def outer(**values: str) -> dict[str, Word]:
    return {name: Word(value, Location("deploy.yaml", 7)) for name, value in values.items()}


def words(text: str, **variables: str) -> list[list[str]]:
    """The words of each command; one that is not known has a `?` before it."""
    return [
        [word.text if word.known else f"?{word.text}" for word in command.words]
        for command in commands(script(text), outer(**variables))
    ]


def last(text: str, **variables: str) -> str:
    return " ".join(words(text, **variables)[-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vllm serve $M", "vllm serve ?$M"),
        ("M=a/b\nvllm serve $M", "vllm serve a/b"),
        ("M=a\nvllm serve ${M}-it", "vllm serve a-it"),
        ("vllm serve ${M:-a} ${M-b} ${M:=c} $M", "vllm serve a b c c"),
        ("M=\nvllm serve ${M:-a} ${M-b} $M", "vllm serve a"),
        ("Q=fp8\nvllm ${Q:+--quantization $Q}", "vllm --quantization fp8"),
        ("vllm ${Q:+--quantization $Q}", "vllm ?${Q:+--quantization $Q}"),
        ("M=$1\nvllm serve ${M:-a}", "vllm serve a"),
        ("export M=a\nreadonly N=b\ndeclare -r O=c\nvllm $M $N $O", "vllm a b c"),
        ("A=(serve 'a b')\nA+=(--tp 2)\nvllm \"${A[@]}\" ${#A[@]} ${A[1]}", "vllm serve a b --tp 2 4 a b"),
        ("A='--tp 2'\nA+=' --len 5'\nvllm $A", "vllm --tp 2 --len 5"),
        ("A='--tp 2'\nvllm \"$A\" '$A'", "vllm --tp 2 $A"),
        ("vllm --tp $((4 * 2 + 1))", "vllm --tp 9"),
        ("G=4\nvllm --tp $((G * $N))", "vllm --tp ?$((G * $N))"),
        ("vllm --port $(cat port)", "vllm --port ?$(cat port)"),
        ("vllm serve \\\n  a \\\n  --tp 2", "vllm serve a --tp 2"),
        ("vllm $'a\\tb' \"c\\\"d\" e\\ f", 'vllm a\tb c"d e f'),
        ("nohup sudo -u me env A=1 timeout -k 5 10 nice -n 5 tini -- vllm serve a &", "vllm serve a"),
        ("vllm {{ .Values.model }} --tp ${{ inputs.tp }}", "vllm ?{{ .Values.model }} --tp ?${{ inputs.tp }}"),
        ('set -- a b\nvllm $1 "$@"', "vllm a a b"),
        ('A=()\nvllm "${A[@]}"', "vllm"),
        ("unset M\nvllm $M", "vllm ?$M"),
        ("read -r M\nvllm ${M:-a}", "vllm a"),
        ("A[0]=x\nvllm ${A[0]}", "vllm ?${A[0]}"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert last(text) == expected


def test_what_the_container_sets_goes_before_a_default() -> None:
    assert last("vllm serve ${M:-a}", M="b") == "vllm serve b"


def test_what_somebody_else_sets_has_no_default() -> None:
    secret = {"M": Word("Secret models", AT, known=False)}
    found = commands(script("vllm serve ${M:-a}"), secret)[0].words[-1]
    assert (found.text, found.known) == ("${M:-a}", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('if [ -z "$M" ]; then M=a; fi', "a"),
        ('[ -z "$M" ] && M=a', "a"),
        ('M=b\nif [ -z "$M" ]; then M=a; fi', "b"),
        ('if [ "$GPU" = h100 ]; then M=a; else M=b; fi', "?$M"),
        ('if [ "$GPU" = h100 ]; then M=a; else M=a; fi', "a"),
        ('K=x\nif [ "$K" = x ]; then M=a; else M=b; fi', "a"),
        ('K=x\nif [[ $K == y* ]]; then M=a; elif test -n "$K"; then M=b; fi', "b"),
        ("M=b\nif ready; then M=a; fi", "?$M"),
        ("if [ $# -gt 0 ]; then M=$1; else M=a; fi", "a"),
        ("M=b\nwhile [ $# -gt 0 ]; do case $1 in --model) M=$2; shift 2;; --big) M=c;; esac; done", "b"),
        ('M=b\nwhile getopts "m:" o; do case $o in m) M=$OPTARG;; esac; done', "b"),
        ('for a in "$@"; do case $a in --model=*) M="${a#*=}";; esac; done\nM=${M:-d}', "d"),
        ('K=x2\ncase "$K" in x*) M=a;; *) M=b;; esac', "a"),
        ('case "$GPU" in h100) M=a;; *) M=b;; esac', "?$M"),
        ("M=a\n(M=b)\ntrue | M=c", "a"),
        ("f() { local M=c; N=d; }\nM=a\nf", "a"),
        ("f() { M=$1; }\nf a", "a"),
        ("f() { M=$1; }\nf $K", "?$M"),
        ("M=0\nfor ((M=1; M<9; M*=2)); do", "?$M"),
    ],
)
def test_branches(text: str, expected: str) -> None:
    inside = text.endswith("do")
    assert last(f"{text}\nvllm $M" + ("\ndone" if inside else "")) == f"vllm {expected}"


def test_a_conditional_addition_leaves_what_is_certain() -> None:
    text = 'A=(serve a --tp 2)\nif [ -n "$Q" ]; then A+=(--quantization "$Q"); fi\nvllm "${A[@]}"'
    assert words(text)[-1] == ["vllm", "serve", "a", "--tp", "2", "?${A[@]}"]
    assert last('A=(--host "$H" --tp $T)\nvllm "${A[@]}"') == "vllm --host ?$H --tp ?$T"
    assert last('A="--tp 2"\n[ "$Q" = 1 ] && A="$A --x"\nvllm $A') == "vllm --tp 2 ?$A"


def test_every_branch_and_every_call_is_read() -> None:
    text = "if a; then vllm 1; else vllm 2; fi\nf() { vllm $1; }\nf 3; f 4\nfor i in 5 6; do vllm $i; done\n"
    text += "g() { vllm $1; }"
    found = [command[1] for command in words(text) if command[0] == "vllm"]
    assert found == ["1", "2", "3", "4", "5", "6", "?$1"]


def test_places() -> None:
    found = commands(script("LEN=4096 # how long\nvllm serve a \\\n  --max-model-len=$LEN --tp 2"))[0]
    assert found.at == Location("serve.sh", 2, 1, 2, 15)
    assert [word.at[1:3] for word in found.words] == [(2, 1), (2, 6), (2, 12), (1, 5), (3, 24), (3, 29)]


def test_places_count_characters_and_start_where_the_script_does() -> None:
    text = Word("echo 'é€😀' vllm", Location("c.yaml", 9), first=(10, 8))
    assert commands(text)[0].words[-1].at == Location("c.yaml", 10, 19, 10, 23)


def test_a_split_value_keeps_the_places_of_its_words() -> None:
    found = commands(script("A='--tp 2\n --len 5'\nvllm $A"))[0].words
    assert [word.at[1:3] for word in found] == [(3, 1), (1, 4), (1, 9), (2, 2), (2, 8)]


def test_environment() -> None:
    text = "export A=1\nB=2\nC=3 vllm\nA=9\nvllm"
    assert [{name: word.text for name, word in found.env.items()} for found in commands(script(text))] == [
        {"A": "1", "C": "3"},
        {"A": "9"},
    ]


def test_heredocs() -> None:
    text = "M=a\ncat <<EOF | kubectl apply -f -\nm: $M\nn: ${N:-b} $O\nEOF\n"
    text += "cat > run.sh <<'EOF'\nvllm $M\nEOF\ncat <<-X\n\tq\n\tX\n"
    found = heredocs(script(text))
    assert [word.text for word in found] == ["m: a\nn: b $O\n", "vllm $M\n", "q\n"]
    assert [word.known for word in found] == [False, True, True]
    assert [word.first for word in found] == [(3, 1), (7, 1), (10, 1)]
    ran = commands(script(text))
    assert [command.words[0].text for command in ran if command.stdin] == ["cat", "kubectl", "cat", "cat"]
    assert ran[2].into is not None
    assert ran[2].into.text == "run.sh"


WORDS = st.lists(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=12), max_size=6
)


@given(WORDS)
def test_what_shlex_quotes_comes_back(arguments: list[str]) -> None:
    assert words(shlex.join(["vllm", *arguments])) == [["vllm", *arguments]]


@given(WORDS)
def test_an_array_of_what_shlex_quotes_comes_back(arguments: list[str]) -> None:
    assert words(f'A=({shlex.join(arguments)})\nvllm "${{A[@]}}"') == [["vllm", *arguments]]


SIGNS = [
    *"ab$({[\"'`])};&|<> \n=-:+*#!\\/é",
    "if ",
    "; fi",
    "do ",
    "done",
    "then ",
    "case ",
    " in ",
    "esac",
    "<<EOF\n",
    "EOF\n",
]
SHELL = st.lists(st.sampled_from(SIGNS), max_size=60).map("".join)


@given(SHELL)
def test_anything_can_be_read(text: str) -> None:
    for found in commands(script(text)):
        assert found.words
        assert all(word.at.line <= text.count("\n") + 1 for word in found.words)


HOSTILE = {
    "parentheses": "(" * 50_000,
    "substitutions": "vllm " + "$(" * 50_000,
    "defaults": "vllm " + "${a:-" * 20_000,
    "arrays": "a=( " * 40_000,
    "mistakes": "\x01\x02)(" * 40_000,
    "chain": "true" + " && true" * 10_000,
    "doubling": "A=xxxxxxxx\n" + "A=$A$A\n" * 60 + "vllm $A",
    "doubling array": "A=(a b)\n" + 'A=("${A[@]}" "${A[@]}")\n' * 40,
    "calls": "\n".join(f"f{i}() {{ f{i + 1}; f{i + 1}; }}" for i in range(50)) + "\nf0",
    "itself": "f() { f; f; }\nf",
    "nested": "if a; then " * 10_000,
    "loops": "for i in a b c d; do " * 100 + "vllm $i" + "; done" * 100,
    "exports": "".join(f"export X{i}=1\nvllm\n" for i in range(2000)),
    "split": 'A="' + "a " * 20_000 + '"\n' + "vllm $A\n" * 300,
    "pattern": "X=" + "a" * 5000 + "\ncase $X in " + "*a" * 90 + "b) vllm;; esac",
    "line": "vllm " + "a" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_scripts_cost_little(name: str) -> None:
    with within(15):
        commands(script(HOSTILE[name]))


def test_a_place_to_fill_in_is_no_redirection() -> None:
    (command,) = commands(Word("serve --model <model-id> --port 80", Location("a.sh"), first=(1, 1)))
    assert [word.text for word in command.words] == ["serve", "--model"]
