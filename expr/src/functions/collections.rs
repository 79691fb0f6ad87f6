use crate::registry::Function;

pub(super) const FUNCTIONS: &[Function] = &[];
