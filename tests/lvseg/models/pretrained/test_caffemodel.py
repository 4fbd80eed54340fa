"""The reader and the writer beside Google's protobuf runtime, which knows Caffe's messages by their numbers."""

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lvseg.errors import WeightsError
from lvseg.models.pretrained.caffemodel import CaffeModel, read_caffemodel, write_caffemodel

Field = descriptor_pb2.FieldDescriptorProto


def caffe_messages(*, packed: bool):
    """Return the classes of Caffe's messages, as far as they hold weights."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")

    def message(message_name: str, /, **fields: tuple[int, int | str, bool]) -> None:
        definition = file.message_type.add(name=message_name)
        for field_name, (number, kind, repeated) in fields.items():
            field = definition.field.add(name=field_name, number=number)
            field.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = Field.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = kind
            if repeated and kind in (Field.TYPE_FLOAT, Field.TYPE_DOUBLE, Field.TYPE_INT64):
                field.options.packed = packed

    whole, text, floating = Field.TYPE_INT64, Field.TYPE_STRING, Field.TYPE_FLOAT
    message("BlobShape", dim=(1, whole, True))
    message(
        "BlobProto",
        num=(1, whole, False),
        channels=(2, whole, False),
        height=(3, whole, False),
        width=(4, whole, False),
        data=(5, floating, True),
        diff=(6, floating, True),
        shape=(7, "BlobShape", False),
        double_data=(8, Field.TYPE_DOUBLE, True),
    )
    layer_name = {"name": (1, text, False), "type": (2, text, False), "loss_weight": (5, floating, True)}
    message("LayerParameter", **layer_name, blobs=(7, "BlobProto", True))
    message("V0LayerParameter", name=(1, text, False))
    message(
        "V1LayerParameter",
        layer=(1, "V0LayerParameter", False),
        name=(4, text, False),
        type=(5, Field.TYPE_INT32, False),
        blobs=(6, "BlobProto", True),
        blobs_lr=(7, floating, True),
    )
    message(
        "NetParameter",
        name=(1, text, False),
        layers=(2, "V1LayerParameter", True),
        layer=(100, "LayerParameter", True),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


WEIGHT = np.random.default_rng(0).standard_normal((6, 5, 3, 3)).astype(np.float32)
BIAS = np.random.default_rng(1).standard_normal(6).astype(np.float32)


def read(tmp_path, net) -> CaffeModel:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    return read_caffemodel(path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("number", ["data", "double_data"])
def test_a_layer_of_today_is_read(tmp_path, packed, number):
    net = caffe_messages(packed=packed)(name="net")
    net.layer.add(name="relu1", type="ReLU")
    layer = net.layer.add(name="conv1", type="Convolution", loss_weight=[1.0])
    for values in (WEIGHT, BIAS):
        blob = layer.blobs.add(diff=[1.0, 2.0])
        blob.shape.dim.extend(values.shape)
        getattr(blob, number).extend(values.ravel().tolist())
    model = read(tmp_path, net)
    assert (model.name, list(model.layers), model.types) == ("net", ["conv1"], {"conv1": "Convolution"})
    for found, expected in zip(model.layers["conv1"], (WEIGHT, BIAS), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("packed", [True, False])
def test_a_layer_of_the_older_generation_is_read(tmp_path, packed):
    net = caffe_messages(packed=packed)()
    layer = net.layers.add(name="fc6", type=14, blobs_lr=[1.0, 2.0])
    weight = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    layer.blobs.add(num=1, channels=1, height=3, width=4, data=weight.ravel())
    layer.blobs.add(num=1, channels=1, height=1, width=3, data=[7.0, 8.0, 9.0])
    found_weight, found_bias = read(tmp_path, net).layers["fc6"]
    np.testing.assert_array_equal(found_weight, weight)
    np.testing.assert_array_equal(found_bias, [[[[7, 8, 9]]]])


def test_more_numbers_than_are_looked_at_in_one_step_are_read(tmp_path):
    net = caffe_messages(packed=False)()
    values = np.arange(10_000, dtype=np.float32)
    blob = net.layer.add(name="fc7").blobs.add(data=values)
    blob.shape.dim.append(10_000)
    np.testing.assert_array_equal(read(tmp_path, net).layers["fc7"][0], values)


def test_numbers_in_several_packed_pieces_are_one_list(tmp_path):
    # A parser has to take a packed field that comes in pieces: 0x2a is field 5 in a length-delimited piece.
    halves = [b"\x2a\x08" + np.float32(pair).tobytes() for pair in ([1, 2], [3, 4])]
    blob = b"\x3a\x03\x0a\x01\x04" + b"".join(halves)
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob)]) + blob
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    np.testing.assert_array_equal(read_caffemodel(path).layers["a"][0], [1, 2, 3, 4])


def test_protobuf_reads_what_is_written(tmp_path):
    path = tmp_path / "net.caffemodel"
    layers = {"conv1": [WEIGHT, BIAS], "upscore": [WEIGHT[:, ::2]]}
    write_caffemodel(path, CaffeModel("a net", layers, {"conv1": "Convolution"}))
    net = caffe_messages(packed=True).FromString(path.read_bytes())
    assert (net.name, [layer.name for layer in net.layer]) == ("a net", ["conv1", "upscore"])
    assert net.layer[0].type == "Convolution"
    for layer in net.layer:
        for blob, expected in zip(layer.blobs, layers[layer.name], strict=True):
            assert tuple(blob.shape.dim) == expected.shape
            np.testing.assert_array_equal(np.array(blob.data, np.float32), expected.ravel())


def test_what_is_written_leaves_no_other_file(tmp_path):
    write_caffemodel(tmp_path / "net.caffemodel", CaffeModel("net", {"conv1": [BIAS]}))
    assert [path.name for path in tmp_path.iterdir()] == ["net.caffemodel"]


def test_what_cannot_be_written_leaves_the_file_of_before_and_no_other(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="could not convert"):
        write_caffemodel(path, CaffeModel("net", {"conv1": [WEIGHT], "conv2": [np.array(["no number"])]}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.caffemodel"]
    assert path.read_bytes() == b"before"


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "net.caffemodel"
    write_caffemodel(path, CaffeModel("net", {"conv1": [WEIGHT, BIAS], "conv2": [WEIGHT, BIAS]}))
    return path


def test_a_file_cut_off_anywhere_is_refused(written):
    whole = written.read_bytes()
    layers = []
    for size in [*range(1, 40), *range(40, len(whole), 97), len(whole) - 1]:
        written.write_bytes(whole[:size])
        try:
            layers.append(list(read_caffemodel(written).layers))
        except WeightsError as error:
            assert "is not a .caffemodel, or a broken one" in str(error)  # noqa: PT017
    # Only a cut between two layers leaves a file that could be one, as in any protobuf.
    assert all(names == ["conv1"] for names in layers)
    assert len(layers) <= 1


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.caffemodel"
    path.touch()
    with pytest.raises(WeightsError, match="it is empty"):
        read_caffemodel(path)


@pytest.mark.parametrize(
    "content", [b'name: "net"\nlayer {\n}\n', b"\x0a\x03net", b"\xff" * 64, b"\x00" * 64, b"\x0a\x02\xff\xfe"]
)
def test_what_is_no_net_with_weights_is_refused(tmp_path, content):
    path = tmp_path / "other.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"is not a \.caffemodel, or a broken one"):
        read_caffemodel(path)


def test_a_blob_whose_shape_is_not_its_size_is_refused(tmp_path):
    net = caffe_messages(packed=True)()
    net.layer.add(name="conv1").blobs.add(data=[1.0, 2.0, 3.0]).shape.dim.extend((2, 2))
    with pytest.raises(WeightsError, match="a blob of shape 2 x 2 needs 4 values and has 3"):
        read(tmp_path, net)


def test_a_dimension_beyond_caffes_largest_is_refused(tmp_path):
    net = caffe_messages(packed=True)()
    net.layer.add(name="conv1").blobs.add().shape.dim.extend((2**40, 0))
    with pytest.raises(WeightsError, match="a blob of shape 1099511627776 x 0"):
        read(tmp_path, net)


def test_flipped_bytes_are_refused_or_read_but_never_crash(written):
    whole = written.read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random.integers(60)] = random.integers(256)
        written.write_bytes(damaged)
        try:
            read_caffemodel(written)
            outcomes.add("read")
        except WeightsError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_two_layers_of_one_name_are_refused(tmp_path):
    net = caffe_messages(packed=True)()
    for _ in range(2):
        net.layer.add(name="conv1").blobs.add(data=[1.0]).shape.dim.append(1)
    with pytest.raises(WeightsError, match="two layers named conv1 have weights"):
        read(tmp_path, net)


def test_the_first_generation_is_refused_with_caffes_own_remedy(tmp_path):
    net = caffe_messages(packed=True)()
    net.layers.add().layer.name = "conv1"
    with pytest.raises(WeightsError, match="run upgrade_net_proto_binary"):
        read(tmp_path, net)
