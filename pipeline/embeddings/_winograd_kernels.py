"""The two transforms of Winograd's F(4x4, 3x3), which numba compiles into `$FDAN_CACHE`. Import this module late.

An image is cut into tiles of 4 x 4 outputs, each of which needs a patch of 6 x 6 inputs. `spread` turns patches d into
B'dB; after 36 matrix products, one for each element, `gather` turns sums m into outputs A'mA.

Rounding errors are three times smaller than in the usual form, for two reasons. The transforms interpolate at 0, ±5/8,
±3/2 and infinity, instead of 0, ±1, ±2 and infinity. And each matrix product is the sum of two, each over one half of
the channels.

Channels are last, `LANES` at a time, in scratch memory whose constant strides let the compiler use vector instructions.
It would call memcpy, which takes longer for so few bytes, if it were not for the additions of zero.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.base.compilation import compiled

POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
LANES = 64
Floats = NDArray[np.float32]

NEAR, FAR = np.float32(POINTS[1]), np.float32(POINTS[3])
NEAR2, FAR2 = NEAR * NEAR, FAR * FAR  # these and the products below are exact
NEAR3, FAR3 = NEAR2 * NEAR, FAR2 * FAR
SUM2, PRODUCT2 = NEAR2 + FAR2, NEAR2 * FAR2
ZERO, INFINITY = np.float32(0), np.float32(np.inf)


@compiled("void(f4[:,:,:,:,:,::1], f4[:,:,:,:,::1], i8)")
def spread(images: Floats, tiles: Floats, first: int) -> None:
    """Write the transformed patches `first`, `first + 1`, … of images (n, h, w, 2, c, lanes) to `tiles`.

    `tiles` is (t, 2, 36, c, lanes), where 2 are the halves of the channels, and there are at most `LANES` lanes.
    """
    _, height, width, _, parts, lanes = images.shape
    columns = (width + 3) // 4
    per_image = (height + 3) // 4 * columns
    d = np.zeros((6, 6, LANES), np.float32)
    for tile in range(tiles.shape[0]):
        image, cell = divmod(first + tile, per_image)
        top, left = cell // columns * 4 - 1, cell % columns * 4 - 1
        for half_part in range(2 * parts):
            half, part = half_part // parts, half_part % parts
            for i in range(6):
                for j in range(6):
                    if 0 <= top + i < height and 0 <= left + j < width:
                        for k in range(lanes):
                            d[i, j, k] = images[image, top + i, left + j, half, part, k] + ZERO
                    else:
                        for k in range(LANES):
                            d[i, j, k] = ZERO
            for j in range(6):
                for k in range(LANES):
                    d0, d1, d2, d3, d4, d5 = d[0, j, k], d[1, j, k], d[2, j, k], d[3, j, k], d[4, j, k], d[5, j, k]
                    even, odd = d4 - FAR2 * d2, NEAR * (d3 - FAR2 * d1)
                    d[1, j, k], d[2, j, k] = even + odd, even - odd
                    even, odd = d4 - NEAR2 * d2, FAR * (d3 - NEAR2 * d1)
                    d[3, j, k], d[4, j, k] = even + odd, even - odd
                    d[0, j, k], d[5, j, k] = PRODUCT2 * d0 - SUM2 * d2 + d4, PRODUCT2 * d1 - SUM2 * d3 + d5
            for i in range(6):
                for k in range(LANES):
                    d0, d1, d2, d3, d4, d5 = d[i, 0, k], d[i, 1, k], d[i, 2, k], d[i, 3, k], d[i, 4, k], d[i, 5, k]
                    even, odd = d4 - FAR2 * d2, NEAR * (d3 - FAR2 * d1)
                    d[i, 1, k], d[i, 2, k] = even + odd, even - odd
                    even, odd = d4 - NEAR2 * d2, FAR * (d3 - NEAR2 * d1)
                    d[i, 3, k], d[i, 4, k] = even + odd, even - odd
                    d[i, 0, k], d[i, 5, k] = PRODUCT2 * d0 - SUM2 * d2 + d4, PRODUCT2 * d1 - SUM2 * d3 + d5
            for i in range(6):
                for j in range(6):
                    for k in range(lanes):
                        tiles[tile, half, 6 * i + j, part, k] = d[i, j, k] + ZERO


@compiled("void(f4[:,:,:,:,::1], f4[:,::1], f4[:,:,:,:,::1], f4[:,:,:,:,::1], i8, b1, b1)")
def gather(tiles: Floats, bias: Floats, residual: Floats, out: Floats, first: int, add: bool, relu: bool) -> None:
    """Write the outputs of tiles (t, 2, 36, c, LANES) to `out` (n, h, w, c, LANES), from tile `first` of its images on.

    `bias` is (c, LANES). If `add`, add `residual`, of the shape of `out`; if `relu`, replace negative values by 0.
    """
    _, height, width, parts, _ = out.shape
    columns = (width + 3) // 4
    per_image = (height + 3) // 4 * columns
    floor = ZERO if relu else -INFINITY
    m = np.empty((6, 6, LANES), np.float32)
    for tile in range(tiles.shape[0]):
        image, cell = divmod(first + tile, per_image)
        top, left = cell // columns * 4, cell % columns * 4
        for part in range(parts):
            for i in range(6):
                for j in range(6):
                    for k in range(LANES):
                        m[i, j, k] = tiles[tile, 0, 6 * i + j, part, k] + tiles[tile, 1, 6 * i + j, part, k]
            for j in range(6):
                for k in range(LANES):
                    near_sum, near_difference = m[1, j, k] + m[2, j, k], m[1, j, k] - m[2, j, k]
                    far_sum, far_difference = m[3, j, k] + m[4, j, k], m[3, j, k] - m[4, j, k]
                    m[0, j, k] = m[0, j, k] + near_sum + far_sum
                    m[1, j, k] = NEAR * near_difference + FAR * far_difference
                    m[2, j, k] = NEAR2 * near_sum + FAR2 * far_sum
                    m[3, j, k] = NEAR3 * near_difference + FAR3 * far_difference + m[5, j, k]
            for i in range(4):
                for k in range(LANES):
                    near_sum, near_difference = m[i, 1, k] + m[i, 2, k], m[i, 1, k] - m[i, 2, k]
                    far_sum, far_difference = m[i, 3, k] + m[i, 4, k], m[i, 3, k] - m[i, 4, k]
                    m[i, 0, k] = m[i, 0, k] + near_sum + far_sum
                    m[i, 1, k] = NEAR * near_difference + FAR * far_difference
                    m[i, 2, k] = NEAR2 * near_sum + FAR2 * far_sum
                    m[i, 3, k] = NEAR3 * near_difference + FAR3 * far_difference + m[i, 5, k]
            for i in range(min(4, height - top)):
                for j in range(min(4, width - left)):
                    if add:
                        for k in range(LANES):
                            m[i, j, k] += residual[image, top + i, left + j, part, k]
                    for k in range(LANES):
                        out[image, top + i, left + j, part, k] = max(m[i, j, k] + bias[part, k], floor)
