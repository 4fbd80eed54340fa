"""What a model takes from a file, and which files it refuses."""

import dataclasses
from collections import OrderedDict
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

from lvseg.cli import Command
from lvseg.errors import WeightsError
from lvseg.models import NetworkOptions, SegmentationModel, build_model
from lvseg.models.pretrained import load_pretrained, save_as_caffemodel
from lvseg.models.pretrained.caffemodel import CaffeModel, write_caffemodel
from lvseg.train.run import load_run

SMALL = NetworkOptions(width=0.125, fc_channels=16, input_channels=3, dropout=0.0)
GREY = dataclasses.replace(SMALL, normalisation="grey-116")
MEANS = dataclasses.replace(SMALL, normalisation="bgr-means")
IMAGENET = dataclasses.replace(SMALL, normalisation="imagenet")
ALEXNET = ("fcn-alexnet", dataclasses.replace(IMAGENET, trunk="torchvision"))
VGG16 = ("fcn-8s", IMAGENET)


def random_model(architecture: str, options: NetworkOptions) -> SegmentationModel:
    """Return a model of which no weight that is trained is zero."""
    torch.manual_seed(0)
    model = build_model(architecture, options).eval()
    for weight in model.network.parameters():
        if weight.requires_grad:
            weight.data += 0.05 * torch.randn_like(weight)
    return model


def like_torchvision(architecture: str) -> nn.Module:
    """Return a small AlexNet or VGG-16 made as torchvision makes them, but padded as FCNs are in the lab."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    if architecture == "fcn-alexnet":
        for inputs, outputs, kernel, stride, padding, pooled in (
            (3, 8, 11, 4, 100, True),
            (8, 24, 5, 1, 2, True),
            (24, 48, 3, 1, 1, False),
            (48, 32, 3, 1, 1, False),
            (32, 32, 3, 1, 1, True),
        ):
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
            layers += [nn.MaxPool2d(3, 2, ceil_mode=True)] if pooled else []
        fc = [nn.Dropout(), nn.Linear(32 * 6 * 6, 16), nn.ReLU()]
        fc += [nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)]
    else:
        inputs = 3
        for outputs, depth in ((8, 2), (16, 2), (32, 3), (64, 3), (64, 3)):
            for _ in range(depth):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1 if layers else 100), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        fc = [nn.Linear(64 * 7 * 7, 16), nn.ReLU(), nn.Dropout()]
        fc += [nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)]
    parts = {"features": nn.Sequential(*layers), "classifier": nn.Sequential(*fc)}
    return nn.Sequential(OrderedDict(parts)).eval()


SAVERS = {
    "zip": torch.save,
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors": save_file,
    "data parallel": lambda state, path: torch.save({f"module.{k}": v for k, v in state.items()}, path),
    "checkpoint": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
}


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
@pytest.mark.parametrize(("architecture", "options"), [ALEXNET, VGG16], ids=["alexnet", "vgg16"])
def test_torchvisions_layers_compute_what_they_did(architecture, options, save, tmp_path):
    theirs = like_torchvision(architecture)
    save(theirs.state_dict(), tmp_path / "weights")
    model = build_model(architecture, options).eval()
    pretrained = load_pretrained(model, tmp_path / "weights")
    seen = {}
    model.network.fc6.register_forward_pre_hook(lambda _layer, inputs: seen.update(pool5=inputs[0]))
    model.network.fc7.register_forward_hook(lambda _layer, _inputs, output: seen.update(fc7=output))
    planes = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        model.network(planes)
        pool5 = theirs.features(planes)
        torch.testing.assert_close(seen["pool5"], pool5, rtol=1e-4, atol=1e-5)
        kernel = model.network.fc6.kernel_size[0]
        for row, column in ((0, 0), (1, 2)):  # a place of the convolution is a fully connected layer
            corner = pool5[..., row : row + kernel, column : column + kernel]
            fc7 = theirs.classifier[:-1](corner.flatten(1))
            torch.testing.assert_close(seen["fc7"][..., row, column], fc7, rtol=1e-4, atol=1e-5)
    assert pretrained.kind == "torchvision"
    assert pretrained.unused == ("fc8",)


def test_what_was_taken_and_what_not_is_said_in_one_line(tmp_path):
    torch.save(like_torchvision("fcn-8s").state_dict(), tmp_path / "vgg16.pth")
    said = load_pretrained(build_model(*VGG16), tmp_path / "vgg16.pth").describe()
    assert said == (
        f"weights from {tmp_path}/vgg16.pth (torchvision): 15 layers taken (conv1_1 to fc7); started anew: "
        "score_fr (not in the file), score_pool4 (not in the file), score_pool3 (not in the file), upscore2 "
        "(not in the file), upscore_pool4 (not in the file), upscore8 (not in the file); not used: fc8"
    )


def caffe_blobs(model: SegmentationModel) -> dict[str, list[np.ndarray]]:
    weights = model.network.state_dict()
    return {
        name: [weights[f"{name}.{key}"].numpy() for key in ("weight", "bias") if f"{name}.{key}" in weights]
        for name in dict.fromkeys(key.rpartition(".")[0] for key in weights)
    }


def write_foreign(path: Path, blobs: dict[str, list[np.ndarray]]) -> Path:
    """Write a file of which nothing says that lvseg has written it."""
    write_caffemodel(path, CaffeModel("FCN", blobs))
    return path


def test_fully_connected_layers_of_the_older_caffe_become_convolutions(tmp_path):
    source = random_model("fcn-8s", MEANS)
    blobs = caffe_blobs(source)
    for name in ("fc6", "fc7"):
        weight, bias = blobs[name]
        blobs[name] = [weight.reshape(1, 1, len(weight), -1), bias.reshape(1, 1, 1, -1)]
    model = build_model("fcn-8s", MEANS)
    load_pretrained(model, write_foreign(tmp_path / "vgg.caffemodel", blobs))
    for name, weight in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name


@pytest.mark.parametrize("name", ["score_fr", "score_fr_21classes"])
def test_scores_of_other_classes_start_at_zero_and_are_named(name, tmp_path):
    blobs = caffe_blobs(random_model("fcn-alexnet", GREY))
    del blobs["score_fr"], blobs["upscore"]
    blobs[name] = [np.ones((21, 16, 1, 1), np.float32), np.ones(21, np.float32)]
    blobs[name.replace("score_fr", "upscore")] = [np.ones((21, 1, 63, 63), np.float32)]
    model = random_model("fcn-alexnet", GREY)
    bilinear = model.network.upscore.weight.clone()
    pretrained = load_pretrained(model, write_foreign(tmp_path / "voc.caffemodel", blobs))
    assert pretrained.started_anew == {
        "score_fr": "21 classes in the file, 2 here",
        "upscore": "21 classes in the file, 2 here",
    }
    assert not any(weight.any() for weight in model.network.score_fr.parameters())
    assert torch.equal(model.network.upscore.weight, bilinear)


def test_a_published_name_goes_before_one_with_an_ending(tmp_path):
    source = random_model("fcn-alexnet", GREY)
    blobs = caffe_blobs(source)
    blobs["score_fr_21classes"] = [np.ones((21, 16, 1, 1), np.float32), np.ones(21, np.float32)]
    model = build_model("fcn-alexnet", GREY)
    pretrained = load_pretrained(model, write_foreign(tmp_path / "both.caffemodel", blobs))
    assert pretrained.unused == ("score_fr_21classes",)
    assert torch.equal(model.network.score_fr.weight, source.network.score_fr.weight)


def test_one_plane_takes_the_weights_of_three_added_up(tmp_path):
    three = random_model("fcn-alexnet", GREY)
    save_as_caffemodel(three, tmp_path / "three.caffemodel")
    one = build_model("fcn-alexnet", dataclasses.replace(GREY, input_channels=1)).eval()
    assert load_pretrained(one, tmp_path / "three.caffemodel").folded == ("conv1",)
    pixels = torch.rand(1, 1, 64, 80, generator=torch.Generator().manual_seed(1)) * 900
    with torch.inference_mode():
        expected = three(pixels)
        torch.testing.assert_close(one(pixels), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("architecture", ["fcn-alexnet", "fcn-8s"])
def test_batch_normalisation_is_folded_into_a_caffemodel(architecture, tmp_path):
    source = random_model(architecture, dataclasses.replace(GREY, norm="batch"))
    for name, values in source.network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            values.uniform_(0.5, 1.5)
    save_as_caffemodel(source, tmp_path / "net.caffemodel")
    model = build_model(architecture, GREY).eval()
    load_pretrained(model, tmp_path / "net.caffemodel")
    pixels = torch.rand(1, 1, 64, 80, generator=torch.Generator().manual_seed(1)) * 900
    with torch.inference_mode():
        expected = source(pixels)
        torch.testing.assert_close(model(pixels), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def model_of(record) -> SegmentationModel:
    return build_model(record.model, record.network)


@pytest.mark.parametrize("what", ["", "checkpoints/best.ckpt", "checkpoints/last.ckpt"])
def test_a_run_or_its_checkpoint_gives_all_of_its_weights(trained_run, what):
    run = load_run(trained_run)
    model = model_of(run.record.options)
    pretrained = load_pretrained(model, trained_run / what)
    assert (pretrained.kind, dict(pretrained.started_anew), pretrained.unused) == ("lvseg", {}, ())
    if what != "checkpoints/last.ckpt":
        for name, weight in run.model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(model.state_dict()[name], weight), name


def test_a_run_is_held_to_the_normalisation_that_it_records(trained_run):
    options = load_run(trained_run).record.options
    changed = dataclasses.replace(options.network, normalisation="grey-116")
    with pytest.raises(WeightsError, match="these are weights for --normalisation z-score"):
        load_pretrained(build_model(options.model, changed), trained_run)


REFUSED = {
    "another network": (("fcn-alexnet", GREY), ("fcn-8s", GREY), "--model fcn-alexnet"),
    "the other way round": (("fcn-8s", GREY), ("fcn-alexnet", GREY), "--model fcn-8s"),
    "width": (("fcn-8s", GREY), ("fcn-8s", dataclasses.replace(GREY, width=0.25)), "--width 0.125"),
    "fully connected": (
        ("fcn-8s", GREY),
        ("fcn-8s", dataclasses.replace(GREY, fc_channels=32)),
        "--fc-channels 16",
    ),
    "batch normalisation": (
        ("fcn-8s", GREY),
        ("fcn-8s", dataclasses.replace(GREY, norm="batch")),
        "--norm none",
    ),
    "trunk": (
        ("fcn-alexnet", dataclasses.replace(GREY, trunk="torchvision")),
        ("fcn-alexnet", GREY),
        "--trunk torchvision",
    ),
    "too few planes": (
        ("fcn-8s", dataclasses.replace(GREY, input_channels=1)),
        ("fcn-8s", GREY),
        "--input-channels 1",
    ),
    "planes that do not fold": (
        ("fcn-8s", MEANS),
        ("fcn-8s", dataclasses.replace(GREY, input_channels=1)),
        "--input-channels 3 --normalisation bgr-means",
    ),
    "normalisation": (("fcn-8s", GREY), ("fcn-8s", SMALL), "--normalisation grey-116"),
    "all at once": (
        ("fcn-alexnet", dataclasses.replace(GREY, trunk="torchvision")),
        ("fcn-8s", dataclasses.replace(SMALL, width=0.5, fc_channels=8, norm="batch")),
        "--model fcn-alexnet --trunk torchvision --width 0.125 --fc-channels 16 --norm none --normalisation grey-116",
    ),
}


@pytest.mark.parametrize(("source", "target", "remedy"), REFUSED.values(), ids=REFUSED)
def test_weights_of_another_model_are_refused_with_the_options_that_fit(source, target, remedy, tmp_path):
    save_as_caffemodel(random_model(*source), tmp_path / "net.caffemodel")
    model = random_model(*target)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_pretrained(model, tmp_path / "net.caffemodel")
    assert str(caught.value).endswith(f"these are weights for {remedy}")
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in before.items())


def test_the_table_shows_layer_file_and_model(tmp_path):
    save_as_caffemodel(random_model("fcn-alexnet", GREY), tmp_path / "net.caffemodel")
    with pytest.raises(WeightsError) as caught:
        load_pretrained(
            build_model("fcn-alexnet", dataclasses.replace(GREY, fc_channels=8)), tmp_path / "net.caffemodel"
        )
    assert caught.value.table.splitlines() == [
        "layer            file             model",
        "fc6.weight       16 x 32 x 6 x 6  8 x 32 x 6 x 6",
        "fc6.bias         16               8",
        "fc7.weight       16 x 16 x 1 x 1  8 x 8 x 1 x 1",
        "fc7.bias         16               8",
        "score_fr.weight  2 x 16 x 1 x 1   2 x 8 x 1 x 1",
    ]


def test_the_table_shows_layers_that_only_the_file_has(tmp_path):
    save_as_caffemodel(random_model("fcn-alexnet", GREY), tmp_path / "net.caffemodel")
    with pytest.raises(WeightsError) as caught:
        load_pretrained(build_model("fcn-8s", GREY), tmp_path / "net.caffemodel")
    rows = [" ".join(line.split()) for line in caught.value.table.splitlines()]
    assert "conv1.weight 12 x 3 x 11 x 11 -" in rows
    assert "conv1_1.weight - 8 x 3 x 3 x 3" in rows


def test_the_table_leaves_out_what_batch_normalisation_counts(tmp_path):
    source = random_model("fcn-alexnet", dataclasses.replace(GREY, norm="batch"))
    torch.save(source.state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError) as caught:
        load_pretrained(build_model("fcn-8s", GREY), tmp_path / "net.pth")
    assert "conv4.norm.running_mean" in caught.value.table
    assert "num_batches_tracked" not in caught.value.table


@pytest.mark.parametrize("architecture", ["fcn-alexnet", "fcn-8s"])
def test_learned_upsampling_does_not_stay_in_a_model_whose_own_is_fixed(architecture, tmp_path):
    source = random_model(architecture, dataclasses.replace(GREY, upsampling="learned"))
    save_as_caffemodel(source, tmp_path / "net.caffemodel")
    model = build_model(architecture, GREY)
    bilinear = {
        name: weight.clone() for name, weight in model.network.named_parameters() if "upscore" in name
    }
    pretrained = load_pretrained(model, tmp_path / "net.caffemodel")
    assert dict(pretrained.started_anew) == {
        name.removesuffix(".weight"): "another kernel in the file, bilinear with --upsampling fixed"
        for name in bilinear
    }
    assert all(torch.equal(model.network.get_parameter(name), weight) for name, weight in bilinear.items())
    assert torch.equal(model.network.score_fr.weight, source.network.score_fr.weight)


def test_learned_upsampling_goes_on_in_a_model_that_trains_its_own(tmp_path):
    options = dataclasses.replace(GREY, upsampling="learned")
    source = random_model("fcn-8s", options)
    save_as_caffemodel(source, tmp_path / "net.caffemodel")
    model = build_model("fcn-8s", options)
    assert dict(load_pretrained(model, tmp_path / "net.caffemodel").started_anew) == {}
    assert torch.equal(model.network.upscore8.weight, source.network.upscore8.weight)


def test_a_command_prints_the_table_before_its_one_line():
    @click.command(cls=Command)
    def main() -> None:
        raise WeightsError(
            "the net differs", reason="OTHER_WEIGHTS", table="layer  file  model\nfc6    1     2"
        )

    result = CliRunner().invoke(main)
    assert result.exit_code == 2
    assert result.stderr == "layer  file  model\nfc6    1     2\nerror: the net differs\n"


@pytest.mark.parametrize(
    ("architecture", "normalisation", "fits"),
    [
        ("fcn-alexnet", "grey-116", True),
        ("fcn-alexnet", "bgr-means", True),
        ("fcn-alexnet", "raw-116", True),
        ("fcn-alexnet", "z-score", False),
        ("fcn-alexnet", "imagenet", False),
        ("fcn-8s", "bgr-means", True),
        ("fcn-8s", "grey-116", False),
    ],
)
def test_caffes_weights_want_caffes_input(architecture, normalisation, fits, tmp_path):
    options = dataclasses.replace(SMALL, normalisation=normalisation)
    path = write_foreign(tmp_path / "net.caffemodel", caffe_blobs(random_model(architecture, options)))
    model = build_model(architecture, options)
    if fits:
        assert load_pretrained(model, path).kind == "Caffe"
    else:
        usual = "grey-116" if architecture == "fcn-alexnet" else "bgr-means"
        with pytest.raises(WeightsError, match=f"these are weights for --normalisation {usual}$"):
            load_pretrained(model, path)


def test_torchvisions_weights_want_torchvisions_input(tmp_path):
    torch.save(like_torchvision("fcn-8s").state_dict(), tmp_path / "vgg16.pth")
    with pytest.raises(WeightsError, match=r"these are weights for --normalisation imagenet$"):
        load_pretrained(build_model("fcn-8s", MEANS), tmp_path / "vgg16.pth")


@pytest.mark.parametrize(("metadata", "known"), [({"normalisation": "grey-116"}, True), (None, False)])
def test_published_names_in_safetensors_are_taken(metadata, known, tmp_path):
    source = random_model("fcn-alexnet", GREY)
    save_file(source.network.state_dict(), tmp_path / "net.safetensors", metadata=metadata)
    model = build_model("fcn-alexnet", GREY)
    pretrained = load_pretrained(model, tmp_path / "net.safetensors")
    assert torch.equal(model.network.conv3.weight, source.network.conv3.weight)
    assert pretrained.normalisation_known == known
    assert ("does not say which normalisation" in pretrained.describe()) == (not known)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    state = random_model("fcn-8s", GREY).network.state_dict()
    state["conv4_2.weight"] = state["conv4_2.weight"].double()
    state["conv4_2.weight"][3, 1, 0, 2] = value
    torch.save(state, tmp_path / "net.pth")
    model = build_model("fcn-8s", GREY)
    with pytest.raises(WeightsError, match=r"conv4_2.weight holds values that are not finite"):
        load_pretrained(model, tmp_path / "net.pth")


class Trap:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1), "trap": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match="a pickle that holds more than weights, or a broken one"):
        load_pretrained(build_model("fcn-8s", GREY), tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def cut_off(path: Path, save) -> None:
    save({"conv1.weight": torch.zeros(500)}, path)
    path.write_bytes(path.read_bytes()[:-200])


BROKEN = {
    "a file that is not there": (lambda _path: None, "is not there; give a file of weights or a run folder"),
    "a folder without a run": (Path.mkdir, "is a folder without checkpoints/best.ckpt"),
    "an HDF5 caffemodel": (
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
        "snapshot_format: BINARYPROTO",
    ),
    "no tensors": (lambda path: torch.save({"epoch": 1}, path), "is no state dict"),
    "a tensor alone": (lambda path: torch.save(torch.zeros(3), path), "is no state dict"),
    "a broken zip": (lambda path: cut_off(path, torch.save), "get it again"),
    "a broken legacy file": (lambda path: cut_off(path, SAVERS["legacy"]), "get it again|a broken one"),
    "broken safetensors": (lambda path: cut_off(path, save_file), "is a broken safetensors file"),
    "another network": (
        lambda path: torch.save(
            {"features.0.weight": torch.zeros(3), "features.1.running_mean": torch.zeros(3)}, path
        ),
        "neither FCN-AlexNet, FCN-8s, AlexNet nor VGG-16",
    ),
    "a text": (lambda path: path.write_text('name: "net"'), r"is not a \.caffemodel, or a broken one"),
}


@pytest.mark.parametrize(("make_file", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_holds_no_weights_is_refused(make_file, message, tmp_path):
    path = tmp_path / "weights"
    make_file(path)
    with pytest.raises(WeightsError, match=message):
        load_pretrained(build_model("fcn-8s", GREY), path)
