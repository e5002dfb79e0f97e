//! One expression: read and checked once, evaluated for each request.
//!
//! The interpreter is not told of `identity` and `request`. Checking replaces each field that an expression mentions by
//! a numbered variable, so that nothing else is looked at when it is evaluated, and nothing that was not checked can be.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{ast::IdedExpr, types::CelBool},
    parser::Parser,
};
use portcullis_plugin::{Identity, RequestCx};

mod check;
mod effect;
mod field;
mod functions;
mod kind;
mod steps;
mod values;

pub use check::EXPRESSION_MAX_DEPTH;
pub(crate) use effect::Effect;
pub use functions::PATTERN_MAX_BYTES;
pub use steps::EVALUATION_MAX_STEPS;

use check::{Access, Checker};
use field::Field;
use values::Values;

/// The longest expression that is read, in bytes.
pub const EXPRESSION_MAX_BYTES: usize = 2048;

/// The operators and functions of CEL, but for optional values and `matches`, which would compile its pattern each time.
static LANGUAGE: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// An expression, ready to be evaluated.
pub(crate) struct Expression {
    tree: IdedExpr,
    accesses: Vec<Access>,
    functions: Context<'static, 'static>,
}

impl Expression {
    /// Reads and checks an expression. The error has all of its problems.
    pub(crate) fn compile(text: &str) -> Result<Self, Vec<String>> {
        if text.len() > EXPRESSION_MAX_BYTES {
            return Err(vec![format!("is longer than {EXPRESSION_MAX_BYTES} bytes: make several of it")]);
        }
        let mut tree = parse(text).map_err(|why| vec![why])?;
        let mut checker = Checker::new(&LANGUAGE);
        checker.check(&mut tree);
        if !checker.problems.is_empty() {
            return Err(checker.problems);
        }
        let mut functions = Context::with_env(LANGUAGE.clone());
        functions::add(&mut functions, checker.patterns, checker.networks);
        Ok(Self { tree, accesses: checker.accesses, functions })
    }

    /// The parameters of the path that it needs. One that it asks for with `has` or `in` may be absent.
    pub(crate) fn path_parameters(&self) -> impl Iterator<Item = &str> {
        let is_tested = |field: &Field| self.accesses.iter().any(|access| access.is_test && access.field == *field);
        self.accesses.iter().filter_map(move |access| match &access.field {
            Field::PathParameter(name) if !is_tested(&access.field) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The parts of an identity that have all that the expression mentions and that `effect` tells apart by parts; all of
    /// the identity where none has, or where it is of one piece.
    pub(crate) fn parts<'i>(&'i self, identity: &'i Identity, effect: Effect) -> impl Iterator<Item = &'i Identity> {
        let fits = move |part: &&Identity| self.accesses.iter().all(|access| access.field.is_of(part, effect));
        let mut parts = identity.parts.iter().map(Arc::as_ref).filter(fits).peekable();
        let whole = parts.peek().is_none().then_some(identity);
        whole.into_iter().chain(parts)
    }

    /// Evaluates the expression, with the claims of one `part` of the identity. Roles and scopes that are to let somebody
    /// in are those of the part that speaks, which are the identity's own; those that keep somebody out are the part's.
    pub(crate) fn evaluate(
        &self,
        cx: &RequestCx<'_>,
        identity: &Identity,
        part: &Identity,
        effect: Effect,
    ) -> Result<bool, Failure> {
        let speaker = if effect == Effect::Require { identity } else { part };
        let values = Values::new(&self.accesses, cx, identity, part, speaker);
        // The interpreter is a library with `panic!` and `unwrap` in it. None is known to be reached from here; one that
        // is refuses this request and does no more.
        let said = catch_unwind(AssertUnwindSafe(|| self.run(&values))).unwrap_or(Err(Failure::Panic));
        if values.steps.are_spent() { Err(Failure::TooManySteps) } else { said }
    }

    fn run(&self, values: &Values<'_, '_>) -> Result<bool, Failure> {
        let functions: &Context<'_, '_> = &self.functions;
        let mut context = functions.new_inner_scope();
        context.set_variable_resolver(values);
        match Value::resolve_val(&self.tree, &context) {
            Ok(value) => value.downcast_ref::<CelBool>().map(|said| *said.inner()).ok_or(Failure::NoBoolean),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Returns the failure, without the values that caused it.
    fn failure(&self, error: &ExecutionError) -> Failure {
        match error {
            ExecutionError::UndeclaredReference(name) => match Access::named(&self.accesses, name) {
                Some(access) => Failure::Absent(access.written.clone()),
                None => Failure::Other("a name is unknown"),
            },
            ExecutionError::NoSuchKey(_) => Failure::Other("a map has no such key"),
            ExecutionError::IndexOutOfBounds(_) => Failure::Other("a list has no item of that number"),
            ExecutionError::NoSuchOverload(error) => Failure::Types(error.to_string()),
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                Failure::Other("division by zero")
            }
            ExecutionError::Overflow(..) => Failure::Other("a number or a time is out of range"),
            ExecutionError::FunctionError { function, .. } => Failure::Function(function.clone()),
            _ => Failure::Other("a value is of a type that does not fit"),
        }
    }
}

/// Reads the text. The parser has a limit of its own on how deep brackets are nested (96), before ours.
fn parse(text: &str) -> Result<IdedExpr, String> {
    Parser::new().error_recovery_limit(0).parse(text).map_err(|errors| {
        let Some(first) = errors.errors.first() else { return "is not an expression".to_owned() };
        let why = match lone_equals(text) {
            true => "`=` compares nothing: write `==`".into(),
            false => first.msg.escape_debug().to_string(),
        };
        format!("is not an expression: line {}, column {}: {why}", first.pos.0, first.pos.1)
    })
}

/// Returns `true` if a `=` stands outside of quotes that belongs to none of `==`, `!=`, `<=` and `>=`.
fn lone_equals(text: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(_), '\\') => _ = letters.next(),
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '=') if !"=!<>".contains(before) && letters.peek() != Some(&'=') => return true,
            _ => {}
        }
        before = letter;
    }
    false
}

/// Why an expression gave no answer. It holds nothing of the request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A field has no value.
    Absent(String),
    /// The result is something else.
    NoBoolean,
    /// The evaluation took too many steps.
    TooManySteps,
    /// An operator or a function was used on types it does not take.
    Types(String),
    /// A function failed on its arguments.
    Function(String),
    /// The interpreter broke.
    Panic,
    /// Something else.
    Other(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(field) => write!(f, "`{field}` has no value, or none that can be read"),
            Self::NoBoolean => f.write_str("the result is neither true nor false"),
            Self::TooManySteps => write!(f, "it takes more than {EVALUATION_MAX_STEPS} steps"),
            Self::Types(what) => f.write_str(what),
            Self::Function(name) => write!(f, "`{}` failed", name.trim_start_matches('@')),
            Self::Panic => f.write_str("the interpreter panicked: a bug in it"),
            Self::Other(what) => f.write_str(what),
        }
    }
}
