//! Texts with `${{ … }}` in them: splitting, nothing else.

/// What opens an expression.
pub(crate) const OPEN: &str = "${{";
/// What stands for an opening that is meant as text.
const ESCAPED: &str = "$${{";

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Literal(&'a str),
    /// An expression, and the byte of the text it begins at
    Expression {
        text: &'a str,
        at: usize,
    },
}

/// An expression that is opened and never closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`${{{{` is never closed by `}}}}`")]
pub(crate) struct Unclosed {
    /// Byte of the text it is opened at
    pub at: usize,
}

/// Says whether a text holds an expression, or the escaped form of one.
pub(crate) fn holds_expression(text: &str) -> bool {
    text.contains(OPEN)
}

/// Says whether a text is one expression and nothing else, so that it keeps the expression's type.
pub(crate) fn is_whole(text: &str) -> bool {
    matches!(split(text).as_deref(), Ok([Piece::Expression { .. }]))
}

/// Splits a text into literal pieces and expressions.
///
/// Space around a whole-value expression is dropped, so that folded YAML may end in a line break.
pub(crate) fn split(text: &str) -> Result<Vec<Piece<'_>>, Unclosed> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut look = 0;
    while let Some(found) = text[look..].find(OPEN) {
        let open = look + found;
        if open > 0 && text[..open].ends_with('$') {
            // `$${{`: the first dollar is dropped, the rest is text.
            push_literal(&mut pieces, &text[from..open - 1]);
            push_literal(&mut pieces, OPEN);
            from = open + OPEN.len();
            look = from;
            continue;
        }
        let start = open + OPEN.len();
        let length = length(&text[start..]).ok_or(Unclosed { at: open })?;
        push_literal(&mut pieces, &text[from..open]);
        let inner = &text[start..start + length];
        let trimmed = inner.trim_start();
        let at = start + (inner.len() - trimmed.len());
        pieces.push(Piece::Expression { text: trimmed.trim_end(), at });
        from = start + length + 2;
        look = from;
    }
    push_literal(&mut pieces, &text[from..]);
    if pieces.iter().filter(|piece| matches!(piece, Piece::Expression { .. })).count() == 1 {
        let blank =
            |piece: &Piece<'_>| matches!(piece, Piece::Literal(text) if text.trim().is_empty());
        if pieces.iter().filter(|piece| !blank(piece)).count() == 1 {
            pieces.retain(|piece| !blank(piece));
        }
    }
    Ok(pieces)
}

fn push_literal<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text));
    }
}

/// Returns where the `}}` that ends an expression begins; braces and quotes inside it are followed.
fn length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut quote: Option<u8> = None;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

/// Returns a text in which nothing will be taken for an expression.
pub(crate) fn escape(text: &str) -> String {
    text.replace(OPEN, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Vec<Piece<'_>> {
        split(text).expect(text)
    }

    #[test]
    fn splits() {
        let expression = |text, at| Piece::Expression { text, at };
        assert_eq!(whole("plain"), [Piece::Literal("plain")]);
        assert_eq!(whole(""), []);
        assert_eq!(whole("${{ a.b }}"), [expression("a.b", 4)]);
        assert_eq!(whole(" ${{a}}\n"), [expression("a", 4)]);
        assert_eq!(
            whole("x ${{ a }}${{b}} y"),
            [Piece::Literal("x "), expression("a", 6), expression("b", 13), Piece::Literal(" y")]
        );
        assert_eq!(whole("${{ {'k': {'a': 1}} }}"), [expression("{'k': {'a': 1}}", 4)]);
        assert_eq!(whole("${{ '}}' + \"it's}}\" }}"), [expression("'}}' + \"it's}}\"", 4)]);
        assert_eq!(whole("${{ 'a\\'}}' }}"), [expression("'a\\'}}'", 4)]);
    }

    #[test]
    fn an_escaped_opening_is_text() {
        assert_eq!(
            whole("a $${{ b }}"),
            [Piece::Literal("a "), Piece::Literal("${{"), Piece::Literal(" b }}")]
        );
        assert!(!is_whole("$${{ a }}"));
    }

    #[test]
    fn an_expression_must_end() {
        assert_eq!(split("x ${{ a }"), Err(Unclosed { at: 2 }));
        assert_eq!(split("${{ 'a }}"), Err(Unclosed { at: 0 }));
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_stays_as_it_is(text in "[a${}' ]{0,12}") {
            let escaped = escape(&text);
            let pieces = split(&escaped).expect("nothing is opened");
            let joined: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(text) => *text,
                    Piece::Expression { .. } => "an expression",
                })
                .collect();
            proptest::prop_assert_eq!(joined, text);
        }
    }
}
