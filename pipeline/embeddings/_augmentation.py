"""Augmented copies (views) of a clip's images. The backbone is frozen, so images are augmented before it.

An augmentation maps a batch (n, channels, height, width) in 0..1 to another of the same shape; it uses torch's global
random generator.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.base.vision import import_torchvision

Augmentation = Callable[[Tensor], Tensor]
SHIFT = 0.06  # the largest shift, as a fraction of the image's side
COLOUR = 0.2  # the range of brightness, contrast and saturation
MASKED = 0.15  # the largest masked fraction of a spectrogram's bands, and of its frames


def vary_faces(batch: Tensor) -> Tensor:
    """Flip, shift and recolour all images in the same way: they show one person under one light."""
    import_torchvision()
    from torchvision.transforms import v2

    shift = v2.RandomAffine(degrees=0, translate=(SHIFT, SHIFT), interpolation=v2.InterpolationMode.BILINEAR)
    recolour = v2.ColorJitter(brightness=COLOUR, contrast=COLOUR, saturation=COLOUR)
    varied: Tensor = v2.Compose([v2.RandomHorizontalFlip(), shift, recolour])(batch)
    return varied


def vary_spectrograms(batch: Tensor) -> Tensor:
    """Mask a range of bands and a range of frames of each image (SpecAugment)."""
    varied = batch.clone()
    for image in varied:
        for side in (1, 2):
            length = image.shape[side]
            width = int(torch.randint(int(MASKED * length) + 1, ()))
            start = int(torch.randint(length - width + 1, ()))
            image.narrow(side, start, width).zero_()
    return varied


def augment(batch: Tensor, augmentation: Augmentation, *, seed: int) -> Tensor:
    """Return the augmented batch of this seed, and leave torch's generator unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return augmentation(batch)
