"""From a model's weights to a file that Caffe and OpenCV read, and lvseg itself."""

from pathlib import Path

from torch import nn

from lvseg.models import ARCHITECTURES, SegmentationModel
from lvseg.models.folding import fold_batch_norm
from lvseg.models.pretrained.caffemodel import CaffeModel, write_caffemodel
from lvseg.models.pretrained.files import net_name


def save_as_caffemodel(model: SegmentationModel, path: Path) -> None:
    """Write a model's weights as a .caffemodel, its batch normalisation folded into the convolutions.

    The layers have the names of the published prototxts; the net's name tells the architecture and the
    normalisation, which :func:`lvseg.models.pretrained.load_pretrained` holds a model to.
    """
    network = fold_batch_norm(model).network
    architecture = next(name for name, kind in ARCHITECTURES.items() if isinstance(network, kind))
    layers = {
        name: layer
        for name, layer in network.named_children()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    }
    blobs = {
        name: [weight.detach().cpu().numpy() for weight in (layer.weight, layer.bias) if weight is not None]
        for name, layer in layers.items()
    }
    types = {
        name: "Deconvolution" if isinstance(layer, nn.ConvTranspose2d) else "Convolution"
        for name, layer in layers.items()
    }
    write_caffemodel(path, CaffeModel(net_name(architecture, network.options.normalisation), blobs, types))
