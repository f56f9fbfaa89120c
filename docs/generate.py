"""Write the parts of the repository that are made from others.

    python docs/generate.py [config] [configuration] [tables] [envs] [rulegraph]

config         config/config.yaml, every knob with its default, from the schema
configuration  docs/configuration.md, from the schemas
tables         docs/tables.md, from the declared tables
envs           envs/*.yaml, with the pins of envs/requirements*.txt
rulegraph      docs/rulegraph.svg, by Snakemake and Graphviz (dot)

Without a name, all but the rule graph and config.yaml, which users edit. A
test compares the files with what would be written.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))

from cytolapse.tables import column_reference  # noqa: E402
from planning.checks import read_schema  # noqa: E402

# Direct imports of the scripts that run in each environment, by name of package.
ENVIRONMENTS = {
    "tables": [
        "geff",
        "geff-spec",
        "imagecodecs",
        "jinja2",
        "liffile",
        "matplotlib",
        "nd2",
        "networkx",
        "numba",
        "numpy",
        "pandas",
        "pillow",
        "pyarrow",
        "pylibczirw",
        "scikit-image",
        "scipy",
        "tifffile",
        "tqdm",
        "trackpy",
        "zarr",
    ],
    "network": [
        "imagecodecs",
        "liffile",
        "matplotlib",
        "nd2",
        "numpy",
        "pandas",
        "pillow",
        "pyarrow",
        "pylibczirw",
        "safetensors",
        "scikit-image",
        "scipy",
        "tifffile",
        "torch",
        "torchvision",
        "tqdm",
        "zarr",
    ],
}

# Environments of the engines, whole: no rule runs in them, and their users may prefer conda.
ENGINES = ("cellpose", "stardist")

GENERATED = "Made by `make docs`; do not edit."


def config() -> str:
    """config/config.yaml: every knob commented, at its default."""
    lines = [
        "# Every knob of Cytolapse at its default. What is not written here has the",
        "# same default; an unknown key is refused before any job runs.",
        "# Edit it, or give a file of your own on top:",
        "#   snakemake --cores all --configfile my.yaml",
        "",
    ]
    for name, part in read_schema("config")["properties"].items():
        lines += _knob(name, part, 0)
    return "\n".join(lines).rstrip() + "\n"


def _knob(name: str, part: dict, depth: int) -> list[str]:
    pad = "  " * depth
    text = part["description"]
    allowed = _range(part)
    comment = f"{text} {allowed}" if allowed else text
    lines = [f"{pad}# {line}" for line in textwrap.wrap(comment, 96 - len(pad))]
    if "properties" in part:
        lines.append(f"{pad}{name}:")
        for inner, inner_part in part["properties"].items():
            lines += _knob(inner, inner_part, depth + 1)
        return [*lines, ""]
    lines.append(f"{pad}{name}: {_default(part)}")
    return lines if depth else [*lines, ""]


def _default(part: dict) -> str:
    return yaml.safe_dump(part["default"], default_flow_style=True).splitlines()[0]


def _range(part: dict) -> str:
    """The allowed values, in brackets."""
    words = [", ".join(map(str, part["enum"]))] if "enum" in part else []
    if "minimum" in part:
        words.append(f"at least {part['minimum']}")
    if "exclusiveMinimum" in part:
        words.append(f"more than {part['exclusiveMinimum']}")
    if "maximum" in part:
        words.append(f"at most {part['maximum']}")
    if "exclusiveMaximum" in part:
        words.append(f"less than {part['exclusiveMaximum']}")
    if "multipleOf" in part:
        words.append(f"a multiple of {part['multipleOf']}")
    return f"[{'; '.join(words)}]" if words else ""


def configuration() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        f"{GENERATED}",
        "",
        "A run is described by `config/config.yaml` and up to three sheets, text tables with tabs between the",
        "columns. All are checked before any job runs: an unknown key or column, a wrong type and a value out of",
        "range are refused, with the place and the remedy.",
        "",
    ]
    for sheet, purpose in (
        ("experiments", "One row an experiment."),
        ("movies", "Optional: one row a movie that there is something to say of. Columns of your own start with `x_`."),
        ("events", "Optional: treatments. Growth fits never span one, and each cell gets its time since."),
    ):
        schema = read_schema(sheet)
        lines += [f"## {sheet}.tsv", "", purpose, ""]
        lines += ["| column | needed | allowed | meaning |", "| --- | --- | --- | --- |"]
        for name, part in schema["properties"].items():
            needed = "yes" if name in schema["required"] else ""
            allowed = _range(part).strip("[]") or part.get("x-pattern", "")
            lines.append(f"| `{name}` | {needed} | {allowed} | {part['description']} |")
        lines.append("")
    lines += ["## config.yaml", "", *_rows("", read_schema("config")), ""]
    return "\n".join(lines).rstrip() + "\n"


def _rows(place: str, schema: dict) -> list[str]:
    lines = ["| key | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    blocks = []
    for name, part in schema["properties"].items():
        if "properties" in part:
            blocks.append((name, part))
            continue
        default = f"`{_default(part)}`" if "default" in part else ""
        lines.append(f"| `{name}` | {default} | {_range(part).strip('[]')} | {part['description']} |")
        inner = part.get("additionalProperties")
        if isinstance(inner, dict) and "properties" in inner:
            blocks.append((f"{name}.NAME", inner))
    lines = lines if len(lines) > 2 else []
    for name, part in blocks:
        path = f"{place}{name}"
        lines += ["", f"### {path}", "", part["description"], "", *_rows(f"{path}.", part)]
    return lines


def tables() -> str:
    """docs/tables.md."""
    head = (REPOSITORY / "docs/tables.head.md").read_text()
    return f"{head}\n{column_reference()}".rstrip() + "\n"


def pins(of: str = "") -> dict[str, str]:
    """Package -> version, from envs/requirements.txt, or from that of an engine."""
    text = (REPOSITORY / f"envs/requirements{of}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.MULTILINE))


def environment(name: str) -> str:
    """envs/NAME.yaml, for `snakemake --sdm conda`."""
    pinned = pins()
    return _conda(
        "For `snakemake --sdm conda`, with the pins of requirements.txt.",
        {package: pinned[package] for package in ENVIRONMENTS[name]},
    )


def engine_environment(name: str) -> str:
    """envs/NAME.yaml of an engine, for `conda env create`."""
    return _conda(
        f"For `conda env create -n {name} -f envs/{name}.yaml`, with the pins of requirements-{name}.txt.",
        pins(f"-{name}"),
    )


def _conda(purpose: str, pinned: dict[str, str]) -> str:
    packages = "\n".join(f"      - {package}=={version}" for package, version in pinned.items())
    return (
        f"# {purpose} {GENERATED}\n"
        "channels:\n  - conda-forge\n"
        "dependencies:\n  - python =3.11\n  - pip\n  - pip:\n"
        f"{packages}\n"
    )


def rulegraph() -> str:
    """docs/rulegraph.svg, of the demo."""
    command = ["snakemake", "--configfile", "demo/config.yaml", "--forceall", "--rulegraph"]
    graph = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return subprocess.run(["dot", "-Tsvg"], input=graph, capture_output=True, text=True, check=True).stdout


FILES = {
    "config": {"config/config.yaml": config},
    "configuration": {"docs/configuration.md": configuration},
    "tables": {"docs/tables.md": tables},
    "envs": {
        **{f"envs/{name}.yaml": (lambda name=name: environment(name)) for name in ENVIRONMENTS},
        **{f"envs/{name}.yaml": (lambda name=name: engine_environment(name)) for name in ENGINES},
    },
    "rulegraph": {"docs/rulegraph.svg": rulegraph},
}


def main() -> None:
    wanted = sys.argv[1:] or [name for name in FILES if name not in ("config", "rulegraph")]
    for name in wanted:
        for path, content in FILES[name].items():
            (REPOSITORY / path).write_text(content())


if __name__ == "__main__":
    main()
