//! Answers that are cut short.
//!
//! The SDK's XML reader takes the end of the text for the end of the document: what is missing then reads as not there,
//! and a replica cut off before the name of its source as an instance that follows nobody. A connection with a length
//! reports the cut itself; one through a proxy that ends the body by closing does not.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Fails a call that succeeded with XML without its end: nobody knows what it was to say.
#[derive(Debug, Clone)]
pub(super) struct WholeInterceptor;

#[dyn_dispatch_hint]
impl Intercept for WholeInterceptor {
    fn name(&self) -> &'static str {
        "PhoenixWhole"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        // A refusal is one by its status. A body that is streamed to its reader is none that is held here.
        match response.body().bytes() {
            Some(body) if response.status().is_success() && is_cut(body) => {
                Err("the answer is cut short".into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Says whether a body is XML that does not end with its first element's end. No element of these answers holds one of
/// its own name.
fn is_cut(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    if !body.starts_with(b"<") {
        return false;
    }
    // A declaration comes before it.
    let begins = body.windows(2).position(|pair| pair[0] == b'<' && is_name(pair[1]));
    let Some(element) = begins.map(|begins| &body[begins..]) else { return true };
    let Some(length) = element[1..].iter().position(|byte| !is_name(*byte)) else { return true };
    let closed = [b"</", &element[1..=length], b">"].concat();
    // An element without content is its own end.
    let only = element[1..].iter().all(|byte| *byte != b'<');
    !(element.ends_with(&closed) || only && element.ends_with(b"/>"))
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::is_cut;

    #[test]
    fn xml_is_whole_when_its_first_element_ends_it() {
        let whole = "<?xml version=\"1.0\"?>\n<A xmlns=\"urn:a\"><B>1</B></A>\n";
        for (body, cut) in [
            (whole, false),
            ("<A/>", false),
            ("<?xml version=\"1.0\"?><A xmlns=\"urn:a\" />", false),
            ("<?xml version=\"1.0\"?><A xmlns=\"urn:a\" /", true),
            ("", false),
            ("{\"a\": 1", false),
            ("<A><B/>", true),
            ("<?xml version=\"1.0\"?>", true),
        ] {
            assert_eq!(is_cut(body.as_bytes()), cut, "{body}");
        }
        let end = whole.trim_end().len();
        for length in 1..end {
            assert!(is_cut(&whole.as_bytes()[..length]), "{}", &whole[..length]);
        }
    }
}
