"""The house rules that a machine can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cytolapse
from planning.checks import read_schema, with_defaults
from planning.digests import _reached

REPOSITORY = Path(__file__).parents[2]
LIBRARY = REPOSITORY / "workflow/cytolapse"
SCRIPTS = sorted((REPOSITORY / "workflow/scripts").glob("*.py"))
BIN = Path(sys.executable).parent

sys.path.insert(0, str(REPOSITORY / "docs"))
from generate import ENVIRONMENTS, FILES, pins  # noqa: E402

# What a module is called where that is not the name of its package.
PACKAGES = {
    "geff_spec": "geff-spec",
    "PIL": "pillow",
    "pylibCZIrw": "pylibczirw",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "workflow/rules"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_linters_have_nothing_to_say(command):
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_of_snakemake_has_nothing_to_say(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no movie, and nobody looks")
    (tmp_path / "experiments.tsv").write_text(
        "experiment\tmovies\tmodel\tsegment_channel\tchannels\nnight1\t*.tif\tdemo\tphase\tphase\n"
    )
    config = {
        "experiments": "experiments.tsv",
        "models": {"demo": {"weights": str(REPOSITORY / "resources/models/demo")}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [BIN / "snakemake", "--lint", "-s", REPOSITORY / "Snakefile", "--configfile", "config.yaml"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (path, content)
        for name, files in FILES.items()
        if name not in ("config", "rulegraph")
        for path, content in files.items()
    ],
)
def test_what_is_generated_is_what_would_be_generated_now(path, content):
    assert (REPOSITORY / path).read_text() == content(), "run `make docs`"


def test_the_shipped_config_names_every_knob_and_no_other():
    def keys(block: dict, place: str = "") -> set[str]:
        inner = (keys(value, f"{place}{key}.") for key, value in block.items() if isinstance(value, dict) and value)
        return {place + key for key in block}.union(*inner)

    shipped = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    for free in ("models", "overrides"):
        shipped[free] = {}

    assert keys(shipped) == keys(with_defaults(read_schema("config"), {}))


def test_a_library_module_imports_only_those_named_before_it():
    order = re.findall(r"\b[a-z_]+\b", cytolapse.__doc__.split(":")[-1])
    modules = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"}
    assert set(order) == modules
    for module in modules:
        for imported in imports(LIBRARY / f"{module}.py")["cytolapse"]:
            assert order.index(imported) < order.index(module), f"{module} imports {imported}"


def imports(path: Path) -> dict[str, set[str]]:
    """Imported packages, and of the library the modules."""
    found: dict[str, set[str]] = {"cytolapse": set()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
            if node.module == "cytolapse":
                names = [f"cytolapse.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            found.setdefault(package, set())
            if package == "cytolapse" and rest and (LIBRARY / f"{rest}.py").exists():
                found[package].add(rest)
    return found


def environment_of(script: str) -> str:
    """The environment that the rule of a script names."""
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    (block,) = re.findall(rf"\nrule {script}:.*?(?=\nrule |\Z)", rules, flags=re.DOTALL)
    return re.search(r"envs/(\w+)\.yaml", block)[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_environment_names_every_package_that_its_scripts_import(script):
    environment = environment_of(script.stem)
    imported = set().union(*(imports(path) for path in _reached(script)))
    packages = {PACKAGES.get(name, name) for name in imported - set(sys.stdlib_module_names) - {"cytolapse"}}

    assert packages <= set(ENVIRONMENTS[environment])


@pytest.mark.parametrize("engine", sorted((REPOSITORY / "workflow/engines").glob("*.py")), ids=lambda path: path.stem)
def test_an_engine_imports_what_its_environment_has(engine):
    own = {"cellpose_engine": {"cellpose", "torch"}, "stardist_engine": {"stardist", "tensorflow"}}[engine.stem]
    imported = imports(engine)

    assert imported.pop("cytolapse") == {"exchange"}
    assert set(imported) - set(sys.stdlib_module_names) == own | {"numpy"}
    exchange = imports(LIBRARY / "exchange.py")
    assert set(exchange) - set(sys.stdlib_module_names) == {"numpy", "cytolapse"}
    assert not exchange["cytolapse"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_environments_have_the_pins_of_the_requirements(environment):
    written = yaml.safe_load((REPOSITORY / f"envs/{environment}.yaml").read_text())
    (listed,) = (part["pip"] for part in written["dependencies"] if isinstance(part, dict))

    assert all(line.split("==")[1] == pins()[line.split("==")[0]] for line in listed)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_script_is_that_of_a_rule_of_its_name(script):
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))

    assert f"\nrule {script.stem}:" in rules
    assert f'"../scripts/{script.name}"' in rules


def test_the_library_knows_neither_snakemake_nor_the_terminal():
    for path in LIBRARY.glob("*.py"):
        text = path.read_text()
        assert "snakemake" not in imports(path), path
        assert not re.search(r"^\s*print\(", text, flags=re.MULTILINE), path


def test_nothing_that_is_read_from_a_file_can_be_executed():
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    builtins = {"eval", "exec", "compile", "__import__"}
    of_modules = {f"yaml.{name}" for name in ("load", "load_all", "full_load", "unsafe_load")}
    of_modules |= {"torch.load", "torch.jit.load", "os.system", "os.popen"}
    for path in (REPOSITORY / "workflow").rglob("*.py"):
        assert not modules & set(imports(path)), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in builtins | of_modules, f"{path}: {called}"
                assert not {"allow_pickle", "shell"} & {keyword.arg for keyword in node.keywords}, f"{path}: {called}"


def test_the_changelog_and_the_citation_name_the_version():
    assert f"## {cytolapse.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == cytolapse.__version__


def test_the_links_of_the_readme_lead_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", (REPOSITORY / "README.md").read_text()):
        assert (REPOSITORY / link).exists(), link


def test_slurm_gpu_is_found_by_its_name():
    assert (REPOSITORY / "slurm-gpu/profile.yaml").samefile(REPOSITORY / "profiles/slurm-gpu/profile.yaml")
