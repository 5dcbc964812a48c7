"""Other views of a clip's pictures: the backbone is frozen, so what training is to see varied is varied before it.

An augmentation maps a batch (n, channels, height, width) in 0..1 to another of the same shape; it draws from torch's
generator.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

Augmentation = Callable[[Tensor], Tensor]
SHIFT = 0.06  # of the picture's side, at most
COLOUR = 0.2  # how much brightness, contrast and saturation vary
MASKED = 0.15  # of a spectrogram's bands, and of its frames, at most
_vary = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(degrees=0, translate=(SHIFT, SHIFT), interpolation=v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=COLOUR, contrast=COLOUR, saturation=COLOUR),
    ]
)


def vary_faces(batch: Tensor) -> Tensor:
    """Flip, shift and recolour, all pictures alike: they show one person under one light."""
    varied: Tensor = _vary(batch)
    return varied


def vary_spectrograms(batch: Tensor) -> Tensor:
    """Silence some neighbouring bands and some neighbouring frames, each picture's own."""
    varied = batch.clone()
    for picture in varied:
        for side in (1, 2):
            length = picture.shape[side]
            width = int(torch.randint(int(MASKED * length) + 1, ()))
            start = int(torch.randint(length - width + 1, ()))
            picture.narrow(side, start, width).zero_()
    return varied


def view(batch: Tensor, augmentation: Augmentation, *, seed: int) -> Tensor:
    """Return the view of that seed, and leave torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return augmentation(batch)
