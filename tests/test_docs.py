"""README and docs say what the code does: commands, keys, configs, links, examples."""

import importlib.util
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from crossmodal.cli.main import COMMANDS
from crossmodal.cli.study import narrowed
from crossmodal.pipeline.settings import build_parser, parse_settings
from crossmodal.studies.run_study import plan_study

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
RUN = "python -m pip install -c requirements/lock.txt -e . && python -m crossmodal fit"
REGENERATE = "run: python docs/generate_reference.py"
TEST = "python -m pip install -c requirements/lock.txt -e '.[test]' && python -m pytest"

_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
_KEY = re.compile(r"(?<![\w-])--([a-z][\w.]*)")


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fit_keys():
    return {option.lstrip("-") for action in build_parser()._actions for option in action.option_strings}


def name(path):
    return str(path.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_modules(page, folder):
    """Write the Python examples that begin with the name of a file."""
    for block in blocks(page, "python"):
        if match := re.match(r"# (\w+\.py)\n", block):
            (folder / match[1]).write_text(block, encoding="utf-8")


@contextmanager
def page_modules(page, folder):
    """Write the modules of a page to a folder, which is the current one inside the block, and forget them after it."""
    write_modules(page, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def command_lines(page):
    """The lines of a page's shell examples that run crossmodal, split into words."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part.partition(">")[0], comments=True)
                if words[:3] == ["python", "-m", "crossmodal"]:
                    words = words[2:]
                if words[:1] == ["crossmodal"]:
                    yield words[1:]


def slugs(page):
    """The anchors of a page's headings, as the site makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def test_readme_opens_with_the_two_commands():
    assert ["fit"] in list(command_lines(README))
    assert sum(len(list(command_lines(page))) for page in PAGES) > 15
    first, second = blocks(README, "bash")[:2]
    assert (first.strip(), second.strip()) == (RUN, TEST)
    assert RUN in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_on_the_commands_page_is_current(generator, command):
    shown = generator.helps_on_page(generator.COMMANDS_PAGE.read_text(encoding="utf-8"))
    # Python's versions break the lines of a usage differently.
    assert shown.get(command, "").split() == generator.help_text(command).split(), REGENERATE


def test_configuration_page_is_current(generator):
    assert generator.CONFIGURATION_PAGE.read_text(encoding="utf-8") == generator.configuration_page(), REGENERATE


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_every_config_is_named_in_the_docs(config):
    texts = [page.read_text(encoding="utf-8") for page in DOCS]
    mentions = (name(config), f"--config {config.stem}\n", f"--config {config.stem} ", f"study run {config.stem} ")
    assert any(mention in text for text in texts for mention in mentions)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_key_exists(page, fit_keys, generator):
    helped = set(_KEY.findall("".join(generator.help_text(command) for command in COMMANDS)))
    helped |= {"help", "version", "print_completion"}
    foreign = ("ruff ", "python -m mkdocs ", "python -m tests.benchmarks", "wandb ", "torchrun ", "srun ", "#SBATCH ")
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if not line.startswith(foreign)]
    mentioned = {key.partition(".init_args.")[0].rstrip(".") for line in lines for key in _KEY.findall(line)}
    assert mentioned <= fit_keys | helped


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_example_is_accepted(page, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(tmp_path)
    write_modules(page, tmp_path)
    for block in blocks(page, "python"):
        compile(block, name(page), "exec")
    for words in command_lines(page):
        command = next(one for one in COMMANDS if words[: len(one.split())] == one.split())
        args = words[len(command.split()) :]
        if command in ("fit", "study preflight"):
            parse_settings(args)
        elif command == "study run":
            options = COMMANDS[command].parse(command, args)
            assert plan_study(options.file, options.keys, options.out, **narrowed(options))[2]
        elif not COMMANDS[command].usage:
            COMMANDS[command].parse(command, args)


def test_yaml_example_is_accepted(tmp_path):
    (example,) = blocks(ROOT / "docs" / "reference" / "configuration.md", "yaml")
    (tmp_path / "example.yaml").write_text(example, encoding="utf-8")
    assert parse_settings(["--config", str(tmp_path / "example.yaml")])["data"]["fold"] == 1


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=name)
def test_links_and_images_resolve(page):
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in slugs(path), f"{target} has no heading #{anchor}"


def test_the_navigation_holds_every_page():
    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)]

    nav = re.search(r"^nav:\n(?:[ -].*\n)+", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(pages(yaml.safe_load(nav[0])["nav"])) == sorted(str(p.relative_to(ROOT / "docs")) for p in DOCS)


def test_contributing_names_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:crossmodal|docs|tests|configs)/[\w/.]+\.\w+)`", text))
    assert paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="the site is built with the extra `dev`")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
