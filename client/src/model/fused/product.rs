//! Matrix products of few rows, in vector registers.
//!
//! The encoder multiplies tens of rows at a time with matrices of tens to hundreds of columns; a library made for large
//! matrices spends as long on preparing such a product as on computing it. Here a tile of the result stays in registers
//! while it is summed up, as everywhere (Goto and van de Geijn 2008), and nothing is prepared but, where rows lie far
//! apart in memory, a copy of the columns in use.
//!
//! Every element is one sum, taken in the order of its terms: it does not depend on which other elements are computed
//! with it, nor where in the result it stands. The privacy unit's gradient rests on that.

use std::array::from_fn;

use pulp::{Simd, WithSimd};

use super::vectors::Vectors;

/// Rows of a matrix, each `stride` numbers behind the one before.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

impl<'a> Rows<'a> {
    pub fn new(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride }
    }
}

/// Where a product goes.
pub(super) struct Into<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
    /// Whether it is added to what is there.
    pub add: bool,
}

impl<'a> Into<'a> {
    /// Replaces what is there.
    pub fn new(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride, add: false }
    }

    /// Adds to what is there.
    pub fn adding(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride, add: true }
    }
}

/// `A B` of A `[rows, steps]` and B `[steps, columns]`.
pub(super) fn product(arch: Vectors, out: Into<'_>, a: Rows<'_>, b: Rows<'_>, [rows, steps, columns]: [usize; 3]) {
    arch.dispatch(Task::<false> { out, a, b, rows, steps, columns });
}

/// `Aᵀ B` of A `[steps, rows]` and B `[steps, columns]`.
pub(super) fn transposed_product(
    arch: Vectors,
    out: Into<'_>,
    a: Rows<'_>,
    b: Rows<'_>,
    [rows, steps, columns]: [usize; 3],
) {
    arch.dispatch(Task::<true> { out, a, b, rows, steps, columns });
}

/// Stride in numbers from which on columns are copied together: farther apart, they fall on the same few lines of a cache.
const FAR: usize = 192;
/// Vectors across a tile.
const ACROSS: usize = 2;
/// Rows of the tallest tile: twelve sums, two vectors of B and one of A are as many as an x86-64 has registers.
const TALL: usize = 6;

struct Task<'a, const TRANSPOSED: bool> {
    out: Into<'a>,
    a: Rows<'a>,
    b: Rows<'a>,
    rows: usize,
    steps: usize,
    columns: usize,
}

impl<const TRANSPOSED: bool> WithSimd for Task<'_, TRANSPOSED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let b = self.b;
        let far = b.stride >= FAR && self.rows > TALL;
        let mut together = Vec::new();
        if TRANSPOSED {
            // Few steps and many rows: the result is written row by row, so all of B is brought together first.
            let (mut panels, mut column) = (b, 0);
            if far {
                together.reserve_exact(self.steps * self.columns);
                while column < self.columns {
                    let width = panel_width::<S>(self.columns - column);
                    copy_columns(b, self.steps, column, width, &mut together);
                    column += width;
                }
                panels = Rows::new(&together, 0);
            }
            let mut row = 0;
            while row < self.rows {
                let rows = tile_rows(self.rows - row);
                column = 0;
                while column < self.columns {
                    let width = panel_width::<S>(self.columns - column);
                    let panel = if far {
                        Rows::new(&panels.data[self.steps * column..], width)
                    } else {
                        Rows::new(b.data.get(column..).unwrap_or_default(), b.stride)
                    };
                    self.tile_of::<S>(simd, panel, row, rows, column, width);
                    column += width;
                }
                row += rows;
            }
        } else {
            let mut column = 0;
            while column < self.columns {
                let width = panel_width::<S>(self.columns - column);
                let panel = if far {
                    together.clear();
                    copy_columns(b, self.steps, column, width, &mut together);
                    Rows::new(&together[..], width)
                } else {
                    Rows::new(b.data.get(column..).unwrap_or_default(), b.stride)
                };
                let mut row = 0;
                while row < self.rows {
                    let rows = tile_rows(self.rows - row);
                    self.tile_of::<S>(simd, panel, row, rows, column, width);
                    row += rows;
                }
                column += width;
            }
        }
    }
}

/// Columns of the next panel, where `left` are left.
#[inline(always)]
fn panel_width<S: Simd>(left: usize) -> usize {
    if left >= ACROSS * S::F32_LANES { ACROSS * S::F32_LANES } else { left.min(S::F32_LANES) }
}

/// Rows of the next tile, where `left` are left.
#[inline(always)]
fn tile_rows(left: usize) -> usize {
    match left {
        TALL.. => TALL,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Appends some columns of `b`, row by row.
#[inline(always)]
fn copy_columns(b: Rows<'_>, steps: usize, column: usize, width: usize, out: &mut Vec<f32>) {
    // Of a length that is known here, a copy is two moves instead of a call.
    const USUAL: usize = 16;
    let start = out.len();
    out.resize(start + steps * width, 0.0);
    let rows = out[start..].chunks_exact_mut(width);
    if width == USUAL {
        for (step, row) in rows.enumerate() {
            let from = &b.data[step * b.stride + column..][..USUAL];
            if let (Ok(row), Ok(from)) = (<&mut [f32; USUAL]>::try_from(row), <&[f32; USUAL]>::try_from(from)) {
                *row = *from;
            }
        }
    } else {
        for (step, row) in rows.enumerate() {
            row.copy_from_slice(&b.data[step * b.stride + column..][..width]);
        }
    }
}

impl<const TRANSPOSED: bool> Task<'_, TRANSPOSED> {
    /// Some rows of some columns.
    #[inline(always)]
    fn tile_of<S: Simd>(&mut self, simd: S, b: Rows<'_>, row: usize, rows: usize, column: usize, width: usize) {
        if width == ACROSS * S::F32_LANES {
            self.tile_tall::<S, ACROSS, false>(simd, b, row, rows, column, width);
        } else if width == S::F32_LANES {
            self.tile_tall::<S, 1, false>(simd, b, row, rows, column, width);
        } else {
            self.tile_tall::<S, 1, true>(simd, b, row, rows, column, width);
        }
    }

    #[inline(always)]
    fn tile_tall<S: Simd, const V: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        b: Rows<'_>,
        row: usize,
        rows: usize,
        column: usize,
        width: usize,
    ) {
        match rows {
            TALL => self.tile::<S, TALL, V, PARTIAL>(simd, b, row, column, width),
            4 => self.tile::<S, 4, V, PARTIAL>(simd, b, row, column, width),
            2 => self.tile::<S, 2, V, PARTIAL>(simd, b, row, column, width),
            _ => self.tile::<S, 1, V, PARTIAL>(simd, b, row, column, width),
        }
    }

    /// `R` rows of some columns.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        b: Rows<'_>,
        row: usize,
        column: usize,
        width: usize,
    ) {
        let (steps, stride, a) = (self.steps, self.a.stride, self.a.data);
        let sums = if TRANSPOSED {
            let a = &a[row..];
            sums::<S, R, V, PARTIAL>(simd, steps, b, width, |step| {
                let a = &a[step * stride..][..R];
                from_fn(|r| a[r])
            })
        } else {
            let a: [&[f32]; R] = from_fn(|r| &a[(row + r) * stride..][..steps]);
            sums::<S, R, V, PARTIAL>(simd, steps, b, width, |step| from_fn(|r| a[r][step]))
        };
        for (r, sums) in sums.iter().enumerate() {
            let out = &mut self.out.data[(row + r) * self.out.stride + column..][..width];
            if PARTIAL {
                let before = if self.out.add { simd.partial_load_f32s(out) } else { simd.splat_f32s(0.0) };
                simd.partial_store_f32s(out, simd.add_f32s(before, sums[0]));
            } else {
                let (out, _) = S::as_mut_simd_f32s(out);
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = if self.out.add { simd.add_f32s(*out, *sum) } else { *sum };
                }
            }
        }
    }
}

/// `Σ over steps of a(step)[r] · b[step]` for each r.
#[inline(always)]
fn sums<S: Simd, const R: usize, const V: usize, const PARTIAL: bool>(
    simd: S,
    steps: usize,
    b: Rows<'_>,
    width: usize,
    a: impl Fn(usize) -> [f32; R],
) -> [[S::f32s; V]; R] {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for step in 0..steps {
        let b: [S::f32s; V] = if PARTIAL {
            [simd.partial_load_f32s(&b.data[step * b.stride..][..width]); V]
        } else {
            let (b, _) = S::as_simd_f32s(&b.data[step * b.stride..][..V * S::F32_LANES]);
            from_fn(|v| b[v])
        };
        let a = a(step);
        for r in 0..R {
            let a = simd.splat_f32s(a[r]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(a, b[v], sums[r][v]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, in `f64` and three loops.
    fn naive(a: impl Fn(usize, usize) -> f32, b: Rows<'_>, [rows, steps, columns]: [usize; 3]) -> Vec<f64> {
        let term = |r: usize, s: usize, c: usize| f64::from(a(r, s)) * f64::from(b.data[s * b.stride + c]);
        let element = |i: usize| (0..steps).map(|s| term(i / columns, s, i % columns)).sum();
        (0..rows * columns).map(element).collect()
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #[test]
        fn products_of_any_extent_are_those_of_three_loops(
            rows in 1usize..30, steps in 0usize..40, columns in 1usize..60, gap in 0usize..3, far: bool, add: bool, seed: u32,
        ) {
            let arch = Vectors::new();
            let extent = [rows, steps, columns];
            let b_stride = columns + gap + if far { FAR } else { 0 };
            let b = numbers(steps * b_stride + columns, seed);
            let b = Rows::new(&b, b_stride);
            for transposed in [false, true] {
                let stride = gap + if transposed { rows } else { steps };
                let a = numbers(rows.max(steps) * stride + rows.max(steps), seed ^ 1);
                let at = |r: usize, s: usize| if transposed { a[s * stride + r] } else { a[r * stride + s] };
                let expected = naive(at, b, extent);
                let before = numbers(rows * (columns + gap), seed ^ 2);
                let mut out = before.clone();
                let into = Into { data: &mut out, stride: columns + gap, add };
                let a = Rows::new(&a, stride);
                if transposed { transposed_product(arch, into, a, b, extent) } else { product(arch, into, a, b, extent) }
                for (i, found) in out.iter().enumerate() {
                    let (r, c) = (i / (columns + gap), i % (columns + gap));
                    let added = if add { f64::from(before[i]) } else { 0.0 };
                    let expected = if c < columns { expected[r * columns + c] + added } else { f64::from(before[i]) };
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{} {} at {},{}", found, expected, r, c);
                }
            }
        }

        #[test]
        fn an_element_does_not_depend_on_the_others(rows in 1usize..20, first in 0usize..20, columns in 1usize..40) {
            let arch = Vectors::new();
            let first = first % rows;
            let (a, b) = (numbers(rows * 33, 5), numbers(33 * columns, 6));
            let (mut all, mut some) = (vec![0.0; rows * columns], vec![0.0; (rows - first) * columns]);
            let b = Rows::new(&b, columns);
            product(arch, Into::new(&mut all, columns), Rows::new(&a, 33), b, [rows, 33, columns]);
            product(arch, Into::new(&mut some, columns), Rows::new(&a[first * 33..], 33), b, [rows - first, 33, columns]);
            prop_assert_eq!(&all[first * columns..], &some[..]);
        }
    }
}
