//! temp
use super::load::Loaded;
use super::problem::Problems;
pub(crate) fn check(l: &Loaded) -> Problems {
    l.problems(Vec::new())
}
