"""Winograd's F(4x4, 3x3) on one core, compiled by numba into `$FDAN_CACHE`. Import this module late.

An image is cut into tiles of 4 x 4 outputs, each of which needs a patch of 6 x 6 inputs. `_spread` turns patches d into
B'dB, `_multiply` multiplies each of their 36 elements by the weights, and `_gather` turns the products m into A'mA.

Rounding errors are three times smaller than in the usual form, for two reasons. The transforms interpolate at 0, ±5/8,
±3/2 and infinity, instead of 0, ±1, ±2 and infinity. And products are added in chains of at most `CHAIN` channels.

Channels are last, `LANES` at a time, in scratch memory whose constant strides let the compiler use vector instructions.
It would call memcpy, which takes longer for so few bytes, if it were not for the additions of zero.
"""

from itertools import chain
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable
from numpy.typing import NDArray

from pipeline.base.compilation import compiled

POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
LANES = 64
ROWS = 6  # tiles that are multiplied together
CHAIN = 64
Floats = NDArray[np.float32]

NEAR, FAR = np.float32(POINTS[1]), np.float32(POINTS[3])
NEAR2, FAR2 = NEAR * NEAR, FAR * FAR  # these and the products below are exact
NEAR3, FAR3 = NEAR2 * NEAR, FAR2 * FAR
SUM2, PRODUCT2 = NEAR2 + FAR2, NEAR2 * FAR2
ZERO, INFINITY = np.float32(0), np.float32(np.inf)

# ROWS x VECTORS sums of WIDTH numbers fill most registers: 24 of 32 with AVX-512, 12 of 16 with AVX2.
WIDTH, VECTORS = (16, 4) if binding.get_host_cpu_features().get("avx512f") else (8, 2)
COLUMNS = WIDTH * VECTORS
LINE = 16  # numbers that the processor's cache loads at once


@register_jitable
def _spread(images: Floats, patches: Floats, first: int, tiles: int) -> None:
    """Write the transformed patches of tiles `first`, `first + 1`, … of images (n, h, w, c, LANES)."""
    _, height, width, parts, _ = images.shape
    columns = (width + 3) // 4
    per_image = (height + 3) // 4 * columns
    d = np.zeros((6, 6, LANES), np.float32)
    for tile in range(tiles):
        image, cell = divmod(first + tile, per_image)
        top, left = cell // columns * 4 - 1, cell % columns * 4 - 1
        for part in range(parts):
            for i in range(6):
                for j in range(6):
                    if 0 <= top + i < height and 0 <= left + j < width:
                        for k in range(LANES):
                            d[i, j, k] = images[image, top + i, left + j, part, k] + ZERO
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
                    for k in range(LANES):
                        patches[6 * i + j, tile, part, k] = d[i, j, k] + ZERO


@intrinsic
def _add_products(  # type: ignore[no-untyped-def]
    _, patches, first, stride, weight, first_weight, products, first_product, length, add
):
    """Multiply ROWS x `length` numbers of flat `patches` by `length` x COLUMNS of flat `weight` into flat `products`.

    The rows of `patches` are `stride` numbers apart, those of `products` LANES. If `add`, add to what is there. The
    instructions are written out, because numba's loops are over single numbers, not over registers of them.
    """
    arguments = (patches, first, stride, weight, first_weight, products, first_product, length, add)
    integer, short, byte = (ir.IntType(bits) for bits in (64, 32, 8))
    vector = ir.VectorType(ir.FloatType(), WIDTH)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        fma_type, fma_name = ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{WIDTH}f32"
        fma = cgutils.get_or_insert_function(builder.module, fma_type, fma_name)
        prefetch_type = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), short, short, short])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte.as_pointer()], prefetch_type)
        length, add = values[-2:]

        def pointer(position: int) -> Any:
            array = context.make_array(signature.args[position])(context, builder, values[position])
            return builder.gep(array.data, [values[position + 1]])

        def rows(start: Any, stride: Any) -> list[Any]:
            return [builder.gep(start, [builder.mul(integer(row), stride)]) for row in range(ROWS)]

        def vectors(start: Any) -> list[Any]:
            starts = [builder.gep(start, [integer(WIDTH * number)]) for number in range(VECTORS)]
            return [builder.bitcast(it, vector.as_pointer()) for it in starts]

        def repeat(single: Any) -> Any:
            first_lane = builder.insert_element(vector(ir.Undefined), single, short(0))
            return builder.shuffle_vector(first_lane, first_lane, ir.VectorType(short, WIDTH)([0] * WIDTH))

        patch_rows, first_weights = rows(pointer(0), values[2]), pointer(3)
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(VECTORS)] for _ in range(ROWS)]
        for total in chain.from_iterable(sums):
            builder.store(vector([0.0] * WIDTH), total)
        with cgutils.for_range(builder, length) as loop:
            weights_here = builder.gep(first_weights, [builder.mul(loop.index, integer(COLUMNS))])
            weights = [builder.load(it, align=4) for it in vectors(weights_here)]
            for line in range(0, COLUMNS, LINE):
                ahead = builder.gep(weights_here, [integer(CHAIN * COLUMNS + line)])
                builder.call(prefetch, [builder.bitcast(ahead, byte.as_pointer()), short(0), short(3), short(1)])
            for patch, totals in zip(patch_rows, sums, strict=True):
                factor = repeat(builder.load(builder.gep(patch, [loop.index])))
                for total, it in zip(totals, weights, strict=True):
                    builder.store(builder.call(fma, [factor, it, builder.load(total)]), total)
        results = [vectors(row) for row in rows(pointer(5), integer(LANES))]
        pairs = list(zip(chain.from_iterable(sums), chain.from_iterable(results), strict=True))
        with builder.if_then(add):
            for total, result in pairs:
                builder.store(builder.fadd(builder.load(result, align=4), builder.load(total)), total)
        for total, result in pairs:
            builder.store(builder.load(total), result, align=4)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@register_jitable
def _multiply(patches: Floats, weight: Floats, products: Floats, tiles: int) -> None:
    """Write the products of the first `tiles` of patches (36, t, c, LANES), rounded up to ROWS, to (36, t, LANES).

    `weight` is (36, LANES / COLUMNS, channels, COLUMNS).
    """
    _, room, parts, _ = patches.shape
    elements, columns, channels, _ = weight.shape
    stride = parts * LANES
    length = min(CHAIN, (channels + 1) // 2)
    flat_patches, flat_weight, flat_products = patches.ravel(), weight.ravel(), products.ravel()
    for element in range(elements):
        for column in range(columns):
            for channel in range(0, channels, length):
                first_weight = ((element * columns + column) * channels + channel) * COLUMNS
                for row in range(element * room, element * room + tiles, ROWS):
                    _add_products(  # type: ignore[call-arg]
                        flat_patches,
                        row * stride + channel,
                        stride,
                        flat_weight,
                        first_weight,
                        flat_products,
                        row * LANES + column * COLUMNS,
                        min(length, channels - channel),
                        channel > 0,
                    )


@register_jitable
def _gather(
    products: Floats,
    bias: Floats,
    residual: Floats,
    out: Floats,
    part: int,
    first: int,
    tiles: int,
    add: bool,
    relu: bool,
) -> None:
    """Write the outputs of one part of the channels, for tiles `first`, `first + 1`, …; `bias` is (LANES,)."""
    _, height, width, _, _ = out.shape
    columns = (width + 3) // 4
    per_image = (height + 3) // 4 * columns
    floor = ZERO if relu else -INFINITY
    m = np.empty((6, 6, LANES), np.float32)
    for tile in range(tiles):
        image, cell = divmod(first + tile, per_image)
        top, left = cell // columns * 4, cell % columns * 4
        for i in range(6):
            for j in range(6):
                for k in range(LANES):
                    m[i, j, k] = products[6 * i + j, tile, k] + ZERO
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
                    out[image, top + i, left + j, part, k] = max(m[i, j, k] + bias[k], floor)


@compiled(
    "void(f4[:,:,:,:,::1], f4[:,:,:,:,::1], f4[:,::1], f4[:,:,:,:,::1], f4[:,:,:,:,::1], f4[:,:,:,::1], f4[:,:,::1],"
    "b1, b1)"
)
def convolve(
    images: Floats,
    weight: Floats,
    bias: Floats,
    residual: Floats,
    out: Floats,
    patches: Floats,
    products: Floats,
    add: bool,
    relu: bool,
) -> None:
    """Write the convolution of images (n, h, w, c, LANES) to `out` (n, h, w, d, LANES).

    `weight` is (d, 36, LANES / COLUMNS, channels, COLUMNS), `bias` (d, LANES). If `add`, add `residual`, of the shape
    of `out`; if `relu`, replace negative values by 0. `patches` (36, t, c, LANES) and `products` (36, t, LANES) are
    scratch memory for t tiles, a multiple of ROWS.
    """
    count, height, width, parts, _ = out.shape
    total = count * ((height + 3) // 4) * ((width + 3) // 4)
    for first in range(0, total, patches.shape[1]):
        tiles = min(patches.shape[1], total - first)
        _spread(images, patches, first, tiles)
        for part in range(parts):
            _multiply(patches, weight[part], products, tiles)
            _gather(products, bias[part], residual, out, part, first, tiles, add, relu)
