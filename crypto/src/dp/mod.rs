//! Differential privacy: what is protected ([`mod@unit`]), what was released ([`event`]), what that costs ([`accountant`]).
//!
//! Invariant of the whole room: a number that leaves it never promises more privacy than the releases give. ε is always
//! derived from events, never stored in their stead.
//!
//! ```
//! use forecastle_crypto::dp::{accountant, event::DpEvent, unit::PrivacyUnit};
//!
//! // 500 steps at σ = 8 clip norms; each series takes part with probability 5 %; a customer touches up to 3 of them.
//! let run = DpEvent::step(PrivacyUnit::Customer, 0.05, 3, 8.0)?.times(500);
//! let spent = accountant::epsilon(&run, 1e-6)?;
//! assert!(spent.epsilon > 3.99 && spent.epsilon < 4.01);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is proven
//! **The customer step.** Series are sampled independently with probability q; a step releases the sum of the sampled
//! series' vectors, each of norm at most 1 (in units of C), plus N(0, σ²I). Neighbouring data sets differ in the
//! vectors of at most L series: aᵢ in one, bᵢ in the other, ‖aᵢ‖, ‖bᵢ‖ ≤ 1, in any directions (a zero vector stands
//! for a series that is absent, or that does not change at all).
//!
//! *Claim.* For every α ≥ 0 the hockey-stick divergence H_α of the two outputs is at most that of the pair
//! P\* = Σⱼ Bin(L,q)(j) N(+j, σ²), Q\* = Σⱼ Bin(L,q)(j) N(−j, σ²).
//!
//! 1. *What does not change.* Condition on which unchanged series were sampled, on the windows drawn from each, and
//!    on all earlier releases. Both outputs are mixtures over these with the same weights (windows of changed series
//!    are coupled in any way), and H_α is jointly convex, so it is at most its largest conditional value. The
//!    unchanged sum only shifts both outputs, which H_α does not see. It remains to bound P = Σ_J p_J N(a_J, σ²I)
//!    against Q = Σ_J p_J N(b_J, σ²I), where J runs over the subsets of the L series, p_J = q^|J| (1−q)^{L−|J|}, a_J
//!    = Σ_{i∈J} aᵢ and b_J = Σ_{i∈J} bᵢ.
//! 2. *As a Gaussian process.* With G ~ N(0, σ²I), the likelihood ratios against G's law are U = Σ_J p_J exp(X_J −
//!    Var X_J / 2) and V = Σ_J p_J exp(Y_J − Var Y_J / 2), where X_J = ⟨a_J, G⟩/σ² and Y_J = ⟨b_J, G⟩/σ² are jointly
//!    Gaussian, and H_α(P‖Q) = E (U − αV)₊. Only the covariances ⟨a_J, a_K⟩/σ², ⟨b_J, b_K⟩/σ² and ⟨a_J, b_K⟩/σ²
//!    enter.
//! 3. *Comparison* (the argument of Kahane 1985 for multiplicative chaos, carried to a difference). Take two such
//!    processes with covariances Γ⁰ and Γ¹, independent of each other, and interpolate √(1−t)·first + √t·second. For
//!    smooth convex ψ of bounded slope, Gaussian integration by parts gives d/dt E ψ(U − αV) = ½ Σ_{r,s} (Γ¹ −
//!    Γ⁰)_{rs} E[ψ″(U − αV)·c_r c_s w_r w_s], where r and s run over all exponentials, w > 0 are the weighted
//!    exponentials themselves and c is 1 for those in U and −α for those in V; the terms in ψ′ cancel against the
//!    derivative of the variances. Since ψ″ ≥ 0, E ψ does not fall if covariances within U and within V rise and
//!    those between U and V fall. Smooth ψ approximate (·)₊ uniformly.
//! 4. *The extreme.* ⟨a_J, a_K⟩ ≤ |J||K|, ⟨b_J, b_K⟩ ≤ |J||K| and ⟨a_J, b_K⟩ ≥ −|J||K| by Cauchy–Schwarz. All bounds
//!    are attained at once by aᵢ = e, bᵢ = −e for one unit vector e. There the problem is one-dimensional and the
//!    subsets of equal size coincide, which is (P\*, Q\*). ∎
//!
//! *Projected and rounded sums.* What is really released is a function of the sum, plus noise: its nearest point in a
//! ball ([`release`]), rounded to a grid ([`crate::quantize`]). Then the unchanged sum u does more than shift. Put a′_J =
//! f(u + a_J) − f(u) for a_J, and likewise b′_J: after conditioning on u, both outputs are shifted by f(u), and steps 2 to 4
//! use nothing of a_J but its norm, at most |J|, and a_∅ = 0. Projection onto a convex set brings no two points
//! further apart, so ‖a′_J‖ ≤ |J| still; rounding adds at most √d units where J is not empty, which
//! [`crate::quantize`] pays for.
//!
//! So aligned and opposed gradients are the worst case, no index is revealed beyond what the sum reveals, and nothing
//! is assumed about the dimension. (Compare the group-privacy bounds of Schuchardt, Stoian, Kosmala, Günnemann 2024,
//! "Unified mechanism-specific amplification by subsampling and group privacy amplification".) It is tight: some data
//! attain it. With bᵢ = 0 the same steps prove the one-sided mixtures, L = 1 being the Poisson-sub-sampled Gaussian;
//! L = 1 as it stands is its replacement relation. A customer at m merchants whose noise is drawn once is the case
//! mL.
//!
//! **Composition.** The claim holds given any earlier outputs, for the same order of the two data sets throughout, so
//! the pair composed with itself dominates the adaptive composition (Zhu, Dong, Wang 2022, "Optimal accounting of
//! differential privacy via characteristic function", theorem 10). Steps inside a round compose as rounds do: see
//! [`release`], also for whole updates under the merchant unit. **Discretisation, truncation, FFT:** see the
//! private modules `pld` and `convolution`, which charge every one of their errors.
//!
//! *Assumed, not proven here:* that sampling is really Poisson with the stated q, fixed in advance and independent
//! between series and steps; that each sampled series is clipped once as a whole; that noise is Gaussian with at
//! least the stated σ (what rounding costs is added by [`crate::quantize`]'s sensitivity, what whole numbers cost by
//! [`integer`]); that
//! floating-point errors of the FFT obey the standard bound quoted in `convolution`, and that `exp`, `ln` and `erfc`
//! are good to a few units in the last place.

pub mod accountant;
pub mod canaries;
pub mod clip;
mod convolution;
pub mod event;
pub mod filter;
mod gaussian;
pub mod integer;
mod laplace;
mod lattice;
mod mixture;
pub mod noise;
pub mod odds;
mod pair;
pub mod plan;
pub mod planner;
mod pld;
mod rdp;
pub mod release;
mod releases;
pub mod unit;
mod without_replacement;
