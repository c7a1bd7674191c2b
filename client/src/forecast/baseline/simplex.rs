//! Minimising without derivatives: Nelder and Mead 1965, with the coefficients of Gao and Han 2012 for many parameters.
//!
//! The function may be infinite outside its domain. Deterministic.

/// The smallest value found and where, from `start` with first steps `steps`, after at most `evaluations` values.
pub(super) fn minimise(
    start: &[f64],
    steps: &[f64],
    evaluations: usize,
    mut value: impl FnMut(&[f64]) -> f64,
) -> (Vec<f64>, f64) {
    let n = start.len();
    let mut left = evaluations;
    let mut judge = |point: &[f64], left: &mut usize| {
        *left = left.saturating_sub(1);
        let found = value(point);
        if found.is_nan() { f64::INFINITY } else { found }
    };
    let mut simplex = vec![(start.to_vec(), judge(start, &mut left))];
    if n == 0 {
        return simplex.swap_remove(0);
    }
    for i in 0..n {
        let mut corner = start.to_vec();
        corner[i] += steps[i];
        let mut found = judge(&corner, &mut left);
        if found.is_infinite() {
            corner[i] = start[i] - steps[i];
            found = judge(&corner, &mut left);
        }
        simplex.push((corner, found));
    }
    let size = n.max(2) as f64;
    let (expand, contract, shrink) = (1.0 + 2.0 / size, 0.75 - 0.5 / size, 1.0 - 1.0 / size);
    while left > 0 {
        simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, second, worst) = (simplex[0].1, simplex[n - 1].1, simplex[n].1);
        if worst - best <= 1e-10 * (1.0 + best.abs()) {
            break;
        }
        let centre: Vec<f64> =
            (0..n).map(|i| simplex[..n].iter().map(|(corner, _)| corner[i]).sum::<f64>() / n as f64).collect();
        let towards = |factor: f64| -> Vec<f64> {
            centre.iter().zip(&simplex[n].0).map(|(centre, worst)| centre + factor * (centre - worst)).collect()
        };
        let reflected = towards(1.0);
        let found = judge(&reflected, &mut left);
        let (point, found) = if found < best {
            let farther = towards(expand);
            let further = judge(&farther, &mut left);
            if further < found { (farther, further) } else { (reflected, found) }
        } else if found < second {
            (reflected, found)
        } else {
            let nearer = towards(if found < worst { contract } else { -contract });
            let near = judge(&nearer, &mut left);
            if near < found.min(worst) {
                (nearer, near)
            } else {
                let kept = simplex[0].0.clone();
                for (corner, value) in &mut simplex[1..] {
                    for (x, best) in corner.iter_mut().zip(&kept) {
                        *x = best + shrink * (*x - best);
                    }
                    *value = judge(corner, &mut left);
                }
                continue;
            }
        };
        simplex[n] = (point, found);
    }
    simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
    simplex.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rosenbrock_s_valley_is_followed_to_its_end() {
        let value = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let (at, least) = minimise(&[-1.2, 1.0], &[0.5, 0.5], 2_000, value);
        assert!((at[0] - 1.0).abs() < 1e-3 && (at[1] - 1.0).abs() < 1e-3 && least < 1e-8, "{at:?} {least}");
    }

    #[test]
    fn a_domain_with_an_edge_is_not_left() {
        let value = |x: &[f64]| if x[0] < 0.5 { f64::INFINITY } else { x[0] * x[0] };
        let (at, _) = minimise(&[0.6], &[-0.3], 200, value);
        assert!((at[0] - 0.5).abs() < 1e-3, "{at:?}");
        assert_eq!(minimise(&[], &[], 10, |_| 3.0), (Vec::new(), 3.0));
    }
}
