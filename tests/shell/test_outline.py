"""What of a script could start something, told without interpreting it."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.shell import effective, written


@pytest.mark.parametrize(
    "script",
    [
        "# vllm serve m",
        "x=1  # vllm serve m",
        "echo vllm serve m",
        "printf '%s' \"vllm $X\"",
        "kubectl apply -f - <<EOF\nvllm serve m\nEOF",
        "cat <<EOF | kubectl apply -f -\nvllm serve $MODEL\nEOF",
        "cat <<'EOF'\nvllm serve $(m)\nEOF",
        "f() {\n  cat <<'EOF' > a.yaml\nvllm serve m\nEOF\n}",
    ],
)
def test_what_starts_nothing_is_left_out(script: str) -> None:
    assert "vllm" not in effective(f"a\n{script}\nb\n")


@pytest.mark.parametrize(
    "script",
    [
        "vllm serve m",
        "X='vllm serve m'",
        "log vllm serve m",
        "echo $(vllm serve m)",
        "echo `vllm serve m`",
        "echo ${X:=vllm}",
        "bash <<EOF\nvllm serve m\nEOF",
        "cat <<EOF | bash\nvllm serve m\nEOF",
        "cat <<EOF | ssh host\nvllm serve m\nEOF",
        "cat > run.sh <<EOF\nvllm serve m\nEOF",
        "tee $FILE <<EOF\nvllm serve m\nEOF",
        "$SHELL <<EOF\nvllm serve m\nEOF",
        "kubectl exec -i p -- bash <<EOF\nvllm serve m\nEOF",
        "cat <<EOF\n$(vllm serve m)\nEOF",
        "cat() { bash; }\ncat <<EOF\nvllm serve m\nEOF",
        "echo() { $1; }\necho vllm",
    ],
)
def test_what_may_start_something_stays(script: str) -> None:
    assert "vllm" in effective(f"a\n{script}\nb\n")


def test_the_rest_of_a_script_stays_as_it_is() -> None:
    assert effective("a=1 # b\nc é\necho d\ne").split() == ["a=1", "c", "é", "e"]


def test_here_documents_as_written() -> None:
    assert list(written("cat <<A\n$X\nA\ncat <<B\ny\nB\n")) == ["y\n", "$X\n"]
    assert list(written("")) == []


@pytest.mark.parametrize("text", ["echo $(" * 20_000 + ")" * 20_000, "echo ${a" * 20_000, "cat <<A\n" * 20_000])
def test_a_hostile_script_is_told_quickly(text: str) -> None:
    with within(5):
        effective(text)
