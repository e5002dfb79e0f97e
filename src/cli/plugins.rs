use std::io::Write;

use serde_json::Value;

use super::failure::Failure;
use crate::{config::problem::suggestion, registry::Registry};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the plugins (as `portcullis plugins` does).
    List,
    /// Show what a policy of a plugin, and a consumer's credential for it, may say.
    Show {
        /// The plugin's name.
        name: String,
        /// Print the JSON Schema in place of a table.
        #[arg(long)]
        json: bool,
    },
}

/// `portcullis plugins`.
pub(super) fn run(arguments: &Arguments, registry: &Registry) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let Some(Command::Show { name, json }) = &arguments.command else {
        for kind in registry.kinds() {
            let config = Value::from((kind.config_schema)());
            let about = config["description"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
            writeln!(out, "{:<24} {about}", kind.name)?;
        }
        return Ok(());
    };
    let kind = registry.kind(name).ok_or_else(|| {
        let near = suggestion(name, registry.kinds().map(|kind| kind.name));
        Failure::Other(format!("there is no plugin `{name}`{near}"))
    })?;
    let (config, credential) = (Value::from((kind.config_schema)()), Value::from((kind.credential_schema)()));
    if *json {
        writeln!(out, "{:#}", serde_json::json!({ "name": kind.name, "config": config, "credential": credential }))?;
        return Ok(());
    }
    writeln!(out, "use = \"{}\"\n", kind.name)?;
    if let Some(about) = config["description"].as_str() {
        writeln!(out, "{about}\n")?;
    }
    writeln!(out, "A policy may say:")?;
    fields(&config, &config, 0, &mut out)?;
    writeln!(out, "\nA policy of any plugin may say:\n  hook_timeout: string, default `server.hook_timeout`")?;
    writeln!(out, "      How long a hook of it may take, what it waits for of the client's body left out.")?;
    if credential["properties"].is_object() {
        writeln!(out, "\nA consumer's credential says, beside what credentials of all kinds may say:")?;
        fields(&credential, &credential, 0, &mut out)?;
    }
    Ok(())
}

/// Prints one line a field: name, type, whether it is required, default, and purpose; below it, the fields of a table
/// in it.
fn fields(schema: &Value, root: &Value, depth: usize, out: &mut impl Write) -> Result<(), Failure> {
    let Some(properties) = resolve(schema, root)["properties"].as_object() else {
        writeln!(out, "  (nothing)")?;
        return Ok(());
    };
    let indent = " ".repeat(2 + 4 * depth);
    let required = resolve(schema, root)["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, field) in properties {
        let required = if required.iter().any(|one| one == name) { ", required" } else { "" };
        let default = match &field["default"] {
            Value::Null => String::new(),
            default => format!(", default {default}"),
        };
        writeln!(out, "{indent}{name}: {}{required}{default}", type_of(field, root))?;
        for line in field["description"].as_str().unwrap_or_default().lines() {
            writeln!(out, "{indent}    {line}")?;
        }
        if depth < TABLES_MAX_DEPTH {
            let mut inner = Vec::new();
            tables(field, root, &mut inner);
            inner.into_iter().try_for_each(|table| fields(table, root, depth + 1, out))?;
        }
    }
    Ok(())
}

/// The most levels of nested tables that are shown: one that may contain itself has no end.
const TABLES_MAX_DEPTH: usize = 4;

/// Collects the tables that a value may be, or contain in a list, or under names of the user's own.
fn tables<'v>(schema: &'v Value, root: &'v Value, found: &mut Vec<&'v Value>) {
    let schema = resolve(schema, root);
    if schema["properties"].is_object() {
        found.push(schema);
    }
    let several = alternatives(schema).into_iter().flatten();
    let held = ["items", "additionalProperties"].into_iter().filter_map(|below| schema.get(below));
    several.chain(held).for_each(|below| tables(below, root, found));
}

/// Returns the schemas of which a value fits one.
fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema["anyOf"].as_array().or(schema["oneOf"].as_array())
}

/// Returns the schema that a `$ref` names, or the schema itself.
fn resolve<'v>(schema: &'v Value, root: &'v Value) -> &'v Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn type_of(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    if let Some(several) = alternatives(schema) {
        let mut names: Vec<_> = several.iter().map(|one| type_of(one, root)).filter(|name| name != "null").collect();
        // Two shapes of a table have the same name.
        names.dedup();
        return names.join(" or ");
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    let names = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => return "anything".to_owned(),
    };
    let shown = names.into_iter().map(|name| match name {
        "array" => format!("list of {}", type_of(&schema["items"], root)),
        "object" if schema["additionalProperties"].is_object() => {
            format!("table of {}", type_of(&schema["additionalProperties"], root))
        }
        "object" => "table".to_owned(),
        name => name.to_owned(),
    });
    shown.collect::<Vec<_>>().join(" or ")
}
