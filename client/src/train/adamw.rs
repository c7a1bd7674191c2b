//! AdamW on a flat vector (Loshchilov and Hutter 2019), with decay towards an anchor instead of zero.
//!
//! Written out here since the parameters live as plain numbers; a merchant's fine-tuning decays towards the
//! federation's model, not towards nothing.

/// Optimizer state of a vector of parameters.
#[derive(Clone, Debug)]
pub struct AdamW {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
    decay: f32,
    anchor: Option<Vec<f32>>,
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.99;
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// State for `len` parameters, with decoupled decay of rate `decay` towards `anchor`, or zero without one.
    ///
    /// # Panics
    /// When the anchor has another length.
    pub fn new(len: usize, decay: f32, anchor: Option<Vec<f32>>) -> Self {
        assert!(anchor.as_ref().is_none_or(|a| a.len() == len), "anchor of {len} values");
        Self { first: vec![0.0; len], second: vec![0.0; len], steps: 0, decay, anchor }
    }

    /// Moves `values` against `gradient` at learning rate `rate`, each value's multiplied by its `pace`.
    ///
    /// # Panics
    /// When the lengths differ from the one given at construction.
    pub fn step(&mut self, values: &mut [f32], gradient: &[f32], rate: f32, pace: &[f32]) {
        let len = self.first.len();
        assert!([values.len(), gradient.len(), pace.len()] == [len; 3], "vectors of one length");
        self.steps += 1;
        let (unbias_1, unbias_2) = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        for (i, (value, &g)) in values.iter_mut().zip(gradient).enumerate() {
            self.first[i] = BETA_1 * self.first[i] + (1.0 - BETA_1) * g;
            self.second[i] = BETA_2 * self.second[i] + (1.0 - BETA_2) * g * g;
            let target = self.anchor.as_ref().map_or(0.0, |a| a[i]);
            let direction = self.first[i] / unbias_1 / ((self.second[i] / unbias_2).sqrt() + EPSILON);
            *value -= rate * pace[i] * (direction + self.decay * (*value - target));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AdamW;

    #[test]
    fn it_finds_the_minimum_of_a_bowl() {
        let mut values = vec![3.0, -2.0];
        let mut optimizer = AdamW::new(2, 0.0, None);
        for step in 0..400 {
            let gradient = [values[0] - 1.0, 4.0 * (values[1] - 0.5)];
            optimizer.step(&mut values, &gradient, 0.1 * 0.99f32.powi(step), &[1.0; 2]);
        }
        assert!((values[0] - 1.0).abs() < 1e-2 && (values[1] - 0.5).abs() < 1e-2, "{values:?}");
    }

    #[test]
    fn without_gradient_it_decays_to_its_anchor() {
        let mut values = vec![3.0];
        let mut optimizer = AdamW::new(1, 0.5, Some(vec![1.0]));
        for _ in 0..200 {
            optimizer.step(&mut values, &[0.0], 0.1, &[1.0]);
        }
        assert!((values[0] - 1.0).abs() < 1e-3, "{values:?}");
    }
}
