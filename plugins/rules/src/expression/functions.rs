use std::net::IpAddr;

use cel::{
    Context, ExecutionError, FunctionContext,
    common::{
        types::{CelBool, CelInt, CelString},
        value::CowVal,
    },
};
use portcullis_plugin::ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::steps::{Steps, TEXT_STEP_BYTES};

/// Counts the items that a macro is about to go through. Checking puts it around each of its lists.
pub(super) const EACH: &str = "@each";
/// `matches` with a pattern of the table.
pub(super) const MATCHES: &str = "@matches";
/// `in_network` with a network of the table.
pub(super) const NETWORK: &str = "@in_network";
/// `in_network` with a network that is known by the request alone.
pub(super) const IN_NETWORK: &str = "in_network";

/// The most memory of a compiled pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 64 << 10;

type Outcome<'c, 'v> = Result<CowVal<'c, 'v>, ExecutionError>;

/// The form of a function that is given its context, so that it finds the steps and keeps its arguments.
type Function = Box<dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Outcome<'c, 'v> + Send + Sync>;

/// Adds functions that CEL does not have, with the patterns and the networks that an expression names.
pub(super) fn add(context: &mut Context<'_, '_>, patterns: Vec<Regex>, networks: Vec<IpNet>) {
    let matches = move |cx: &mut FunctionContext<'_, '_>| {
        let (pattern, text) = (patterns.get(index(cx)?).ok_or_else(|| wrong(cx))?, text(cx, 0)?);
        take(cx, 1 + text.len() / TEXT_STEP_BYTES)?;
        Ok(pattern.is_match(text))
    };
    let network = move |cx: &mut FunctionContext<'_, '_>| {
        let network = networks.get(index(cx)?).ok_or_else(|| wrong(cx))?;
        Ok(network.contains(&address(cx)?))
    };
    let in_network = |cx: &mut FunctionContext<'_, '_>| {
        let network = read_network(text(cx, 1)?).map_err(|_| wrong(cx))?;
        Ok(network.contains(&address(cx)?))
    };
    let functions: [(&str, Function); 4] = [
        (EACH, Box::new(each)),
        (MATCHES, asking(matches)),
        (NETWORK, asking(network)),
        (IN_NETWORK, asking(in_network)),
    ];
    for (name, function) in functions {
        context.add_function(name, function).expect("CEL has no function of this name");
    }
}

/// A function that answers with true or false.
fn asking(
    ask: impl Fn(&mut FunctionContext<'_, '_>) -> Result<bool, ExecutionError> + Send + Sync + 'static,
) -> Function {
    Box::new(move |cx| Ok(CowVal::owned(CelBool::from(ask(cx)?))))
}

/// Hands its argument on, if there are steps left for all of its items.
fn each<'c, 'v>(cx: &mut FunctionContext<'c, 'v>) -> Outcome<'c, 'v> {
    let items = cx.args.pop().ok_or_else(|| wrong(cx))?;
    let count = items.as_sizer().map_or(1, |sizer| usize::try_from(*sizer.size().inner()).unwrap_or(usize::MAX));
    take(cx, count)?;
    Ok(items)
}

/// Takes so many steps, or ends the evaluation.
fn take(cx: &FunctionContext<'_, '_>, count: usize) -> Result<(), ExecutionError> {
    let steps = cx.ptx.get_variable(Steps::NAME).ok_or_else(|| wrong(cx))?;
    let are_left = steps.downcast_ref::<Steps>().is_some_and(|steps| steps.take(count));
    if are_left { Ok(()) } else { Err(wrong(cx)) }
}

fn text<'a>(cx: &'a FunctionContext<'_, '_>, at: usize) -> Result<&'a str, ExecutionError> {
    let text = cx.args.get(at).and_then(|value| value.downcast_ref::<CelString>());
    text.map(CelString::inner).ok_or_else(|| wrong(cx))
}

fn index(cx: &FunctionContext<'_, '_>) -> Result<usize, ExecutionError> {
    let number = cx.args.get(1).and_then(|value| value.downcast_ref::<CelInt>());
    number.and_then(|number| usize::try_from(*number.inner()).ok()).ok_or_else(|| wrong(cx))
}

fn address(cx: &FunctionContext<'_, '_>) -> Result<IpAddr, ExecutionError> {
    text(cx, 0)?.parse().map(|address: IpAddr| address.to_canonical()).map_err(|_| wrong(cx))
}

/// Without the argument: an error that ends up in a log has no value in it.
fn wrong(cx: &FunctionContext<'_, '_>) -> ExecutionError {
    ExecutionError::function_error(cx.name, "wrong argument")
}

/// Compiles a pattern once for all requests.
pub(super) fn read_pattern(pattern: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_MAX_BYTES).dfa_size_limit(PATTERN_MAX_BYTES).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("the pattern is too large: more than {PATTERN_MAX_BYTES} bytes compiled")
        }
        _ => format!("`{}` is not a pattern", pattern.escape_debug()),
    })
}

/// A network, or one address. Bits of a network's address beyond its prefix are a mistake: which part of it was meant
/// cannot be known.
pub(super) fn read_network(text: &str) -> Result<IpNet, String> {
    let network =
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(|address| address.to_canonical().into()));
    match network {
        Ok(network) if network.addr() != network.network() => {
            Err(format!("`{network}` is no network: `{}` is", network.trunc()))
        }
        Ok(network) => Ok(network),
        Err(_) => Err(format!("`{}` is not a network such as \"10.0.0.0/8\"", text.escape_debug())),
    }
}
