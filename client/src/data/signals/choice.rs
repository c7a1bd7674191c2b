//! Which inputs beside numbers, calendar, attributes and text a model reads.
//!
//! The choice is part of a model's settings, so whoever founds a federation makes it, in public. A merchant may make
//! a further one for models that never leave it (`[inputs]` in `series.toml`).

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

/// Something with a name that can be chosen or not.
pub trait Named: Copy + Eq + Serialize + DeserializeOwned + 'static {
    /// All there are, in the order in which models read them.
    const ALL: &'static [Self];

    /// Its name in settings.
    fn name(self) -> &'static str;
}

/// What was seen of a product up to now, by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PastChannel {
    /// Times it was looked at.
    Views,
    /// Times it was put into a cart.
    Carts,
    /// Times it was put on a wish-list.
    Wishlists,
    /// Times it was found by searching.
    Searches,
    /// Units sent back.
    Returns,
    /// Reviews so far.
    Reviews,
    /// Mean score of the reviews so far.
    ReviewScore,
    /// Units on hand.
    Stock,
}

impl Named for PastChannel {
    const ALL: &'static [Self] = &[
        Self::Views,
        Self::Carts,
        Self::Wishlists,
        Self::Searches,
        Self::Returns,
        Self::Reviews,
        Self::ReviewScore,
        Self::Stock,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Views => "views",
            Self::Carts => "carts",
            Self::Wishlists => "wishlists",
            Self::Searches => "searches",
            Self::Returns => "returns",
            Self::Reviews => "reviews",
            Self::ReviewScore => "review-score",
            Self::Stock => "stock",
        }
    }
}

/// What is known in advance beside the channels that every model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownFeature {
    /// What kind of promotion runs, in hashed buckets.
    PromotionType,
    /// The merchant's own events: the day itself, and how near the next one is.
    Occasion,
}

impl Named for KnownFeature {
    const ALL: &'static [Self] = &[Self::PromotionType, Self::Occasion];

    fn name(self) -> &'static str {
        match self {
            Self::PromotionType => "promotion-type",
            Self::Occasion => "occasion",
        }
    }
}

/// Some of what can be chosen.
pub struct Chosen<T> {
    bits: u16,
    of: PhantomData<T>,
}

impl<T> Clone for Chosen<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Chosen<T> {}

impl<T> Default for Chosen<T> {
    fn default() -> Self {
        Self { bits: 0, of: PhantomData }
    }
}

impl<T> PartialEq for Chosen<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl<T> Eq for Chosen<T> {}

impl<T: Named> Chosen<T> {
    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Whether `one` is chosen.
    pub fn has(&self, one: T) -> bool {
        self.iter().any(|chosen| chosen == one)
    }

    /// What is chosen, in the order of [`Named::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = T> + use<T> {
        let bits = self.bits;
        T::ALL.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, one)| *one)
    }

    /// How much is chosen.
    pub fn len(&self) -> usize {
        self.bits.count_ones() as usize
    }

    /// What either of the two has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, of: PhantomData }
    }
}

impl<T: Named> FromIterator<T> for Chosen<T> {
    fn from_iter<I: IntoIterator<Item = T>>(chosen: I) -> Self {
        let bit = |one: T| T::ALL.iter().position(|known| *known == one).map_or(0, |at| 1 << at);
        Self { bits: chosen.into_iter().fold(0, |bits, one| bits | bit(one)), of: PhantomData }
    }
}

impl<T: Named> fmt::Display for Chosen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(T::name).collect::<Vec<_>>().join(","))
    }
}

impl<T: Named> fmt::Debug for Chosen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

impl<T: Named> FromStr for Chosen<T> {
    type Err = String;

    /// Names with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| {
                T::ALL.iter().find(|one| one.name() == name).copied().ok_or_else(|| {
                    let known: Vec<_> = T::ALL.iter().map(|one| one.name()).collect();
                    format!("there is no `{name}`; there are {}", known.join(", "))
                })
            })
            .collect()
    }
}

impl<T: Named> Serialize for Chosen<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de, T: Named> Deserialize<'de> for Chosen<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<T>::deserialize(from)?.into_iter().collect())
    }
}

/// Which further inputs a model reads. Nothing, unless somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Inputs {
    /// Channels of the past.
    pub past_channels: Chosen<PastChannel>,
    /// Channels of past and future.
    pub known_channels: Chosen<KnownFeature>,
    /// A vector that the merchant brings for each product.
    pub vectors: bool,
    /// What came back of what was sold: read of the past, and forecast by a head of its own.
    pub returns: bool,
}

impl Inputs {
    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What either of the two reads.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            past_channels: self.past_channels.or(other.past_channels),
            known_channels: self.known_channels.or(other.known_channels),
            vectors: self.vectors || other.vectors,
            returns: self.returns || other.returns,
        }
    }
}
