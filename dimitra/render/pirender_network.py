"""PIRender's network (Ren et al. 2021): a descriptor bends the photo, then redraws it.

Three nets, trained as one: *mapping* makes one descriptor of a window of frames, *warping* finds a
flow that moves the photo, *editing* draws the picture from the photo and the moved photo. Sizes,
layer order and names are those of the public configuration ``config/face.yaml``, so that
``net_G_ema`` of the published checkpoint loads; ``warpping_net`` is spelled as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dimitra.morphable.deng_coefficients import DESCRIPTOR_SIZE, WINDOW
from dimitra.render.pirender_layers import (
    SLOPE,
    Descriptor,
    EditBlock,
    EditResidual,
    Image,
    LayerNorm2d,
    WarpDecoderBlock,
    WarpEncoderBlock,
)

WARP_DOWN, WARP_UP = 5, 3
"""Blocks of the warping net: its flow has a quarter of the picture's resolution."""
EDIT_LEVELS = 3
RESIDUALS = 2
"""Residual blocks a level of the editing net."""
MAPPING_LAYERS = 3
STRIDE = 2**WARP_DOWN
"""Pixels: both sides of a picture must be multiples of it."""


@dataclass(frozen=True)
class PIRenderSettings:
    """Widths of the network; the defaults are the published 256 variant.

    Attributes:
        descriptor: values of the descriptor.
        widest: most channels of any layer of warping and editing.
        warp_width: channels at full resolution in the warping net.
        edit_width: channels at full resolution in the editing net.
    """

    descriptor: int = 256
    widest: int = 256
    warp_width: int = 32
    edit_width: int = 64

    def warp(self, level: int) -> int:
        """Channels of the warping net after ``level`` halvings."""
        return min(self.warp_width << level, self.widest)

    def edit(self, level: int) -> int:
        """Channels of the editing net after ``level`` halvings."""
        return min(self.edit_width << level, self.widest)


SETTINGS_512 = PIRenderSettings(descriptor=512, widest=512)
"""The 512 variant of Dimitra's released renderer."""


class Rendered(NamedTuple):
    """What the network makes of photos and windows.

    Attributes:
        picture: [B, 3, H, W], in -1..1.
        warped: [B, 3, H, W], the photo moved by the flow.
        flow: [B, 2, H/4, W/4], x right, y down, pixels of its own grid.
    """

    picture: Float[Tensor, "batch 3 height width"]
    warped: Float[Tensor, "batch 3 height width"]
    flow: Float[Tensor, "batch 2 rows columns"]


class MappingNet(nn.Module):
    """A window of 27 frames becomes one descriptor.

    Unpadded convolutions shorten the window to 21, 15, 9 and 3 frames, which are averaged.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(DESCRIPTOR_SIZE, descriptor, 7))
        for layer in range(MAPPING_LAYERS):
            conv = nn.Conv1d(descriptor, descriptor, 3, dilation=3)
            self.add_module(f"encoder{layer}", nn.Sequential(nn.LeakyReLU(SLOPE), conv))

    def forward(self, window: Float[Tensor, "batch 73 27"]) -> Descriptor:
        x = self.first(window)
        for layer in range(MAPPING_LAYERS):
            x = self.get_submodule(f"encoder{layer}")(x) + x[..., 3:-3]
        descriptor: Tensor = x.mean(dim=-1)
        return descriptor


class WarpEncoder(nn.Module):
    """Pictures of 1, 1/2, ... 1/32 of the resolution."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        self.input_layer = nn.Conv2d(3, settings.warp(0), 7, padding=3)
        for level in range(WARP_DOWN):
            block = WarpEncoderBlock(
                settings.warp(level), settings.warp(level + 1), settings.descriptor
            )
            self.add_module(f"encoder{level}", block)

    def forward(self, photo: Image, descriptor: Descriptor) -> list[Image]:
        levels = [self.input_layer(photo)]
        for level in range(WARP_DOWN):
            levels.append(self.get_submodule(f"encoder{level}")(levels[-1], descriptor))
        return levels


class WarpDecoder(nn.Module):
    """Back up to a quarter of the resolution; each level is joined by the encoder's."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        for level in reversed(range(WARP_DOWN - WARP_UP, WARP_DOWN)):
            joined = 1 if level == WARP_DOWN - 1 else 2
            block = WarpDecoderBlock(
                joined * settings.warp(level + 1), settings.warp(level), settings.descriptor
            )
            self.add_module(f"decoder{level}", block)

    def forward(self, levels: list[Image], descriptor: Descriptor) -> Image:
        x = levels[-1]
        for level in reversed(range(WARP_DOWN - WARP_UP, WARP_DOWN)):
            x = self.get_submodule(f"decoder{level}")(x, descriptor)
            x = torch.cat([x, levels[level]], dim=1)
        return x


class Hourglass(nn.Module):
    """Encoder and decoder of the warping net."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        self.encoder = WarpEncoder(settings)
        self.decoder = WarpDecoder(settings)
        self.channels = 2 * settings.warp(WARP_DOWN - WARP_UP)

    def forward(self, photo: Image, descriptor: Descriptor) -> Image:
        features: Tensor = self.decoder(self.encoder(photo, descriptor), descriptor)
        return features


class WarpingNet(nn.Module):
    """Finds the flow that moves the photo."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        self.hourglass = Hourglass(settings)
        self.flow_out = nn.Sequential(
            LayerNorm2d(self.hourglass.channels),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(self.hourglass.channels, 2, 7, padding=3),
        )

    def forward(
        self, photo: Image, descriptor: Descriptor
    ) -> Float[Tensor, "batch 2 rows columns"]:
        flow: Tensor = self.flow_out(self.hourglass(photo, descriptor))
        return flow


class EditEncoder(nn.Module):
    """Photo and moved photo at 1, 1/2, 1/4 and 1/8 of the resolution."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        self.first = EditBlock(6, settings.edit(0), 7)
        for level in range(EDIT_LEVELS):
            block = EditBlock(settings.edit(level), settings.edit(level + 1), halve=True)
            self.add_module(f"down{level}", block)

    def forward(self, pictures: Image) -> list[Image]:
        levels = [self.first(pictures)]
        for level in range(EDIT_LEVELS):
            levels.append(self.get_submodule(f"down{level}")(levels[-1]))
        return levels


class EditResiduals(nn.Module):
    """The residual blocks of one level."""

    def __init__(self, channels: int, descriptor: int) -> None:
        super().__init__()
        for number in range(RESIDUALS):
            self.add_module(f"res{number}", EditResidual(channels, descriptor))

    def forward(self, x: Image, descriptor: Descriptor) -> Image:
        for number in range(RESIDUALS):
            x = self.get_submodule(f"res{number}")(x, descriptor)
        return x


class EditOutput(nn.Module):
    """The last convolution; colours in -1..1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(channels, 3, 7, padding=3), nn.Tanh())

    def forward(self, x: Image) -> Image:
        picture: Tensor = self.model(x)
        return picture


class EditDecoder(nn.Module):
    """Draws the picture from the lowest resolution up."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        for level in reversed(range(EDIT_LEVELS)):
            below, here = settings.edit(level + 1), settings.edit(level)
            self.add_module(f"up{level}", EditBlock(below, here))
            self.add_module(f"res{level}", EditResiduals(below, settings.descriptor))
            self.add_module(f"jump{level}", EditBlock(here, here))
        self.final = EditOutput(settings.edit(0))

    def forward(self, levels: list[Image], descriptor: Descriptor) -> Image:
        x = levels[-1]
        for level in reversed(range(EDIT_LEVELS)):
            x = self.get_submodule(f"res{level}")(x, descriptor)
            x = self.get_submodule(f"up{level}")(functional.interpolate(x, scale_factor=2.0))
            x = x + self.get_submodule(f"jump{level}")(levels[level])
        picture: Tensor = self.final(x)
        return picture


class EditingNet(nn.Module):
    """Redraws the moved photo."""

    def __init__(self, settings: PIRenderSettings) -> None:
        super().__init__()
        self.encoder = EditEncoder(settings)
        self.decoder = EditDecoder(settings)

    def forward(self, photo: Image, warped: Image, descriptor: Descriptor) -> Image:
        levels = self.encoder(torch.cat([photo, warped], dim=1))
        picture: Tensor = self.decoder(levels, descriptor)
        return picture


class PIRenderNet(nn.Module):
    """The whole network."""

    def __init__(self, settings: PIRenderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or PIRenderSettings()
        self.mapping_net = MappingNet(self.settings.descriptor)
        self.warpping_net = WarpingNet(self.settings)
        self.editing_net = EditingNet(self.settings)

    def forward(
        self,
        photo: Float[Tensor, "batch 3 height width"],
        window: Float[Tensor, "batch 73 27"],
    ) -> Rendered:
        """Photos in -1..1, moved as the middle frame of their window says.

        Mapping, flow and sampling are computed in 32 bits also under autocast: of ``tx`` and ``ty``
        (about 128 px) and of the sampling positions, bfloat16 keeps only half a pixel.

        Raises:
            ValueError: wrong shapes, or sides that are no multiples of 32 px.
        """
        descriptor, warped, flow = self.move(photo, window)
        picture = self.editing_net(photo, warped, descriptor).to(photo.dtype)
        return Rendered(picture, warped, flow)

    def move(
        self,
        photo: Float[Tensor, "batch 3 height width"],
        window: Float[Tensor, "batch 73 27"],
    ) -> tuple[Descriptor, Image, Float[Tensor, "batch 2 rows columns"]]:
        """Descriptor, moved photo and flow: all but the editing net, which is trained after it.

        Raises:
            ValueError: as ``forward``.
        """
        _check(photo, window)
        with torch.autocast(photo.device.type, enabled=False):
            descriptor = self.mapping_net(window)
        flow = self.warpping_net(photo, descriptor).to(photo.dtype)
        with torch.autocast(photo.device.type, enabled=False):
            warped = warp(photo, flow)
        return descriptor, warped, flow


def warp(
    photo: Float[Tensor, "batch 3 height width"], flow: Float[Tensor, "batch 2 rows columns"]
) -> Float[Tensor, "batch 3 height width"]:
    """The photo seen through a flow of any resolution; 0 (grey) where it leaves the photo.

    The outermost positions of the flow's grid lie on the photo's edges, but are resized and read
    with pixel centres inside the edges, as the published network was trained: a flow of zero with
    64 columns shrinks the photo to 63/64 about its middle.
    """
    rows, columns = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.linspace(-1.0, 1.0, rows, device=flow.device, dtype=flow.dtype),
        torch.linspace(-1.0, 1.0, columns, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    sizes = flow.new_tensor([columns - 1, rows - 1])[:, None, None]
    positions = torch.stack([x, y]) + 2.0 * flow / sizes
    positions = functional.interpolate(
        positions, size=photo.shape[2:], mode="bilinear", align_corners=False
    )
    return functional.grid_sample(photo, positions.permute(0, 2, 3, 1), align_corners=False)


def _check(photo: Tensor, window: Tensor) -> None:
    sides = photo.shape[2:]
    if photo.ndim != 4 or photo.shape[1] != 3 or any(side % STRIDE or not side for side in sides):
        raise ValueError(
            f"photo is {list(photo.shape)}, expected [B, 3, H, W], H and W multiples of {STRIDE}"
        )
    if window.shape != (len(photo), DESCRIPTOR_SIZE, WINDOW):
        raise ValueError(
            f"window is {list(window.shape)}, expected [{len(photo)}, {DESCRIPTOR_SIZE}, {WINDOW}]"
        )
