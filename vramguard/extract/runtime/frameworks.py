"""What each framework calls the packages that it installs: which call, which argument, in which grammar.

Read in KFP 2.17 (dsl/component_decorator.py), Airflow 3.1 (providers/standard/operators/python.py), Ray 2.49
(runtime_env/runtime_env.py), truss 0.11 (truss_chains/public_types.py, DockerImage), BentoML 1.4
(bentoml/_internal/bento/bento.py; images.py), Modal 1.2 (image.py), MLflow 3.6 (models/model.py), sagemaker 2.254
(modules/configs.py, SourceCode), ZenML 0.91 (config/docker_settings.py), Metaflow 2.19 (plugins/pypi), databricks-sdk
0.73 (service/compute.py, PythonPyPiLibrary), flytekit 1.16 (image_spec/image_spec.py).
"""

from __future__ import annotations

import ast
import posixpath
import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.extract.python.called import dotted
from vramguard.extract.python.literals import Contents, Items, Scalar, Table, Text, Value
from vramguard.extract.runtime.calls import Program, entries, options, under
from vramguard.extract.runtime.listed import Entry, Listed, conda, requirement
from vramguard.facts import Requirement, Unknown
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Fact

_MOST: Final = 300  # calls of one file


class Row(NamedTuple):
    """An argument that lists packages: of calls from these packages whose last name fits."""

    roots: tuple[str, ...]
    names: re.Pattern[str]
    form: str
    read: Callable[[Program, ast.Call, ast.expr, str], Iterator[Fact]]


def read(program: Program) -> Iterator[Fact]:
    """Everything that the calls of a file have installed; of the first so many, since no person writes more."""
    for found in islice(_asked(program), _MOST):
        yield from found


def _asked(program: Program) -> Iterator[Iterator[Fact]]:
    """What each call asks for that is a framework's, read once it is taken."""
    for call in program.calls:
        last = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if last in _METHODS:
            roots, reader = _METHODS[last]
            if program.uses(*roots) or dotted(call.func).startswith("dbutils."):
                yield reader(program, call, last)
        for keyword in call.keywords:
            for row in _KEYWORDS.get(keyword.arg or "", ()):
                if _is_of(program, call, row):
                    yield row.read(program, call, keyword.value, row.form)


def _is_of(program: Program, call: ast.Call, row: Row) -> bool:
    function = call.func
    if dotted(function).rpartition(".")[2] == "partial" and call.args:  # functools.partial(component, ...)
        function = call.args[0]
    if row.form == "ray" and row.names.pattern == "":  # methods of handles, whose class nobody can tell
        return program.uses(*row.roots) and not program.foreign(function, row.roots)
    origin = program.origin(function)
    first, _, rest = origin.partition(".")
    return (
        any(origin.startswith(f"{root}.") for root in row.roots)
        and row.names.fullmatch(rest.rpartition(".")[2] or first) is not None
    )


# Lists


def _packages(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """A list of requirements, or the name of a file of them, or their text."""
    found = program.listed(call, form)
    _fill(program, found, program.module.value(node), node)
    for keyword in call.keywords:
        option = _OPTIONS.get(keyword.arg or "")
        if option is not None:
            for entry in entries(program, program.module.value(keyword.value), keyword.value):
                found.option(option, entry.text if isinstance(entry.text, str) else entry.text.text)
    yield from found.facts()


_OPTIONS: Final = {
    "pip_index_urls": "index-url", "pip_trusted_hosts": "trusted-host", "index_urls": "index-url",
    "index_url": "index-url", "extra_index_url": "extra-index-url", "find_links": "find-links",
    "pip_index": "index-url", "pip_extra_index_url": "extra-index-url", "trusted_host": "trusted-host",
}  # fmt: skip


def _fill(program: Program, found: Listed, value: Value, node: ast.expr) -> None:
    for one in options(value):
        if isinstance(one, Text | Contents):
            _text(program, found, one, node)
            continue
        for entry in entries(program, one, node):
            found.add(entry)


def _text(program: Program, found: Listed, value: Text | Contents, node: ast.expr) -> None:
    """A text in a list's place: a file's name, or a file's text."""
    path = value.path if isinstance(value, Contents) else value
    entry = Entry(path.value if path.known else Unknown(path.value), program.at(value, node))
    if isinstance(value, Text) and ("\n" in path.value or "==" in path.value):
        found.add(entry)
    else:
        found.file(entry)


def _file(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """A file of requirements."""
    if isinstance(node, ast.Call) and dotted(node.func).endswith("make_abs_path_here") and node.args:  # of Truss
        node = node.args[0]
    found = program.listed(call, form)
    for one in options(program.module.value(node)):
        if isinstance(one, Text) and one.known:
            found.file(Entry(one.value, program.at(one, node)))
    yield from found.facts()


def _sagemaker(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """The requirements of a SourceCode, named from its `source_dir`."""
    folder = next((keyword.value for keyword in call.keywords if keyword.arg == "source_dir"), None)
    base = options(program.module.value(folder)) if folder is not None else []
    found = program.listed(call, form)
    inside = base[0].value if base and isinstance(base[0], Text) and base[0].known else None if folder else ""
    known = inside is not None and found.base is not None and not inside.endswith(".tar.gz")
    found.base = f"{found.base}/{inside}".strip("/") if known else None
    for one in options(program.module.value(node)):
        if isinstance(one, Text) and one.known:
            found.file(Entry(one.value, program.at(one, node)))
    yield from found.facts()


# Tables


def _pypi(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """Metaflow's `{"torch": "2.1"}`, where a bare version is that one; of conda, see `listed.conda`."""
    channel = dotted(call.func).rpartition(".")[2].partition("_")[0]
    found = program.listed(call, form, tool="conda" if channel == "conda" else "pip")
    for one in options(program.module.value(node)):
        for name, version in one.pairs if isinstance(one, Table) else ():
            if isinstance(name, Text) and name.known:
                found.requirements.append(_of_metaflow(program, name, version, node, conda_=channel == "conda"))
    yield from found.facts()


def _of_metaflow(program: Program, name: Text, version: Value, node: ast.expr, *, conda_: bool) -> Requirement:
    at = program.at(name, node)
    told = isinstance(version, Text) and version.known
    written = version.value.strip() if isinstance(version, Text) else str(getattr(version, "value", ""))
    if not told and not isinstance(version, Scalar):
        return Requirement(at, name.value, "", Unknown(written or name.value), hashed=False, form="metaflow",
                           reason="its version is made elsewhere")  # fmt: skip
    bare = re.match(r"[0-9]", written) is not None
    if conda_:
        found = conda(f"{name.value}{'==' if bare else ''}{written}", at, "metaflow")
        return replace(found, specifier=written, reason=found.reason.replace(f"=={written}", written))
    joint = " @ " if "://" in written else "==" if bare else ""
    return requirement(f"{name.value}{joint}{written}", at, "metaflow")


def _interpreter(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """`@conda(python="3.10")`: a package as others of conda's."""
    found = program.listed(call, form, tool="conda")
    at = next(Location(program.path, *program.source.span(word)) for word in call.keywords if word.value is node)
    for one in options(program.module.value(node)):
        if isinstance(one, Text) and one.known and one.value:
            said = _of_metaflow(program, Text("python", one.node), one, node, conda_=True)
            found.requirements.append(replace(said, at=at))
    yield from found.facts()


def _runtime(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """An environment of Ray's, or the options of an actor that hold one."""
    for one in options(program.module.value(node)):
        held = under(one, "runtime_env") or one
        for key in ("pip", "uv", "conda"):
            value = under(held, key)
            if value is not None:
                yield from _environment(program, call, key, value, node, form)


def _part(key: str) -> Callable[[Program, ast.Call, ast.expr, str], Iterator[Fact]]:
    """One part of an environment, as an argument of its own: `RuntimeEnv(pip=[...])`."""

    def reader(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
        yield from _environment(program, call, key, program.module.value(node), node, form)

    return reader


def _environment(program: Program, call: ast.Call, key: str, value: Value, node: ast.expr, form: str) -> Iterator[Fact]:
    found = program.listed(call, form, tool=key)
    for one in options(value):
        if key == "conda":
            yield from _conda(program, found, under(one, "dependencies"), node)
            continue
        packages = under(one, "packages") if isinstance(one, Table) else one
        if packages is not None:
            _fill(program, found, packages, node)
        more = under(one, f"{key}_install_options") or under(one, f"{key}_pip_install_options")
        for entry in entries(program, more, node) if more is not None else ():
            name, _, text = str(entry.text).lstrip("-").partition("=")
            found.option(name, text)
    yield from found.facts()


def _conda(program: Program, found: Listed, value: Value | None, node: ast.expr) -> Iterator[Fact]:
    """The dependencies of an environment of conda's: texts, and a table for pip."""
    inner = replace(found, tool="pip", requirements=[], includes=[], files=[], options=[])
    for one in options(value) if value is not None else ():
        for item in one.items if isinstance(one, Items) else ():
            pip = under(item, "pip")
            if pip is not None:
                _fill(program, inner, pip, node)
            elif not isinstance(item, Table):
                for entry in entries(program, item, node):
                    found.add(entry)
    yield from inner.facts()


def _conda_env(program: Program, call: ast.Call, node: ast.expr, form: str) -> Iterator[Fact]:
    """MLflow's `conda_env`, a table; a file of that name is read by itself."""
    found = program.listed(call, form, tool="conda")
    for one in options(program.module.value(node)):
        yield from _conda(program, found, under(one, "dependencies"), node)
    yield from found.facts()


# Methods


def _image(program: Program, call: ast.Call, method: str) -> Iterator[Fact]:
    """A method of an image that installs what it is given, one by one or in lists."""
    form, tool = _IMAGES[method]
    found = program.listed(call, form, tool=tool)
    for argument in call.args:
        node = argument.value if isinstance(argument, ast.Starred) else argument
        for entry in entries(program, program.module.value(node), node):
            found.add(_private(entry) if method == "pip_install_private_repos" else entry)
    for keyword in call.keywords:
        value = program.module.value(keyword.value)
        name = (keyword.arg or "").replace("_", "-")
        if name in ("requirements", "packages"):
            for entry in entries(program, value, keyword.value):
                (found.file if name == "requirements" else found.add)(entry)
        elif name in ("pre", "gpu") or name in _OPTIONS.values():
            if isinstance(value, Text):
                found.option(name, value.value)
            elif isinstance(value, Scalar) and value.value is True:
                found.option(name)
    yield from found.facts()


_IMAGES: Final = {
    "pip_install": ("modal", "pip"), "uv_pip_install": ("modal", "uv"), "micromamba_install": ("modal", "conda"),
    "pip_install_private_repos": ("modal", "pip"), "python_packages": ("bentoml", "pip"),
    "with_pip_packages": ("python", "uv"),
}  # fmt: skip


def _private(entry: Entry) -> Entry:
    """`github.com/owner/name@ref`, as Modal has pip fetch it."""
    return entry if isinstance(entry.text, Unknown) else Entry(f"git+https://{entry.text}", entry.at)


def _image_file(program: Program, call: ast.Call, method: str) -> Iterator[Fact]:
    """A method of an image that takes a requirements file."""
    form = "bentoml" if method == "requirements_file" else "modal"
    for argument in call.args[:1] or [keyword.value for keyword in call.keywords if keyword.arg == "requirements_txt"]:
        yield from _file(program, call, argument, form)


def _project(program: Program, call: ast.Call, method: str) -> Iterator[Fact]:  # noqa: ARG001 - as the others
    """Modal's `pip_install_from_pyproject("pyproject.toml")`: what a project asks for, resolved when it is built."""
    found = program.listed(call, "modal")
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "pyproject_toml")]
    for one in options(program.module.value(given[0])) if given else ():
        if isinstance(one, Text) and one.known:
            found.local.append(posixpath.dirname(one.value) or ".")
    yield from found.facts()


def _notebook(program: Program, call: ast.Call, method: str) -> Iterator[Fact]:  # noqa: ARG001 - as the others
    """`dbutils.library.installPyPI("torch", version="2.1.0")` of Databricks."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    name = call.args[0] if call.args else given.get("pypiPackage")
    version = call.args[1] if len(call.args) > 1 else given.get("version")
    found = program.listed(call, "databricks")
    for entry in entries(program, program.module.value(name), name) if name is not None else ():
        texts = [one.text for one in entries(program, program.module.value(version), version)] if version else []
        if isinstance(entry.text, str):
            after = texts[0] if texts else ""
            found.add(Entry(Unknown(after.text), entry.at) if isinstance(after, Unknown) else
                      Entry(f"{entry.text}=={after}" if after else entry.text, entry.at))  # fmt: skip
    yield from found.facts()


_METHODS: Final[dict[str, tuple[tuple[str, ...], Callable[[Program, ast.Call, str], Iterator[Fact]]]]] = {
    **dict.fromkeys(("pip_install", "uv_pip_install", "micromamba_install", "pip_install_private_repos"),
                    (("modal",), _image)),
    "pip_install_from_requirements": (("modal",), _image_file),
    "pip_install_from_pyproject": (("modal",), _project),
    "python_packages": (("bentoml",), _image),
    "requirements_file": (("bentoml",), _image_file),
    "with_pip_packages": (("flyte",), _image),
    "installPyPI": ((), _notebook),
}  # fmt: skip
_COMPONENTS: Final = re.compile(r"component|notebook_component|create_component_from_\w+|func_to_\w+")
_HANDLES: Final = re.compile("")  # methods of whatever a framework has made
_LOGS: Final = re.compile(r"(?:log|save)_model|log_model_\w+|PythonModel|DatabricksModel|update_model_requirements")
_KEYWORDS: Final[dict[str, tuple[Row, ...]]] = {
    "packages_to_install": (Row(("kfp",), _COMPONENTS, "kfp", _packages),),
    "requirements": (
        Row(("airflow",), re.compile(r"\w*[vV]irtualenv(?:Operator)?"), "airflow", _packages),
        Row(("zenml",), re.compile("DockerSettings"), "zenml", _packages),
        Row(("sagemaker",), re.compile("SourceCode"), "sagemaker", _sagemaker),
        Row(("flytekit", "union"), re.compile("ImageSpec"), "python", _file),
        Row(("google.cloud.aiplatform",), re.compile(r"\w*(?:Job|from_local_script)"), "python", _packages),
    ),
    "packages": (
        Row(("metaflow",), re.compile(r"(?:pypi|conda)(?:_base)?"), "metaflow", _pypi),
        Row(("flytekit", "union"), re.compile("ImageSpec"), "python", _packages),
    ),
    "python": (Row(("metaflow",), re.compile(r"conda(?:_base)?"), "metaflow", _interpreter),),
    "libraries": (Row(("metaflow",), re.compile(r"conda(?:_base)?"), "metaflow", _pypi),),
    "runtime_env": (Row(("ray", "anyscale"), _HANDLES, "ray", _runtime),),
    "worker_runtime_env": (Row(("ray",), _HANDLES, "ray", _runtime),),
    "ray_actor_options": (Row(("ray",), _HANDLES, "ray", _runtime),),
    **{key: (Row(("ray",), re.compile("RuntimeEnv"), "ray", _part(key)),) for key in ("pip", "uv", "conda")},
    "pip_requirements": (
        Row(("truss_chains", "truss"), re.compile("DockerImage"), "truss", _packages),
        Row(("mlflow",), _LOGS, "mlflow", _packages),
    ),
    "pip_requirements_file": (Row(("truss_chains", "truss"), re.compile("DockerImage"), "truss", _file),),
    "extra_pip_requirements": (Row(("mlflow",), _LOGS, "mlflow", _packages),),
    "conda_env": (Row(("mlflow",), _LOGS, "mlflow", _conda_env),),
    "package": (Row(("databricks",), re.compile("PythonPyPiLibrary"), "databricks", _packages),),
}
