//! Types of expressions, known without running them: names against the schemas of inputs, estate and outputs.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::Value;

use super::Names;
pub(super) use super::kinds::{Kind, Type, kinds_of};
use crate::runbook::expression::Expression;
use crate::runbook::near;

/// A mistake inside an expression: where, what, and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub range: std::ops::Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

/// Infers an expression's type, collecting its mistakes.
pub(super) struct Inference<'a> {
    pub names: &'a Names<'a>,
    pub expression: &'a Expression,
    /// Root names that have a value where the expression stands
    pub roots: &'a [&'a str],
    pub mistakes: Vec<Mistake>,
    bound: Vec<(String, Type)>,
}

impl<'a> Inference<'a> {
    pub(super) fn new(
        names: &'a Names<'a>,
        expression: &'a Expression,
        roots: &'a [&'a str],
    ) -> Self {
        Self { names, expression, roots, mistakes: Vec::new(), bound: Vec::new() }
    }

    /// Returns the type of the whole expression.
    pub(super) fn whole(&mut self) -> Type {
        let expression = self.expression;
        self.infer(&expression.tree)
    }

    fn mistake(&mut self, node: &IdedExpr, message: String, help: Option<String>) -> Type {
        let range = self.expression.spot(node);
        self.mistakes.push(Mistake { range, message, help });
        Type::Unknown
    }

    fn infer(&mut self, node: &IdedExpr) -> Type {
        match &node.expr {
            Expr::Unspecified | Expr::Struct(_) => Type::Unknown,
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => {
                    Type::Number
                }
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::Text,
                LiteralValue::Bytes(_) => Type::Unknown,
            },
            Expr::Ident(name) => self.root(node, name),
            Expr::Select(select) => {
                let operand = self.infer(&select.operand);
                let found = self.field(node, &operand, &select.field);
                if select.test { Type::Bool } else { found }
            }
            Expr::List(list) => {
                let mut items = list.elements.iter().map(|item| self.infer(item));
                let first = items.next().unwrap_or(Type::Unknown);
                // The rest is looked at for its mistakes.
                items.for_each(drop);
                Type::List(Box::new(first))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key);
                        self.infer(&entry.value);
                    }
                }
                Type::Map
            }
            Expr::Comprehension(loops) => self.comprehension(node, loops),
            Expr::Call(call) => {
                if !is_function(&call.func_name) {
                    // What stands between its parentheses was meant for another function.
                    return self.unknown_function(node, &call.func_name, call.target.is_some());
                }
                let target = call.target.as_ref().map(|target| self.infer(target));
                let arguments: Vec<Type> = call.args.iter().map(|arg| self.infer(arg)).collect();
                self.call(node, &call.func_name, target.is_some(), &call.args, &arguments)
            }
        }
    }

    fn root(&mut self, node: &IdedExpr, name: &str) -> Type {
        if let Some((_, bound)) = self.bound.iter().rev().find(|(known, _)| known == name) {
            return bound.clone();
        }
        if !self.roots.contains(&name) {
            let message = match name {
                "value" => "`value` is what a check saw: it is known in `that` only".to_owned(),
                "steps" => "outputs of steps are not known here".to_owned(),
                "run" => "the run is not known here".to_owned(),
                _ => format!("unknown name `{name}`"),
            };
            let help = near::hint(name, self.roots.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", self.roots.join(", ")));
            return self.mistake(node, message, Some(help));
        }
        match name {
            "inputs" => Type::Inputs,
            "estate" => Type::Estate(self.names.estate.root()),
            "steps" => Type::Steps,
            "run" => Type::Run,
            _ => Type::Unknown,
        }
    }

    /// Returns the type of a field, or says that there is none of that name.
    fn field(&mut self, node: &IdedExpr, operand: &Type, field: &str) -> Type {
        let names = self.names;
        match operand {
            Type::Unknown | Type::Map => Type::Unknown,
            Type::Inputs => match names.inputs.get(field) {
                Some(input) => Type::of_input(input.kind),
                None => {
                    let help = near::hint(field, names.inputs.keys().map(String::as_str));
                    self.mistake(node, format!("there is no input `{field}`"), help)
                }
            },
            Type::Estate(schema) => self.estate_field(node, schema, field),
            Type::Steps => match names.steps.get(field) {
                Some(step) => Type::Step(*step),
                None => {
                    let help = near::hint(field, names.steps.keys().copied());
                    self.mistake(node, format!("there is no step `{field}`"), help)
                }
            },
            Type::Step(step) if field == "outputs" => Type::Outputs(*step),
            Type::Step(_) => {
                let help = "what a step gives to others is under `outputs`".to_owned();
                self.mistake(node, format!("a step has no `{field}`"), Some(help))
            }
            Type::Outputs(step) => self.output(node, *step, field),
            Type::Run if super::RUN_NAMES.contains(&field) => Type::Text,
            Type::Run => {
                let help = format!("known: {}", super::RUN_NAMES.join(", "));
                self.mistake(node, format!("a run has no `{field}`"), Some(help))
            }
            Type::Null | Type::Bool | Type::Number | Type::Text | Type::List(_) | Type::Secret => {
                let kind = operand.kinds(names.estate).and_then(|kinds| kinds.first().copied());
                let kind = kind.map_or("this", Kind::say);
                self.mistake(node, format!("{kind} has no fields, so no `{field}`"), None)
            }
        }
    }

    fn estate_field(&mut self, node: &IdedExpr, schema: &'static Value, field: &str) -> Type {
        let mut known: Vec<&str> = Vec::new();
        let mut free = false;
        for way in self.names.estate.alternatives(schema) {
            let properties = way.get("properties").and_then(Value::as_object);
            if let Some(found) = properties.and_then(|properties| properties.get(field)) {
                return Type::Estate(found);
            }
            known.extend(properties.into_iter().flatten().map(|(key, _)| key.as_str()));
            match way.get("additionalProperties") {
                Some(others @ Value::Object(_)) => return Type::Estate(others),
                Some(Value::Bool(false)) => {}
                Some(_) | None => free |= way.get("type").is_none_or(|kind| kind == "object"),
            }
        }
        if free && known.is_empty() {
            return Type::Unknown;
        }
        if known.is_empty() {
            let kinds = kinds_of(self.names.estate, schema).unwrap_or_default();
            let kind = kinds.first().map_or("this", |kind| kind.say());
            return self.mistake(node, format!("{kind} has no fields, so no `{field}`"), None);
        }
        let help = near::hint(field, known.iter().copied())
            .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
        let text = &self.expression.text[self.expression.spot(node)];
        let message = match text.rsplit_once('.') {
            Some((above, _)) => format!("`{above}` has no `{field}`"),
            None => format!("there is no `{field}`"),
        };
        self.mistake(node, message, Some(help))
    }

    fn output(&mut self, node: &IdedExpr, step: usize, field: &str) -> Type {
        let (id, outputs) = self.names.outputs(step);
        let Some(outputs) = outputs else { return Type::Unknown };
        match outputs.iter().find(|output| output.name == field) {
            Some(output) => Type::of_shape(output.shape),
            None => {
                let known: Vec<&str> = outputs.iter().map(|output| output.name).collect();
                let help = near::hint(field, known.iter().copied()).unwrap_or_else(|| {
                    if known.is_empty() {
                        "it gives nothing to other steps".to_owned()
                    } else {
                        format!("it gives {}", known.join(", "))
                    }
                });
                self.mistake(node, format!("step `{id}` has no output `{field}`"), Some(help))
            }
        }
    }

    fn element(&self, list: &Type) -> Type {
        match list {
            Type::List(item) => item.as_ref().clone(),
            Type::Estate(schema) => {
                let ways = self.names.estate.alternatives(schema);
                let find = |key: &str| ways.iter().find_map(|way| way.get(key));
                match find("items") {
                    Some(item) => self.estate_node(item),
                    // A comprehension over a map goes over its keys.
                    None => Type::Text,
                }
            }
            _ => Type::Unknown,
        }
    }

    fn estate_node(&self, node: &'static Value) -> Type {
        Type::Estate(node)
    }

    fn comprehension(&mut self, node: &IdedExpr, loops: &ComprehensionExpr) -> Type {
        let range = self.infer(&loops.iter_range);
        if let Some(kinds) = range.kinds(self.names.estate)
            && !kinds.contains(&Kind::List)
            && !kinds.contains(&Kind::Map)
        {
            let kind = kinds.first().map_or("this", |kind| kind.say());
            return self.mistake(node, format!("{kind} cannot be gone through"), None);
        }
        let start = self.infer(&loops.accu_init);
        let item = self.element(&range);
        self.bound.push((loops.iter_var.clone(), item.clone()));
        self.bound.push((loops.accu_var.clone(), Type::Unknown));
        self.infer(&loops.loop_step);
        let result = match start {
            Type::List(_) => {
                let appended = appended(&loops.loop_step);
                let kept = match appended {
                    Some(found) => self.infer(found),
                    None => Type::Unknown,
                };
                Type::List(Box::new(kept))
            }
            // `exists_one` counts; what it gives is whether the count is one.
            Type::Number => Type::Bool,
            other => other,
        };
        self.bound.truncate(self.bound.len() - 2);
        // What an appended item got wrong was said when the step was looked at.
        self.mistakes.dedup();
        result
    }

    fn call(
        &mut self,
        node: &IdedExpr,
        name: &str,
        member: bool,
        parts: &[IdedExpr],
        arguments: &[Type],
    ) -> Type {
        match (name, arguments) {
            (operators::CONDITIONAL, [_, yes, no]) => match yes {
                Type::Null | Type::Unknown => no.clone(),
                _ => yes.clone(),
            },
            (
                operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                self.comparable(node, left, right);
                Type::Bool
            }
            (operators::IN, [item, container]) => {
                let element = self.element(container);
                self.comparable(node, item, &element);
                Type::Bool
            }
            (operators::INDEX, [operand, _]) => match (&parts[1].expr, operand) {
                (Expr::Literal(LiteralValue::String(key)), _) => {
                    let operand = operand.clone();
                    self.field(node, &operand, key.inner())
                }
                (_, Type::Estate(schema)) => self.indexed(schema),
                (_, Type::List(item)) => item.as_ref().clone(),
                (_, Type::Steps | Type::Outputs(_)) => {
                    let help = "write the name itself: what a plan depends on must be seen in it";
                    let message = "a step or output cannot be computed".to_owned();
                    self.mistake(node, message, Some(help.to_owned()))
                }
                _ => Type::Unknown,
            },
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, _) => {
                for (part, argument) in parts.iter().zip(arguments) {
                    self.must_be_bool(part, argument);
                }
                Type::Bool
            }
            (operators::NOT_STRICTLY_FALSE, _) => Type::Bool,
            (operators::ADD, [left, _]) => left.clone(),
            (
                operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE,
                _,
            ) => Type::Number,
            ("size" | "int" | "uint" | "double", _) => Type::Number,
            ("contains" | "startsWith" | "endsWith" | "matches" | "bool", _) => Type::Bool,
            ("string", _) => Type::Text,
            ("dyn" | "type" | "bytes", _) => Type::Unknown,
            _ => self.unknown_function(node, name, member),
        }
    }

    fn unknown_function(&mut self, node: &IdedExpr, name: &str, member: bool) -> Type {
        const MEMBERS: &[&str] = &[
            "all",
            "contains",
            "endsWith",
            "exists",
            "exists_one",
            "filter",
            "map",
            "matches",
            "size",
            "startsWith",
        ];
        const FUNCTIONS: &[&str] = &["bool", "double", "has", "int", "matches", "size", "string"];
        let known = if member { MEMBERS } else { FUNCTIONS };
        let help = near::hint(name, known.iter().copied())
            .unwrap_or_else(|| format!("known: {}", known.join(", ")));
        let message = if known.contains(&name) {
            format!("`{name}` takes other arguments")
        } else {
            format!("there is no function `{name}`")
        };
        self.mistake(node, message, Some(help))
    }

    /// Returns the type behind a computed index.
    fn indexed(&self, schema: &'static Value) -> Type {
        let ways = self.names.estate.alternatives(schema);
        let found = ways.iter().find_map(|way| {
            way.get("items").or_else(|| {
                way.get("additionalProperties").filter(|others| others.is_object()).or_else(|| {
                    // A map whose keys are a closed set lists them; all hold the same.
                    let properties = way.get("properties")?.as_object()?;
                    way.get("additionalProperties")?;
                    properties.values().next()
                })
            })
        });
        found.map_or(Type::Unknown, Type::Estate)
    }

    /// Says when two types can never be compared.
    fn comparable(&mut self, node: &IdedExpr, left: &Type, right: &Type) {
        let estate = self.names.estate;
        if let (Some(a), Some(b)) = (left.kinds(estate), right.kinds(estate))
            && !a.is_empty()
            && !b.is_empty()
            && !a.iter().any(|kind| b.contains(kind))
        {
            let message = format!("{} is compared with {}", a[0].say(), b[0].say());
            self.mistake(node, message, None);
        }
    }

    fn must_be_bool(&mut self, part: &IdedExpr, found: &Type) {
        if let Some(kinds) = found.kinds(self.names.estate)
            && !kinds.contains(&Kind::Bool)
            && let Some(kind) = kinds.first()
        {
            let message = format!("expected true or false, found {}", kind.say());
            self.mistake(part, message, None);
        }
    }
}

/// Says whether a name is an operator's or a function's.
fn is_function(name: &str) -> bool {
    const FUNCTIONS: &[&str] = &[
        "bool",
        "bytes",
        "contains",
        "double",
        "dyn",
        "endsWith",
        "int",
        "matches",
        "size",
        "startsWith",
        "string",
        "type",
        "uint",
    ];
    name.starts_with(['_', '!', '-', '@']) || FUNCTIONS.contains(&name)
}

/// Returns the item a `map` or `filter` appends.
fn appended(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::CONDITIONAL, [_, step, _]) => appended(step),
        (operators::ADD, [_, list]) => match &list.expr {
            Expr::List(list) => list.elements.first(),
            _ => None,
        },
        _ => None,
    }
}
