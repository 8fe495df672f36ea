import subprocess

import pytest

from crossmodal.cli.completion import completion_script
from crossmodal.cli.main import main


@pytest.fixture(scope="module")
def script():
    return completion_script()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fi"], {"fit"}),
        (["data", ""], {"cache", "check", "download", "manifest", "prepare", "synthesize"}),
        (["fit", "--teaching.teacher"], {"--teaching.teacher", "--teaching.teacher_actors"}),
        (["fit", "--data.root", "ravdess", "--data.fol"], {"--data.fold"}),
        (["push", "runs/fit/model", "--dr"], {"--dry-run"}),
        (["data", "prepare", "--unknown"], set()),
    ],
    ids=lambda value: None if isinstance(value, set) else " ".join(value),  # the order of a set differs by process
)
def test_bash_completes_commands_and_options(script, words, expected):
    quoted = " ".join(f"'{word}'" for word in ["crossmodal", *words])
    run = f'{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _crossmodal; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


def test_the_command_prints_the_script(script, capsys):
    assert main(["--print_completion"]) == 0
    assert capsys.readouterr().out == script
