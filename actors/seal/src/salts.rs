//! Salts of leaves, from the random bytes of the operating system.

use crate::key::KeyError;
use aws_lc_rs::rand;
use decisiongraph_projections::seal::leaf::Salts;

/// Draws the salts of so many events, in one draw.
pub fn draw_salts(events: usize) -> Result<Vec<Salts>, KeyError> {
    let mut bytes = vec![[0; 32]; events];
    rand::fill(bytes.as_flattened_mut()).map_err(|_| KeyError::Crypto)?;
    Ok(bytes.iter().map(Salts::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_salt_is_drawn() {
        let salts = draw_salts(300).expect("drawn");
        let halves = salts.iter().flat_map(|salts| [salts.envelope, salts.body]);
        assert_eq!(halves.collect::<BTreeSet<_>>().len(), 600);
        assert!(draw_salts(0).expect("drawn").is_empty());
    }
}
