//! The two digests of a projection. [`reference`] is byte-equal to the reference, over all rows in order. [`rolling`]
//! is incremental and order-free, and every batch updates it.

mod expansion;
pub mod reference;
pub mod rolling;
