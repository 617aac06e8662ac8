//! Pods that look for a place: the one thing in a cluster that a lack of machines befalls.
//!
//! Who wants pods is answered as ever; it is the scheduler that finds no room. So what a rule names is the scheduler's
//! own call, by which it binds a pod to its node.

/// Beginning of the operation, up to the namespace.
const OF: &str = "POST /api/v1/namespaces/";

/// Returns the operation by which a pod gets its place.
pub(in crate::sandbox) fn operation(namespace: &str, pod: &str) -> String {
    format!("{OF}{namespace}/pods/{pod}/binding")
}

/// Says whether the operation of some pod's placing begins so.
pub(super) fn may_be(start: &str) -> bool {
    let Some(rest) = start.strip_prefix(OF) else { return OF.starts_with(start) };
    let parts: Vec<&str> = rest.split('/').collect();
    let is = |at: usize, word: &str| match parts.get(at) {
        None => true,
        // The last one may be the beginning of a word.
        Some(part) if at + 1 == parts.len() => word.starts_with(part),
        Some(part) => *part == word,
    };
    parts.len() <= 4 && is(1, "pods") && is(3, "binding")
}
