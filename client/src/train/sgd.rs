//! Stochastic gradient descent with momentum (Sutskever et al. 2013) and decay towards an anchor.

/// Optimizer state of a vector of parameters.
#[derive(Clone, Debug)]
pub struct Sgd {
    velocity: Vec<f32>,
    momentum: f32,
    decay: f32,
    anchor: Option<Vec<f32>>,
}

impl Sgd {
    /// State for `len` parameters, with momentum in `0..1` and decay of rate `decay` towards `anchor`, or zero without one.
    ///
    /// # Panics
    /// When the anchor has another length.
    pub fn new(len: usize, momentum: f32, decay: f32, anchor: Option<Vec<f32>>) -> Self {
        assert!(anchor.as_ref().is_none_or(|a| a.len() == len), "anchor of {len} values");
        Self { velocity: vec![0.0; len], momentum, decay, anchor }
    }

    /// Moves `values` against `gradient` at learning rate `rate`, each value's multiplied by its `pace`.
    ///
    /// # Panics
    /// When the lengths differ from the one given at construction.
    pub fn step(&mut self, values: &mut [f32], gradient: &[f32], rate: f32, pace: &[f32]) {
        let len = self.velocity.len();
        assert!([values.len(), gradient.len(), pace.len()] == [len; 3], "vectors of one length");
        for (i, (value, &g)) in values.iter_mut().zip(gradient).enumerate() {
            self.velocity[i] = self.momentum * self.velocity[i] + g;
            let target = self.anchor.as_ref().map_or(0.0, |a| a[i]);
            *value -= rate * pace[i] * (self.velocity[i] + self.decay * (*value - target));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sgd;

    #[test]
    fn two_steps_by_hand() {
        let mut values = vec![1.0, 1.0];
        let mut optimizer = Sgd::new(2, 0.5, 0.0, None);
        optimizer.step(&mut values, &[1.0, 2.0], 0.1, &[1.0, 0.5]);
        assert_eq!(values, [0.9, 0.9]);
        // Velocities 0.5·1 + 1 and 0.5·2 + 0.
        optimizer.step(&mut values, &[1.0, 0.0], 0.1, &[1.0, 0.5]);
        assert!((values[0] - 0.75).abs() < 1e-6 && (values[1] - 0.85).abs() < 1e-6, "{values:?}");
    }

    #[test]
    fn without_gradient_it_decays_to_its_anchor() {
        let mut values = vec![3.0];
        let mut optimizer = Sgd::new(1, 0.0, 0.5, Some(vec![1.0]));
        (0..200).for_each(|_| optimizer.step(&mut values, &[0.0], 0.1, &[1.0]));
        assert!((values[0] - 1.0).abs() < 1e-3, "{values:?}");
    }
}
