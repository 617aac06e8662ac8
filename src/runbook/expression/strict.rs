//! CEL's tree rewritten so that doubt is an error: strict comparisons, no swallowed errors, counted rounds.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr,
    operators,
};

/// Functions the rewritten tree calls; their names cannot be written in CEL.
pub(super) const EQUAL: &str = "@equal";
pub(super) const AMONG: &str = "@among";
pub(super) const ROUND: &str = "@round";

fn call(id: u64, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let expr = Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args });
    IdedExpr { id, expr }
}

fn boolean(id: u64, value: bool) -> IdedExpr {
    IdedExpr { id, expr: Expr::Literal(LiteralValue::Boolean(value.into())) }
}

fn conditional(id: u64, condition: IdedExpr, yes: IdedExpr, no: IdedExpr) -> IdedExpr {
    call(id, operators::CONDITIONAL, vec![condition, yes, no])
}

fn is_null(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(LiteralValue::Null))
}

/// Returns the tree with strict comparisons, operators that swallow no error, and counted rounds.
pub(super) fn strict(node: &IdedExpr) -> IdedExpr {
    let id = node.id;
    let expr = match &node.expr {
        Expr::Call(found) => return strict_call(id, found),
        Expr::Comprehension(loops) => Expr::Comprehension(Box::new(counted(loops))),
        Expr::List(list) => Expr::List(ListExpr {
            elements: list.elements.iter().map(strict).collect(),
            optional_indices: list.optional_indices.clone(),
        }),
        Expr::Map(map) => {
            let mut map = map.clone();
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    entry.key = strict(&entry.key);
                    entry.value = strict(&entry.value);
                }
            }
            Expr::Map(map)
        }
        Expr::Select(select) => Expr::Select(SelectExpr {
            operand: Box::new(strict(&select.operand)),
            field: select.field.clone(),
            test: select.test,
        }),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {
            node.expr.clone()
        }
    };
    IdedExpr { id, expr }
}

fn strict_call(id: u64, found: &CallExpr) -> IdedExpr {
    let args: Vec<IdedExpr> = found.args.iter().map(strict).collect();
    let to_null = found.args.iter().any(is_null);
    match (found.func_name.as_str(), <[IdedExpr; 2]>::try_from(args)) {
        // `x == null` asks whether there is a value at all: the one comparison between types that is meant.
        (operators::EQUALS, Ok(args)) if !to_null => call(id, EQUAL, args.into()),
        (operators::NOT_EQUALS, Ok(args)) if !to_null => {
            call(id, operators::LOGICAL_NOT, vec![call(id, EQUAL, args.into())])
        }
        (operators::IN, Ok(args)) => call(id, AMONG, args.into()),
        // CEL's own `||` is true when one side is and the other fails; here a failure is never outvoted.
        (operators::LOGICAL_OR, Ok([left, right])) => {
            let right = conditional(id, right, boolean(id, true), boolean(id, false));
            conditional(id, left, boolean(id, true), right)
        }
        (operators::LOGICAL_AND, Ok([left, right])) => {
            let right = conditional(id, right, boolean(id, true), boolean(id, false));
            conditional(id, left, right, boolean(id, false))
        }
        (name, args) => {
            let args = args.map_or_else(|args| args, Vec::from);
            let target = found.target.as_ref().map(|target| Box::new(strict(target)));
            let expr = Expr::Call(CallExpr { func_name: name.to_owned(), target, args });
            IdedExpr { id, expr }
        }
    }
}

/// Returns a comprehension whose every round is counted.
///
/// The count goes into the guard of the step, or the appended item, and not into the loop's condition: the
/// interpreter appends in place only while that is a literal.
fn counted(loops: &ComprehensionExpr) -> ComprehensionExpr {
    let mut counted = loops.clone();
    counted.iter_range = strict(&loops.iter_range);
    counted.accu_init = strict(&loops.accu_init);
    counted.loop_cond = strict(&loops.loop_cond);
    counted.result = strict(&loops.result);
    let step = strict(&loops.loop_step);
    let id = step.id;
    let round = || call(id, ROUND, Vec::new());
    counted.loop_step = match step.expr {
        Expr::Call(mut found)
            if found.func_name == operators::CONDITIONAL && found.args.len() == 3 =>
        {
            let guard = std::mem::take(&mut found.args[0]);
            found.args[0] = conditional(id, round(), guard, boolean(id, false));
            IdedExpr { id, expr: Expr::Call(found) }
        }
        Expr::Call(mut found) if found.func_name == operators::ADD && found.args.len() == 2 => {
            if let Expr::List(list) = &mut found.args[1].expr {
                for element in &mut list.elements {
                    let item = std::mem::take(element);
                    let null = IdedExpr { id, expr: Expr::Literal(LiteralValue::Null) };
                    *element = conditional(id, round(), item, null);
                }
            }
            IdedExpr { id, expr: Expr::Call(found) }
        }
        expr => {
            let accu = IdedExpr { id, expr: Expr::Ident(loops.accu_var.clone()) };
            conditional(id, round(), IdedExpr { id, expr }, accu)
        }
    };
    counted
}
