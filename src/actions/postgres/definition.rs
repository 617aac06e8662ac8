//! Definitions as a server writes them, made comparable.
//!
//! A server writes a definition from what it has understood of it, and does so in other words once it has read its own: a
//! check of `in ('a', 'b')` has its casts elsewhere after a restore. What stays the same is the text without casts and
//! parentheses.

/// Returns a definition without what changes when it is read and written again.
pub(super) fn comparable(definition: &str) -> String {
    let tokens = tokens(definition);
    let mut kept: Vec<&str> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        rest = match *token {
            "::" => without_type(after),
            "(" | ")" => after,
            token => {
                kept.push(token);
                after
            }
        };
    }
    kept.join(" ")
}

/// Cuts a text into words, quoted texts and single signs; a cast is one sign.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' => quoted(rest, first),
            ':' if rest.starts_with("::") => 2,
            first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        found.push(token);
        rest = after.trim_start();
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Returns where a quoted text ends; a quote that is doubled ends one and begins the next, which is the same.
fn quoted(text: &str, quote: char) -> usize {
    let inside = text.get(1..).unwrap_or_default();
    inside.find(quote).map_or(text.len(), |at| at + 2)
}

/// Returns what comes behind the name of a type.
fn without_type<'a, 'b>(tokens: &'a [&'b str]) -> &'a [&'b str] {
    let [name, rest @ ..] = tokens else { return tokens };
    let mut rest = rest;
    while let [".", _, after @ ..] = rest {
        rest = after;
    }
    rest = without_size(rest);
    rest = match (*name, rest) {
        ("character" | "bit", ["varying", after @ ..])
        | ("double", ["precision", after @ ..])
        | ("timestamp" | "time", ["with" | "without", "time", "zone", after @ ..]) => after,
        ("interval", rest) => without_fields(rest),
        (_, rest) => rest,
    };
    rest = without_size(rest);
    while let ["[", "]", after @ ..] = rest {
        rest = after;
    }
    rest
}

/// Returns what comes behind a type's size, e.g. `(10,2)`.
fn without_size<'a, 'b>(tokens: &'a [&'b str]) -> &'a [&'b str] {
    let ["(", inside @ ..] = tokens else { return tokens };
    let is_size = |token: &str| token == "," || token.bytes().all(|b| b.is_ascii_digit());
    match inside.iter().position(|token| *token == ")") {
        Some(end) if end > 0 && inside[..end].iter().all(|token| is_size(token)) => {
            &inside[end + 1..]
        }
        Some(_) | None => tokens,
    }
}

/// Returns what comes behind the fields of an interval, e.g. `day to second`.
fn without_fields<'a, 'b>(mut tokens: &'a [&'b str]) -> &'a [&'b str] {
    while let ["year" | "month" | "day" | "hour" | "minute" | "second" | "to", after @ ..] = tokens
    {
        tokens = after;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_writes_again_in_other_words_is_the_same() {
        for (before, after) in [
            (
                "CHECK (((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
                "CHECK (((s)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
            ),
            ("CHECK (((a AND b) AND c))", "CHECK ((a AND b AND c))"),
            ("at > '2026-01-01'::timestamp(3) without time zone", "at > '2026-01-01'"),
            ("x = (y)::numeric(10,2)", "x = y"),
            ("x = y::\"Odd\".\"a b\"[][] AND z", "x=y AND z"),
            ("i > '1 day'::interval day to second(3)", "i > '1 day'"),
            ("SELECT a,\n    b\n   FROM t;", "SELECT a, b FROM t;"),
        ] {
            assert_eq!(comparable(before), comparable(after), "{before}");
        }
    }

    #[test]
    fn what_means_something_else_is_not() {
        for (one, other) in [
            ("CHECK ((a > 1))", "CHECK ((a > 2))"),
            ("CHECK ((a > 1))", "CHECK ((a < 1))"),
            ("x = 'a::text'", "x = 'a'"),
            ("x = 'it''s (1)'", "x = 'it''s 1'"),
            ("select \"a (b)\"", "select \"a b\""),
            ("'x'::text || y", "'x'::text"),
            ("(now() AT TIME ZONE 'UTC'::text)", "now()"),
            ("a::time > b", "a::time < b"),
        ] {
            assert_ne!(comparable(one), comparable(other), "{one}");
        }
        assert_eq!(comparable("'unfinished"), "'unfinished");
        assert_eq!(comparable("a ::"), "a");
    }
}
