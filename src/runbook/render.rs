//! temp
use super::schema::Runbook;
use crate::plan::Plan;
pub(crate) fn show(_r: &Runbook) -> String {
    String::new()
}
pub(crate) fn show_actions() -> String {
    String::new()
}
pub(crate) fn rendered(_p: &Plan) -> String {
    String::new()
}
