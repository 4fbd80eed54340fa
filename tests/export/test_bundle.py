import hashlib
import json
import shutil
from pathlib import Path

import pytest

from lvseg.errors import BundleError
from lvseg_export.bundle import MANIFEST, load_bundle


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def change(folder: Path, **values: object) -> None:
    """Write other values into a manifest, with a digest that fits them."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["manifest_sha256"]
    document = {**manifest, **values}
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({**document, "manifest_sha256": digest}))


def test_a_bundle_holds_what_a_server_needs(bundle):
    assert {path.name for path in bundle.iterdir()} == {
        "manifest.json",
        "model.onnx",
        "reference.npz",
        "parity.json",
        "README.md",
    }


def test_the_manifest_lists_the_digest_of_every_other_file(bundle):
    assert set(load_bundle(bundle).manifest.sha256) == {
        "model.onnx",
        "reference.npz",
        "parity.json",
        "README.md",
    }


def test_the_manifest_names_no_path_of_the_machine_that_trained(bundle, phantom):
    assert str(phantom.parent.parent) not in (bundle / MANIFEST).read_text()


@pytest.mark.parametrize("file", ["model.onnx", "reference.npz", "parity.json", "README.md"])
def test_a_changed_byte_is_refused_by_name(copy, file):
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BundleError, match=f"{file} has changed since export") as caught:
        load_bundle(copy)
    assert (caught.value.reason, caught.value.field) == ("CHANGED_FILE", file)


@pytest.mark.parametrize(
    ("found", "instead"), [('"channels": 1', '"channels": 3'), ("left ventricle", "right ventricle")]
)
def test_a_change_of_the_manifest_itself_is_refused(copy, found, instead):
    text = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(text.replace(found, instead))
    assert (copy / MANIFEST).read_text() != text
    with pytest.raises(BundleError, match=r"manifest\.json has changed since export"):
        load_bundle(copy)


def test_a_missing_file_is_refused_by_name(copy):
    (copy / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing; copy the whole bundle or export again"):
        load_bundle(copy)


def test_a_folder_without_a_manifest_is_not_a_bundle(tmp_path):
    with pytest.raises(
        BundleError, match=r"is not a bundle \(it holds no manifest.json\); write one with lvseg-export"
    ):
        load_bundle(tmp_path)


def test_another_schema_version_is_refused(copy):
    change(copy, schema_version=99)
    with pytest.raises(BundleError, match="schema version 99, this lvseg reads version 2"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sha256": {"../model.onnx": "0"}}, "names a file outside the bundle"),
        ({"sha256": {}}, r"gives no SHA-256 of reference\.npz"),
        ({"engines": []}, "lists no engine file"),
        ({"model": {}}, "does not have the fields of schema version 2"),
        ({"input": {"channels": 1, "working_spacing_mm": 0.0}}, "has input.working_spacing_mm 0.0"),
        ({"input": {"channels": 1, "working_spacing_mm": "1"}}, "has input.working_spacing_mm '1'"),
        ({"input": {"channels": 3, "working_spacing_mm": 1.4}}, "has input.channels 3, expected 1"),
        ({"surprise": 1}, "does not have the fields of schema version 2"),
    ],
)
def test_a_malformed_manifest_is_refused(copy, values, message):
    change(copy, **values)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_a_manifest_that_is_no_object_is_refused(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(copy)
