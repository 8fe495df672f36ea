import json
import re
import socket
import time

import pytest
from huggingface_hub import constants

from crossmodal import EmotionRecognizer, push_to_hub
from crossmodal.cli.main import main
from crossmodal.errors import HubError, ModelFolderError
from crossmodal.inference.hub import FILES, fetch, push
from tests.inference.fake_hub import TOKEN, commit_id, connected_hub, go_to

NAME = "me/voice"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return an empty Hub, with an empty cache and a token with write access."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with connected_hub(tmp_path, monkeypatch) as hub:
        yield hub


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_uploaded_model_can_be_downloaded(hub, recognizer, model_folder, tiny_ravdess):
    address = recognizer.push_to_hub(NAME)
    assert address == f"{hub.endpoint}/{NAME}/commit/{commit_id(1)}"
    assert len(hub.repositories[NAME]) == 2  # the empty commit and one with all files
    assert NAME not in hub.private
    assert content(fetch(NAME)) == content(model_folder)
    wav = next(tiny_ravdess.rglob("*.wav"))
    fetched = EmotionRecognizer.from_pretrained(NAME)
    assert fetched(wav) == recognizer(wav)
    assert fetched.config == recognizer.config


def test_only_known_files_are_transferred(hub, copy):
    (copy / "notes.txt").write_text("private")
    (copy / "model.ckpt").write_bytes(b"a pickle")
    push(copy, NAME)
    assert hub.files(NAME).keys() == {"README.md", "config.json", "model.safetensors"} < {*FILES}
    hub.files(NAME).update({"modeling.py": b"raise SystemExit", "model.bin": b"a pickle", "sub/config.json": b"{}"})
    assert content(fetch(NAME)).keys() == {"README.md", "config.json", "model.safetensors"}
    assert not {"modeling.py", "model.bin", "sub/config.json"} & {*hub.fetched}


def test_files_of_an_older_model_are_deleted_and_its_revision_can_be_downloaded(hub, copy):
    (copy / "model.onnx").write_bytes(b"of another model")
    push(copy, NAME)
    old = content(copy)
    hub.files(NAME)["notes.txt"] = b"notes"
    (copy / "model.onnx").unlink()
    push(copy, NAME)
    assert hub.files(NAME).keys() == {"README.md", "config.json", "model.safetensors", "notes.txt"}
    assert content(fetch(NAME)) == content(copy)
    assert content(fetch(NAME, revision=commit_id(1))) == old
    with pytest.raises(HubError, match=r"me/voice.*v9"):
        fetch(NAME, revision="v9")


def test_the_command_and_an_export_of_a_model_on_the_hub(hub, copy, tmp_path, capsys):
    assert main(["push", str(copy), NAME, "--private"]) == 0
    assert capsys.readouterr().out == f"{hub.endpoint}/{NAME}/commit/{commit_id(1)}\n"
    assert hub.private == {NAME}
    assert main(["export", NAME]) == 1  # it would be written into the cache
    assert "--out" in capsys.readouterr().err
    assert main(["export", NAME, "--out", str(tmp_path / "exported")]) == 0
    assert content(tmp_path / "exported").keys() == {"model.onnx", "config.json", "README.md"}
    assert content(fetch(NAME)) == content(copy)


def test_missing_private_gated_and_foreign_models(hub, copy, monkeypatch):
    with pytest.raises(HubError, match="me/none"):
        EmotionRecognizer.from_pretrained("me/none")
    hub.repositories["me/poem"] = [{"README.md": b"a poem"}]
    with pytest.raises(HubError, match=r"me/poem.*config\.json"):
        fetch("me/poem")
    hub.repositories["me/poem"].append({"config.json": json.dumps({"model_type": "bert"}).encode()})
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        EmotionRecognizer.from_pretrained("me/poem")
    push(copy, NAME, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"me/voice.*hf auth login"):
        fetch(NAME)
    hub.private.clear()
    hub.gated.add(NAME)
    with pytest.raises(HubError, match=r"me/voice is gated.*hf auth login"):
        fetch(NAME)


def test_a_dry_run_uploads_nothing(hub, copy, capsys, monkeypatch):
    go_to("http://127.0.0.1:9", monkeypatch)  # needs no connection
    assert main(["push", str(copy), NAME, "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert all(path.name in listed for path in copy.iterdir())
    assert hub.repositories == {}
    assert main(["push", str(copy), "not/a/name", "--dry-run"]) == 1
    (copy / "model.safetensors").unlink()
    assert main(["push", str(copy), NAME, "--dry-run"]) == 1
    assert "no model" in capsys.readouterr().err


def test_a_model_of_ones_own_loop_is_uploaded(hub, model, recognizer):
    labels = list(recognizer.labels)
    push_to_hub(model, NAME, labels=labels, actors_seen=["01"], private=True)
    assert NAME in hub.private
    downloaded = EmotionRecognizer.from_pretrained(NAME)
    assert (downloaded.labels, downloaded.config["actors_seen"]) == (tuple(labels), ["01"])


@pytest.mark.parametrize("token", ["hf_of_another_user", None])
def test_a_token_without_write_access(hub, copy, monkeypatch, token):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"me/voice.*401.*hf auth login"):
        push(copy, NAME, token=token)
    assert hub.repositories == {}


@pytest.mark.parametrize("name", ["bad name/x", "a/b/c", "me/voice--", "me/.."])
def test_an_invalid_name(hub, copy, name):
    with pytest.raises(HubError, match=re.escape(repr(name))):
        push(copy, name)
    assert hub.repositories == {}


def test_only_a_model_folder_is_pushed(hub, copy, tmp_path, recognizer):
    with pytest.raises(ModelFolderError, match="nowhere"):
        push(tmp_path / "nowhere", NAME)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"model\.safetensors nor model\.onnx"):
        push(copy, NAME)
    without_folder = EmotionRecognizer(recognizer.model, recognizer.config, "torch")
    with pytest.raises(ModelFolderError, match="folder"):
        without_folder.push_to_hub(NAME)
    assert hub.repositories == {}


def test_without_a_connection_the_cache_is_used_and_errors_are_fast(hub, copy, monkeypatch):
    push(copy, NAME)
    fetched = fetch(NAME)
    with socket.socket() as closed:  # bound but not listening: it refuses connections
        closed.bind(("127.0.0.1", 0))
        go_to(f"http://127.0.0.1:{closed.getsockname()[1]}", monkeypatch)
        start = time.monotonic()
        assert fetch(NAME) == fetched
        with pytest.raises(HubError, match=r"http://127.*me/other"):
            fetch("me/other")
        with pytest.raises(HubError, match=r"http://127"):
            push(copy, NAME)
        assert time.monotonic() - start < 2
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(NAME) == fetched
