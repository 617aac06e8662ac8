//! Text to an expression that can be evaluated and asked for the names it uses.

use std::collections::HashMap;
use std::ops::Range;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::{CHARACTERS_MAX, ExpressionError, NESTING_MAX, OPERATORS_MAX, strict};

/// An expression, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub text: String,
    /// As written, for checks that run nothing
    pub(crate) tree: IdedExpr,
    /// With strict operators and counted rounds, for evaluation
    pub(super) strict: IdedExpr,
    /// Levels of `strict`
    depth: usize,
    /// Where each node of `tree` is written, in bytes
    spots: HashMap<u64, Range<usize>>,
    pub references: Vec<Reference>,
}

/// A name an expression uses, e.g. `estate.regions[inputs.region].api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `inputs`, `estate`, `run`, `steps`, `value` or something unknown
    pub root: String,
    pub path: Vec<Access>,
    /// Asked for by `has(…)` only
    pub tested: bool,
    /// Where it is written in the expression
    pub range: Range<usize>,
}

/// One step of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Field(String),
    /// Index or key that is known only when the expression is evaluated
    Computed,
}

impl Reference {
    /// Returns the id of the step whose outputs are used, where it is one.
    pub(crate) fn step(&self) -> Option<&str> {
        match self.path.first() {
            Some(Access::Field(id)) if self.root == "steps" => Some(id),
            _ => None,
        }
    }

    /// Returns the name of the output used.
    pub(crate) fn output(&self) -> Option<&str> {
        match self.path.get(2) {
            Some(Access::Field(name)) if self.root == "steps" => Some(name),
            _ => None,
        }
    }
}

impl Expression {
    /// Compiles a text.
    pub(crate) fn compile(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        guard(text)?;
        let (tree, spots) = match chain(text) {
            Some(found) => found,
            None => roomy(text, || parse(text))??,
        };
        let mut names = Names { text, spots: &spots, bound: Vec::new(), found: Vec::new() };
        names.visit(&tree);
        let references = names.found;
        let strict = strict::strict(&tree);
        let depth = depth(&strict);
        Ok(Self { text: text.to_owned(), tree, strict, depth, spots, references })
    }

    /// Says whether every name it uses is among the given roots.
    pub(crate) fn uses_only(&self, roots: &[&str]) -> bool {
        self.references.iter().all(|reference| roots.contains(&reference.root.as_str()))
    }

    /// Runs an evaluation where its recursion has room.
    pub(super) fn with_room<T: Send>(
        &self,
        run: impl FnOnce() -> T + Send,
    ) -> Result<T, ExpressionError> {
        if self.depth <= DEPTH_SMALL { Ok(run()) } else { roomy(&self.text, run) }
    }

    /// Returns where a node is written; the whole text where that is not known.
    pub(crate) fn spot(&self, node: &IdedExpr) -> Range<usize> {
        let names =
            Names { text: &self.text, spots: &self.spots, bound: Vec::new(), found: Vec::new() };
        names.span(node).unwrap_or(0..self.text.len())
    }
}

/// Levels that are evaluated on the caller's own stack.
const DEPTH_SMALL: usize = 12;

/// Stack for the parser and for deep evaluations. Their recursion takes up to 200 KiB a level in a build
/// without optimisation, a runtime's thread has 2 MiB; what is not used is never backed by memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs something recursive on a thread with a stack that holds whatever [`guard`] lets through.
fn roomy<T: Send>(text: &str, run: impl FnOnce() -> T + Send) -> Result<T, ExpressionError> {
    let failed = |why: &str| ExpressionError::new(&shorten(text), format!("cannot be read: {why}"));
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("expression".into()).stack_size(STACK_BYTES);
        let thread =
            builder.spawn_scoped(scope, run).map_err(|error| failed(&error.to_string()))?;
        thread.join().map_err(|_| failed("the parser panicked"))
    })
}

fn depth(node: &IdedExpr) -> usize {
    1 + children(node).into_iter().map(depth).max().unwrap_or(0)
}

/// Refuses what could exhaust the parser or the stack, before either sees it.
fn guard(text: &str) -> Result<(), ExpressionError> {
    let error = |message: String| Err(ExpressionError::new(&shorten(text), message));
    if text.is_empty() {
        return error("an expression is empty".to_owned());
    }
    let characters = text.chars().count();
    if characters > CHARACTERS_MAX {
        return error(format!("{characters} characters; at most {CHARACTERS_MAX} are allowed"));
    }
    let (mut depth, mut run, mut operators) = (0_usize, 0_usize, 0_usize);
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for character in text.chars() {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        if quote.is_none() {
            if ".([{!-+*/%?<>=&|,".contains(character) {
                operators += 1;
            }
            run = match character {
                '!' | '-' => run + 1,
                ' ' => run,
                _ => 0,
            };
        }
        if depth > NESTING_MAX || run > NESTING_MAX {
            return error(format!("nested deeper than {NESTING_MAX} levels"));
        }
        if operators > OPERATORS_MAX {
            return error(format!("more than {OPERATORS_MAX} operators"));
        }
    }
    Ok(())
}

/// Returns a text short enough to print.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(57).collect();
    short.push('…');
    short
}

type Parsed = (IdedExpr, HashMap<u64, Range<usize>>);

/// Words CEL does not take as names.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Reads a plain name such as `inputs.region`: nearly all expressions are one, and CEL's own parser takes
/// longer for it than for anything else a plan of thousands of steps does.
fn chain(text: &str) -> Option<Parsed> {
    let mut spots = HashMap::new();
    let mut at = 0;
    let mut tree: Option<IdedExpr> = None;
    for (number, word) in (1_u64..).zip(text.split('.')) {
        let mut bytes = word.bytes();
        let first = bytes.next()?;
        let name = (first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !name || RESERVED.contains(&word) {
            return None;
        }
        let field = word.to_owned();
        let expr = match tree.take() {
            None => Expr::Ident(field),
            Some(operand) => {
                Expr::Select(SelectExpr { operand: Box::new(operand), field, test: false })
            }
        };
        spots.insert(number, at..at + word.len());
        tree = Some(IdedExpr { id: number, expr });
        at += word.len() + 1;
    }
    tree.map(|tree| (tree, spots))
}

fn parse(text: &str) -> Result<Parsed, ExpressionError> {
    let limit = u16::try_from(NESTING_MAX).unwrap_or(u16::MAX);
    let parser = cel::parser::Parser::new().max_recursion_depth(limit);
    let (tree, info) = parser.parse_with_source_info(text).map_err(|errors| {
        let Some(first) = errors.errors.first() else {
            return ExpressionError::new(text, "cannot be read");
        };
        let (line, column) = first.pos;
        let at = byte_of(text, line, column).min(text.len());
        let message = first.msg.lines().next().unwrap_or("cannot be read");
        ExpressionError::new(&shorten(text), plain(message))
            .at(at..(at + 1).min(text.len()).max(at))
    })?;
    // CEL counts characters.
    let byte = |character: u32| {
        text.char_indices().nth(character as usize).map_or(text.len(), |(byte, _)| byte)
    };
    let mut spots = HashMap::new();
    collect(&tree, &mut |id| {
        if let Some((start, stop)) = info.offset_for(id) {
            spots.insert(id, byte(start)..byte(stop + 1).max(byte(start)));
        }
    });
    Ok((tree, spots))
}

/// Says a parser's message in our words.
fn plain(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let end = message.find(" expecting ").unwrap_or(message.len());
    let message = message[..end].trim();
    let said = |start: &str, before: &str, after: &str| {
        let rest = message.strip_prefix(start)?.trim().trim_matches('\'');
        Some(if rest == "<EOF>" {
            "the expression ends too early".to_owned()
        } else {
            format!("{before}`{rest}`{after}")
        })
    };
    said("mismatched input", "", " is not expected here")
        .or_else(|| said("extraneous input", "", " is not expected here"))
        .or_else(|| said("no viable alternative at input", "cannot be read from ", ""))
        .or_else(|| said("token recognition error at:", "", " has no place in an expression"))
        .unwrap_or_else(|| message.to_owned())
}

fn byte_of(text: &str, line: isize, column: isize) -> usize {
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    start + rest.char_indices().nth(column).map_or(rest.len(), |(byte, _)| byte)
}

fn collect(node: &IdedExpr, see: &mut dyn FnMut(u64)) {
    see(node.id);
    for child in children(node) {
        collect(child, see);
    }
}

/// Returns the parts of a node.
pub(crate) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.iter().map(AsRef::as_ref).chain(&call.args).collect(),
        Expr::Comprehension(loops) => {
            vec![
                &loops.iter_range,
                &loops.accu_init,
                &loops.loop_cond,
                &loops.loop_step,
                &loops.result,
            ]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(object) => {
            object.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect()
        }
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Collects the names an expression uses.
struct Names<'a> {
    text: &'a str,
    spots: &'a HashMap<u64, Range<usize>>,
    /// Variables of the comprehensions around
    bound: Vec<String>,
    found: Vec<Reference>,
}

impl Names<'_> {
    fn visit(&mut self, node: &IdedExpr) {
        if let Some((root, path, tested)) = self.name(node) {
            if !self.bound.contains(&root) && !root.starts_with('@') {
                let range = self.span(node).unwrap_or(0..0);
                self.found.push(Reference { root, path, tested, range });
            }
            self.indexes(node);
            return;
        }
        if let Expr::Comprehension(loops) = &node.expr {
            self.visit(&loops.iter_range);
            self.bound.push(loops.iter_var.clone());
            for part in [&loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result] {
                self.visit(part);
            }
            self.bound.pop();
            return;
        }
        for child in children(node) {
            self.visit(child);
        }
    }

    /// Visits what stands between the brackets of a name.
    fn indexes(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Select(select) => self.indexes(&select.operand),
            Expr::Call(call) => {
                self.indexes(&call.args[0]);
                self.visit(&call.args[1]);
            }
            _ => {}
        }
    }

    /// Returns the name a node spells.
    fn name(&self, node: &IdedExpr) -> Option<(String, Vec<Access>, bool)> {
        match &node.expr {
            Expr::Ident(name) => Some((name.clone(), Vec::new(), false)),
            Expr::Select(select) => {
                let (root, mut path, _) = self.name(&select.operand)?;
                path.push(Access::Field(select.field.clone()));
                Some((root, path, select.test))
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                let (root, mut path, _) = self.name(&call.args[0])?;
                path.push(match &call.args[1].expr {
                    Expr::Literal(LiteralValue::String(key)) => {
                        Access::Field(key.inner().to_owned())
                    }
                    _ => Access::Computed,
                });
                Some((root, path, false))
            }
            _ => None,
        }
    }

    /// Returns where a node and all its parts are written.
    fn span(&self, node: &IdedExpr) -> Option<Range<usize>> {
        // The parser places a selection at its dot, an index at its bracket, a macro at its parenthesis.
        let own = match &node.expr {
            Expr::Select(_) => None,
            _ => self.spots.get(&node.id).cloned(),
        };
        let parts = children(node);
        let mut all = parts.iter().filter_map(|part| self.span(part)).fold(own, |all, part| {
            Some(all.map_or(part.clone(), |all| all.start.min(part.start)..all.end.max(part.end)))
        })?;
        let rest = self.text.get(all.end..).unwrap_or("");
        match &node.expr {
            Expr::Select(select) => {
                let dotted = rest.find(select.field.as_str()).filter(|at| {
                    rest[..*at].chars().all(|found| found == '.' || found.is_whitespace())
                });
                all.end += dotted.map_or(0, |at| at + select.field.len());
            }
            Expr::Call(call) if call.func_name == operators::INDEX && rest.starts_with(']') => {
                all.end += 1;
            }
            _ => {}
        }
        Some(all)
    }
}
