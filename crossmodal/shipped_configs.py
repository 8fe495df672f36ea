"""Configs that are installed with the package, found by name from any folder."""

from collections.abc import Iterator
from pathlib import Path

from crossmodal.errors import ConfigError
from crossmodal.naming import suggestion

_PACKAGE = Path(__file__).parent


def configs_folder() -> Path:
    """Return the folder of shipped configs: inside an installed package, beside it in a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def config_names(kind: str = "") -> list[str]:
    """Return the names of shipped configs, sorted.

    Args:
        kind: A sub-folder whose configs are named without it, such as ``studies``; default: all, such as
            ``studies/teaching``.
    """
    folder = configs_folder() / kind
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def find_config(name: str, kind: str = "") -> Path:
    """Return the path of a config.

    Args:
        name: A path; or, where no such file exists, the name of a shipped config, such as ``ravdess_action_units``.
        kind: As for `config_names`.

    Raises:
        ConfigError: There is neither such a file nor such a shipped config.

    Example:
        >>> find_config("teaching", "studies").name
        'teaching.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    known = config_names(kind)
    # configs/cnn.yaml names a config of a checkout: it is found from other folders as well.
    short = name.removeprefix("configs/").removeprefix(f"{kind}/").removesuffix(".yaml")
    if short in known:
        return configs_folder() / kind / f"{short}.yaml"
    raise ConfigError(
        f"There is no config {name!r}: no such file in {Path.cwd()}, and no shipped config of that name."
        f"{suggestion(short, known)} crossmodal configs lists the shipped ones."
    )


def describe_configs() -> Iterator[tuple[str, str]]:
    """Yield each shipped config's name and the first sentence of the comment that it starts with."""
    for name in config_names():
        lines = (configs_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        comment = next((line.removeprefix("#").strip() for line in lines if line.startswith("#")), "")
        yield name, comment
