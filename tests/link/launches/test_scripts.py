"""Which programs a launch starts."""

from __future__ import annotations

import pytest

from vramguard.facts import Facts, Hardware, Launch, Reference, Unknown, Word
from vramguard.link.launches.scripts import Program, programs
from vramguard.source import Location

AT = Location("serve.sh")
YAML = Location("pod.yaml", 9, 5, 9, 20)


def from_script(text: str, form: str = "workflow") -> list[Program]:
    launch = Launch(AT, form, "serve.sh", script=Word(text, AT, first=(1, 1)))
    return list(programs(launch, Facts([launch])))


def from_words(
    *words: str, entrypoint: bool = True, form: str = "kubernetes", **env: Word | Reference
) -> list[Program]:
    launch = Launch(AT, form, command=tuple(Word(word, YAML) for word in words), entrypoint=entrypoint, env=env)
    return list(programs(launch, Facts([launch])))


def shown(found: list[Program]) -> list[str]:
    return [" ".join(word.text if word.known else f"?{word.text}" for word in program.words) for program in found]


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve m --tp 2",
        "bash -lc 'vllm serve m --tp 2'",
        'sh -c "exec vllm serve m --tp 2"',
        "bash -euo pipefail -c 'vllm serve m --tp 2'",
        'eval "vllm serve m --tp 2"',
        "nohup vllm serve m --tp 2 > log 2>&1 &",
        "uv run --with x vllm serve m --tp 2",
        "uv run -m vllm serve m --tp 2",
        "uvx --from vllm vllm serve m --tp 2",
        "poetry run vllm serve m --tp 2",
        "conda run -n x --no-capture-output vllm serve m --tp 2",
        "python -m vllm serve m --tp 2",
        "/usr/bin/python3.12 -u -m vllm serve m --tp 2",
        "$PYTHON -m vllm serve m --tp 2",
        "$PREFIX vllm serve m --tp 2",
        "tmux new-session -d -s x 'vllm serve m --tp 2'",
        "tmux send-keys -t x 'vllm serve m --tp 2' C-m",
        "screen -dmS x vllm serve m --tp 2",
        "ssh -i key me@host 'vllm serve m --tp 2'",
        "ssh me@host vllm serve m --tp 2",
        "kubectl exec -it pod -c x -- vllm serve m --tp 2",
        "docker exec -e A=b -it box vllm serve m --tp 2",
        "mpirun --allow-run-as-root -np 2 --mca btl ^openib -x A=b vllm serve m --tp 2",
        "srun -N 2 --ntasks=2 --container-image x vllm serve m --tp 2",
        "ray job submit --address x -- vllm serve m --tp 2",
        "numactl -N 0 -m 0 vllm serve m --tp 2",
        "cat > run.sh <<'EOF'\nvllm serve m --tp 2\nEOF",
        "bash <<EOF\nvllm serve m --tp 2\nEOF",
        "ssh host bash -s <<'EOF'\nvllm serve m --tp 2\nEOF",
    ],
)  # fmt: skip
def test_what_starts_another_is_taken_off(text: str) -> None:
    assert shown(from_script(text)) == ["vllm serve m --tp 2"]


@pytest.mark.parametrize(
    "text",
    [
        "echo vllm serve m",
        "grep vllm serve log",
        "pip install vllm",
        "pkill -f 'vllm serve'",
        "curl http://vllm:8000",
        "cat <<EOF\nvllm serve m\nEOF",
        "python -c 'print(1)'",
        "docker pull vllm/vllm-openai",
        "vllm=1",
    ],
)
def test_what_starts_nothing(text: str) -> None:
    assert [program for program in from_script(text) if program.words[0].text == "vllm" or program.image] == []


def test_scripts_of_python() -> None:
    assert shown(from_script("python3 -u serve.py --x 1")) == ["serve.py --x 1"]
    assert shown(from_script("torchrun --nproc-per-node 2 --standalone serve.py --x 1")) == ["serve.py --x 1"]


def test_processes() -> None:
    for text in (
        "mpirun -n 4 trtllm-serve m",
        "torchrun --nproc_per_node=4 x.py",
        "srun -n4 vllm",
        "deepspeed --num_gpus 4 x.py",
    ):
        [program] = from_script(text)
        assert program.processes is not None
        assert program.processes.text == "4"


def test_docker_run() -> None:
    text = (
        "export TOKEN=t\nIMAGE=vllm/vllm-openai:v0.9.0\ndocker run -itd --rm --name box --gpus '\"device=0,1\"' \\\n"
        "  -p8000:8000 -v ~/.cache:/root -e TOKEN -e A=b --env=C=$D --ipc=host --shm-size 1g $EXTRA $IMAGE \\\n"
        "  --model m --tp 2"
    )
    [found] = from_script(text)
    assert shown([found]) == ["--model m --tp 2"]
    assert not found.entrypoint
    assert found.image is not None
    assert (found.image.text, found.image.known, found.image.at.line) == ("vllm/vllm-openai:v0.9.0", True, 2)
    assert {name: word.value for name, word in found.env.items()} == {"TOKEN": "t", "A": "b", "C": Unknown("$D")}
    assert (found.hardware.gpus, found.name, found.at.line) == (2, "box", 3)


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ("--gpus all", None),
        ("--gpus 2", 2),
        ("--gpus=2", 2),
        ("--gpus device=0,1,2", 3),
        ("--gpus '\"device=3\"'", 1),
        ("--gpus $N", Unknown("$N")),
        ("--device nvidia.com/gpu=0 --device nvidia.com/gpu=1", 2),
        ("--device nvidia.com/gpu=all", None),
        ("--runtime nvidia -e NVIDIA_VISIBLE_DEVICES=0,1", 2),
        ("-e CUDA_VISIBLE_DEVICES=0,1,2", 3),
    ],
)
def test_cards_of_docker_run(options: str, gpus: int | Unknown | None) -> None:
    [found] = from_script(f"podman run {options} vllm/vllm-openai --model m")
    assert found.hardware.gpus == gpus
    assert bool(found.hardware.places) == (options != "")


def test_entry_points_of_docker_run() -> None:
    [found] = from_script("docker run --entrypoint python3 sglang -m sglang.launch_server --model-path m")
    assert shown([found]) == ["sglang.launch_server --model-path m"]
    assert found.entrypoint
    [found] = from_script("docker run --entrypoint bash x -c 'vllm serve m'")
    assert shown([found]) == ["vllm serve m"]
    [found] = from_script("docker run lmsysorg/sglang:latest python3 -m sglang.launch_server")
    assert shown([found]) == ["sglang.launch_server"]
    assert found.entrypoint
    [found] = from_script("docker run -e MODEL_ID=m text-generation-inference")
    assert (found.words, found.entrypoint) == ((), False)


def test_other_accelerators() -> None:
    assert from_script("docker run --runtime=habana tgi-gaudi --model-id m")[0].hardware.accelerator == "gaudi"
    assert from_script("docker run --device=/dev/neuron0 tgi --model-id m")[0].hardware.accelerator == "neuron"


def test_visible_devices() -> None:
    [found] = from_script("CUDA_VISIBLE_DEVICES=0,1 vllm serve m")
    assert found.hardware == Hardware(gpus=2, places={"gpus": Location("serve.sh", 1, 22, 1, 25)})
    assert from_script("CUDA_VISIBLE_DEVICES=$X vllm serve m")[0].hardware.gpus is None


def test_slurm() -> None:
    assert from_script("srun --gres=gpu:h100:8 vllm serve m")[0].hardware.gpus == 8
    assert from_script("srun --gres gpu:h100:8 vllm serve m")[0].hardware.gpu == "h100"


def test_several_programs() -> None:
    text = "ray start --head && vllm serve a &\nif x; then vllm serve b; fi"
    assert shown(from_script(text))[1:] == ["vllm serve a", "x", "vllm serve b"]


def test_a_container_without_a_command_is_its_image() -> None:
    launch = Launch(AT, "kubernetes", image=Word("tgi", AT))
    [found] = programs(launch, Facts([launch]))
    assert (found.words, found.entrypoint, found.image) == ((), False, launch.image)


def test_arguments_alone() -> None:
    [found] = from_words("--model", "m", entrypoint=False)
    assert not found.entrypoint
    [found] = from_words("bash", "-c", "vllm serve m", entrypoint=False)
    assert (shown([found]), found.entrypoint) == (["vllm serve m"], True)


def test_variables_of_kubernetes() -> None:
    model = Word("m", Location("pod.yaml", 3))
    secret = Reference(AT, "Secret", "s", "k")
    [found] = from_words("vllm", "serve", "$(M)", "--x=$(S)", "$$(M)", "$(NO)", M=model, S=secret)
    assert shown([found]) == ["vllm serve m ?--x=$(S) $(M) ?$(NO)"]
    assert found.words[2].at.line == 3
    assert found.env["S"].value == Unknown("Secret s[k]")
    [found] = from_words("sh", "-c", "vllm serve $(M) --y $M --port $(cat port)", M=model)
    assert shown([found]) == ["vllm serve m --y m --port ?$(cat port)"]


def test_compose_leaves_parentheses_alone() -> None:
    [found] = from_words("vllm", "$(M)", form="compose", M=Word("m", AT))
    assert shown([found]) == ["vllm $(M)"]


def test_a_script_of_the_repository_is_read_where_a_container_starts_it() -> None:
    text = Word('vllm serve "$MODEL"', Location("a/start.sh"), first=(1, 1))
    script = Launch(Location("a/start.sh"), "shell", "start.sh", script=text)
    pod = Launch(
        YAML, "kubernetes", command=(Word("bash", YAML), Word("/app/start.sh", YAML)), env={"MODEL": Word("m", YAML)}
    )
    facts = Facts([script, pod])
    assert shown(list(programs(pod, facts))) == ["vllm serve m"]
    assert list(programs(script, facts)) == []
    assert shown(list(programs(script, Facts([script])))) == ["vllm serve ?$MODEL"]


def test_a_name_that_several_scripts_have_joins_none() -> None:
    both = [
        Launch(Location(path), "shell", "start.sh", script=Word("vllm serve m", Location(path), first=(1, 1)))
        for path in ("a/start.sh", "b/start.sh")
    ]
    pod = Launch(YAML, "kubernetes", command=(Word("/app/start.sh", YAML),))
    facts = Facts([*both, pod])
    assert shown(list(programs(pod, facts))) == ["/app/start.sh"]
    assert shown(list(programs(both[0], facts))) == ["vllm serve m"]


def test_what_an_outer_shell_leaves_open_is_not_known_inside() -> None:
    found = from_script("C=\"vllm serve '$M' --x '$(y)' --z 'a'\"\neval \"$C\"")
    assert shown(found)[-1] == "vllm serve ?$M --x ?$(y) --z a"


def test_a_call_that_is_made_twice_alike_is_one_program() -> None:
    assert shown(from_script("f() { vllm serve $1; }\nif x; then f a; else f a; f b; fi")) == [
        "x",
        "vllm serve a",
        "vllm serve b",
    ]


def test_scripts_that_start_themselves_end() -> None:
    assert shown(from_script('export X=\'eval "$X"; eval "$X"\'\neval "$X"\nvllm serve m')) == ["vllm serve m"]
