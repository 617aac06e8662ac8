//! Texts and conditions: compiled, every name known where it stands, every output of a step that is upstream.

use std::collections::HashSet;
use std::ops::Range;

use cel::common::ast::Expr;
use serde_json::{Map, Value};

use super::types::{Inference, Kind, Type, kinds_of};
use super::{Checker, Use};
use crate::runbook::expression::{
    Access, Expression, ExpressionError, Reference, compile_cached, template, template_cached,
};
use crate::runbook::path::Path;
use crate::runbook::problem::Problem;
use crate::runbook::schema::InputType;
use crate::runbook::shape::Schema;

/// Names known before the run.
pub(super) const PLANNED: &[&str] = &["inputs", "estate"];
/// Names known while it goes on.
const RUNNING: &[&str] = &["inputs", "estate", "run", "steps"];
/// Names known to a condition over what a check saw: it is evaluated over that alone.
const SEEN: &[&str] = &["value"];

/// What is said where a secret input cannot be.
const SECRETS: &str = "a secret goes to a program alone, as all of a variable: \
    `action: command.run` with `env: { VARIABLE: \"${{ inputs.NAME }}\" }`";

/// Says whether an expression is a secret input and nothing around it.
fn is_secret_alone(expression: &Expression, found: &Type) -> bool {
    let select = matches!(&expression.tree.expr, Expr::Select(select) if !select.test);
    matches!(found, Type::Secret) && select
}

/// Says whether a reference to a secret can stand where a schema's node is wanted.
fn takes_secret(schema: &Schema, wanted: &Value) -> bool {
    schema.alternatives(wanted).into_iter().any(|way| {
        let known = way.get("properties").and_then(Value::as_object);
        known.is_some_and(|known| {
            ["env", "file", "command"].iter().all(|key| known.contains_key(*key))
        })
    })
}

/// Where a text stands: what it may name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Where {
    pub roots: &'static [&'static str],
    /// Step it belongs to; the end of the run when absent
    pub step: Option<usize>,
    /// The step has been performed: its own outputs are known
    pub own: bool,
}

impl Where {
    pub(super) const fn planned() -> Self {
        Self { roots: PLANNED, step: None, own: false }
    }

    pub(super) const fn before(step: usize) -> Self {
        Self { roots: RUNNING, step: Some(step), own: false }
    }

    pub(super) const fn after(step: usize) -> Self {
        Self { roots: RUNNING, step: Some(step), own: true }
    }

    pub(super) const fn end() -> Self {
        Self { roots: RUNNING, step: None, own: false }
    }

    const fn over_value(self) -> Self {
        Self { roots: SEEN, ..self }
    }
}

impl Checker<'_> {
    /// Checks a text that stays a text.
    pub(super) fn text(&mut self, text: &str, place: Where, path: &Path) {
        if !template::holds_expression(text) {
            return;
        }
        let template = match template_cached(text) {
            Ok(template) => template,
            Err(error) => return self.refuse(&error, path),
        };
        for (expression, _) in template.expressions() {
            let found = self.expression(expression, place, path);
            if self.secret(expression, path) {
                continue;
            }
            let kinds = found.kinds(self.names.estate).unwrap_or_default();
            if matches!(kinds.as_slice(), [Kind::List | Kind::Map]) {
                let message = format!("{} cannot be part of a text", kinds[0].say());
                self.misplaced(expression, path, message);
            }
        }
    }

    /// Refuses a secret input where one is used; says whether it did.
    pub(super) fn secret(&mut self, expression: &Expression, path: &Path) -> bool {
        let inputs = self.names.inputs;
        let is_secret =
            |name: &str| inputs.get(name).is_some_and(|input| input.kind == InputType::Secret);
        let used =
            expression.references.iter().find_map(|reference| match reference.path.first() {
                Some(Access::Field(name))
                    if reference.root == "inputs" && !reference.tested && is_secret(name) =>
                {
                    Some((name.clone(), reference.range.clone()))
                }
                _ => None,
            });
        let Some((name, range)) = used else { return false };
        let range = self.loaded.place_in(path, &expression.text, Some(&range));
        let problem = Problem::at(range, format!("the secret `{name}` cannot be used here"));
        self.report(problem.help(SECRETS.replace("NAME", &name)));
        true
    }

    /// Checks every text in arguments; `wanted` finds what the schema asks for at a path.
    pub(super) fn arguments(&mut self, with: &Map<String, Value>, place: Where, path: &Path) {
        for (key, value) in with {
            self.argument(value, place, &path.key(key));
        }
    }

    pub(super) fn argument(&mut self, value: &Value, place: Where, path: &Path) {
        match value {
            Value::String(text) if template::is_whole(text) => match template_cached(text) {
                Ok(template) => {
                    if let Some(expression) = template.whole() {
                        let found = self.expression(expression, place, path);
                        // What is a secret and no more is held against what is wanted there.
                        if !is_secret_alone(expression, &found) {
                            self.secret(expression, path);
                        }
                    }
                }
                Err(error) => self.refuse(&error, path),
            },
            Value::String(text) => self.text(text, place, path),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.argument(item, place, &path.item(i));
                }
            }
            Value::Object(entries) => self.arguments(entries, place, path),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Holds the type of an argument that is one expression against what is wanted there.
    pub(super) fn fits(
        &mut self,
        schema: &Schema,
        wanted: &Value,
        text: &str,
        place: Where,
        path: &Path,
    ) {
        let Ok(template) = template_cached(text) else { return };
        let Some(expression) = template.whole() else { return };
        let mut inference = Inference::new(self.names, expression, place.roots);
        let found = inference.whole();
        if is_secret_alone(expression, &found) {
            if !takes_secret(schema, wanted) {
                self.secret(expression, path);
            }
            return;
        }
        let (Some(found), Some(wanted)) =
            (found.kinds(self.names.estate), kinds_of(schema, wanted))
        else {
            return;
        };
        if !found.is_empty()
            && !wanted.is_empty()
            && !found.iter().any(|kind| wanted.contains(kind))
        {
            let message = format!("expected {}, found {}", wanted[0].say(), found[0].say());
            self.misplaced(expression, path, message);
        }
    }

    /// Checks a condition: it must be true or false.
    pub(super) fn condition(&mut self, text: &str, place: Where, path: &Path) {
        if template::holds_expression(text) {
            let help = "write the expression alone, without `${{` and `}}`";
            return self.wrong_with_help(path, "a condition is an expression, not a text", help);
        }
        let expression = match compile_cached(text) {
            Ok(expression) => expression,
            Err(error) => return self.refuse(&error, path),
        };
        let found = self.expression(&expression, place, path);
        if self.secret(&expression, path) {
            return;
        }
        if let Some(kinds) = found.kinds(self.names.estate)
            && !kinds.contains(&Kind::Bool)
            && let Some(kind) = kinds.first()
        {
            let message = format!("expected true or false, found {}", kind.say());
            self.misplaced(&expression, path, message);
        }
    }

    /// Checks a condition over what a check saw.
    pub(super) fn seen(&mut self, text: &str, place: Where, path: &Path) {
        self.condition(text, place.over_value(), path);
    }

    /// Checks an expression's names and returns its type.
    fn expression(&mut self, expression: &Expression, place: Where, path: &Path) -> Type {
        let mut inference = Inference::new(self.names, expression, place.roots);
        let found = inference.whole();
        for mistake in inference.mistakes {
            let range = self.loaded.place_in(path, &expression.text, Some(&mistake.range));
            self.report(Problem::at(range, mistake.message).maybe_help(mistake.help));
        }
        if place.roots.contains(&"steps") {
            self.collect_uses(expression, place, path);
        }
        found
    }

    /// Remembers which outputs are used where; whether they are upstream is answered for all at once.
    fn collect_uses(&mut self, expression: &Expression, place: Where, path: &Path) {
        let steps = || expression.references.iter().filter(|reference| reference.step().is_some());
        let tested: Vec<&Reference> = steps().filter(|reference| reference.tested).collect();
        for reference in steps() {
            let Some(of) = reference.step().and_then(|id| self.names.steps.get(id)) else {
                continue;
            };
            let same = |test: &&Reference| {
                test.step() == reference.step() && test.output() == reference.output()
            };
            let range = self.loaded.place_in(path, &expression.text, Some(&reference.range));
            self.uses.push(Use {
                of: *of,
                by: place.step,
                own: place.own,
                guarded: reference.tested || tested.iter().any(same),
                range,
                output: reference.output().map(str::to_owned),
            });
        }
    }

    /// Reports outputs that are used where they cannot be known.
    pub(super) fn outputs_in_order(&mut self) {
        let marked: Vec<usize> =
            self.uses.iter().map(|found| found.of).collect::<HashSet<_>>().into_iter().collect();
        let upstream = self.graph.upstream_of(&marked);
        for found in std::mem::take(&mut self.uses) {
            let of = &self.names.runbook.steps[found.of];
            if let Some(by) = found.by {
                if by == found.of {
                    if !found.own {
                        self.report(
                            Problem::at(
                                found.range,
                                format!("step `{}` uses its own outputs", of.id),
                            )
                            .help("they are known in its verify and rollback only"),
                        );
                    }
                    continue;
                }
                // Nothing is known of what a cycle holds up; the cycle is reported.
                if upstream.is(found.of, by) == Some(false) {
                    self.not_upstream(&found, by);
                    continue;
                }
            }
            if of.when.is_some() && !found.guarded {
                let output = found.output.as_deref().unwrap_or("…");
                let name = format!("steps.{}.outputs.{output}", of.id);
                let range = self.id_range(found.of);
                let message = format!("step `{}` may be skipped, and has no outputs then", of.id);
                self.report(
                    Problem::at(found.range, message)
                        .also(range, "has a `when`")
                        .help(format!("say what is used then: has({name}) ? {name} : …")),
                );
            }
        }
    }

    fn not_upstream(&mut self, found: &Use, by: usize) {
        let (of, by_id) =
            (&self.names.runbook.steps[found.of].id, &self.names.runbook.steps[by].id);
        let message =
            format!("step `{by_id}` uses an output of `{of}`, which does not come before it");
        let range = self.id_range(found.of);
        let problem = Problem::at(found.range.clone(), message).also(range, "this step");
        self.report(problem.help(if found.of > by {
            format!("write `{of}` above `{by_id}`, or name it in its `needs`")
        } else {
            format!("add `{of}` to the `needs` of `{by_id}`")
        }));
    }

    fn misplaced(&mut self, expression: &Expression, path: &Path, message: String) {
        let range = self.loaded.place_in(path, &expression.text, None);
        self.report(Problem::at(range, message));
    }

    /// Reports an expression that cannot be read.
    pub(super) fn refuse(&mut self, error: &ExpressionError, path: &Path) {
        let range: Range<usize> =
            self.loaded.place_in(path, &error.expression, error.range.as_ref());
        self.report(Problem::at(range, error.message.clone()).maybe_help(error.help.clone()));
    }
}
