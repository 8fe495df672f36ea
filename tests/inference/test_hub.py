import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
from huggingface_hub import constants, file_download

from crossmodal import EmotionRecognizer
from crossmodal.cli.main import main
from crossmodal.errors import HubError, ModelFolderError
from crossmodal.inference.hub import FILES, fetch, push
from tests.inference.fake_hub import TOKEN, commit_id, fake_hub

NAME = "me/voice"


def go_to(endpoint: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(constants, "ENDPOINT", endpoint)
    for module in (constants, file_download):  # before 1.0 the second has a copy
        address = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", address, raising=False)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hub, an empty cache, and the token of somebody who may write."""
    with fake_hub() as hub:
        go_to(hub.endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        yield hub


@pytest.fixture
def copy(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "copy")


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_pushed_comes_back(hub, recognizer, model_folder, tiny_ravdess):
    address = recognizer.push_to_hub(NAME)
    assert address == f"{hub.endpoint}/{NAME}/commit/{commit_id(1)}"
    assert len(hub.repositories[NAME]) == 2  # one commit after the empty one: nobody fetches half a model
    assert NAME not in hub.private
    assert content(fetch(NAME)) == content(model_folder)
    wav = next(tiny_ravdess.rglob("*.wav"))
    fetched = EmotionRecognizer.from_pretrained(NAME)
    assert fetched(wav) == recognizer(wav)
    assert fetched.config == recognizer.config


def test_only_known_files_go_either_way(hub, copy):
    (copy / "notes.txt").write_text("not for others")
    (copy / "model.ckpt").write_bytes(b"a pickle")
    push(copy, NAME)
    assert hub.files(NAME).keys() == {"README.md", "config.json", "model.safetensors"} < {*FILES}
    hub.files(NAME).update({"modeling.py": b"raise SystemExit", "model.bin": b"a pickle", "sub/config.json": b"{}"})
    assert content(fetch(NAME)).keys() == {"README.md", "config.json", "model.safetensors"}
    assert not {"modeling.py", "model.bin", "sub/config.json"} & {*hub.fetched}


def test_a_file_of_the_model_before_does_not_stay(hub, copy):
    (copy / "model.onnx").write_bytes(b"of another model")
    push(copy, NAME)
    hub.files(NAME)["notes.txt"] = b"somebody's"
    (copy / "model.onnx").unlink()
    push(copy, NAME, message="The second")
    assert hub.files(NAME).keys() == {"README.md", "config.json", "model.safetensors", "notes.txt"}


def test_a_revision_stays_what_it_was(hub, copy):
    push(copy, NAME)
    old = (copy / "README.md").read_bytes()
    (copy / "README.md").write_text("another card")
    push(copy, NAME)
    assert content(fetch(NAME))["README.md"] == b"another card"
    assert content(fetch(NAME, revision=commit_id(1)))["README.md"] == old
    with pytest.raises(HubError, match=r"me/voice has no revision 'v9': name a branch, a tag or a commit"):
        fetch(NAME, revision="v9")


def test_the_command(hub, copy, capsys):
    assert main(["push", str(copy), NAME, "--private"]) == 0
    assert capsys.readouterr().out == f"{hub.endpoint}/{NAME}/commit/{commit_id(1)}\n"
    assert hub.private == {NAME}
    assert content(fetch(NAME)) == content(copy)


def test_a_model_of_the_hub_is_exported_beside_the_cache(hub, copy, tmp_path, capsys):
    push(copy, NAME)
    assert main(["export", NAME]) == 1
    assert "--out" in capsys.readouterr().err
    assert main(["export", NAME, "--out", str(tmp_path / "exported")]) == 0
    assert content(tmp_path / "exported").keys() == {"model.onnx", "config.json", "README.md"}
    assert content(fetch(NAME)) == content(copy)


def test_what_is_not_there_or_not_for_you_is_told(hub, copy, monkeypatch):
    with pytest.raises(HubError, match=r"There is no folder me/none, and on the Hub: There is no model 'me/none'"):
        EmotionRecognizer.from_pretrained("me/none")
    push(copy, NAME, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"no model 'me/voice' on the Hub.*log in with `hf auth login`"):
        fetch(NAME)
    hub.private.clear()
    hub.gated.add(NAME)
    with pytest.raises(HubError, match=r"me/voice is gated: accept its conditions .*`hf auth login`"):
        fetch(NAME)


@pytest.mark.parametrize("token", ["of_somebody_else", None])
def test_a_token_that_may_not_write_is_told(hub, copy, monkeypatch, token):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"refuses me/voice: .*401.*log in with `hf auth login`"):
        push(copy, NAME, token=token)
    assert hub.repositories == {}


@pytest.mark.parametrize("name", ["bad name/x", "a/b/c", "me/voice--", "me/.."])
def test_what_is_no_name_is_told(hub, copy, name):
    with pytest.raises(HubError, match=re.escape(f"{name!r} is not the name of a model on the Hub")):
        push(copy, name)
    assert hub.repositories == {}


def test_only_a_model_folder_is_pushed(hub, copy, tmp_path, recognizer):
    with pytest.raises(ModelFolderError, match="nowhere is not a model folder"):
        push(tmp_path / "nowhere", NAME)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"holds no model to push, neither model\.safetensors nor model\.onnx"):
        push(copy, NAME)
    of_no_folder = EmotionRecognizer(recognizer.model, recognizer.config, "torch")
    with pytest.raises(ModelFolderError, match="came from no model folder"):
        of_no_folder.push_to_hub(NAME)
    assert hub.repositories == {}


def test_a_repository_of_another_kind_is_told(hub):
    hub.repositories[NAME] = [{"README.md": b"a poem"}]
    with pytest.raises(HubError, match=r"me/voice on the Hub is no crossmodal model: it holds no config\.json"):
        fetch(NAME)
    hub.repositories[NAME].append({"config.json": json.dumps({"model_type": "bert"}).encode()})
    with pytest.raises(ModelFolderError, match="it is not the config of a crossmodal model"):
        EmotionRecognizer.from_pretrained(NAME)


def test_without_a_connection_the_cache_answers_and_errors_are_quick(hub, copy, monkeypatch):
    push(copy, NAME)
    fetched = fetch(NAME)
    with socket.socket() as nobody:  # bound, but it does not listen: a port that refuses
        nobody.bind(("127.0.0.1", 0))
        go_to(f"http://127.0.0.1:{nobody.getsockname()[1]}", monkeypatch)
        start = time.monotonic()
        assert fetch(NAME) == fetched
        with pytest.raises(HubError, match=r"cannot be reached at http://127.*The cache holds no me/other"):
            fetch("me/other")
        with pytest.raises(HubError, match=r"cannot be reached at http://127.* was not pushed"):
            push(copy, NAME)
        assert time.monotonic() - start < 2
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(NAME) == fetched


def test_the_hub_of_the_environment_without_torch(onnx_folder, tmp_path, tiny_ravdess):
    """As a program would: another process, an exported model, nothing of it on this machine before."""
    code = (
        "import sys\n"
        "from crossmodal import EmotionRecognizer\n"
        "print(EmotionRecognizer.from_pretrained('me/voice')(sys.argv[1]).label, 'torch' in sys.modules)"
    )
    wav = next(tiny_ravdess.rglob("*.wav"))
    with fake_hub() as hub:
        hub.repositories[NAME] = [content(onnx_folder)]
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-c", code, str(wav)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | environment
        )
    assert done.stdout.split() == [EmotionRecognizer.from_pretrained(onnx_folder)(wav).label, "False"]
