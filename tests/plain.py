"""The networks of Radford 2016 written with torch.nn alone, with the weights of ours: what ours must equal."""

import torch
from torch import nn

from zerosum.networks import dcgan


@torch.no_grad()
def plain_generator(ours: dcgan.Generator, latent: int) -> nn.Sequential:
    """From z (N, latent, 1, 1). For the unconditional network with batch normalisation and kernels of 4."""
    weight = ours.from_z.weight
    top = weight.shape[0] // 16
    first = nn.ConvTranspose2d(latent, top, 4, 1, 0, bias=False)
    # rows of ours are (height, width, channel)
    first.weight.copy_(weight.reshape(4, 4, top, latent).permute(3, 2, 0, 1))
    layers: list[nn.Module] = [first]
    for norm, up in zip(ours.norms, [*ours.ups, ours.to_image], strict=True):
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(up, nn.ConvTranspose2d)
        copied = nn.BatchNorm2d(norm.num_features)
        copied.load_state_dict(norm.state_dict())
        bigger = nn.ConvTranspose2d(up.in_channels, up.out_channels, 4, 2, 1, bias=up.bias is not None)
        bigger.load_state_dict(up.state_dict())
        layers += [copied, nn.ReLU(), bigger]
    return nn.Sequential(*layers, nn.Tanh())


@torch.no_grad()
def plain_critic(ours: dcgan.Critic) -> nn.Sequential:
    """To raw scores (N, 1, 1, 1). For the unconditional network with kernels of 4."""
    first = nn.Conv2d(ours.from_image.in_channels, ours.from_image.out_channels, 4, 2, 1)
    first.load_state_dict(ours.from_image.state_dict())
    layers: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
    for norm, down in zip(ours.norms, ours.downs, strict=True):
        assert isinstance(down, nn.Conv2d)
        smaller = nn.Conv2d(down.in_channels, down.out_channels, 4, 2, 1, bias=down.bias is not None)
        smaller.load_state_dict(down.state_dict())
        layers.append(smaller)
        if isinstance(norm, nn.BatchNorm2d):
            copied = nn.BatchNorm2d(norm.num_features)
            copied.load_state_dict(norm.state_dict())
            layers.append(copied)
        layers.append(nn.LeakyReLU(0.2))
    score = ours.head.score
    channels = score.in_features // 16
    last = nn.Conv2d(channels, 1, 4, 1, 0)
    # columns of ours are (height, width, channel)
    last.weight.copy_(score.weight.reshape(1, 4, 4, channels).permute(0, 3, 1, 2))
    assert last.bias is not None
    last.bias.copy_(score.bias)
    return nn.Sequential(*layers, last)
