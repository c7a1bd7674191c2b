//! Which device computes: chosen once, when a program starts, never guessed by the tensor library.
//!
//! The library's own default prefers a GPU that may not be there, and using one that is not there panics on threads
//! of its own. So a GPU is only ever named after it was counted, and a [`Place`] on one exists only where the count
//! said so. Where nobody chose, the processor computes.
//!
//! [`passes`] cuts work into what a device can hold at a time, [`kernels`] keeps what a GPU compiled for the next start.
//!
//! Left out on purpose: several GPUs in one program.

pub mod kernels;
pub mod passes;
mod threads;

use std::{cell::Cell, fmt, fs, str::FromStr, sync::OnceLock};

use burn::tensor::Device;
pub use passes::{DeviceFailure, Passes, Work, in_passes};

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if this build and this machine have one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of this index, or nothing.
    Cuda(usize),
}

/// A word that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no device `{0}`; say auto, cpu, cuda or cuda:N")]
pub struct DeviceChoiceError(String);

/// Why the device asked for cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A program without code for GPUs.
    #[error("this program was built without CUDA: build it with `--features cuda`, or choose `--device cpu`")]
    NotCompiled,
    /// A machine without a GPU, or without its driver.
    #[error("no CUDA device was found: install NVIDIA's driver, or choose `--device cpu`")]
    NoneFound,
    /// An index beyond the last device.
    #[error("there is no cuda:{index}: this machine has {found}, counted from cuda:0")]
    Index {
        /// The index asked for.
        index: usize,
        /// How many there are.
        found: usize,
    },
    /// A second choice in one program; tensors of the first may already exist.
    #[error("the device was already chosen and stays {0} until the program ends")]
    Chosen(Place),
}

/// What this program and this machine offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Whether this build has code for CUDA.
    pub compiled: bool,
    /// CUDA devices found; 0 where it was not compiled in.
    pub cuda: usize,
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the CUDA device; `None` on the processor. Private, so that only [`DeviceChoice::resolve`] names one.
    cuda: Option<usize>,
}

/// Why a device was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// A CUDA device was found.
    Found,
    /// This build has no code for GPUs.
    NotCompiled,
    /// This build has, but no device was found.
    NoneFound,
}

static CHOSEN: OnceLock<Place> = OnceLock::new();

thread_local! {
    static HERE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Decides for the whole program; returns what was taken and why.
///
/// # Errors
/// [`DeviceError`] when the device asked for cannot be had, or another was chosen before.
pub fn choose(choice: DeviceChoice) -> Result<(Place, Reason), DeviceError> {
    let (place, reason) = choice.resolve(Survey::take())?;
    let kept = *CHOSEN.get_or_init(|| place);
    if kept == place { Ok((place, reason)) } else { Err(DeviceError::Chosen(kept)) }
}

/// Where this thread's tensors are to be made.
pub fn place() -> Place {
    HERE.get().or_else(|| CHOSEN.get().copied()).unwrap_or(Place::CPU)
}

/// Does `work` at `place`, whatever was chosen for the program: to compare devices within one program.
///
/// Holds for this thread only; a model or tensor made inside must be used inside.
pub fn on<T>(place: Place, work: impl FnOnce() -> T) -> T {
    /// Gives the thread its place back, also when `work` panics.
    struct Back(Option<Place>);
    impl Drop for Back {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }
    let _back = Back(HERE.replace(Some(place)));
    work()
}

impl DeviceChoice {
    /// The place to take, given what there is.
    ///
    /// # Errors
    /// [`DeviceError`] when a CUDA device was asked for by name and is not there.
    pub fn resolve(self, survey: Survey) -> Result<(Place, Reason), DeviceError> {
        let cuda = |index| Place { cuda: Some(index) };
        match (self, survey) {
            (Self::Cpu, _) => Ok((Place::CPU, Reason::Asked)),
            (Self::Auto, Survey { compiled: false, .. }) => Ok((Place::CPU, Reason::NotCompiled)),
            (Self::Auto, Survey { cuda: 0, .. }) => Ok((Place::CPU, Reason::NoneFound)),
            (Self::Auto, _) => Ok((cuda(0), Reason::Found)),
            (Self::Cuda(_), Survey { compiled: false, .. }) => Err(DeviceError::NotCompiled),
            (Self::Cuda(_), Survey { cuda: 0, .. }) => Err(DeviceError::NoneFound),
            (Self::Cuda(index), Survey { cuda: found, .. }) if index >= found => {
                Err(DeviceError::Index { index, found })
            }
            (Self::Cuda(index), _) => Ok((cuda(index), Reason::Asked)),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceChoiceError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                // Digits only: `parse` would also take a sign.
                let index = other.strip_prefix("cuda:").filter(|i| i.bytes().all(|b| b.is_ascii_digit()));
                let index = index.and_then(|i| i.parse::<u16>().ok());
                index.map(|i| Self::Cuda(i.into())).ok_or_else(|| DeviceChoiceError(other.into()))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Survey {
    /// Looks. On a machine without NVIDIA's driver this is quick, silent and finds nothing.
    pub fn take() -> Self {
        // Before anything else of the tensor library's GPU part is used: it reads its settings once.
        #[cfg(feature = "cuda")]
        let _ = kernels::keep();
        #[cfg(feature = "cuda")]
        let cuda = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().len();
        #[cfg(not(feature = "cuda"))]
        let cuda = 0;
        Self { compiled: cfg!(feature = "cuda"), cuda }
    }

    /// All CUDA devices found.
    pub fn cuda_places(self) -> impl Iterator<Item = Place> {
        (0..self.cuda).map(|index| Place { cuda: Some(index) })
    }
}

impl Place {
    /// The processor.
    pub const CPU: Self = Self { cuda: None };

    /// Whether this is the processor.
    pub const fn is_cpu(self) -> bool {
        self.cuda.is_none()
    }

    /// The tensor library's name for it.
    pub fn device(self) -> Device {
        match self.cuda {
            #[cfg(feature = "cuda")]
            Some(index) => Device::cuda(index),
            _ => Device::flex(),
        }
    }

    /// What the GPU calls itself; opens it. `None` on the processor.
    pub fn model_name(self) -> Option<String> {
        #[cfg(feature = "cuda")]
        let name = if self.is_cpu() { None } else { self.device().identity().map(|identity| identity.name) };
        #[cfg(not(feature = "cuda"))]
        let name = None;
        name
    }

    /// Bytes of memory that the GPU has, whoever uses them; opens it. `None` on the processor.
    pub fn memory(self) -> Option<u64> {
        #[cfg(feature = "cuda")]
        let bytes = self.cuda.and_then(|index| {
            let client = burn::cubecl::Device::cuda(index).ok()?.client();
            client.properties().memory.max_memory()
        });
        #[cfg(not(feature = "cuda"))]
        let bytes = None;
        bytes
    }

    /// Bytes of memory that this program has taken on the GPU, those kept for its next pass included; opens it. `None` on
    /// the processor.
    pub fn memory_taken(self) -> Option<u64> {
        if self.is_cpu() { None } else { self.device().memory_pool_usage().map(|usage| usage.bytes_reserved) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cuda {
            None => f.write_str("cpu"),
            Some(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "it was asked for",
            Self::Found => "a CUDA device was found",
            Self::NotCompiled => "this program was built without CUDA",
            Self::NoneFound => "no CUDA device was found (is NVIDIA's driver installed?)",
        })
    }
}

/// Version of NVIDIA's driver, where the system tells.
pub fn nvidia_driver() -> Option<String> {
    let text = fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let numeric = |word: &&str| word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.split_whitespace().find(numeric).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_COMPILED: Survey = Survey { compiled: false, cuda: 0 };
    const NO_DRIVER: Survey = Survey { compiled: true, cuda: 0 };
    const TWO: Survey = Survey { compiled: true, cuda: 2 };

    fn cuda(index: usize) -> Place {
        Place { cuda: Some(index) }
    }

    #[test]
    fn a_choice_is_read_and_written_alike() {
        for (word, choice) in
            [("auto", DeviceChoice::Auto), ("cpu", DeviceChoice::Cpu), ("cuda:3", DeviceChoice::Cuda(3))]
        {
            assert_eq!(word.parse(), Ok(choice));
            assert_eq!(choice.to_string(), word);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn a_word_that_names_no_device_is_refused() {
        for word in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:1.5", "cuda:70000", "cuda0", " cpu"] {
            let error = word.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("auto, cpu, cuda"), "{error}");
        }
    }

    #[test]
    fn auto_takes_what_there_is_and_never_fails() {
        let auto = |survey| DeviceChoice::Auto.resolve(survey).unwrap();
        assert_eq!(auto(NOT_COMPILED), (Place::CPU, Reason::NotCompiled));
        assert_eq!(auto(NO_DRIVER), (Place::CPU, Reason::NoneFound));
        assert_eq!(auto(TWO), (cuda(0), Reason::Found));
    }

    #[test]
    fn a_device_asked_for_by_name_is_that_device_or_an_error() {
        let one = |survey| DeviceChoice::Cuda(1).resolve(survey);
        assert_eq!(one(TWO), Ok((cuda(1), Reason::Asked)));
        assert_eq!(one(NOT_COMPILED), Err(DeviceError::NotCompiled));
        assert_eq!(one(NO_DRIVER), Err(DeviceError::NoneFound));
        assert_eq!(DeviceChoice::Cuda(2).resolve(TWO), Err(DeviceError::Index { index: 2, found: 2 }));
        for survey in [NOT_COMPILED, NO_DRIVER, TWO] {
            assert_eq!(DeviceChoice::Cpu.resolve(survey), Ok((Place::CPU, Reason::Asked)));
        }
    }

    #[test]
    fn where_nobody_chose_the_processor_computes() {
        assert_eq!(place(), Place::CPU);
        assert_eq!(Place::CPU.device(), Device::flex());
    }

    #[test]
    fn a_place_for_a_piece_of_work_ends_with_it() {
        on(cuda(1), || {
            assert_eq!(place(), cuda(1));
            on(Place::CPU, || assert_eq!(place(), Place::CPU));
            assert_eq!(place(), cuda(1));
        });
        let panicked = std::panic::catch_unwind(|| on(cuda(1), || panic!("work failed")));
        assert!(panicked.is_err());
        assert_eq!(place(), Place::CPU);
    }
}
