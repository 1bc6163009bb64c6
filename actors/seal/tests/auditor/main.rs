//! The library and the program judge the vectors of the contract as the contract does, and refuse whatever was changed.

mod changed;
mod packs;
mod proofs;
mod rotation;
mod support;
