//! Which vector registers this processor has, found out once.

use pulp::{Arch, Simd, WithSimd};

/// The widest vectors in use here: eight floats and fused multiply-add on any x86-64 of the last ten years.
#[derive(Clone, Copy)]
pub(crate) enum Vectors {
    #[cfg(target_arch = "x86_64")]
    V3(pulp::x86::V3),
    /// What every processor of this kind has.
    Common(Arch),
}

impl Vectors {
    pub fn new() -> Self {
        // Not `Arch` alone: its choice of V3 is a feature of the crate that burn leaves out, and to turn it on would build burn
        // a second time.
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = pulp::x86::V3::try_new() {
            return Self::V3(v3);
        }
        Self::Common(Arch::new())
    }

    /// Runs `op` compiled for these vectors. What it calls must be inlined to be so, too.
    #[inline(always)]
    pub fn dispatch<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::V3(v3) => Simd::vectorize(v3, op),
            Self::Common(arch) => arch.dispatch(op),
        }
    }
}
