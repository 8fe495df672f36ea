import pytest

from tests.install import __main__ as install
from tests.install.__main__ import direct_dependencies, parse_args


def test_environments_and_python_are_chosen(tmp_path):
    assert parse_args([]).names == ["lock", "newest", "lowest"]
    options = parse_args(["lowest", "--python", "3.10", "--keep", str(tmp_path)])
    assert (options.names, options.python, options.keep) == (["lowest"], "3.10", tmp_path)


def test_an_unknown_environment_or_a_folder_with_other_files_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    for args, words in ((["oldest"], ("oldest", "lowest")), (["--keep", str(tmp_path)], ("not empty",))):
        with pytest.raises(SystemExit) as caught:
            parse_args(args)
        message = capsys.readouterr().err
        assert caught.value.code == 2 and all(word in message for word in words)


def test_the_dependencies_are_those_without_an_extra_and_of_the_chosen_one():
    requirements = [
        "torch<2.16,>=2.14.1",
        "huggingface_hub>=0.36",
        "jsonargparse[signatures]>=4.49",
        "decord>=0.6; platform_machine == 'x86_64'",
        "onnx>=1.21; extra == 'export'",
        "fastapi>=0.118; extra == 'serve'",
    ]
    names = direct_dependencies(requirements, "export")
    assert names == ["decord", "huggingface-hub", "jsonargparse", "onnx", "torch"]


def test_the_status_is_1_if_one_environment_fails(tmp_path, monkeypatch):
    def fail_lowest(outcome, *args):
        outcome.failed = "fit" if outcome.name == "lowest" else None

    def build_wheel(command, folder):
        (folder / "crossmodal-0.1.0-py3-none-any.whl").touch()

    monkeypatch.setattr(install, "find_uv", lambda: "uv")
    monkeypatch.setattr(install, "run", build_wheel)
    monkeypatch.setattr(install, "read_requirements", lambda wheel: [])
    monkeypatch.setattr(install, "try_environment", fail_lowest)
    assert install.main(["newest", "--keep", str(tmp_path / "one")]) == 0
    assert install.main(["newest", "lowest", "--keep", str(tmp_path / "two")]) == 1
