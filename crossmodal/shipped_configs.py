"""Configs that are installed with the package, available by name from any folder."""

from collections.abc import Iterator
from pathlib import Path

from crossmodal.errors import ConfigError
from crossmodal.naming import suggestion

_PACKAGE = Path(__file__).parent


def configs_folder() -> Path:
    """Return the folder of shipped configs, which is inside an installed package or beside it in a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def config_names(kind: str = "") -> list[str]:
    """Return the sorted names of shipped configs, such as ``studies/teaching``, or ``teaching`` of kind ``studies``."""
    folder = configs_folder() / kind
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def find_config(name: str, kind: str = "") -> Path:
    """Return the path of an existing file or a shipped config, see `config_names`; else raise ConfigError."""
    path = Path(name)
    if path.is_file():
        return path
    known = config_names(kind)
    # configs/cnn.yaml, a path in a checkout, also works from other folders.
    short = name.removeprefix("configs/").removeprefix(f"{kind}/").removesuffix(".yaml")
    if short in known:
        return configs_folder() / kind / f"{short}.yaml"
    raise ConfigError(
        f"Config {name!r} not found: it is neither a file in {Path.cwd()} nor a shipped config."
        f"{suggestion(short, known)} List the shipped configs with: crossmodal configs"
    )


def describe_configs() -> Iterator[tuple[str, str]]:
    """Yield the name of each shipped config and the first line of its leading comment."""
    for name in config_names():
        lines = (configs_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        comment = next((line.removeprefix("#").strip() for line in lines if line.startswith("#")), "")
        yield name, comment
