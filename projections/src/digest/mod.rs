//! The two digests of a projection: [`reference`], byte-equal to the reference, over all rows in order; and
//! [`rolling`], incremental and order-free, kept up to date by every batch.

pub mod reference;
pub mod rolling;
