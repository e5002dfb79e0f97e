use std::io::Write;

use serde_json::Value;

use super::Failure;
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
    fields(&config, &config, &mut out)?;
    if credential["properties"].is_object() {
        writeln!(out, "\nA consumer's credential says, beside what credentials of all kinds may say:")?;
        fields(&credential, &credential, &mut out)?;
    }
    Ok(())
}

/// One line a field: name, type, whether it is required, default, and what it is for.
fn fields(schema: &Value, root: &Value, out: &mut impl Write) -> Result<(), Failure> {
    let schema = resolve(schema, root);
    let Some(properties) = schema["properties"].as_object() else {
        writeln!(out, "  (nothing)")?;
        return Ok(());
    };
    let is_required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    for (name, field) in properties {
        let required = if is_required(name) { ", required" } else { "" };
        let default = match &field["default"] {
            Value::Null => String::new(),
            default => format!(", default {default}"),
        };
        writeln!(out, "  {name}: {}{required}{default}", type_of(field, root))?;
        for line in field["description"].as_str().unwrap_or_default().lines() {
            writeln!(out, "      {line}")?;
        }
        let items = resolve(resolve(field, root).get("items").unwrap_or(&Value::Null), root).clone();
        if items["properties"].is_object() {
            let mut nested = Vec::new();
            fields(&items, root, &mut nested)?;
            for line in String::from_utf8_lossy(&nested).lines() {
                writeln!(out, "    {line}")?;
            }
        }
    }
    Ok(())
}

/// A schema that a `$ref` names, or the schema itself.
fn resolve<'v>(schema: &'v Value, root: &'v Value) -> &'v Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn type_of(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    let several = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    if let Some(several) = several {
        let names: Vec<_> = several.iter().map(|one| type_of(one, root)).filter(|name| name != "null").collect();
        return names.join(" or ");
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
        "object" => "table".to_owned(),
        name => name.to_owned(),
    });
    shown.collect::<Vec<_>>().join(" or ")
}
