//! JSON objects from the command line, from files and from stdin, and the file of secrets.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
};

use lamplighter_core::value::MAX_NESTING;
use lamplighter_project::tasks::local_values::SecretsFile;
use serde_json::{Map, Value};

use crate::arguments::names::Misuse;

/// The option that names the file of secrets.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Secrets {
    /// A TOML file with the values of references on this machine.
    ///
    /// One line for each reference: `"{{resolve:ssm:/shop/token}}" = "value"`.
    #[arg(long, value_name = "FILE", env = "LAMPLIGHTER_SECRETS", hide_env_values = true)]
    secrets: Option<PathBuf>,
}

impl Secrets {
    /// The file of secrets.
    pub(crate) fn file(&self) -> SecretsFile {
        SecretsFile(self.secrets.clone())
    }
}

/// A JSON object.
type Object = Map<String, Value>;

/// The source of a JSON object.
#[derive(Clone, Debug)]
pub(crate) enum JsonSource {
    /// The command line itself.
    Object(Object),
    /// A file.
    File(PathBuf),
    /// Stdin.
    Stdin,
}

/// Parses an argument: an object, `@FILE`, or `-`. Files are read later.
pub(crate) fn json_source(text: &str) -> Result<JsonSource, String> {
    match text.strip_prefix('@') {
        _ if text == "-" => Ok(JsonSource::Stdin),
        Some("") => Err("expected the name of a file after `@`".to_owned()),
        Some(path) => Ok(JsonSource::File(path.into())),
        None => object(text).map(JsonSource::Object),
    }
}

fn object(text: &str) -> Result<Object, String> {
    // Some programs begin files with a byte order mark, which is not JSON.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        let why = error.to_string();
        if why.starts_with("recursion limit exceeded") {
            return format!("it is nested more than {MAX_NESTING} levels deep");
        }
        format!("{why}; expected an object, such as {{\"key\": 1}}, `@FILE`, or `-` for stdin")
    })
}

impl JsonSource {
    /// Reads the object. `what` is the argument's name on the command line.
    pub(crate) fn read(&self, what: &str) -> Result<Object, Misuse> {
        let read = |from: &str, text: io::Result<String>| {
            let object = text.map_err(|error| error.to_string()).and_then(|text| object(&text));
            object.map_err(|why| Misuse(format!("{what}: {from}: {why}")))
        };
        match self {
            Self::Object(object) => Ok(object.clone()),
            Self::File(path) => read(&path.display().to_string(), fs::read_to_string(path)),
            Self::Stdin => {
                let mut text = String::new();
                read("stdin", io::stdin().lock().read_to_string(&mut text).map(|_| text))
            }
        }
    }
}

/// Reads several objects, each with its name on the command line; null for those that are absent.
pub(crate) fn read<const N: usize>(given: [(&str, &Option<JsonSource>); N]) -> Result<[Value; N], Misuse> {
    let of_stdin = given.iter().filter(|(_, given)| matches!(given, Some(JsonSource::Stdin)));
    let of_stdin: Vec<_> = of_stdin.map(|(what, _)| *what).collect();
    if of_stdin.len() > 1 {
        return Err(Misuse(format!("{}: only one of them can read stdin (`-`)", of_stdin.join(" and "))));
    }
    let mut values = [const { Value::Null }; N];
    for (value, (what, given)) in values.iter_mut().zip(given) {
        if let Some(given) = given {
            *value = Value::Object(given.read(what)?);
        }
    }
    Ok(values)
}
