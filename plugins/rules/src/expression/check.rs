//! Checks an expression, and prepares it for evaluation.

use std::sync::Arc;

use cel::{
    Context, Env, Value,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators},
};
use portcullis_plugin::{http::Method, ipnet::IpNet};
use regex::Regex;

use super::{
    field::{Field, ROOTS},
    functions::{EACH, IN_NETWORK, MATCHES, NETWORK, read_network, read_pattern},
    kind::{self, Kind},
};

/// The deepest nesting of an expression, counted in operators and calls. The interpreter recurses once for each.
pub const EXPRESSION_MAX_DEPTH: usize = 32;

/// A field that an expression mentions, or asks for with `has`. Its place in the list is the name of its variable.
pub(super) struct Access {
    pub field: Field,
    pub is_test: bool,
    /// As in `identity.tenant`, for messages.
    pub written: String,
}

impl Access {
    /// The variable in place of the access of this number. `@` begins no name in CEL, so none can be written by hand.
    fn variable(index: usize) -> String {
        format!("@{index}")
    }

    /// The access of this variable.
    pub(super) fn named<'a>(accesses: &'a [Self], variable: &str) -> Option<&'a Self> {
        accesses.get(variable.strip_prefix('@')?.parse::<usize>().ok()?)
    }
}

/// The state of the walk over an expression.
pub(super) struct Checker {
    pub accesses: Vec<Access>,
    pub patterns: Vec<Regex>,
    pub networks: Vec<IpNet>,
    pub problems: Vec<String>,
    /// The variables of macros, the innermost last.
    variables: Vec<(String, Kind)>,
    depth: usize,
    /// Evaluates parts that are constant.
    constants: Context<'static, 'static>,
}

impl Checker {
    pub(super) fn new(language: &Arc<Env>) -> Self {
        Self {
            accesses: Vec::new(),
            patterns: Vec::new(),
            networks: Vec::new(),
            problems: Vec::new(),
            variables: Vec::new(),
            depth: 0,
            constants: Context::with_env(language.clone()),
        }
    }

    /// Checks the whole expression and replaces its fields by variables.
    pub(super) fn check(&mut self, tree: &mut IdedExpr) {
        let kind = self.kind_of(tree);
        if !self.problems.is_empty() {
            return;
        }
        if !matches!(kind, Kind::Bool | Kind::Any) {
            self.problems.push(format!("is {} and neither true nor false", kind.name()));
        } else if self.accesses.is_empty() {
            self.problems
                .push("mentions neither `identity` nor `request`: it says the same of every request".to_owned());
        }
    }

    /// Returns the kind of a value, as far as it is known; [`Kind::Any`] after a problem, so that it is reported once.
    fn kind_of(&mut self, expr: &mut IdedExpr) -> Kind {
        if self.depth == EXPRESSION_MAX_DEPTH {
            let why = format!("is nested more than {EXPRESSION_MAX_DEPTH} deep: make several of it");
            if !self.problems.contains(&why) {
                self.problems.push(why);
            }
            return Kind::Any;
        }
        self.depth += 1;
        let kind = self.visit(expr);
        self.depth -= 1;
        kind.unwrap_or_else(|why| {
            self.problems.push(why);
            Kind::Any
        })
    }

    fn visit(&mut self, expr: &mut IdedExpr) -> Result<Kind, String> {
        if let Some((access, kind)) = access(&expr.expr)? {
            expr.expr = Expr::Ident(self.variable_of(access));
            return Ok(kind);
        }
        match &mut expr.expr {
            Expr::Literal(literal) => Ok(kind_of_literal(literal)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::List(list) => {
                let kinds: Vec<Kind> = list.elements.iter_mut().map(|item| self.kind_of(item)).collect();
                let is_texts = !kinds.is_empty() && kinds.iter().all(|kind| *kind == Kind::Text);
                Ok(if is_texts { Kind::Texts } else { Kind::List })
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.kind_of(&mut entry.key);
                        self.kind_of(&mut entry.value);
                    }
                }
                Ok(Kind::Map)
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(of) => Err(format!("there is no type `{}` here", of.type_name.escape_debug())),
            Expr::Unspecified => Err("is not an expression".to_owned()),
        }
    }

    /// The variable for an access; the same one for the same access.
    fn variable_of(&mut self, access: Access) -> String {
        let same = |known: &Access| known.field == access.field && known.is_test == access.is_test;
        let index = self.accesses.iter().position(same).unwrap_or_else(|| {
            self.accesses.push(access);
            self.accesses.len() - 1
        });
        Access::variable(index)
    }

    fn variable(&self, name: &str) -> Result<Kind, String> {
        let known = self.variables.iter().rev().find(|(of, _)| of == name);
        let unknown = || format!("`{}` is unknown: a value begins with `identity.` or `request.`", name.escape_debug());
        known.map(|(_, kind)| *kind).ok_or_else(unknown)
    }

    /// `.name` on something that is no field: a variable, or the result of a call.
    fn select(&mut self, select: &mut SelectExpr) -> Result<Kind, String> {
        let kind = self.kind_of(&mut select.operand);
        match kind {
            Kind::Any | Kind::Map if select.test => Ok(Kind::Bool),
            Kind::Any | Kind::Map => Ok(Kind::Any),
            other => Err(format!("`.{}` is not for {}", select.field.escape_debug(), other.name())),
        }
    }

    fn call(&mut self, call: &mut CallExpr) -> Result<Kind, String> {
        if let Some(why) = never_a_method(call) {
            return Err(why);
        }
        let is_member = call.target.is_some();
        let arguments = call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args);
        let kinds: Vec<Kind> = arguments.map(|argument| self.kind_of(argument)).collect();
        let kind = kind::result(&call.func_name, is_member, &kinds)?;
        match call.func_name.as_str() {
            "matches" => self.matches(call)?,
            IN_NETWORK => self.in_network(call)?,
            "timestamp" | "duration" => self.constant(call)?,
            name if name.starts_with("get") => self.time_zone(call)?,
            _ => {}
        }
        Ok(kind)
    }

    /// Compiles the pattern, and has the call name it by its number.
    fn matches(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let Some(pattern) = call.args.last().and_then(literal_text) else {
            return Err("`matches` takes its pattern as it stands here: write a literal text".to_owned());
        };
        self.patterns.push(read_pattern(pattern)?);
        let text = call.target.take().map_or_else(|| call.args.swap_remove(0), |target| *target);
        name_by_number(call, MATCHES, text, self.patterns.len() - 1);
        Ok(())
    }

    /// Reads the network, if it is known, and has the call name it by its number.
    fn in_network(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let Some(network) = call.args.last().and_then(literal_text) else { return Ok(()) };
        self.networks.push(read_network(network)?);
        let address = call.args.swap_remove(0);
        name_by_number(call, NETWORK, address, self.networks.len() - 1);
        Ok(())
    }

    /// A literal that cannot be read now never can be.
    fn constant(&self, call: &CallExpr) -> Result<(), String> {
        let Some(text) = call.args.first().and_then(literal_text) else { return Ok(()) };
        self.evaluate(call.clone()).map_err(|()| format!("`{}` cannot read `{}`", call.func_name, text.escape_debug()))
    }

    /// `getHours("Europe/Berlin")`: whether there is such a zone.
    fn time_zone(&self, call: &CallExpr) -> Result<(), String> {
        let Some(zone) = call.args.first().and_then(literal_text) else { return Ok(()) };
        let epoch = Expr::Literal(LiteralValue::Int(0.into()));
        let time = CallExpr { func_name: "timestamp".to_owned(), target: None, args: vec![ided(epoch)] };
        let sample = CallExpr { target: Some(Box::new(ided(Expr::Call(time)))), ..call.clone() };
        self.evaluate(sample)
            .map_err(|()| format!("`{}` is not a time zone such as \"Europe/Berlin\"", zone.escape_debug()))
    }

    fn evaluate(&self, call: CallExpr) -> Result<(), ()> {
        Value::resolve(&ided(Expr::Call(call)), &self.constants).map(drop).map_err(drop)
    }

    /// `all`, `exists`, `exists_one`, `map`, `filter`: their macros have made a loop of it.
    fn comprehension(&mut self, of: &mut ComprehensionExpr) -> Result<Kind, String> {
        if ROOTS.contains(&of.iter_var.as_str()) {
            return Err(format!("`{}` cannot be the name of a variable", of.iter_var));
        }
        let range = self.kind_of(&mut of.iter_range);
        let item = range.item().ok_or_else(|| format!("`all`, `map` and the like are not for {}", range.name()))?;
        let range = std::mem::take(&mut of.iter_range);
        of.iter_range = ided(Expr::Call(CallExpr { func_name: EACH.to_owned(), target: None, args: vec![range] }));
        let result = self.kind_of(&mut of.accu_init);
        self.variables.push((of.iter_var.clone(), item));
        self.variables.push((of.accu_var.clone(), result));
        self.kind_of(&mut of.loop_cond);
        self.kind_of(&mut of.loop_step);
        let kind = self.kind_of(&mut of.result);
        self.variables.truncate(self.variables.len() - 2);
        Ok(kind)
    }
}

/// The field that an expression is, if it is one: names and literal keys after a root, `has` of that, or a literal key
/// `in` a field that has many.
fn access(expr: &Expr) -> Result<Option<(Access, Kind)>, String> {
    let key_in = key_in(expr);
    let is_test = key_in.is_some() || matches!(expr, Expr::Select(select) if select.test);
    let Some((root, names)) = key_in.or_else(|| path(expr)) else { return Ok(None) };
    let field = Field::new(root, &names)?;
    let kind = if is_test { Kind::Bool } else { field.kind() };
    let written = std::iter::once(root).chain(names).collect::<Vec<_>>().join(".");
    Ok(Some((Access { field, is_test, written }, kind)))
}

/// The root of a path and the names after it. A test has its last name in it, and none of the others is one.
fn path(expr: &Expr) -> Option<(&str, Vec<&str>)> {
    let mut names = Vec::new();
    let mut at = expr;
    loop {
        at = match at {
            Expr::Ident(root) => {
                names.reverse();
                return ROOTS.contains(&root.as_str()).then_some((root.as_str(), names));
            }
            Expr::Select(select) if !select.test || names.is_empty() => {
                names.push(select.field.as_str());
                &select.operand.expr
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
                let [of, key] = args.as_slice() else { return None };
                names.push(literal_text(key)?);
                &of.expr
            }
            _ => return None,
        }
    }
}

/// `"x-region" in request.headers`: the path of what is asked for.
fn key_in(expr: &Expr) -> Option<(&str, Vec<&str>)> {
    let Expr::Call(CallExpr { func_name, args, .. }) = expr else { return None };
    let ([key, of], operators::IN) = (args.as_slice(), func_name.as_str()) else { return None };
    let (root, mut names) = path(&of.expr)?;
    let has_many = matches!(
        (root, names.as_slice()),
        ("identity", ["labels" | "claims"]) | ("request", ["headers" | "path_params"])
    );
    names.push(literal_text(key)?);
    has_many.then_some((root, names))
}

/// Returns the text that a call compares the request's method with, if no method is spelled like it: methods have a
/// case (RFC 9110 section 9.1), and a request with another than capitals is refused before anybody asks.
fn never_a_method(call: &CallExpr) -> Option<String> {
    let is_method = |expr: &IdedExpr| path(&expr.expr).is_some_and(|path| path == ("request", vec!["method"]));
    let compared: Vec<&str> = match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) if is_method(left) || is_method(right) => {
            [left, right].into_iter().filter_map(literal_text).collect()
        }
        (operators::IN, [method, IdedExpr { expr: Expr::List(list), .. }]) if is_method(method) => {
            list.elements.iter().filter_map(literal_text).collect()
        }
        _ => return None,
    };
    let wrong = compared.into_iter().find(|text| {
        Method::from_bytes(text.as_bytes()).is_err() || text.contains(|letter: char| letter.is_ascii_lowercase())
    })?;
    let capitals = wrong.to_ascii_uppercase();
    let wrong = wrong.escape_debug();
    Some(match Method::from_bytes(capitals.as_bytes()) {
        Ok(method) => format!("`request.method` is never `{wrong}`: write '{method}'"),
        Err(_) => format!("`request.method` is never `{wrong}`, which is not a method"),
    })
}

fn literal_text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn kind_of_literal(literal: &LiteralValue) -> Kind {
    match literal {
        LiteralValue::Boolean(_) => Kind::Bool,
        LiteralValue::Bytes(_) => Kind::Bytes,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Number,
        LiteralValue::Null => Kind::Null,
        LiteralValue::String(_) => Kind::Text,
    }
}

/// Makes the call one of `name`, with the number of what its second argument stands for.
fn name_by_number(call: &mut CallExpr, name: &str, first: IdedExpr, number: usize) {
    let number = i64::try_from(number).expect("an expression is short");
    let number = Expr::Literal(LiteralValue::Int(number.into()));
    *call = CallExpr { func_name: name.to_owned(), target: None, args: vec![first, ided(number)] };
}

/// A node that was not in the text. Numbers of nodes are for positions, which are not asked for after reading.
fn ided(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

#[cfg(test)]
mod tests;
